"""The operator's own network: our AS, its prefixes, its PoPs and their upstreams.

An operator writes this as YAML (`anypop.model.codec.from_data(Network, ...)` reads it); the lab writes one for its own PoPs.
"""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from anypop.model.names import CityCode


class UpstreamKind(StrEnum):
    """What a BGP neighbour is to us: we pay it, we swap routes with it, or it is an exchange's route server."""

    TRANSIT = "transit"
    PEER = "peer"
    IXP = "ixp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A BGP neighbour of a PoP. `name` is unique in its PoP. A family without both its addresses has no session."""

    name: str
    asn: int
    kind: UpstreamKind = UpstreamKind.TRANSIT
    interface: str
    neighbor4: IPv4Address | None = None
    local4: IPv4Address | None = None
    neighbor6: IPv6Address | None = None
    local6: IPv6Address | None = None
    bfd: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Pop:
    """One city's site. `private*` number the links to instances, `external*` are the prefixes of its instances' own public addresses."""

    city: CityCode
    router_id: IPv4Address
    private4: IPv4Network
    private6: IPv6Network
    external4: IPv4Network
    external6: IPv6Network
    upstreams: tuple[Upstream, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Everything the operator owns. `anycast*` are covering prefixes (a /24 or shorter, a /48 or shorter), each announced as a whole."""

    asn: int
    anycast4: tuple[IPv4Network, ...]
    anycast6: tuple[IPv6Network, ...]
    pops: tuple[Pop, ...]

    def pop(self, city: CityCode) -> Pop | None:
        return next((p for p in self.pops if p.city == city), None)

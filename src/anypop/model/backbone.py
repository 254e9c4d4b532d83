"""The backbone: how hosts carry traffic for each other.

The operator says with `BackboneRules` (in the network document) that hosts are joined by tunnels; `Backbone` is what
follows for one host and stands in its order. Who serves an address, and with how many instances, hosts tell each other
themselves, so nothing of that is here: control need not live for it.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from anypop.model.announce import Address, Prefix
from anypop.model.names import CityCode, HostName

OVERHEAD = 36  # bytes around a packet in a tunnel: IPv4, UDP, VXLAN-GPE


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneRules:
    """The operator's settings. `port`: UDP, of the tunnels. `mtu`: the longest packet that a tunnel takes: what the way
    between hosts takes, less `OVERHEAD`. BFD between hosts: a host that is silent for interval x multiplier carries
    nothing any more.
    """

    port: int = 4790
    mtu: int = 1464
    bfd_interval_ms: int = 50
    bfd_multiplier: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BackbonePeer:
    """Another host. `router_id` is unique in our AS, so it numbers the peer in the kernel too; `address`: its end of
    the tunnels; `distance_km`: 0 in the same PoP. `external*`, `private*`: the prefixes of its instances' own addresses
    and of the links to them (None: an older control has not told them). `number`: says which part it has of the subnets
    of stacks' networks.
    """

    host: HostName
    pop: CityCode
    router_id: IPv4Address
    address: IPv4Address
    distance_km: int
    external4: IPv4Network
    external6: IPv6Network
    private4: IPv4Network | None = None
    private6: IPv6Network | None = None
    number: int | None = None

    def own(self) -> tuple[Prefix, ...]:
        """All prefixes in which nobody but it has instances' addresses."""
        found = (self.private4, self.private6, self.external4, self.external6)
        return tuple(prefix for prefix in found if prefix is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class DialledPop:
    """A PoP that keeps `percent` of new connections, and sends the others to other PoPs. `addresses`: of these alone;
    empty: of all that are carried.
    """

    pop: CityCode
    percent: int
    addresses: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """One host's part. `address`: its own end of the tunnels; `peers`: all other hosts, the nearest first. `carried`:
    the covering prefixes whose addresses hosts tell each other, one by one, and carry; what is not in them stays in
    the PoP that serves it. `dials`: of all PoPs that are dialled down; the lowest that names an
    address counts.
    """

    rules: BackboneRules
    address: IPv4Address
    peers: tuple[BackbonePeer, ...] = ()
    carried: tuple[Prefix, ...] = ()
    dials: tuple[DialledPop, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a host sends of an address's new connections to another one, in parts of all. `up`: the tunnel works."""

    host: HostName
    pop: CityCode
    share: int
    up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Onward:
    """How a host of the PoP where traffic came in passes it on: `local` parts to its own instances, the rest to other
    hosts. `known`: its report may be believed; otherwise nothing is. `kept`: in percent, where its
    PoP's dial is in force.
    """

    host: HostName
    known: bool
    local: int
    shares: tuple[Share, ...] = ()
    kept: int | None = None

"""A topology: which networks there are, in which cities, how they are joined, and where our own PoPs and the vantages
stand.

First stage of the lab: the frozen types. `topology_read.load` makes them from YAML text (docs/topology.md) or raises
one `Invalid` with every problem and the path of each. Pure: it opens no file and knows no address but those that the
text itself gives; the lab's own follow in `lab.address`.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from ipaddress import IPv4Network, IPv6Network

from anypop.model import cities
from anypop.model.backbone import BackboneRules
from anypop.model.names import CityCode
from anypop.model.network import Capacity, UpstreamKind

MTU = 1500  # bytes of a packet that a link takes, unless the text says less
FAMILIES = (4, 6)
EDGE = "edge"  # what hosts call their session with their PoP's edge router


class LinkKind(StrEnum):
    """What the two ends of a link between ASes are to each other. In CUSTOMER_PROVIDER the `a` end is the customer."""

    CUSTOMER_PROVIDER = "customer-provider"
    PEER = "peer"
    SIBLING = "sibling"


class Habit(StrEnum):
    """What a network does with routes besides what everybody does."""

    STRIPS_COMMUNITIES = "strips-communities"
    COMPARES_MED_ALWAYS = "compares-med-always"
    MISSING_MED_IS_WORST = "missing-med-is-worst"
    ROUTE_SERVER = "route-server"


@dataclass(frozen=True, slots=True, kw_only=True)
class InternalLink:
    """A link between two routers of one AS. `km` is the length of the cable: the great circle unless the text says
    otherwise.
    """

    a: CityCode
    b: CityCode
    km: float
    mtu: int = MTU


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member AS of a confederation: the number that its routers have inside, and their cities."""

    asn: int
    cities: tuple[CityCode, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AutonomousSystem:
    """A network with one router in each of its cities. `communities`: the AS whose dictionary of action communities
    it obeys. `reflectors`: cities whose routers are its route reflectors (RFC 4456), of which all others are clients.
    `confederation`: its members (RFC 5065). Neither: each of its routers speaks BGP with each other one.
    """

    asn: int
    name: str
    cities: tuple[CityCode, ...]
    internal: tuple[InternalLink, ...] = ()
    communities: int
    habits: frozenset[Habit] = frozenset()
    reflectors: tuple[CityCode, ...] = ()
    confederation: tuple[Member, ...] = ()

    def member(self, code: str) -> int | None:
        """The member AS of a router; None where it is no confederation."""
        return next((member.asn for member in self.confederation if code in member.cities), None)

    def speak(self, a: str, b: str) -> bool:
        """Whether the routers of two of its cities speak BGP with each other. Those of two members do along their
        internal links.
        """
        if self.reflectors:
            return a in self.reflectors or b in self.reflectors
        return self.member(a) == self.member(b) or any({a, b} == {link.a, link.b} for link in self.internal)

    @property
    def continents(self) -> frozenset[str]:
        """Its footprint, as codes of continents."""
        return frozenset(cities.city(code).continent for code in self.cities)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalLink:
    """A link between routers of two ASes. `families`: those of the BGP sessions over it."""

    kind: LinkKind
    a: int
    a_city: CityCode
    b: int
    b_city: CityCode
    km: float
    mtu: int = MTU
    families: tuple[int, ...] = FAMILIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Vantage:
    """A host to test from, behind the router of an AS in a city. `km`: the length of its access line."""

    name: str
    city: CityCode
    asn: int
    km: float = 0.0
    mtu: int = MTU


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnUpstream:
    """A neighbour of one of our PoPs: the router of `asn` in `city`, which is the PoP's own unless the text says
    otherwise.
    """

    name: str
    asn: int
    city: CityCode
    kind: UpstreamKind
    km: float
    mtu: int = MTU


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnHost:
    """One machine of a PoP. `capacity`: what instances may take of it; None: the lab's own generous figure."""

    capacity: Capacity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPop:
    """One of our PoPs. `external*`: the prefixes of its instances' own addresses, which its hosts share out among
    themselves.

    A PoP of one host has its upstreams at that host. One of several has an edge router, which has the upstreams and
    every host behind it.
    """

    city: CityCode
    external4: IPv4Network
    external6: IPv6Network
    upstreams: tuple[OwnUpstream, ...]
    hosts: tuple[OwnHost, ...] = (OwnHost(),)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnNetwork:
    """Our own AS: islands, one for each PoP. `anycast*`: the covering prefixes, a /24 or /48 or shorter each.
    `backbone`: hosts carry traffic for each other, over the same upstreams as everybody's; None: they do not.
    `bfd_ms`: how often BFD sends on its sessions.
    """

    asn: int
    anycast4: tuple[IPv4Network, ...]
    anycast6: tuple[IPv6Network, ...]
    pops: tuple[OwnPop, ...]
    backbone: BackboneRules | None = None
    bfd_ms: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """An internet. The order of `ases` is the order of router ids: the earlier an AS stands, the sooner it wins a
    tie.
    """

    name: str
    ases: tuple[AutonomousSystem, ...]
    links: tuple[ExternalLink, ...]
    vantages: tuple[Vantage, ...]
    own: OwnNetwork

    def find(self, asn: int) -> AutonomousSystem | None:
        return next((a for a in self.ases if a.asn == asn), None)


@cache
def route_km(a: str, b: str) -> float:
    """Great-circle distance of two known cities."""
    return cities.distance_km(cities.city(a), cities.city(b))

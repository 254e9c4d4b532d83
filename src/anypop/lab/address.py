"""The address plan: every name and number of a lab, from its topology and its name prefix alone.

Between the topology and everything that touches the machine. The same topology and prefix always give the same plan,
and the plan is all that `build`, vantages and the looking glass need, so it is kept on disk as lab.json. Pure.

| what | IPv4 | IPv6 |
|---|---|---|
| loopback of router i (also its router id) | 10.0.0.0/16 | fd00:0:0:1::/64 |
| router id of PoP i (of its edge router where it has one) | 10.1.0.0/16 | |
| router id of host j behind an edge router | 10.2.0.0/16 | |
| link k | 10.16.0.0/12, a /31 each | fd00:0:0:2::/64, a /127 each |
| links to instances of PoP i | 10.128.0.0/9, a /20 each | fd00:1::/32, a /64 each |
| vantage v | 172.16.0.0/12, a /24 each | fd00:e::/32, a /48 each |
| management | 100.64.0.0/16 | |

A PoP's hosts share its prefixes: each gets one of the 2, 4, 8 or 16 equal parts that the PoP's own are cut into.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from anypop.lab.topology import EDGE, FAMILIES, MTU, LinkKind, OwnNetwork, OwnPop, Topology
from anypop.model.cities import one_way_ms
from anypop.model.names import CityCode, HostName
from anypop.model.network import Capacity, Host, Network, Pop, Upstream, UpstreamKind
from anypop.model.peering import Imports

BFD_TIMES = 3
VANTAGES4 = IPv4Network("172.16.0.0/12")
VANTAGES6 = IPv6Network("fd00:e::/32")
MANAGEMENT = IPv4Network("100.64.0.0/16")
INSTANCES = (IPv4Network("10.128.0.0/9"), IPv6Network("fd00:1::/32"))
# A link shorter than this is two veth ends: light needs 12 microseconds for 2 km, less than the kernel's own way takes.
SHORTEST_WIRE_KM = 2.0
_VANTAGE_MACS = 1 << 24  # beyond those of all numbered links
# All PoPs of a lab share one machine, so what an agent finds there is no figure for one of them: room for hundreds of
# instances.
GENEROUS = Capacity(cpu_millis=1_024_000, memory_bytes=4 << 40, disk_bytes=16 << 40)


# A lab's clients have private addresses, and its networks may have numbers for documentation
IMPORTS = Imports(allow=(VANTAGES4, VANTAGES6), reserved_as=True)


class Role(StrEnum):
    """What a link joins."""

    INTERNAL = "internal"
    CUSTOMER_PROVIDER = "customer-provider"  # `a` is the customer
    PEER = "peer"
    SIBLING = "sibling"
    UPSTREAM = "upstream"  # `a` is our PoP, `b` the upstream's router
    EDGE = "edge"  # `a` is one of our hosts, `b` its PoP's edge router
    VANTAGE = "vantage"  # `a` is the vantage host, `b` its router
    MANAGEMENT = "management"  # `a` is one of our hosts, `b` the management bridge


_ROLES = {
    LinkKind.CUSTOMER_PROVIDER: Role.CUSTOMER_PROVIDER,
    LinkKind.PEER: Role.PEER,
    LinkKind.SIBLING: Role.SIBLING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """One end of a link: an interface in a namespace, addresses as "10.16.0.0/31" (none: not numbered)."""

    netns: str
    interface: str
    addresses: tuple[str, ...] = ()
    mac: str = ""

    @property
    def link_local(self) -> IPv6Address:
        """The IPv6 address that the kernel makes of `mac` (RFC 4291, appendix A)."""
        octets = bytes.fromhex(self.mac.replace(":", ""))
        return IPv6Address(bytes([0xFE, 0x80, 0, 0, 0, 0, 0, 0, octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link. `km` of cable; `wired`: its frames go through the wire process, which holds them for `one_way_ms`; `mtu`:
    the longest packet, in bytes. `families`: of the BGP sessions over it.
    """

    role: Role
    a: End
    b: End
    km: float = 0.0
    one_way_ms: float = 0.0
    wired: bool = False
    mtu: int = MTU
    families: tuple[int, ...] = FAMILIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """One router of one AS. `name` is `as3356-lhr`."""

    name: str
    netns: str
    asn: int
    city: CityCode
    loopback4: IPv4Address
    loopback6: IPv6Address


@dataclass(frozen=True, slots=True, kw_only=True)
class VantageHost:
    """A host to test from. Its prefixes are announced by its router."""

    name: str
    netns: str
    city: CityCode
    asn: int
    router: str
    address4: IPv4Address
    address6: IPv6Address
    prefix4: IPv4Network
    prefix6: IPv6Network

    @property
    def gateway4(self) -> IPv4Address:
        return self.prefix4[1]

    @property
    def gateway6(self) -> IPv6Address:
        return self.prefix6[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSite:
    """The place of one host: its namespace, and what the operator's network says about it."""

    netns: str
    host: Host


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """The router of a PoP of several hosts, in the PoP's namespace; its sessions with other networks are the PoP's
    `edge`. `interfaces`: those towards its hosts, in their order.
    """

    router_id: IPv4Address
    external4: IPv4Network
    external6: IPv6Network
    interfaces: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PopSite:
    """The place of one of our PoPs: the namespace with the links to its upstreams, which is its only host's or its
    edge router's.
    """

    netns: str
    pop: Pop
    hosts: tuple[HostSite, ...]
    edge: Edge | None = None

    @property
    def name(self) -> str:
        """As a router: `pop-lhr`."""
        return f"pop-{self.pop.city.lower()}"

    @property
    def router_id(self) -> IPv4Address:
        """What upstreams know it by."""
        return self.edge.router_id if self.edge is not None else self.pop.hosts[0].router_id

    @property
    def upstreams(self) -> tuple[Upstream, ...]:
        """Its sessions with other networks."""
        return self.pop.upstreams


@dataclass(frozen=True, slots=True, kw_only=True)
class LabPlan:
    """Everything about a lab that is not a running process."""

    prefix: str
    topology: Topology
    routers: tuple[Router, ...]
    links: tuple[Link, ...]
    vantages: tuple[VantageHost, ...]
    sites: tuple[PopSite, ...]

    @property
    def management(self) -> str:
        return f"{self.prefix}-mgmt"

    @property
    def control_address(self) -> str:
        """Of the management bridge; control listens there."""
        return f"{MANAGEMENT[1]}/{MANAGEMENT.prefixlen}"

    def namespaces(self) -> tuple[str, ...]:
        return (
            *(r.netns for r in self.routers),
            *(s.netns for s in self.sites),
            *(h.netns for s in self.sites if s.edge is not None for h in s.hosts),
            *(v.netns for v in self.vantages),
            self.management,
        )

    def router(self, asn: int, city: str) -> Router:
        return next(r for r in self.routers if r.asn == asn and r.city == city)

    def links_of(self, netns: str) -> Iterator[tuple[Link, End, End]]:
        """The links of one namespace: link, its own end, the other end."""
        for link in self.links:
            if link.a.netns == netns:
                yield link, link.a, link.b
            elif link.b.netns == netns:
                yield link, link.b, link.a


def plan(topology: Topology, prefix: str) -> LabPlan:
    """The address plan of `topology` under the name prefix `prefix`."""
    routers = tuple(
        Router(
            name=f"as{asn}-{city.lower()}",
            netns=f"{prefix}-as{asn}-{city.lower()}",
            asn=asn,
            city=city,
            loopback4=IPv4Address("10.0.0.0") + i,
            loopback6=IPv6Address("fd00:0:0:1::") + i,
        )
        for i, (asn, city) in enumerate(
            ((system.asn, city) for system in topology.ases for city in system.cities), start=1
        )
    )
    vantages = tuple(_vantage(prefix, i, v.name, v.city, v.asn) for i, v in enumerate(topology.vantages))
    links = tuple(_links(topology, prefix, vantages))
    return LabPlan(
        prefix=prefix,
        topology=topology,
        routers=routers,
        links=links,
        vantages=vantages,
        sites=tuple(_sites(topology, prefix, links)),
    )


def bfd_of(own: OwnNetwork) -> str:
    """How fast either end of a link to one of our PoPs, or inside one, notices that the other is silent, as BIRD has
    it.
    """
    return f"min rx interval {own.bfd_ms} ms; min tx interval {own.bfd_ms} ms; multiplier {BFD_TIMES};"


def network_of(lab: LabPlan) -> Network:
    """Our own network as an operator would write it down."""
    own = lab.topology.own
    return Network(
        asn=own.asn,
        anycast4=own.anycast4,
        anycast6=own.anycast6,
        pops=tuple(site.pop for site in lab.sites),
        management=(MANAGEMENT,),
        backbone=own.backbone,
    )


def pop_netns(prefix: str, city: str) -> str:
    return f"{prefix}-pop-{city.lower()}"


def host_names(pop: OwnPop) -> tuple[HostName, ...]:
    """LHR for a PoP's only host; LHR-1, LHR-2 ... where it has several."""
    if len(pop.hosts) == 1:
        return (HostName(pop.city),)
    return tuple(HostName(f"{pop.city}-{number}") for number, _ in enumerate(pop.hosts, start=1))


def host_netns(prefix: str, host: str) -> str:
    """Of LHR-1: PREFIX-pop-lhr-1. An only host is its PoP's router: PREFIX-pop-lhr."""
    return f"{prefix}-pop-{host.lower()}"


def upstream_interface(upstream: str) -> str:
    return f"up-{upstream}"


def _vantage(prefix: str, i: int, name: str, city: CityCode, asn: int) -> VantageHost:
    prefix4 = IPv4Network((int(VANTAGES4.network_address) + (i << 8), 24))
    prefix6 = IPv6Network((int(VANTAGES6.network_address) + (i << 80), 48))
    return VantageHost(
        name=name,
        netns=f"{prefix}-v-{name}",
        city=city,
        asn=asn,
        router=f"as{asn}-{city.lower()}",
        address4=prefix4[10],
        address6=prefix6[10],
        prefix4=prefix4,
        prefix6=prefix6,
    )


def _links(topology: Topology, prefix: str, vantages: tuple[VantageHost, ...]) -> Iterator[Link]:
    """All links. The k-th numbered one is `l<k>` in both its routers (`up-<name>` in a PoP)."""
    numbers = iter(range(1 << 19))

    def joined(role: Role, a: str, b: str, km: float, *, names: tuple[str, str] = ("", ""), mtu: int = MTU) -> Link:
        k = next(numbers)
        pair4, pair6 = IPv4Address("10.16.0.0") + 2 * k, IPv6Address("fd00:0:0:2::") + 2 * k
        wired = km >= SHORTEST_WIRE_KM
        return Link(
            role=role,
            a=End(netns=a, interface=names[0] or f"l{k}", addresses=(f"{pair4}/31", f"{pair6}/127"), mac=_mac(2 * k)),
            b=End(
                netns=b,
                interface=names[1] or f"l{k}",
                addresses=(f"{pair4 + 1}/31", f"{pair6 + 1}/127"),
                mac=_mac(2 * k + 1),
            ),
            km=km,
            one_way_ms=one_way_ms(km) if wired else 0.0,
            wired=wired,
            mtu=mtu,
        )

    def netns(asn: int, city: str) -> str:
        return f"{prefix}-as{asn}-{city.lower()}"

    for system in topology.ases:
        for inner in system.internal:
            yield joined(Role.INTERNAL, netns(system.asn, inner.a), netns(system.asn, inner.b), inner.km, mtu=inner.mtu)
    for outer in topology.links:
        ends = netns(outer.a, outer.a_city), netns(outer.b, outer.b_city)
        yield replace(joined(_ROLES[outer.kind], *ends, outer.km, mtu=outer.mtu), families=outer.families)
    hosts = iter(range(len(topology.own.pops), MANAGEMENT.num_addresses))
    for i, pop in enumerate(topology.own.pops):
        for upstream in pop.upstreams:
            there = netns(upstream.asn, upstream.city)
            yield joined(
                Role.UPSTREAM,
                pop_netns(prefix, pop.city),
                there,
                upstream.km,
                names=(upstream_interface(upstream.name), ""),
                mtu=upstream.mtu,
            )
        for name in host_names(pop):
            number = i if len(pop.hosts) == 1 else next(hosts)
            yield Link(
                role=Role.MANAGEMENT,
                a=End(
                    netns=host_netns(prefix, name),
                    interface="mgmt0",
                    addresses=(f"{MANAGEMENT.network_address + 2 + number}/{MANAGEMENT.prefixlen}",),
                ),
                b=End(netns=f"{prefix}-mgmt", interface=f"pop-{name.lower()}"),
            )
    for pop in topology.own.pops:  # after all upstreams' links, whose numbers they leave alone
        for number, name in enumerate(host_names(pop) if len(pop.hosts) > 1 else (), start=1):
            here = host_netns(prefix, name)
            yield joined(
                Role.EDGE, here, pop_netns(prefix, pop.city), 0.0, names=(upstream_interface(EDGE), f"h{number}")
            )
    for i, (host, vantage) in enumerate(zip(vantages, topology.vantages, strict=True)):
        wired = vantage.km >= SHORTEST_WIRE_KM
        yield Link(
            role=Role.VANTAGE,
            a=End(
                netns=host.netns,
                interface="eth0",
                addresses=(f"{host.address4}/24", f"{host.address6}/48"),
                mac=_mac(_VANTAGE_MACS + 2 * i),
            ),
            b=End(
                netns=netns(host.asn, host.city),
                interface=f"v{i}",
                addresses=(f"{host.gateway4}/24", f"{host.gateway6}/48"),
                mac=_mac(_VANTAGE_MACS + 2 * i + 1),
            ),
            km=vantage.km,
            one_way_ms=one_way_ms(vantage.km) if wired else 0.0,
            wired=wired,
            mtu=vantage.mtu,
        )


def _mac(number: int) -> str:
    """A locally administered hardware address."""
    return ":".join(f"{octet:02x}" for octet in (2, 0, *number.to_bytes(4, "big")))


def _sites(topology: Topology, prefix: str, links: tuple[Link, ...]) -> Iterator[PopSite]:
    ends = {(link.a.netns, link.a.interface): link for link in links if link.role in (Role.UPSTREAM, Role.EDGE)}
    ids = iter(range(1 << 16))
    for i, pop in enumerate(topology.own.pops):
        here, router_id = pop_netns(prefix, pop.city), IPv4Address("10.1.0.1") + i
        outer = tuple(
            _session(
                ends[here, upstream_interface(up.name)],
                name=up.name,
                asn=up.asn,
                kind=up.kind,
                bfd_ms=topology.own.bfd_ms,
            )
            for up in pop.upstreams
        )
        several = len(pop.hosts) > 1
        bits = (len(pop.hosts) - 1).bit_length()  # so many more bits than the PoP's have its hosts' prefixes
        private4 = IPv4Network((int(IPv4Address("10.128.0.0")) + (i << 12), 20))
        private6 = IPv6Network((int(IPv6Address("fd00:1::")) + (i << 64), 64))
        shares = zip(*(whole.subnets(prefixlen_diff=bits) for whole in (private4, pop.external4)), strict=True)
        shares6 = zip(*(whole.subnets(prefixlen_diff=bits) for whole in (private6, pop.external6)), strict=True)
        places = []
        for name, wanted, four, six in zip(host_names(pop), pop.hosts, shares, shares6, strict=False):
            netns, upstreams = host_netns(prefix, name), outer
            if several:
                link = ends[netns, upstream_interface(EDGE)]
                own = topology.own
                upstreams = (_session(link, name=EDGE, asn=own.asn, kind=UpstreamKind.EDGE, bfd_ms=own.bfd_ms),)
            host = Host(
                name=name,
                router_id=IPv4Address("10.2.0.1") + next(ids) if several else router_id,
                private4=four[0],
                private6=six[0],
                external4=four[1],
                external6=six[1],
                upstreams=upstreams,
                capacity=wanted.capacity or GENEROUS,
            )
            places.append(HostSite(netns=netns, host=host))
        edge = Edge(
            router_id=router_id,
            external4=pop.external4,
            external6=pop.external6,
            interfaces=tuple(f"h{number}" for number in range(1, len(pop.hosts) + 1)),
        )
        yield PopSite(
            netns=here,
            pop=Pop(city=pop.city, hosts=tuple(place.host for place in places), edge=outer if several else ()),
            hosts=tuple(places),
            edge=edge if several else None,
        )


def _session(link: Link, *, name: str, asn: int, kind: UpstreamKind, bfd_ms: int) -> Upstream:
    """A session over `link` as its end `a` has it."""
    (local4, local6), (neighbor4, neighbor6) = (
        [text.partition("/")[0] for text in end.addresses] for end in (link.a, link.b)
    )
    return Upstream(
        name=name,
        asn=asn,
        kind=kind,
        interface=link.a.interface,
        neighbor4=IPv4Address(neighbor4),
        local4=IPv4Address(local4),
        neighbor6=IPv6Address(neighbor6),
        local6=IPv6Address(local6),
        imports=IMPORTS,
        bfd_interval_ms=bfd_ms,
        bfd_multiplier=BFD_TIMES,
    )

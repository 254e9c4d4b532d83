"""The operator's own network: our AS, its prefixes, its PoPs, their hosts and the hosts' upstreams.

An operator writes this as YAML (`network_from` reads it); the lab writes one for its own PoPs. A PoP of one host may be
written without `hosts`: what is the host's then stands in the PoP itself, and the host is called like its city.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses
from itertools import count
from typing import Any

from anypop.model.announce import Prefix, PrefixPolicy
from anypop.model.backbone import BackboneRules
from anypop.model.confinement import PLAIN_RULES, InstanceRules
from anypop.model.names import CityCode, HostName
from anypop.model.peering import PLAIN_IMPORTS, GracefulRestart, Imports, Role, RpkiCache, UpstreamKind

__all__ = [
    "OTHER_NETWORKS",
    "Capacity",
    "Host",
    "Network",
    "Pop",
    "Upstream",
    "UpstreamKind",
    "network_from",
    "with_hosts",
]


# what people may call a neighbour: an edge router is part of a PoP, and told by the network document alone
OTHER_NETWORKS = (UpstreamKind.TRANSIT, UpstreamKind.PEER, UpstreamKind.IXP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A BGP neighbour of a host. `name` is unique in its PoP. A family without both its addresses has no session; a
    link-local neighbour needs no `local6`: its `interface` is enough.

    `imports`: what is taken from it. `role`: ours, where the neighbour knows roles. `ttl_security`: GTSM (RFC 5082).
    `password_file`: on the host, with the TCP-MD5 password (RFC 2385) in its first line; the password itself stands
    nowhere else. `multihop`: hops to a neighbour that is not on the link. `passive`: it connects, we do not.
    `restart_s`: how long it keeps our routes while our speaker starts anew. Times in seconds, BFD's in milliseconds;
    None: as is usual here.
    """

    name: str
    asn: int
    kind: UpstreamKind = UpstreamKind.TRANSIT
    interface: str
    neighbor4: IPv4Address | None = None
    local4: IPv4Address | None = None
    neighbor6: IPv6Address | None = None
    local6: IPv6Address | None = None
    bfd: bool = True
    bfd_interval_ms: int | None = None
    bfd_multiplier: int | None = None
    imports: Imports = PLAIN_IMPORTS
    role: Role | None = None
    ttl_security: bool = False
    password_file: str | None = None
    multihop: int | None = None
    passive: bool = False
    hold_s: int | None = None
    keepalive_s: int | None = None
    connect_s: int | None = None
    graceful_restart: GracefulRestart | None = None
    restart_s: int | None = None

    def has_session(self, version: int) -> bool:
        """Whether both ends of a family are there."""
        if version == 4:
            return self.neighbor4 is not None and self.local4 is not None
        return self.neighbor6 is not None and (self.local6 is not None or self.neighbor6.is_link_local)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What instances may take of a host altogether: thousandths of a core, bytes of memory, bytes of disk."""

    cpu_millis: int
    memory_bytes: int
    disk_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One machine. `private*` number the links to instances, `external*` are the prefixes of its instances' own public
    addresses.

    `capacity`: the operator's own figure; without one the host's agent tells what the machine has, less a reserve.
    `backbone_address`: its end of the tunnels to other hosts; None: the first address of `external4`, which no instance
    gets. `resolvers`: see `Network`, of this host alone. `number`: one of a kind, and as long as the host is in the
    network; it says which part of the subnets of stacks' networks the host has. None: the lowest that is free
    (`Network.numbers`).
    """

    name: HostName
    router_id: IPv4Address
    private4: IPv4Network
    private6: IPv6Network
    external4: IPv4Network
    external6: IPv6Network
    upstreams: tuple[Upstream, ...]
    capacity: Capacity | None = None
    backbone_address: IPv4Address | None = None
    resolvers: tuple[IPv4Address | IPv6Address, ...] | None = None
    number: int | None = None

    @property
    def tunnel_address(self) -> IPv4Address:
        """Where other hosts reach it."""
        return self.backbone_address or self.external4[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pop:
    """One city's site and its hosts, at least one. `edge`: the sessions of its own edge router with other networks,
    where hosts stand behind one; nobody here configures that router, but scopes, predictions and explanations speak of
    them.
    """

    city: CityCode
    hosts: tuple[Host, ...]
    edge: tuple[Upstream, ...] = ()

    @property
    def upstreams(self) -> tuple[Upstream, ...]:
        """Its neighbours in other networks, each name once. An edge router whose own are not told counts as a
        neighbour.
        """
        direct = (u for host in self.hosts for u in host.upstreams if u.kind is not UpstreamKind.EDGE or not self.edge)
        return tuple({u.name: u for u in (*self.edge, *direct)}.values())

    def way(self, host: Host, upstream: str) -> Upstream | None:
        """The host's own session by which that upstream of the PoP hears of it: with the upstream itself, or with the
        edge router; None: there is no way.
        """
        beyond = any(u.name == upstream for u in self.edge)
        for own in host.upstreams:
            if own.name == upstream or (beyond and own.kind is UpstreamKind.EDGE):
                return own
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Everything the operator owns. `anycast*` are covering prefixes (a /24 or shorter, a /48 or shorter), each
    announced as a whole.

    `lost_after_s`: a host that has been silent for so long is lost, and its instances are placed on other hosts of its
    PoP; 0: never. `return_after_s`: a host that comes back after its machine was dead is announced when it has been
    well for so long, as long as others serve; 0: at once. `scale_look_s`: how often the load of targets that follow it
    is looked at; `scale_down_after_s`: how long after the last change of a number of instances at least some may go.
    `tenant_communities`: those that tenants may send; `harmless`
    stands for what the dictionaries know as an action on a tenant's own route, `209:*` for all of that form.
    `instances`: what instances may have and may ask for. `management`: where control, hosts and operators meet; no
    neighbour may tell a way there, and hosts never follow one. `rpki`: caches that say whose a prefix is. `backbone`:
    hosts carry traffic for each other; None: each PoP is on its own. `policies`: of covering prefixes; one that is not
    named may be announced everywhere. `resolvers`: whom a host asks for names that its instances ask for and
    the platform does not know; None: those of its own resolv.conf; empty: nobody. `pings_per_s`: how many echoes a host
    may send in a second from an anycast address, to find out in which PoP the answers arrive; 0: none. `sampled_flows`:
    of one in so many connections hosts tell from which network they came in, a /24 or a /48; 0: of none.
    `sampled_look_s`: how often they tell; what comes in within so long after a change of announcements is not counted.
    """

    asn: int
    anycast4: tuple[IPv4Network, ...]
    anycast6: tuple[IPv6Network, ...]
    pops: tuple[Pop, ...]
    lost_after_s: float = 300.0
    return_after_s: float = 10.0
    scale_look_s: float = 15.0
    scale_down_after_s: float = 300.0
    tenant_communities: tuple[str, ...] = ("harmless",)
    instances: InstanceRules = PLAIN_RULES
    management: tuple[IPv4Network | IPv6Network, ...] = ()
    rpki: tuple[RpkiCache, ...] = ()
    backbone: BackboneRules | None = None
    policies: tuple[PrefixPolicy, ...] = ()
    resolvers: tuple[IPv4Address | IPv6Address, ...] | None = None
    pings_per_s: int = 0
    sampled_flows: int = 0
    sampled_look_s: float = 60.0

    def pop(self, city: CityCode) -> Pop | None:
        return next((p for p in self.pops if p.city == city), None)

    def hosts(self) -> Iterator[tuple[Pop, Host]]:
        """Every host, and the PoP that it stands in."""
        return ((pop, host) for pop in self.pops for host in pop.hosts)

    def host(self, name: HostName) -> Host | None:
        return next((host for _, host in self.hosts() if host.name == name), None)

    def numbers(self) -> dict[HostName, int]:
        """Of every host: its own, or in the order of the document the lowest that is free."""
        hosts = [host for _, host in self.hosts()]
        taken = {host.number for host in hosts if host.number is not None}
        free = (number for number in count() if number not in taken)
        return {host.name: host.number if host.number is not None else next(free) for host in hosts}

    def numbered(self, before: "Network") -> "Network":
        """With a number for each host: its own, the one that it had before, or one that is free. A host that is new
        and has that of another one, from which it was copied perhaps, gets one that is free.
        """
        had, names = before.numbers(), {host.name for _, host in self.hosts()}
        stay = {number for name, number in had.items() if name in names}
        first = self._with(
            {
                host.name: None if host.name not in had and host.number in stay else host.number
                for _, host in self.hosts()
            }
        )
        given = {host.number for _, host in first.hosts() if host.number is not None}
        kept = {
            host.name: number
            for _, host in first.hosts()
            if host.number is None and (number := had.get(host.name)) is not None and number not in given
        }
        second = first._with(kept)
        return second._with(second.numbers())

    def _with(self, numbers: Mapping[HostName, int | None]) -> "Network":
        def numbered(host: Host) -> Host:
            number = numbers.get(host.name, host.number)
            return host if number == host.number else replace(host, number=number)

        return replace(self, pops=tuple(replace(pop, hosts=tuple(map(numbered, pop.hosts))) for pop in self.pops))

    def ours(self) -> tuple[Prefix, ...]:
        """All that is ours, in as few prefixes as can say it: what no neighbour may tell us, nor a part of it."""
        four, six = list(self.anycast4), list(self.anycast6)
        for _, host in self.hosts():
            four += (host.private4, host.external4)
            six += (host.private6, host.external6)
        return (*collapse_addresses(four), *collapse_addresses(six))


def network_from(data: object) -> Network:
    """A `Network` from plain data (parsed YAML or JSON). Raises `Invalid` with all its problems, unknown fields
    included.
    """
    # the reader takes long to load, and the nouns alone need none of it
    from anypop.model.codec import from_data  # noqa: PLC0415
    from anypop.model.errors import Invalid  # noqa: PLC0415
    from anypop.model.unknown_fields import unknown_fields  # noqa: PLC0415

    whole = with_hosts(data)
    problems = unknown_fields(Network, whole)
    try:
        network = from_data(Network, whole)
    except Invalid as error:
        raise Invalid([*problems, *error.problems]) from error
    if problems:
        raise Invalid(problems)
    return network


def with_hosts(data: Any) -> Any:
    """The document with every PoP in its long form; what is no document is given back as it is, for the reader to
    complain about.
    """
    if not isinstance(data, dict) or not isinstance(data.get("pops"), list | tuple):
        return data
    return {**data, "pops": [_with_hosts(pop) for pop in data["pops"]]}


def _with_hosts(pop: Any) -> Any:
    if not isinstance(pop, dict) or "hosts" in pop or "city" not in pop:
        return pop
    whole = {key: pop[key] for key in ("city", "edge") if key in pop}
    return {**whole, "hosts": [{"name": pop["city"], **{key: value for key, value in pop.items() if key not in whole}}]}

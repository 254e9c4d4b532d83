"""The operator's own network: our AS, its prefixes, its PoPs, their hosts and the hosts' upstreams.

An operator writes this as YAML (`network_from` reads it); the lab writes one for its own PoPs. A PoP of one host may be
written without `hosts`: what is the host's then stands in the PoP itself, and the host is called like its city.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from anypop.model.confinement import PLAIN_RULES, InstanceRules
from anypop.model.names import CityCode, HostName


class UpstreamKind(StrEnum):
    """What a BGP neighbour is to us: we pay it, we swap routes with it, it is an exchange's route server, or our
    PoP's own edge router.
    """

    TRANSIT = "transit"
    PEER = "peer"
    IXP = "ixp"
    EDGE = "edge"


# what people may call a neighbour: an edge router is part of a PoP, and told by the network document alone
OTHER_NETWORKS = (UpstreamKind.TRANSIT, UpstreamKind.PEER, UpstreamKind.IXP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A BGP neighbour of a host. `name` is unique in its PoP. A family without both its addresses has no session."""

    name: str
    asn: int
    kind: UpstreamKind = UpstreamKind.TRANSIT
    interface: str
    neighbor4: IPv4Address | None = None
    local4: IPv4Address | None = None
    neighbor6: IPv6Address | None = None
    local6: IPv6Address | None = None
    bfd: bool = True

    def has_session(self, version: int) -> bool:
        """Whether both ends of a family are there."""
        if version == 4:
            return self.neighbor4 is not None and self.local4 is not None
        return self.neighbor6 is not None and self.local6 is not None


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
    """

    name: HostName
    router_id: IPv4Address
    private4: IPv4Network
    private6: IPv6Network
    external4: IPv4Network
    external6: IPv6Network
    upstreams: tuple[Upstream, ...]
    capacity: Capacity | None = None


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
    PoP; 0: never. `tenant_communities`: those that tenants may send; `harmless` stands for what the dictionaries know
    as an action on a tenant's own route, `209:*` for all of that form. `instances`: what instances may have and may
    ask for.
    """

    asn: int
    anycast4: tuple[IPv4Network, ...]
    anycast6: tuple[IPv6Network, ...]
    pops: tuple[Pop, ...]
    lost_after_s: float = 300.0
    tenant_communities: tuple[str, ...] = ("harmless",)
    instances: InstanceRules = PLAIN_RULES

    def pop(self, city: CityCode) -> Pop | None:
        return next((p for p in self.pops if p.city == city), None)

    def hosts(self) -> Iterator[tuple[Pop, Host]]:
        """Every host, and the PoP that it stands in."""
        return ((pop, host) for pop in self.pops for host in pop.hosts)

    def host(self, name: HostName) -> Host | None:
        return next((host for _, host in self.hosts() if host.name == name), None)


def network_from(data: object) -> Network:
    """A `Network` from plain data (parsed YAML or JSON). Raises `Invalid` with all its problems."""
    # the reader takes long to load, and the nouns alone need none of it
    from anypop.model.codec import from_data  # noqa: PLC0415

    return from_data(Network, with_hosts(data))


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

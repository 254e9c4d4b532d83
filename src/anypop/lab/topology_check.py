"""Checks of a topology as a whole: what its parts mean to each other.

Between `topology_read` (which judged each part alone) and everyone who uses a topology: dangling links, names and
numbers used twice, ASes that fall apart, upstreams that are not where a PoP is, prefixes that overlap. In goes a
topology and the path of each part, out come all the problems. Pure.
"""

from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_network
from itertools import combinations

from anypop.lab.topology import (
    EDGE,
    AutonomousSystem,
    ExternalLink,
    InternalLink,
    LinkKind,
    OwnPop,
    OwnUpstream,
    Topology,
    Vantage,
)
from anypop.model.errors import Problem

# The lab numbers its own routers, links, vantages and the management network from these.
RESERVED4 = tuple(ip_network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "100.64.0.0/16", "127.0.0.0/8"))
RESERVED6 = tuple(ip_network(n) for n in ("fc00::/7", "fe80::/10", "::/8"))

_Part = AutonomousSystem | ExternalLink | InternalLink | Vantage | OwnPop | OwnUpstream


def check(topology: Topology, paths: Mapping[int, str]) -> list[Problem]:
    """Every problem of the topology. `paths`: where each part stands in the text, by its `id`."""

    def path(part: _Part, more: str = "") -> str:
        return paths.get(id(part), "") + more

    found: list[Problem] = []
    for rule in (_sizes, _systems, _confederations, _internal, _links, _vantages, _pops, _prefixes, _cycles):
        found += [Problem(path=where, message=message) for where, message in rule(topology, path)]
    return found


_Found = Iterator[tuple[str, str]]
_Path = Callable[..., str]


def _sizes(topology: Topology, _: _Path) -> _Found:
    """The lab's own numbers end somewhere (`lab.address`)."""
    routers = sum(len(system.cities) for system in topology.ases)
    links = len(topology.links) + sum(len(system.internal) for system in topology.ases)
    links += sum(len(pop.upstreams) + len(pop.hosts) for pop in topology.own.pops)
    for path, what, count, most in (
        ("ases", "routers", routers, 65_534),
        ("links", "links", links, 524_288),
        ("vantages", "vantages", len(topology.vantages), 4096),
        ("anypop.pops", "PoPs", len(topology.own.pops), 2048),
    ):
        if count > most:
            yield path, f"{count} {what} are more than the lab has numbers for ({most})"


def _systems(topology: Topology, path: _Path) -> _Found:
    first: dict[int, AutonomousSystem] = {}
    if not topology.ases:
        yield "ases", "needs at least one AS"
    for system in topology.ases:
        if system.asn in first:
            yield path(system, ".asn"), f"AS{system.asn} stands already at {path(first[system.asn])}"
        first.setdefault(system.asn, system)
        if system.asn == topology.own.asn:
            yield path(system, ".asn"), f"AS{system.asn} is our own, which stands under anypop"
        if not system.cities:
            yield path(system, ".cities"), f"AS{system.asn} needs at least one city"
        for i, code in enumerate(system.cities):
            if code in system.cities[:i]:
                yield path(system, f".cities[{i}]"), f"{code} stands there twice; an AS has one router in a city"
        for i, code in enumerate(system.reflectors):
            if code not in system.cities:
                yield path(system, f".reflectors[{i}]"), f"AS{system.asn} has no router in {code}"
            elif code in system.reflectors[:i]:
                yield path(system, f".reflectors[{i}]"), f"{code} stands there twice"


def _confederations(topology: Topology, path: _Path) -> _Found:
    """Members' numbers stand in paths beside those of networks, where nobody may find his own twice."""
    taken = {system.asn: f"AS{system.asn} is a network" for system in topology.ases}
    taken[topology.own.asn] = f"AS{topology.own.asn} is our own"
    for system in topology.ases:
        where = path(system, ".confederation")
        if system.confederation and system.reflectors:
            yield where, "cannot stand beside reflectors"
        for i, member in enumerate(system.confederation):
            if member.asn in taken:
                yield f"{where}[{i}].asn", taken[member.asn]
            taken.setdefault(member.asn, f"AS{member.asn} is a member already")
        placed = [code for member in system.confederation for code in member.cities]
        for code in dict.fromkeys((*placed, *(system.cities if system.confederation else ()))):
            if code not in system.cities:
                yield where, f"AS{system.asn} has no router in {code}"
            elif placed.count(code) != 1:
                yield where, f"{code} must be in one member"


def _internal(topology: Topology, path: _Path) -> _Found:
    for system in topology.ases:
        seen: set[frozenset[str]] = set()
        for link in system.internal:
            for code in {link.a, link.b} - set(system.cities):
                yield path(link), f"AS{system.asn} has no router in {code}"
            if link.a == link.b:
                yield path(link), f"joins {link.a} with itself"
            elif frozenset((link.a, link.b)) in seen:
                yield path(link), f"{link.a}-{link.b} stands there twice"
            seen.add(frozenset((link.a, link.b)))
        islands = _islands(system)
        if len(islands) > 1:
            named = ", ".join("+".join(island) for island in islands)
            yield (
                path(system, ".internal"),
                f"AS{system.asn} falls apart into {len(islands)} islands ({named}); join them by internal links",
            )


def _islands(system: AutonomousSystem) -> list[list[str]]:
    """Its cities, grouped by what internal links join; each group and the groups in the order of `cities`."""
    group = {code: i for i, code in enumerate(system.cities)}
    for link in system.internal:
        if link.a in group and link.b in group and group[link.a] != group[link.b]:
            low, high = sorted((group[link.a], group[link.b]))
            group = {code: low if g == high else g for code, g in group.items()}
    return [[code for code in group if group[code] == g] for g in sorted(set(group.values()))]


def _links(topology: Topology, path: _Path) -> _Found:
    seen: dict[frozenset[tuple[int, str]], ExternalLink] = {}
    kinds: dict[frozenset[int], tuple[LinkKind, int, ExternalLink]] = {}
    for link in topology.links:
        if link.a == link.b:
            yield path(link), f"joins AS{link.a} with itself; links inside an AS stand under its internal"
            continue
        for end, asn, code in (("a", link.a, link.a_city), ("b", link.b, link.b_city)):
            system = topology.find(asn)
            if asn == topology.own.asn:
                yield path(link, f".{end}"), f"AS{asn} is our own; its links are the upstreams under anypop.pops"
            elif system is None:
                yield path(link, f".{end}"), f"dangling: there is no AS{asn}"
            elif code not in system.cities:
                yield (
                    path(link, ".at"),
                    f"dangling: AS{asn} has no router in {code} (it is in {', '.join(system.cities)})",
                )
        ends = frozenset(((link.a, str(link.a_city)), (link.b, str(link.b_city))))
        if ends in seen:
            yield (
                path(link, ".at"),
                f"AS{link.a} {link.a_city} and AS{link.b} {link.b_city} are joined already at {path(seen[ends])}",
            )
        seen.setdefault(ends, link)
        customer = link.a if link.kind is LinkKind.CUSTOMER_PROVIDER else 0
        known = kinds.setdefault(frozenset((link.a, link.b)), (link.kind, customer, link))
        if known[:2] != (link.kind, customer):
            yield path(link, ".relationship"), f"contradicts {path(known[2])}: two ASes have one relationship"


def _vantages(topology: Topology, path: _Path) -> _Found:
    names: dict[str, Vantage] = {}
    for vantage in topology.vantages:
        if vantage.name in names:
            yield path(vantage, ".name"), f"{vantage.name} stands already at {path(names[vantage.name])}"
        names.setdefault(vantage.name, vantage)
        system = topology.find(vantage.asn)
        if system is None:
            yield (
                path(vantage, ".asn"),
                f"unknown AS{vantage.asn}; a vantage stands behind a router of an AS under ases",
            )
        elif vantage.city not in system.cities:
            yield (
                path(vantage, ".city"),
                f"AS{vantage.asn} has no router in {vantage.city} (it is in {', '.join(system.cities)})",
            )


def _pops(topology: Topology, path: _Path) -> _Found:
    cities: dict[str, OwnPop] = {}
    if not topology.own.pops:
        yield "anypop.pops", "needs at least one PoP"
    for pop in topology.own.pops:
        if pop.city in cities:
            yield path(pop, ".city"), f"{pop.city} has a PoP already at {path(cities[pop.city])}"
        cities.setdefault(pop.city, pop)
        if not pop.upstreams:
            yield path(pop, ".upstreams"), f"{pop.city} needs at least one upstream"
        names: set[str] = set()
        routers: set[tuple[int, str]] = set()
        for upstream in pop.upstreams:
            if upstream.name in names:
                yield path(upstream, ".name"), f"{pop.city} has an upstream named {upstream.name} already"
            names.add(upstream.name)
            if upstream.name == EDGE and len(pop.hosts) > 1:
                yield (
                    path(upstream, ".name"),
                    f"{EDGE} is what hosts call their session with the edge router; use another name",
                )
            system = topology.find(upstream.asn)
            if system is None:
                yield path(upstream, ".asn"), f"dangling: there is no AS{upstream.asn}"
            elif upstream.city not in system.cities:
                yield (
                    path(upstream, ".asn"),
                    f"AS{upstream.asn} has no router in {upstream.city} (it is in {', '.join(system.cities)})",
                )
            if (upstream.asn, upstream.city) in routers:
                yield path(upstream), f"{pop.city} has a session with AS{upstream.asn} in {upstream.city} already"
            routers.add((upstream.asn, upstream.city))


def _prefixes(topology: Topology, path: _Path) -> _Found:
    own = topology.own
    for family, count in ((4, len(own.anycast4)), (6, len(own.anycast6))):
        if count == 0:
            yield (
                f"anypop.anycast{family}",
                "needs at least one covering prefix; workloads in different sets of PoPs need one each",
            )
    named = [(f"anypop.anycast4[{i}]", str(n)) for i, n in enumerate(own.anycast4)]
    named += [(f"anypop.anycast6[{i}]", str(n)) for i, n in enumerate(own.anycast6)]
    for pop in own.pops:
        named += [(path(pop, ".external4"), str(pop.external4)), (path(pop, ".external6"), str(pop.external6))]
    networks = [(where, ip_network(text)) for where, text in named]
    for where, network in networks:
        for reserved in RESERVED4 if network.version == 4 else RESERVED6:
            if network.overlaps(reserved):
                yield where, f"{network} overlaps {reserved}, which the lab needs for itself"
    for (first, a), (second, b) in combinations(networks, 2):
        if a.version == b.version and a.overlaps(b):
            yield second, f"{b} overlaps {a} of {first}"


def _cycles(topology: Topology, path: _Path) -> _Found:
    """A provider that is its own customer's customer makes routes that never settle (Gao-Rexford, condition on the
    hierarchy).
    """
    links = [link for link in topology.links if link.kind is LinkKind.CUSTOMER_PROVIDER and link.a != link.b]
    while links:
        customers, providers = {link.a for link in links}, {link.b for link in links}
        rest = [link for link in links if link.b in customers and link.a in providers]
        if len(rest) == len(links):
            circle = ", ".join(f"AS{asn}" for asn in sorted(customers & providers))
            yield path(links[0], ".relationship"), f"customers and providers go round in a circle among {circle}"
            return
        links = rest

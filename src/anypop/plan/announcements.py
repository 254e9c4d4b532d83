"""Announcements: which prefix each host tells which upstream, and how far it may go.

In: the network, the incarnations, the anycast table and the operator's rules. Out: the announcements of each host, and a note where a PoP
has instances and must stay silent. Whether a gate is open is decided on the host, by local evidence, not here.

How rules meet: a prefix goes out once, for all workloads in it. Of their rules for a PoP and an upstream WITHHOLD wins, prepends are as
many as the highest asks for, and communities are united: the most cautious reading of each.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_network

from anypop.model.announce import Address, Announcement, Mode, Prefix, Scope, ScopeRule
from anypop.model.names import CityCode, HostName, WorkloadId
from anypop.model.network import Host, UpstreamKind
from anypop.model.plan import AnycastAddress, Incarnation, PlanNote, World
from anypop.model.reasons import Reason

_Gates = list[tuple[WorkloadId, Address]]
_Rules = dict[tuple[CityCode, str], list[ScopeRule]]


def announcements(
    world: World, incarnations: tuple[Incarnation, ...], table: tuple[AnycastAddress, ...]
) -> tuple[dict[HostName, tuple[Announcement, ...]], tuple[PlanNote, ...]]:
    """One entry for each host of the network; its own prefixes first, then covering prefixes in the order of the table.

    Towards the PoP's own edge router a host tells each address that it holds, since the edge router spreads over hosts by them; towards
    other networks whole prefixes.
    """
    rules: _Rules = defaultdict(list)
    for rule in world.rules:
        rules[rule.pop, rule.upstream].append(rule)
    out: dict[HostName, list[Announcement]] = {}
    standing: dict[HostName, list[Incarnation]] = defaultdict(list)
    for incarnation in incarnations:
        standing[incarnation.host].append(incarnation)
    for _, host in world.network.hosts():
        out[host.name] = list(_own(host, standing[host.name]))

    notes: list[PlanNote] = []
    slugs = {w.id: w.slug for w in world.workloads}
    by_host, by_pop = _homes(incarnations, lambda i: i.host), _homes(incarnations, lambda i: i.pop)
    for prefix, gates in _prefixes(world, table, by_pop).items():
        for pop in world.network.pops:
            told = False
            for host in pop.hosts:
                found = _of_prefix(pop.city, host, prefix, gates, rules, by_host=by_host, by_pop=by_pop)
                told = told or bool(found)
                out[host.name] += found
            here = [w for w, _ in gates if pop.city in by_pop[w]]
            if here and not told:
                absent = ", ".join(slugs[w] for w, _ in gates if pop.city not in by_pop[w]) or "another workload"
                detail = f"{prefix} not announced at {pop.city}: {absent} has no instance there"
                notes += [PlanNote(subject=slugs[w], reason=Reason.SHARED_PREFIX, detail=detail) for w in here]
    return {host: tuple(found) for host, found in out.items()}, tuple(notes)


def merged(rules: Iterable[ScopeRule]) -> Scope:
    """One scope for a prefix out of the rules of all workloads in it. No rules: announce plainly."""
    scopes = [rule.scope for rule in rules]
    return Scope(
        mode=Mode.WITHHOLD if any(s.mode is Mode.WITHHOLD for s in scopes) else Mode.ANNOUNCE,
        prepend=max((s.prepend for s in scopes), default=0),
        communities=tuple(sorted({c for s in scopes for c in s.communities})),
        large_communities=tuple(sorted({c for s in scopes for c in s.large_communities})),
    )


def _own(host: Host, standing: list[Incarnation]) -> Iterator[Announcement]:
    """The host's own external prefixes; towards an edge router the external addresses in use, one by one."""
    for whole in (host.external4, host.external6):
        for upstream in host.upstreams:
            if not upstream.has_session(whole.version):
                continue
            if upstream.kind is not UpstreamKind.EDGE:
                yield Announcement(prefix=whole, upstream=upstream.name, scope=Scope())
                continue
            for index in sorted({i.index for i in standing}):
                yield Announcement(prefix=ip_network(whole[1 + index]), upstream=upstream.name, scope=Scope())


def _of_prefix(
    city: CityCode,
    host: Host,
    prefix: Prefix,
    gates: _Gates,
    rules: _Rules,
    *,
    by_host: Mapping[WorkloadId, frozenset[str]],
    by_pop: Mapping[WorkloadId, frozenset[str]],
) -> list[Announcement]:
    """A covering prefix as one host tells it. To another network only where every address of the prefix has an instance
    on this host, for it draws the traffic of all; to the PoP's edge router where each has one in this PoP.
    """
    tenants = {w for w, _ in gates}
    mine = [(w, address) for w, address in gates if host.name in by_host[w]]
    found = []
    for upstream in host.upstreams:
        if not upstream.has_session(prefix.version) or not mine:
            continue
        edge = upstream.kind is UpstreamKind.EDGE
        if len(mine) < len(gates) and not (edge and all(city in by_pop[w] for w in tenants)):
            continue
        scope = merged(r for r in rules.get((city, upstream.name), ()) if r.workload_id in tenants)
        found.append(Announcement(prefix=prefix, upstream=upstream.name, scope=scope, gates=tuple(a for _, a in mine)))
        if edge:
            found += [
                Announcement(prefix=ip_network(address), upstream=upstream.name, scope=Scope(), gates=(address,)) for _, address in mine
            ]
    return found


def _homes(incarnations: tuple[Incarnation, ...], where: Callable[[Incarnation], str]) -> dict[WorkloadId, frozenset[str]]:
    homes: dict[WorkloadId, set[str]] = defaultdict(set)
    for incarnation in incarnations:
        homes[incarnation.workload_id].add(where(incarnation))
    return {w: frozenset(places) for w, places in homes.items()}


def _prefixes(world: World, table: tuple[AnycastAddress, ...], homes: Mapping[WorkloadId, frozenset[str]]) -> dict[Prefix, _Gates]:
    """The addresses in use of each covering prefix. A workload without any instance has no say: it must not silence the others."""
    live = {w.id: w for w in world.workloads if not w.deleting}
    found: dict[Prefix, _Gates] = defaultdict(list)
    for entry in table:
        workload = live.get(entry.workload_id)
        if workload is None or entry.workload_id not in homes:
            continue
        found[entry.prefix4].append((workload.id, entry.address4))
        if workload.dual_stack:
            found[entry.prefix6].append((workload.id, entry.address6))
    return found

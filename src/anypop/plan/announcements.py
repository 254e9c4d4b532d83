"""Announcements: which prefix each PoP tells which upstream, and how far it may go.

In: the network, the new slots, the anycast table and the operator's rules. Out: the announcements of each PoP, and a note where a PoP has
instances and must stay silent. Whether a gate is open is decided in the PoP, by local evidence, not here.

How rules meet: a prefix goes out once, for all workloads in it. Of their rules for a PoP and an upstream WITHHOLD wins, prepends are as
many as the highest asks for, and communities are united: the most cautious reading of each.
"""

from collections import defaultdict
from collections.abc import Iterable

from anypop.model.announce import Address, Announcement, Mode, Prefix, Scope, ScopeRule
from anypop.model.names import CityCode, WorkloadId
from anypop.model.network import Network, Pop, Upstream
from anypop.model.plan import AnycastAddress, PlanNote, Slot, World
from anypop.model.reasons import Reason

_Gates = list[tuple[WorkloadId, Address]]
_Rules = dict[tuple[CityCode, str], list[ScopeRule]]


def announcements(
    world: World, slots: tuple[Slot, ...], table: tuple[AnycastAddress, ...]
) -> tuple[dict[CityCode, tuple[Announcement, ...]], tuple[PlanNote, ...]]:
    """One entry for each PoP of the network; external prefixes first, then covering prefixes in the order of the table."""
    rules: _Rules = defaultdict(list)
    for rule in world.rules:
        rules[rule.pop, rule.upstream].append(rule)
    out: dict[CityCode, list[Announcement]] = {}
    for pop in world.network.pops:
        own: tuple[Prefix, ...] = (pop.external4, pop.external6)
        out[pop.city] = [Announcement(prefix=p, upstream=u.name, scope=Scope()) for p in own for u in _sessions(pop, p)]

    notes: list[PlanNote] = []
    slugs = {w.id: w.slug for w in world.workloads}
    homes = _homes(slots)
    for prefix, gates in _prefixes(world, table, homes).items():
        everywhere = frozenset.intersection(*(homes[w] for w, _ in gates))
        for pop in world.network.pops:
            here = [w for w, _ in gates if pop.city in homes[w]]
            if pop.city in everywhere:
                out[pop.city] += _of_prefix(pop, prefix, gates, rules)
            elif here:
                absent = ", ".join(slugs[w] for w, _ in gates if pop.city not in homes[w])
                detail = f"{prefix} not announced at {pop.city}: {absent} has no instance there"
                notes += [PlanNote(subject=slugs[w], reason=Reason.SHARED_PREFIX, detail=detail) for w in here]
    return {city: tuple(found) for city, found in out.items()}, tuple(notes)


def merged(rules: Iterable[ScopeRule]) -> Scope:
    """One scope for a prefix out of the rules of all workloads in it. No rules: announce plainly."""
    scopes = [rule.scope for rule in rules]
    return Scope(
        mode=Mode.WITHHOLD if any(s.mode is Mode.WITHHOLD for s in scopes) else Mode.ANNOUNCE,
        prepend=max((s.prepend for s in scopes), default=0),
        communities=tuple(sorted({c for s in scopes for c in s.communities})),
        large_communities=tuple(sorted({c for s in scopes for c in s.large_communities})),
    )


def entitled(network: Network, found: dict[CityCode, tuple[Announcement, ...]], prefix: Prefix) -> tuple[CityCode, ...]:
    """The PoPs that should announce `prefix` to at least one upstream."""
    return tuple(p.city for p in network.pops if any(a.prefix == prefix and a.scope.mode is Mode.ANNOUNCE for a in found.get(p.city, ())))


def _of_prefix(pop: Pop, prefix: Prefix, gates: _Gates, rules: _Rules) -> list[Announcement]:
    tenants = {w for w, _ in gates}
    addresses = tuple(address for _, address in gates)
    return [
        Announcement(
            prefix=prefix,
            upstream=upstream.name,
            scope=merged(r for r in rules.get((pop.city, upstream.name), ()) if r.workload_id in tenants),
            gates=addresses,
        )
        for upstream in _sessions(pop, prefix)
    ]


def _sessions(pop: Pop, prefix: Prefix) -> list[Upstream]:
    """The upstreams that have a session of the prefix's family."""
    if prefix.version == 4:
        return [u for u in pop.upstreams if u.neighbor4 is not None and u.local4 is not None]
    return [u for u in pop.upstreams if u.neighbor6 is not None and u.local6 is not None]


def _homes(slots: tuple[Slot, ...]) -> dict[WorkloadId, frozenset[CityCode]]:
    homes: dict[WorkloadId, set[CityCode]] = defaultdict(set)
    for slot in slots:
        homes[slot.workload_id].add(slot.pop)
    return {w: frozenset(cities) for w, cities in homes.items()}


def _prefixes(world: World, table: tuple[AnycastAddress, ...], homes: dict[WorkloadId, frozenset[CityCode]]) -> dict[Prefix, _Gates]:
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

"""Anycast addresses: one pair for a workload's whole life, inside covering prefixes that BGP can announce.

In: the world and the new places. Out: the new allocation table and a note for each workload that got none. A covering prefix is shared only
by workloads in the same set of PoPs, since a PoP that announces it attracts the traffic of every address in it. An address leaves the table
when the last instance of its workload is gone; control then lets it rest before it offers the prefix's address again.
"""

from collections import defaultdict
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeVar

from anypop.model.names import CityCode, WorkloadId
from anypop.model.plan import AnycastAddress, PlanNote, World
from anypop.model.reasons import Reason
from anypop.model.workload import Workload
from anypop.plan.addresses import hosts
from anypop.plan.placement import Placement

Footprint = tuple[frozenset[CityCode], frozenset[CityCode]]  # the PoPs a workload asks for, and those where it has a place
P = TypeVar("P", IPv4Network, IPv6Network)


def allocate(world: World, placed: Placement) -> tuple[tuple[AnycastAddress, ...], tuple[PlanNote, ...]]:
    """The table: those there were that are still needed, in their order, then the new ones in the order of the workloads."""
    footprints = _footprints(world, placed)
    wanted = {w.id: w for w in world.workloads if w.anycast}
    dying = {removal.workload_id for _, removal in placed.removals}
    kept = [a for a in world.anycast if (a.workload_id in wanted and not wanted[a.workload_id].deleting) or a.workload_id in dying]

    tenants4: dict[IPv4Network, list[WorkloadId]] = defaultdict(list)
    tenants6: dict[IPv6Network, list[WorkloadId]] = defaultdict(list)
    for entry in kept:
        tenants4[entry.prefix4].append(entry.workload_id)
        tenants6[entry.prefix6].append(entry.workload_id)
    taken = {entry.address4 for entry in kept} | world.resting_addresses
    served = {entry.workload_id for entry in kept}

    notes: list[PlanNote] = []
    for workload in world.workloads:
        if not workload.anycast or workload.deleting or workload.id in served:
            continue
        mine = footprints[workload.id]
        prefix6 = next(_candidates(world.network.anycast6, tenants6, mine, footprints), None)
        found = next(
            ((p, a) for p in _candidates(world.network.anycast4, tenants4, mine, footprints) if (a := _free(p, taken)) is not None), None
        )
        if found is None or prefix6 is None:
            family = "IPv4" if found is None else "IPv6"
            total = len(world.network.anycast4 if found is None else world.network.anycast6)
            detail = f"none of {total} {family} prefixes is free or used by just these PoPs: {', '.join(sorted(mine[0])) or 'none'}"
            notes.append(PlanNote(subject=workload.slug, reason=Reason.NO_COVERING_PREFIX, detail=detail))
            continue
        prefix4, address4 = found
        entry = AnycastAddress(
            workload_id=workload.id, address4=address4, prefix4=prefix4, address6=_twin(prefix6, address4), prefix6=prefix6
        )
        kept.append(entry)
        taken.add(address4)
        tenants4[prefix4].append(workload.id)
        tenants6[prefix6].append(workload.id)
    return tuple(kept), tuple(notes)


def _candidates(
    prefixes: tuple[P, ...], tenants: dict[P, list[WorkloadId]], mine: Footprint, footprints: dict[WorkloadId, Footprint]
) -> Iterator[P]:
    """Prefixes shared with workloads of the same footprint, then unused ones: they are scarce, so sharing comes first."""
    for prefix in prefixes:
        if tenants.get(prefix) and all(footprints[w] == mine for w in tenants[prefix]):
            yield prefix
    for prefix in prefixes:
        if not tenants.get(prefix):
            yield prefix


def _free(prefix: IPv4Network, taken: frozenset[IPv4Address] | set[IPv4Address]) -> IPv4Address | None:
    first = int(prefix.network_address) + 1
    return next((a for n in range(hosts(prefix)) if (a := IPv4Address(first + n)) not in taken), None)


def _twin(prefix: IPv6Network, address: IPv4Address) -> IPv6Address:
    """The IPv6 address ends in the IPv4 one (2001:db8:a::192.0.2.1), so it is as unique and rests as long."""
    return IPv6Address(int(prefix.network_address) | int(address))


def _footprints(world: World, placed: Placement) -> dict[WorkloadId, Footprint]:
    """Where each workload wants to be and is. One that is going still counts where it was: its PoPs withdraw only bit by bit."""
    stands: dict[WorkloadId, set[CityCode]] = defaultdict(set)
    for incarnation in placed.incarnations:
        stands[incarnation.workload_id].add(incarnation.pop)
    pop_of = {host.name: pop.city for pop, host in world.network.hosts()}
    for host, removal in placed.removals:
        stands[removal.workload_id].add(pop_of.get(host, CityCode(host)))
    cities = {p.city for p in world.network.pops}
    asked: dict[WorkloadId, frozenset[CityCode]] = {w.id: _asked(w, cities) for w in world.workloads}
    return {
        w: (asked.get(w, frozenset(stands.get(w, ()))), frozenset(stands.get(w, ())))
        for w in asked.keys() | stands.keys() | {a.workload_id for a in world.anycast}
    }


def _asked(workload: Workload, cities: set[CityCode]) -> frozenset[CityCode]:
    return frozenset(city for target in workload.targets if target.replicas for city in target.cities if city in cities)

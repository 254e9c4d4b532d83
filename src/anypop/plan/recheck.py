"""The checker for a plan that was made again: may what changed go out?

In: the plan that stands, the one made from it, the ground it was made from, and the workloads whose loss a person
asked for. Out: nothing, or `Unsafe` as `check` gives it. It looks at the parts that were planned again; the others
were checked when they were made. Two hosts cannot contradict each other, since their prefixes have no address in
common; where a network lets them, everything is checked.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain

from anypop.model.announce import Prefix
from anypop.model.errors import Problem
from anypop.model.names import CityCode, HostName, WorkloadId
from anypop.model.plan import HostPlan, Plan
from anypop.plan.check import Unsafe, check, contradictions, silenced, too_much
from anypop.plan.ground import Ground
from anypop.plan.planned import Planned
from anypop.plan.replan import Replanned

_NOBODY = frozenset[CityCode]()


def recheck(before: Planned | None, made: Replanned, ground: Ground, *, confirmed: frozenset[WorkloadId]) -> None:
    """Raises `Unsafe`."""
    sites = made.plan.sites
    if not sites.disjoint or (made.whole and before is not None):
        lives = tuple(i for w in ground.workload_ids() for i in ground.incarnations_of(w))
        check(made.plan.whole(), lives, confirmed=confirmed)
        return
    slots = before.slots if before is not None else _slots(ground)
    problems = [*_losses(slots, made, ground, confirmed), *_silences(made, ground, confirmed)]
    keeping = {w for host in made.hosts for w in _keeping(made.plan, host, ground)}
    doubtful = [host for host in made.hosts if not _are_numbers_right(made.plan, host, keeping)]
    # addresses follow from numbers: where these are right, and nobody keeps one, nothing of a host can contradict
    # anything
    problems += contradictions(_part(before, made, doubtful), sites)
    if problems:
        raise Unsafe(problems)


def _slots(ground: Ground) -> Mapping[CityCode, int]:
    """How many slots there are in each PoP."""
    return Counter(
        pop for w in ground.workload_ids() for pop in {i.name: i.pop for i in ground.incarnations_of(w)}.values()
    )


def _keeping(plan: Planned, host: HostName, ground: Ground) -> Iterator[WorkloadId]:
    """Workloads there of which some addresses may not follow from numbers."""
    for workload in {incarnation.workload_id for incarnation, _ in plan.rows.get(host, ())}:
        if (newest := ground.workload(workload)) is not None and newest.assignments:
            yield workload


def _are_numbers_right(plan: Planned, host: HostName, keeping: Collection[WorkloadId]) -> bool:
    """Whether all numbers on a host are within its prefixes, each link is of one incarnation, and each index of one
    slot; and nobody there is of those that keep addresses.
    """
    numbers = plan.sites.hosts[host].numbers
    links = {link: r.uid for r in plan.removed.get(host, ()) for link in r.links}
    places: dict[int, object] = {r.index: (r.workload_id, r.name) for r in plan.removed.get(host, ()) if r.index >= 0}
    for incarnation, _ in plan.rows.get(host, ()):
        if incarnation.workload_id in keeping or not 0 <= incarnation.index < numbers.places:
            return False
        for link in (incarnation.link, *incarnation.further):
            if not 0 <= link < numbers.links or links.setdefault(link, incarnation.uid) != incarnation.uid:
                return False
        if places.setdefault(incarnation.index, incarnation.slot) != incarnation.slot:
            return False
    return True


def _losses(
    slots: Mapping[CityCode, int], made: Replanned, ground: Ground, confirmed: frozenset[WorkloadId]
) -> Iterator[Problem]:
    """As `check` does it, for those who lose: how many the others have was counted before."""
    lost: dict[tuple[str, str], list[WorkloadId]] = defaultdict(list)
    of_workload: dict[WorkloadId, int] = {}
    for workload in made.workloads - confirmed:
        pops = {i.name: i.pop for i in ground.incarnations_of(workload)}
        settled = made.plan.placed.get(workload)
        still = {i.name for i in settled.kept} if settled is not None else set()
        for name, pop in pops.items():
            if name not in still:
                of_workload[workload] = len(pops)
                for scope in (("", ""), ("PoP", str(pop)), ("workload", str(workload))):
                    lost[scope].append(workload)
    if not lost:
        return
    counts = Counter(slots)
    for workload in confirmed:
        for pop in {i.name: i.pop for i in ground.incarnations_of(workload)}.values():
            counts[pop] -= 1
    had = {("PoP", str(pop)): count for pop, count in counts.items()}
    had[("", "")] = sum(counts.values())
    yield from too_much(lost, had | {("workload", str(w)): n for w, n in of_workload.items()})


def _silences(made: Replanned, ground: Ground, confirmed: frozenset[WorkloadId]) -> Iterator[Problem]:
    plan = made.plan
    for prefix in made.prefixes:
        if prefix.version != 4 or prefix in plan.carried:
            continue
        was = {w: frozenset(i.pop for i in ground.incarnations_of(w) if i.serves) for w in plan.tenants(prefix)}
        was = {w: pops for w, pops in was.items() if pops}
        if not was:
            continue
        stays = {w: plan.homes_of(w).pops for w in was}
        told = plan.told.get(prefix)
        here = {plan.sites.pop_of(host) for host in told.hosts} if told is not None else _NOBODY
        yield from silenced(prefix, was, stays, pops=plan.sites.pops, told=here, confirmed=confirmed)


def _part(before: Planned | None, made: Replanned, doubtful: Iterable[HostName]) -> Plan:
    """Of each host that changed what it announces, if that is new; of the doubtful ones all; and the addresses that
    are new.
    """
    plan = made.plan
    whole = {*doubtful}
    hosts: dict[HostName, HostPlan] = {}
    for host in made.hosts:
        part, was = plan.hosts[host], before.hosts.get(host) if before is not None else None
        if host in whole:
            hosts[host] = part
        elif was is None or part.announcements != was.announcements:
            hosts[host] = replace(part, instances=())
    entries = {
        w for w in made.workloads if before is None or plan.anycast.get(w) is not before.anycast.get(w)
    } & plan.anycast.keys()
    sharing: set[Prefix] = {p for w in entries for p in (plan.anycast[w].prefix4, plan.anycast[w].prefix6)}
    return Plan(
        network=plan.network,
        incarnations=tuple(row.incarnation for host in whole for row in plan.rows.get(host, ())),
        anycast=tuple(
            {held.workload_id: held for held in chain(*(plan.tenants(p).values() for p in sharing))}.values()
        ),
        hosts=hosts,
        removals=tuple((host, removal) for host in whole for removal in plan.removed.get(host, ())),
    )

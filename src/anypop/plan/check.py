"""The checker: may this plan go out?

Stands between `plan` and `order_for`. In: a plan, the slots there were before, and the workloads whose loss a person asked for. Out:
nothing, or `Unsafe` with every objection, the numbers and the way out. It knows nothing of how the plan was made and repairs nothing: what
it finds beside losses would be a bug of the planner, or a network file that no longer holds what was given out of it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from anypop.model.announce import Address, Announcement, Prefix
from anypop.model.errors import Problem
from anypop.model.names import CityCode, WorkloadId
from anypop.model.order import InstanceOrder
from anypop.model.plan import Plan, Slot


class Unsafe(Exception):  # noqa: N818 - it reads as a verdict where it is raised
    """The plan would do damage that nobody asked for. Nothing of it was carried out. Carries all objections."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))


def check(plan: Plan, before: tuple[Slot, ...], *, confirmed: frozenset[WorkloadId] = frozenset()) -> None:
    """Raises `Unsafe` when `plan` loses too much or contradicts itself. `confirmed`: workloads that a person deleted or shrank."""
    problems = [*_losses(plan, before, confirmed), *_silenced(plan, before, confirmed), *_owners(plan), *_strangers(plan), *_prefixes(plan)]
    if problems:
        raise Unsafe(problems)


def _losses(plan: Plan, before: tuple[Slot, ...], confirmed: frozenset[WorkloadId]) -> Iterator[Problem]:
    """Of what nobody asked to take away: more than a third of everything or of a PoP, or all that a workload has."""
    still = {s.uid for s in plan.slots}
    had: dict[tuple[str, str], int] = defaultdict(int)
    lost: dict[tuple[str, str], list[WorkloadId]] = defaultdict(list)
    for slot in before:
        if slot.workload_id in confirmed:
            continue
        for scope in (("", ""), ("PoP", slot.pop), ("workload", slot.workload_id)):
            had[scope] += 1
            if slot.uid not in still:
                lost[scope].append(slot.workload_id)
    for kind, name in sorted(lost):
        gone, of = lost[kind, name], had[kind, name]
        if len(gone) <= (of - 1 if kind == "workload" else of // 3):
            continue
        whose = ", ".join(sorted(set(gone))[:5])
        yield Problem(
            path=f"{kind} {name}".strip(),
            message=f"{len(gone)} of {of} instances would be taken down and nobody asked for that (of workload {whose}); "
            "nothing was changed. If it is meant, delete or change the workload by name, or confirm the loss",
        )
        if not kind:
            return  # the rest would only say the same again


def _silenced(plan: Plan, before: tuple[Slot, ...], confirmed: frozenset[WorkloadId]) -> Iterator[Problem]:
    """A PoP where a workload stays and is announced no longer, since another in its covering prefix has left that PoP.

    BGP tells only whole prefixes, so the one who stays would pay for the one who goes, and nobody asked it.
    """
    was, stays = _homes(before), _homes(plan.slots)
    tenants: dict[Prefix, list[WorkloadId]] = defaultdict(list)
    for entry in plan.anycast:
        if entry.workload_id in was:
            tenants[entry.prefix4].append(entry.workload_id)
    told = {(city, a.prefix) for city, part in plan.pops.items() for a in part.announcements}
    for prefix, sharing in tenants.items():
        shared = frozenset.intersection(*(was[w] for w in sharing)) & plan.pops.keys()
        for workload in sharing:
            lost = sorted(c for c in shared & stays.get(workload, frozenset()) if (c, prefix) not in told)
            if lost and workload not in confirmed:
                gone = ", ".join(sorted(w for w in sharing if w != workload and not shared <= stays.get(w, frozenset())))
                yield Problem(
                    path=f"workload {workload}",
                    message=f"would no longer be announced at {', '.join(lost)}, since workload {gone} in the same covering prefix "
                    f"{prefix} leaves; nothing was changed. Create that workload anew in its new cities, which gives it a prefix to "
                    "suit, and delete the old one",
                )


def _homes(slots: tuple[Slot, ...]) -> dict[WorkloadId, frozenset[CityCode]]:
    homes: dict[WorkloadId, set[CityCode]] = defaultdict(set)
    for slot in slots:
        homes[slot.workload_id].add(slot.pop)
    return {workload: frozenset(cities) for workload, cities in homes.items()}


def _owners(plan: Plan) -> Iterator[Problem]:
    """One address, one owner."""
    owner: dict[Address, str] = {}
    for city, part in plan.pops.items():
        for order in part.instances:
            for address in _own(order):
                other = owner.setdefault(address, order.uid)
                if other != order.uid:
                    yield Problem(path=city, message=f"{address} would belong to both {other} and {order.uid} ({order.name})")
    for entry in plan.anycast:
        for address in (entry.address4, entry.address6):
            other = owner.setdefault(address, entry.workload_id)
            if other != entry.workload_id:
                yield Problem(path="anycast", message=f"{address} would belong to both {other} and workload {entry.workload_id}")
    places: dict[tuple[CityCode, int], str] = {(city, r.index): r.uid for city, r in plan.removals if r.index >= 0}
    for slot in plan.slots:
        other = places.setdefault((slot.pop, slot.index), slot.uid)
        if other != slot.uid:
            yield Problem(path=slot.pop, message=f"index {slot.index} would belong to both {other} and {slot.uid} ({slot.name})")


def _strangers(plan: Plan) -> Iterator[Problem]:
    """Addresses outside the prefixes they should lie in."""
    for city, part in plan.pops.items():
        pop = plan.network.pop(city)
        if pop is None:
            yield Problem(path=city, message="the network has no such PoP")
            continue
        for order in part.instances:
            inside = (
                order.private4 in pop.private4
                and order.gateway4 in pop.private4
                and order.private6 in pop.private6
                and order.gateway6 in pop.private6
                and order.external4 in pop.external4
                and order.external6 in pop.external6
            )
            if not inside:
                yield Problem(
                    path=city,
                    message=f"{order.name} has addresses outside the PoP's prefixes; did its prefixes shrink? "
                    "Give them back, or move the instance away first",
                )


def _prefixes(plan: Plan) -> Iterator[Problem]:
    """What is announced must be ours, and hold the addresses it is announced for."""
    network = plan.network
    for entry in plan.anycast:
        if entry.prefix4 not in network.anycast4 or entry.prefix6 not in network.anycast6:
            yield Problem(
                path="anycast",
                message=f"{entry.prefix4} and {entry.prefix6} of workload {entry.workload_id} are no longer both in the network; "
                "put them back, or delete the workload first",
            )
        if entry.address4 not in entry.prefix4 or entry.address6 not in entry.prefix6:
            yield Problem(path="anycast", message=f"workload {entry.workload_id} has an address outside its covering prefix")
    anycast = {*network.anycast4, *network.anycast6}
    for city, part in plan.pops.items():
        pop = network.pop(city)
        own = {pop.external4, pop.external6} if pop else set()
        for told in part.announcements:
            if told.prefix not in own and told.prefix not in anycast:
                yield Problem(path=city, message=f"{told.prefix} would be announced to {told.upstream} and is not ours")
            yield from _gates(city, told)


def _gates(city: CityCode, told: Announcement) -> Iterator[Problem]:
    for gate in told.gates:
        if gate not in told.prefix:
            yield Problem(path=city, message=f"{told.prefix} would wait for {gate}, which is not in it")


def _own(order: InstanceOrder) -> tuple[Address, ...]:
    return (order.private4, order.gateway4, order.private6, order.gateway6, order.external4, order.external6)

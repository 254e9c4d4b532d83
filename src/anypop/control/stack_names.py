"""The names of instances in orders, after a step: worked out anew for workloads that were planned otherwise.

In: two states and what the plan changed. Out: the table of names by workload, how many instances each stack has, and
which hosts may have to be told otherwise. A stack of more than `MOST_NAMED` instances is told to the hosts of the very
workload alone. Pure.
"""

from collections.abc import Callable, Collection, Mapping
from functools import cache

from anypop.control.ground import StateGround
from anypop.control.state import State
from anypop.model.names import HostName, StackId, WorkloadId
from anypop.model.stack_names import MOST_NAMED, NamedWorkload
from anypop.model.table import grouped, with_entries, without_keys
from anypop.plan.planned import Planned
from anypop.plan.stack_names import names_of, told_to

Named = Mapping[WorkloadId, tuple[NamedWorkload, ...]]


def named_between(
    before: State, draft: State, planned: Planned, changed: Collection[WorkloadId]
) -> tuple[Named, Mapping[StackId, int], set[HostName]]:
    """`changed`: workloads that were planned otherwise. Where the network is another one, all are."""
    anew = before.plan is None or before.plan.sites is not planned.sites
    looked_at = {*draft.workloads, *draft.named} if anew else set(changed)
    if not looked_at:
        return draft.named, draft.named_counts, set()
    ground = StateGround(draft, planned.sites)
    news: dict[WorkloadId, tuple[NamedWorkload, ...]] = {}
    counts = dict[StackId, int]()
    stacks: set[StackId] = set()
    hosts: set[HostName] = set()
    for workload in looked_at:
        was = draft.named.get(workload, ())
        now = names_of(ground, planned.sites.hosts, workload, ground.incarnations_of(workload))
        if now == was:
            continue
        known = {one.key: one for one in was}
        news[workload] = tuple(old if (old := known.get(one.key)) == one else one for one in now)
        for sign, found in ((-1, was), (1, now)):
            for one in found:
                counts[one.stack_id] = counts.get(one.stack_id, 0) + sign * len(one.instances)
                stacks.add(one.stack_id)
        hosts |= _hosts_of(before, workload) | _hosts_of(draft, workload)
    gone = [workload for workload, found in news.items() if not found]
    named = without_keys(with_entries(draft.named, {w: f for w, f in news.items() if f}), gone)
    totals = {stack: draft.named_counts.get(stack, 0) + n for stack, n in counts.items()}
    for stack in stacks:
        if min(totals[stack], draft.named_counts.get(stack, 0)) <= MOST_NAMED:  # it is told to all, or was
            for state in (before, draft):
                for declared in state.in_stack(stack):
                    hosts |= _hosts_of(state, declared.id)
    empty = [stack for stack, n in totals.items() if not n]
    return named, without_keys(with_entries(draft.named_counts, totals), empty), hosts


def names_for(draft: State, planned: Planned) -> Callable[[HostName], tuple[NamedWorkload, ...]]:
    """What each host is told; to be asked for some hosts, and then dropped."""
    ground = StateGround(draft, planned.sites)

    @cache
    def of_stack(stack: StackId) -> tuple[NamedWorkload, ...]:
        return tuple(one for found in grouped(draft.named, "stack", stack).values() for one in found)

    def told(host: HostName) -> tuple[NamedWorkload, ...]:
        return told_to(
            planned.hosts[host],
            ground,
            of_stack=of_stack,
            of_workload=lambda workload: draft.named.get(workload, ()),
            count_of=lambda stack: draft.named_counts.get(stack, 0),
        )

    return told


def _hosts_of(state: State, workload: WorkloadId) -> set[HostName]:
    """Where it stands, or is being taken down."""
    placed = {p.incarnation.host for p in state.incarnations_of(workload).values()}
    return placed | {t.incarnation.host for t in state.tombstones_of(workload).values()}

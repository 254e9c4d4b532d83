"""Autoscaling in control's state: every so often a look at the load of all targets that follow it, PoP by PoP.

In: the state before a step, a draft of the next one, the time, and the quotas. Out: the draft with how many instances
each such target has in each of its PoPs; the same draft where nothing is to change. How many that is, is
`plan.scaling`'s to say; what instances use, and what stands in the way, is `load`'s. The
last looks are not stored: control that has just started watches before it takes anything away. Pure. A look costs what
the instances are worth that it looks at, and there is none where no target follows its load.
"""

from collections.abc import Iterator
from dataclasses import replace

from anypop.control.allowance import NO_LIMITS, Allowance, Limits
from anypop.control.load import Load, Told
from anypop.control.state import State
from anypop.model.names import HostName, WorkloadId
from anypop.model.scaling import Scaled, ScaleKey
from anypop.model.table import differing, with_entries, without_keys
from anypop.plan.scaling import left_out_of, replicas_of, scaled, seen_with


def within_bounds(before: State, draft: State, now: float, *, begins: bool) -> State:
    """The draft with a number for each target that follows its load, in each of its PoPs: as many as there were, within
    what is declared now. `begins`: control has just started, so everything is looked at.
    """
    workloads = {*draft.workloads} if begins else differing(before.workloads, draft.workloads)
    found: dict[ScaleKey, Scaled] = {}
    over: set[ScaleKey] = set()
    for workload in workloads:
        known = draft.scaled_of(workload)
        wanted = {s.key: s for s in _wanted(before, draft, workload, now)}
        found |= {key: one for key, one in wanted.items() if known.get(key) != one}
        over |= known.keys() - wanted.keys()
    if not found and not over:
        return draft
    return replace(draft, scaled=with_entries(without_keys(draft.scaled, over), found))


def _wanted(before: State, draft: State, workload: WorkloadId, now: float) -> Iterator[Scaled]:
    declared, was = draft.workloads.get(workload), before.workloads.get(workload)
    if declared is None or declared.workload.deleting:
        return
    old = {t.name: t for t in was.workload.targets} if was is not None else {}
    for target in declared.workload.targets:
        for city in dict.fromkeys(target.cities):
            key = workload, target.name, city
            known, had = draft.scaled.get(key), old.get(target.name)
            # where their number follows nothing any more, who is there stays, whatever ordinals these have
            if target.scale is None and (known is None or not known.left_out):
                continue
            count = target.replicas
            if had is not None and city in had.cities:
                count = replicas_of(had, before.scaled.get(key))
            elif known is not None:
                count = known.replicas
            count = min(max(count, target.replicas), target.most)
            if known is None:
                yield Scaled(
                    workload_id=workload, target=target.name, pop=city, replicas=count, acted_at=now, since=now
                )  # fmt: skip
                continue
            if known.replicas != count:
                known = replace(
                    known, replicas=count, left_out=left_out_of(known, count), acted_at=now, last=None
                )  # fmt: skip
            if target.scale is not None or known.left_out:
                yield known


def next_look(state: State) -> float | None:
    """When loads are looked at next; None: nobody's number follows his load."""
    if not state.scaled:
        return None
    return max(state.looked_at, state.started_at) + state.network.scale_look_s


def with_scaling(draft: State, now: float, limits: Limits = NO_LIMITS) -> State:
    """The draft after the look that is due, if one is."""
    due = next_look(draft)
    if due is None or now < due:
        return draft
    told, allowance = Told(draft, now), Allowance(draft, limits)
    changed: dict[ScaleKey, Scaled] = {}
    looks = {}
    for workload in sorted({key[0] for key in draft.scaled}):
        declared = draft.workloads.get(workload)
        if declared is None or declared.workload.deleting:
            continue
        own = Load(told, declared)
        for target in declared.workload.targets:
            for city in dict.fromkeys(target.cities):
                was = draft.scaled.get((workload, target.name, city))
                if was is None or target.scale is None:
                    continue
                look = replace(own.look(target, city, was), allowed=allowance.left(declared.workload))
                looks[was.key] = seen = seen_with(draft.looks.get(was.key, ()), look)
                made = scaled(was, look, seen, draft.network.scale_down_after_s)
                if made is not was:
                    changed[was.key] = made
                    allowance.take(declared.workload, made.replicas - was.replicas)
    draft = replace(draft, looks=looks, looked_at=now)
    return replace(draft, scaled=with_entries(draft.scaled, changed)) if changed else draft


def shrunk(before: State, draft: State) -> frozenset[WorkloadId]:
    """Whose load has fallen in this step: that some of theirs are taken down is meant."""
    if before.scaled is draft.scaled:
        return frozenset()
    return frozenset(
        key[0]
        for key in differing(before.scaled, draft.scaled)
        if key in before.scaled and key in draft.scaled and draft.scaled[key].replicas < before.scaled[key].replicas
    )


def measured_on(state: State, host: HostName) -> tuple[WorkloadId, ...]:
    """The workloads whose instances on a host are to have their use told."""
    if not state.scaled:
        return ()
    there = {placed.incarnation.workload_id for placed in state.incarnations_on(host).values()}
    return tuple(sorted(w for w in there if state.scaled_of(w)))

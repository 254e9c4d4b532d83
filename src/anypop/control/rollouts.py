"""What people may ask of rollouts: pause, resume, abort, go back to a revision, make all instances anew, change scopes
in waves, set the strategy of a workload.

In: names and values from a request. Out: the `alter` step for `Core.change`; each checks against what is there inside
the step. What follows is `rolling`'s and the planner's. Nothing here does I/O.
"""

import uuid
from collections.abc import Sequence
from dataclasses import replace

from anypop.control.core import Alter
from anypop.control.refusals import NotFound, Precondition
from anypop.control.rolling import (
    begun,
    patient,
    redeclared,
    refuse_beside_waves,
    refuse_unknown_to_agents,
    taken_back,
    with_declaration,
    with_ready,
    with_revision,
    with_rollout,
    with_scopes,
)
from anypop.control.state import State
from anypop.model.names import WorkloadId
from anypop.model.reasons import Reason
from anypop.model.rollout import Landing, Rollout, RolloutKind, RolloutPhase, ScopeChange, ScopeWave, Strategy
from anypop.plan.evidence import looked
from anypop.plan.scope_waves import ended, landed_back
from anypop.plan.template import template_of


def find(state: State, workload_id: WorkloadId, identity: str = "") -> Rollout:
    """A rollout of the workload by its id or the beginning of it; without one the newest. Raises `NotFound`."""
    found = [r for r in state.rollouts_of(workload_id).values() if r.id.startswith(identity)]
    if not found:
        raise NotFound(f"no rollout {identity}" if identity else "this workload has had no rollout")
    return max(found, key=lambda r: (r.created_at, r.id))


def pause(workload_id: WorkloadId, identity: str) -> Alter:
    """Change nothing more for now; what is changed already stays."""

    def alter(state: State, now: float) -> State:
        rollout = _active(state, workload_id, identity)
        if rollout.phase is RolloutPhase.PAUSED:
            return state
        return with_rollout(
            state, replace(rollout, phase=RolloutPhase.PAUSED, reason=Reason.PAUSED, message="", well_since=None)
        )

    return alter


def resume(workload_id: WorkloadId, identity: str) -> Alter:
    def alter(state: State, now: float) -> State:
        rollout = _active(state, workload_id, identity)
        if rollout.phase is RolloutPhase.RUNNING:
            return state
        return with_rollout(
            state,
            replace(
                rollout,
                phase=RolloutPhase.RUNNING,
                reason=Reason.ROLLING_OUT,
                wave_at=now,
                watched=(),
                failing=(),
                well_since=None,
            ),
        )

    return alter


def abort(workload_id: WorkloadId, identity: str) -> Alter:
    """End it and take back what it changed."""

    def alter(state: State, now: float) -> State:
        rollout = _active(state, workload_id, identity)
        if rollout.kind is RolloutKind.UPDATE and not rollout.previous:
            raise Precondition("there is nothing to go back to: pause it, or declare another revision")
        if rollout.kind is RolloutKind.SCOPES:
            asked = Reason.ASKED_BY_OPERATOR
            over = replace(ended(rollout, RolloutPhase.ABORTED, asked, (asked.says,), now), message="")
        else:
            over = replace(
                with_ready(state, rollout, now),
                phase=RolloutPhase.ABORTED,
                reason=Reason.ASKED_BY_OPERATOR,
                message="",
                ended_at=now,
            )
        return taken_back(with_rollout(state, over), over, now)

    return alter


def roll_back(workload_id: WorkloadId, number: int | None, *, by: str) -> Alter:
    """Declare a kept revision anew; without a number the last one that ran everywhere and is not the newest."""

    def alter(state: State, now: float) -> State:
        declared = state.workloads.get(workload_id)
        if declared is None:
            raise NotFound(f"no workload {workload_id}")
        if declared.delete_requested_at is not None:
            raise Precondition(f"workload {declared.workload.slug} is being deleted")
        kept = sorted(key[1] for key in state.revisions_of(workload_id))
        wanted = number
        if wanted is None:
            wanted = declared.good if declared.good != declared.version else max(kept, default=0)
        source = state.revision(workload_id, wanted)
        if source is None or wanted == declared.version:
            there = ", ".join(map(str, kept)) or "none"
            raise NotFound(
                f"no revision {wanted} to go back to; kept are {there}"
                if wanted
                else "there is no revision to go back to"
            )
        good = state.revision(workload_id, declared.good)
        back = good is not None and good.workload.template == source.workload.template
        state = redeclared(state, declared, source, note=f"back to revision {wanted}", now=now)
        return begun(state, workload_id, previous=declared.good, by=by, strategy=declared.strategy, now=now, back=back)

    return alter


def restart(workload_id: WorkloadId, *, by: str) -> Alter:
    """Have every instance made anew, brought out as any change is: what is declared stays as it is."""

    def alter(state: State, now: float) -> State:
        declared = state.workloads.get(workload_id)
        if declared is None:
            raise NotFound(f"no workload {workload_id}")
        if declared.delete_requested_at is not None:
            raise Precondition(f"workload {declared.workload.slug} is being deleted")
        number = declared.version + 1
        workload = replace(declared.workload, revision=number, restarts=declared.workload.restarts + 1)
        workload = replace(workload, template=template_of(workload, state.template_key))
        revision = replace(declared.newest, workload=workload, created_at=now, note=f"revision {declared.version} anew")
        state = with_revision(state, declared, revision, now)
        return begun(state, workload_id, previous=declared.good, by=by, strategy=declared.strategy, now=now)

    return alter


def new_id() -> str:
    return str(uuid.uuid4())


def change_scopes(
    workload_id: WorkloadId,
    identity: str,
    waves: Sequence[ScopeWave],
    *,
    by: str,
    strategy: Strategy,
    baseline: Sequence[Landing],
) -> Alter:
    """Begin to change scopes in waves. `identity`: the rollout's. `baseline`: where the vantages land now; without
    vantages only the announcements are watched. The step raises `NotFound`, or `Precondition` while another such change
    is under way.
    """

    def alter(state: State, now: float) -> State:
        declared = state.workloads.get(workload_id)
        if declared is None:
            raise NotFound(f"no workload {workload_id}")
        if declared.delete_requested_at is not None:
            raise Precondition(f"workload {declared.workload.slug} is being deleted")
        refuse_beside_waves(state, workload_id)
        refuse_unknown_to_agents(state, [change for wave in waves for change in wave.changes])
        rollout = Rollout(
            id=identity,
            workload_id=workload_id,
            kind=RolloutKind.SCOPES,
            scopes=tuple(
                replace(wave, changes=tuple(_with_before(state, workload_id, c) for c in wave.changes))
                for wave in waves
            ),
            strategy=strategy,
            by=by,
            created_at=now,
            wave_at=now,
            baseline=tuple(baseline),
        )
        return with_scopes(with_rollout(state, rollout), rollout)

    return alter


def saw(identity: str, looks: Sequence[Landing], *, began_at: float, baseline: bool) -> Alter:
    """What the vantages saw for a rollout. `began_at`: when they began to look. `baseline`: before anything was
    changed.
    """

    def alter(state: State, now: float) -> State:
        rollout = state.rollouts.get(identity)
        if rollout is None:
            return state
        if rollout.phase.ended:
            back = landed_back(rollout, looks, began_at)
            return state if back is rollout else with_rollout(state, back)
        if baseline:
            return with_rollout(state, replace(rollout, baseline=tuple(looks)))
        if rollout.kind is RolloutKind.UPDATE:
            return with_rollout(state, looked(rollout, looks, began_at))
        return with_rollout(state, replace(rollout, seen=tuple(looks), seen_at=began_at))

    return alter


def set_strategy(workload_id: WorkloadId, strategy: Strategy) -> Alter:
    """How careful the workload's rollouts are from now on, the one under way included."""

    def alter(state: State, now: float) -> State:
        declared = state.workloads.get(workload_id)
        if declared is None:
            raise NotFound(f"no workload {workload_id}")
        state = with_declaration(state, replace(declared, strategy=strategy))
        running = state.rollout_of(workload_id)
        return (
            state
            if running is None
            else with_rollout(state, replace(running, strategy=patient(strategy, declared.workload)))
        )

    return alter


def _active(state: State, workload_id: WorkloadId, identity: str) -> Rollout:
    rollout = find(state, workload_id, identity)
    if rollout.phase.ended:
        raise Precondition(f"rollout {rollout.id} has ended: {rollout.phase.value}")
    return rollout


def _with_before(state: State, workload_id: WorkloadId, change: ScopeChange) -> ScopeChange:
    rule = state.rules.get((workload_id, change.pop, change.upstream))
    return change if rule is None else replace(change, before=rule.scope, before_note=rule.note)

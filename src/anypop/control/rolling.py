"""The book of rollouts: what each one has come to, and what its end means for what is declared.

In: a draft of control's state and the time. Out: the draft with its rollouts moved on (`plan.rollout` decides), bad
ones taken back, templates of taken-over incarnations known, and old revisions forgotten. Pure; it starts nothing: the
plan that follows does.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from uuid import UUID, uuid5

from anypop.control.ground import touched_between
from anypop.control.refusals import Precondition
from anypop.control.scope_effects import not_in_effect
from anypop.control.state import Declaration, Placed, Revision, RevisionKey, RuleKey, State
from anypop.judge.verdict import is_fresh
from anypop.model.announce import Scope, ScopeRule
from anypop.model.names import CityCode, HostName, InstanceName, WorkloadId
from anypop.model.order_since import does_not_know, unknown_in
from anypop.model.plan import Incarnation
from anypop.model.reasons import Reason
from anypop.model.report import InstanceReport
from anypop.model.rollout import Rollout, RolloutKind, RolloutPhase, ScopeChange, Strategy
from anypop.model.table import with_entries, without_keys
from anypop.model.workload import Workload
from anypop.plan.drain import supports
from anypop.plan.life import starts_within_s
from anypop.plan.rollout import Seen, advance, next_due, waves_of
from anypop.plan.scaling import ordinals_of
from anypop.plan.scope_waves import advance_scopes, after_absence
from anypop.plan.template import template_of

REVISIONS_KEPT = 10  # of each workload: enough to go back over a day of changes
ROLLOUTS_KEPT = 20  # ended ones of each workload, for people who look back
_ROLLOUTS = UUID("0b1f7e5c-7c1c-4c39-9f5e-5d3c0d7a7f11")  # any fixed UUID: a workload has one update for each revision


def rolled(before: State, draft: State, heard: Collection[HostName], now: float) -> State:
    """The draft with every rollout moved on as far as it goes now. `heard`: the hosts of which something else is known
    than before.
    """
    draft = _adopted(draft)
    active = draft.active_rollouts()
    touched = touched_between(before, draft).workloads | draft.stirred if active else draft.stirred
    for rollout in active:
        if draft.plan is not None and not _is_concerned(draft, rollout, touched, heard, now):
            continue
        moved = _moved(draft, rollout, now)
        if moved == rollout:
            continue
        draft = with_rollout(draft, moved)
        match moved.phase:
            case RolloutPhase.REVERTED:
                draft = taken_back(draft, moved, now)
            case RolloutPhase.DONE if moved.kind is RolloutKind.UPDATE:
                declared = draft.workloads[moved.workload_id]
                if declared.version == moved.revision:
                    draft = with_declaration(draft, replace(declared, good=moved.revision))
            case RolloutPhase.RUNNING if moved.kind is RolloutKind.SCOPES and moved.wave != rollout.wave:
                draft = with_scopes(draft, moved)
            case _:
                pass
    return draft


def patient(strategy: Strategy, workload: Workload) -> Strategy:
    """With the time beside its deadline that the workload's startup probes give a process."""
    return replace(strategy, deadline_s=strategy.deadline_s + starts_within_s(workload))


def begun(
    draft: State, workload_id: WorkloadId, *, previous: int, by: str, strategy: Strategy, now: float, back: bool = False
) -> State:
    """The draft after a new revision was declared: with a rollout where some instance has another template. One that is
    under way ends as superseded. `previous`: the revision to go back to. `back`: this is the way back itself, to what
    has run before, so it takes all PoPs at once.
    """
    declared = draft.workloads[workload_id]
    wanted = declared.workload.template
    living = [p.incarnation for p in draft.incarnations_of(workload_id).values()]
    held = _held(living, wanted)
    running = draft.rollout_of(workload_id)
    unproven = False
    if running is not None:
        if _template_of(draft, workload_id, running.revision) == wanted:  # it goes on under another number
            unproven, held = True, held & running.held
        ended = replace(
            with_ready(draft, running, now),
            phase=RolloutPhase.SUPERSEDED,
            reason=Reason.OVERTAKEN,
            message="",
            ended_at=now,
        )
        draft = with_rollout(draft, ended)
    if not unproven and all(i.template == wanted for i in living):
        # nothing that runs has to change, so it runs everywhere already
        return with_declaration(draft, replace(declared, good=declared.version))
    pops = Counter({city: 0 for target in declared.workload.targets for city in target.cities})
    pops.update(city for _, city in {(i.name, i.pop) for i in living} if city in pops)
    rollout = Rollout(
        id=str(uuid5(_ROLLOUTS, f"{workload_id}/{declared.version}")),
        workload_id=workload_id,
        kind=RolloutKind.UPDATE,
        revision=declared.version,
        previous=0 if _template_of(draft, workload_id, previous) == wanted else previous,
        strategy=patient(strategy, declared.workload),
        waves=(tuple(sorted(pops)),) if back else waves_of(pops),
        by=by,
        created_at=now,
        wave_at=now,
        held=held,
    )
    return with_rollout(draft, rollout)


def taken_back(draft: State, rollout: Rollout, now: float) -> State:
    """The draft after a rollout ended badly or was aborted: scopes as they were; for an update the last good revision
    declared anew, so that what is declared is what runs. The instances that go back do so by a rollout of their own.
    """
    if rollout.kind is RolloutKind.SCOPES:
        return with_scopes_restored(draft, rollout)
    declared = draft.workloads.get(rollout.workload_id)
    good = draft.revision(rollout.workload_id, rollout.previous)
    if declared is None or good is None or declared.workload.deleting:
        return draft
    note = f"taken back from revision {rollout.revision}: {rollout.reason.says}" + (
        f" ({rollout.message})" if rollout.message else ""
    )
    draft = redeclared(draft, declared, good, note=note, now=now)
    return begun(
        draft,
        declared.id,
        previous=rollout.previous,
        by="platform",
        strategy=declared.strategy,
        now=now,
        back=True,
    )


def with_ready(draft: State, rollout: Rollout, now: float) -> Rollout:
    """The rollout before it ends by what a person asks: with what has become healthy while it was paused, so that
    nobody takes it for unproven when it is all that serves.
    """
    template = _template_of(draft, rollout.workload_id, rollout.revision)
    healthy = {
        s.incarnation.uid
        for s in seen_of(draft, rollout.workload_id, now)
        if s.healthy and s.incarnation.template == template
    }
    return rollout if healthy <= rollout.ready else replace(rollout, ready=rollout.ready | healthy)


def _held(living: Sequence[Incarnation], wanted: str) -> frozenset[str]:
    """Those that are made from `wanted` already and stand beside no older one that they are to replace."""
    oldest: dict[InstanceName, Incarnation] = {}
    for incarnation in living:
        if incarnation.name not in oldest or incarnation.life < oldest[incarnation.name].life:
            oldest[incarnation.name] = incarnation
    return frozenset(i.uid for i in oldest.values() if i.template == wanted)


def _template_of(draft: State, workload_id: WorkloadId, number: int) -> str:
    found = draft.revision(workload_id, number)
    return found.workload.template if found is not None else ""


def redeclared(draft: State, declared: Declaration, source: Revision, *, note: str, now: float) -> State:
    """The draft with an older revision's content as the newest one. What it is called and where it runs (targets) stay
    as they are declared now.
    """
    number = declared.version + 1
    as_now = {key: declared.document[key] for key in ("name", "targets") if key in declared.document}
    document = {**source.document, **as_now}
    revision = Revision(
        workload=replace(
            source.workload, revision=number, targets=declared.workload.targets, name=declared.workload.name
        ),
        document=document,
        secrets=source.secrets,
        created_at=now,
        note=note,
    )
    return with_revision(draft, declared, revision, now)


def with_revision(draft: State, declared: Declaration, revision: Revision, now: float) -> State:
    """The draft with `revision` as the newest, and the one before it kept."""
    older = with_entries(draft.revisions, {(declared.id, declared.version): declared.newest})
    return with_declaration(replace(draft, revisions=older), replace(declared, newest=revision, updated_at=now))


def with_declaration(draft: State, declared: Declaration) -> State:
    return replace(draft, workloads=with_entries(draft.workloads, {declared.id: declared}))


def with_rollout(draft: State, rollout: Rollout) -> State:
    return replace(draft, rollouts=with_entries(draft.rollouts, {rollout.id: rollout}))


def refuse_beside_waves(state: State, workload_id: WorkloadId) -> None:
    """Nobody changes scopes beside a change in waves: what its vantages see would no longer be its own doing, and
    taking it back would take the other change back too. Raises `Precondition`; whoever is in a hurry aborts it, which
    takes effect at once.
    """
    running = state.rollout_of(workload_id, RolloutKind.SCOPES)
    if running is not None:
        raise Precondition(
            f"scopes of this workload are being changed in waves (rollout {running.id[:8]}, {running.phase.value}): "
            "wait for its end, or abort it, which takes its changes back"
        )


def refuse_unknown_to_agents(state: State, asked: Iterable[ScopeRule | ScopeChange]) -> None:
    """Nobody asks for what a host could not obey: it would be held back there, and the prefix withdrawn. Raises
    `Precondition`. A host that has never reported is no reason: what it knows is seen when it does.
    """
    for one in asked:
        if (site := state.pop(one.pop)) is None:
            continue
        for host in site.hosts:
            if host.name not in state.reports or site.way(host, one.upstream) is None:
                continue
            if unknown := unknown_in(one.scope, state.understands(host.name)):
                raise Precondition(f"{host.name}: {does_not_know(unknown)}. Nothing was changed")


def with_scopes(draft: State, rollout: Rollout) -> State:
    """The draft with the rules of all waves so far in place."""
    rules = dict(draft.rules_of(rollout.workload_id))
    for wave in rollout.scopes[: rollout.wave + 1]:
        for change in wave.changes:
            rules[rollout.workload_id, change.pop, change.upstream] = ScopeRule(
                workload_id=rollout.workload_id,
                pop=change.pop,
                upstream=change.upstream,
                scope=change.scope,
                note=change.note,
            )
    return with_rules(draft, rollout.workload_id, _plain_ones_left_out(rules))


def with_scopes_restored(draft: State, rollout: Rollout) -> State:
    """The draft with the rules that held before the rollout."""
    rules = dict(draft.rules_of(rollout.workload_id))
    for wave in rollout.scopes[: rollout.wave + 1]:
        for change in wave.changes:
            key = rollout.workload_id, change.pop, change.upstream
            rules.pop(key, None)
            if change.before is not None:
                rules[key] = ScopeRule(
                    workload_id=rollout.workload_id,
                    pop=change.pop,
                    upstream=change.upstream,
                    scope=change.before,
                    note=change.before_note,
                )
    return with_rules(draft, rollout.workload_id, rules)


def with_rules(draft: State, workload_id: WorkloadId, rules: Mapping[RuleKey, ScopeRule]) -> State:
    """The draft with these rules of a workload in place of all that it had."""
    old = draft.rules_of(workload_id)
    return replace(draft, rules=with_entries(without_keys(draft.rules, set(old) - rules.keys()), rules))


def _plain_ones_left_out(rules: Mapping[RuleKey, ScopeRule]) -> dict[RuleKey, ScopeRule]:
    """A rule that says the default is none, unless somebody noted why."""
    return {key: rule for key, rule in rules.items() if rule.scope != Scope() or rule.note}


def _is_concerned(
    draft: State, rollout: Rollout, touched: Collection[WorkloadId], heard: Collection[HostName], now: float
) -> bool:
    """Whether a rollout may go on or end otherwise than it was said to in the last step."""
    if rollout.workload_id in touched or rollout.kind is RolloutKind.SCOPES:
        return True
    due = next_due(rollout, draft.decided_at)
    if due is not None and due <= now:
        return True
    return bool(heard) and any(p.incarnation.host in heard for p in draft.incarnations_of(rollout.workload_id).values())


def _moved(draft: State, rollout: Rollout, now: float) -> Rollout:
    declared = draft.workloads.get(rollout.workload_id)
    if declared is None or declared.workload.deleting:
        return replace(rollout, phase=RolloutPhase.ABORTED, reason=Reason.WORKLOAD_DELETED, ended_at=now)
    if rollout.kind is RolloutKind.SCOPES:
        return advance_scopes(rollout, not_in_effect(draft, rollout, now), now)
    # what is no longer asked for goes with this step: it is not waited for, and nobody may count on it
    seen = [s for s in seen_of(draft, declared.id, now) if _is_wanted(draft, declared.workload, s.incarnation)]
    cities = _cities_so_far(rollout)
    going = {
        InstanceName(t.incarnation.name)
        for t in draft.tombstones_of(declared.id).values()
        if t.incarnation.pop in cities
        and t.incarnation.host not in draft.lost  # what a lost host still runs nobody waits for
        and t.reason in (Reason.SUPERSEDED, Reason.REPLACED, Reason.REVERTED)
    }
    return advance(rollout, declared.workload.template, seen, going, now)


def _is_wanted(draft: State, workload: Workload, incarnation: Incarnation) -> bool:
    return any(
        t.name == incarnation.target
        and incarnation.pop in t.cities
        and incarnation.ordinal in ordinals_of(t, draft.scaled.get((workload.id, t.name, incarnation.pop)))
        for t in workload.targets
    )


def _cities_so_far(rollout: Rollout) -> set[CityCode]:
    return {city for wave in rollout.waves[: rollout.wave + 1] for city in wave}


def with_patience(state: State, now: float) -> State:
    """The state when control is back: where it was away for so long that all it knows is stale, changes of scopes under
    way wait for news before a deadline counts. A shorter absence counts as time like any other, so that one that dies
    over and over ends them too.
    """
    if any(is_fresh(received, now) for received in state.reports.values()):
        return state
    found = {
        key: later for key, rollout in state.rollouts.items() if (later := after_absence(rollout, now)) is not rollout
    }
    return replace(state, rollouts=with_entries(state.rollouts, found))


def with_templates(state: State) -> State:
    """The state with the template of every revision known: a version of Anypop that kept none may have stored it."""

    def known(revision: Revision) -> Revision:
        if revision.workload.template:
            return revision
        template = template_of(revision.workload, state.template_key)
        return replace(revision, workload=replace(revision.workload, template=template))

    if all(d.workload.template for d in state.workloads.values()) and all(
        r.workload.template for r in state.revisions.values()
    ):
        return state
    return replace(
        state,
        workloads={key: replace(d, newest=known(d.newest)) for key, d in state.workloads.items()},
        revisions={key: known(r) for key, r in state.revisions.items()},
    )


def seen_of(draft: State, workload_id: WorkloadId, now: float) -> list[Seen]:
    """The living incarnations of a workload with what their hosts say of them."""
    found = []
    reports: dict[str, dict[str, InstanceReport]] = {}
    for placed in draft.incarnations_of(workload_id).values():
        incarnation = placed.incarnation
        received = draft.reports.get(incarnation.host)
        if incarnation.host not in reports:
            reports[incarnation.host] = {i.uid: i for i in received.report.instances} if received is not None else {}
        found.append(
            Seen(
                incarnation=incarnation,
                trusted=is_fresh(received, now),
                report=reports[incarnation.host].get(incarnation.uid),
                carries=_carries(draft, incarnation),
                has_volume=_has_volume(draft, incarnation),
            )
        )
    return sorted(found, key=lambda s: (s.incarnation.name, s.incarnation.life))


def _has_volume(draft: State, incarnation: Incarnation) -> bool:
    runs = draft.revision(incarnation.workload_id, incarnation.revision)
    return runs is not None and bool(runs.workload.volumes)


def _carries(draft: State, incarnation: Incarnation) -> bool:
    drains, pop = draft.drains_at(incarnation.pop), draft.pop(incarnation.pop)
    upstreams = [u.name for u in pop.upstreams] if pop is not None and drains else ()
    return supports(drains, incarnation.pop, incarnation.host, upstreams)


def _adopted(draft: State) -> State:
    """The template of incarnations that a version of Anypop made which kept none: what their agents say that they were
    made from. An agent that found them made from something else says so; then they are to be changed like any other, by
    a rollout.
    """
    known = {}
    told: dict[str, dict[str, str]] = {}
    for uid, placed in draft.incarnations_untold().items():
        host = placed.incarnation.host
        if host not in told:
            received = draft.reports.get(host)
            told[host] = {i.uid: i.template for i in received.report.instances} if received is not None else {}
        if template := told[host].get(uid, ""):
            known[uid] = Placed(
                incarnation=replace(placed.incarnation, template=template), created_at=placed.created_at
            )
    return replace(draft, incarnations=with_entries(draft.incarnations, known)) if known else draft


def swept(draft: State, workloads: Iterable[WorkloadId]) -> State:
    """Without revisions and rollouts of these workloads that are too old to be asked for."""
    revisions: list[RevisionKey] = []
    rollouts: list[str] = []
    for workload in workloads:
        mine = draft.rollouts_of(workload).values()
        ended = sorted((r for r in mine if r.phase.ended), key=lambda r: (r.created_at, r.id), reverse=True)
        rollouts += [r.id for r in ended[ROLLOUTS_KEPT:]]
        kept, declared = draft.revisions_of(workload), draft.workloads.get(workload)
        if not kept or declared is None:
            continue
        used = {p.incarnation.revision for p in draft.incarnations_of(workload).values()} | {declared.good}
        used |= {number for r in mine if not r.phase.ended for number in (r.revision, r.previous)}
        revisions += [key for key in kept if key[1] not in used and key[1] <= declared.version - REVISIONS_KEPT]
    if not revisions and not rollouts:
        return draft
    return replace(
        draft, revisions=without_keys(draft.revisions, revisions), rollouts=without_keys(draft.rollouts, rollouts)
    )

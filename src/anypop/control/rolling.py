"""The book of rollouts: what each one has come to, and what its end means for what is declared.

In: a draft of control's state and the time. Out: the draft with its rollouts moved on (`plan.rollout` decides), bad
ones taken back, templates of taken-over incarnations known, and old revisions forgotten. Pure; it starts nothing: the
plan that follows does.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID, uuid5

from anypop.control.state import Declaration, Placed, Revision, State
from anypop.judge.verdict import is_fresh
from anypop.model.announce import Mode, Scope, ScopeRule
from anypop.model.names import CityCode, InstanceName, WorkloadId
from anypop.model.reasons import Reason
from anypop.model.report import InstanceReport
from anypop.model.rollout import Rollout, RolloutKind, RolloutPhase, Strategy
from anypop.plan.rollout import Seen, advance, advance_scopes, waves_of
from anypop.plan.template import template_of

REVISIONS_KEPT = 10  # of each workload: enough to go back over a day of changes
ROLLOUTS_KEPT = 20  # ended ones of each workload, for people who look back
_ROLLOUTS = UUID("0b1f7e5c-7c1c-4c39-9f5e-5d3c0d7a7f11")  # any fixed UUID: a workload has one update for each revision


def rolled(draft: State, now: float) -> State:
    """The draft with every rollout moved on as far as it goes now."""
    draft = _adopted(draft)
    for rollout in sorted((r for r in draft.rollouts.values() if not r.phase.ended), key=lambda r: (r.created_at, r.id)):
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
    return _swept(draft)


def begun(draft: State, workload_id: WorkloadId, *, previous: int, by: str, strategy: Strategy, now: float) -> State:
    """The draft after a new revision was declared: with a rollout where some instance has another template. One that is under way ends as
    superseded.
    """
    declared = draft.workloads[workload_id]
    wanted = declared.workload.template
    running = draft.rollout_of(workload_id)
    changed = [
        p.incarnation
        for p in draft.incarnations.values()
        if p.incarnation.workload_id == workload_id and p.incarnation.template not in ("", wanted)
    ]
    unknown = any(p.incarnation.workload_id == workload_id and not p.incarnation.template for p in draft.incarnations.values())
    if running is not None:
        ended = replace(running, phase=RolloutPhase.SUPERSEDED, reason=Reason.SUPERSEDED, ended_at=now)
        draft = with_rollout(draft, ended)
    if not changed and not unknown:
        if running is None:  # nothing that runs has to change, so it runs everywhere already
            return with_declaration(draft, replace(declared, good=declared.version))
        return draft
    pops: dict[CityCode, int] = defaultdict(int)
    for target in declared.workload.targets:
        for city in dict.fromkeys(target.cities):
            pops[city] += target.replicas
    rollout = Rollout(
        id=str(uuid5(_ROLLOUTS, f"{workload_id}/{declared.version}")),
        workload_id=workload_id,
        kind=RolloutKind.UPDATE,
        revision=declared.version,
        previous=previous,
        strategy=strategy,
        waves=waves_of(pops),
        by=by,
        created_at=now,
        wave_at=now,
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
    note = f"taken back from revision {rollout.revision}: {rollout.reason.says}" + (f" ({rollout.message})" if rollout.message else "")
    draft = redeclared(draft, declared, good, note=note, now=now)
    return begun(
        draft,
        declared.id,
        previous=rollout.previous,
        by="platform",
        strategy=rollout.strategy,
        now=now,
    )


def redeclared(draft: State, declared: Declaration, source: Revision, *, note: str, now: float) -> State:
    """The draft with an older revision's content as the newest one. Where the workload runs (targets) stays as it is declared now."""
    number = declared.version + 1
    document = {**source.document, "targets": declared.document.get("targets", {})}
    revision = Revision(
        workload=replace(source.workload, revision=number, targets=declared.workload.targets, name=declared.workload.name),
        document=document,
        secrets=source.secrets,
        created_at=now,
        note=note,
    )
    return with_revision(draft, declared, revision, now)


def with_revision(draft: State, declared: Declaration, revision: Revision, now: float) -> State:
    """The draft with `revision` as the newest, and the one before it kept."""
    older = {**draft.revisions, (declared.id, declared.version): declared.newest}
    return with_declaration(replace(draft, revisions=older), replace(declared, newest=revision, updated_at=now))


def with_declaration(draft: State, declared: Declaration) -> State:
    return replace(draft, workloads={**draft.workloads, declared.id: declared})


def with_rollout(draft: State, rollout: Rollout) -> State:
    return replace(draft, rollouts={**draft.rollouts, rollout.id: rollout})


def with_scopes(draft: State, rollout: Rollout) -> State:
    """The draft with the rules of all waves so far in place."""
    rules = dict(draft.rules)
    for wave in rollout.scopes[: rollout.wave + 1]:
        for change in wave.changes:
            rules[rollout.workload_id, change.pop, change.upstream] = ScopeRule(
                workload_id=rollout.workload_id, pop=change.pop, upstream=change.upstream, scope=change.scope, note=change.note
            )
    return replace(draft, rules=_plain_ones_left_out(rules))


def with_scopes_restored(draft: State, rollout: Rollout) -> State:
    """The draft with the rules that held before the rollout."""
    rules = dict(draft.rules)
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
    return replace(draft, rules=rules)


def _plain_ones_left_out(rules: Mapping[tuple[WorkloadId, CityCode, str], ScopeRule]) -> dict[tuple[WorkloadId, CityCode, str], ScopeRule]:
    """A rule that says the default is none, unless somebody noted why."""
    return {key: rule for key, rule in rules.items() if rule.scope != Scope() or rule.note}


def _moved(draft: State, rollout: Rollout, now: float) -> Rollout:
    declared = draft.workloads.get(rollout.workload_id)
    if declared is None or declared.workload.deleting:
        return replace(rollout, phase=RolloutPhase.ABORTED, reason=Reason.WORKLOAD_DELETED, ended_at=now)
    if rollout.kind is RolloutKind.SCOPES:
        return advance_scopes(rollout, _scopes_not_in_effect(draft, rollout, now), now)
    seen = seen_of(draft, declared.id, now)
    going = {
        InstanceName(t.incarnation.name)
        for t in draft.tombstones.values()
        if t.incarnation.workload_id == declared.id
        and (t.incarnation.pop in _cities_so_far(rollout))
        and t.reason in (Reason.SUPERSEDED, Reason.REPLACED, Reason.REVERTED)
    }
    return advance(rollout, declared.workload.template, seen, going, now)


def _cities_so_far(rollout: Rollout) -> set[CityCode]:
    return {city for wave in rollout.waves[: rollout.wave + 1] for city in wave}


def with_templates(state: State) -> State:
    """The state with the template of every revision known: a version of Anypop that kept none may have stored it."""

    def known(revision: Revision) -> Revision:
        if revision.workload.template:
            return revision
        template = template_of(revision.workload, state.template_key)
        return replace(revision, workload=replace(revision.workload, template=template))

    if all(d.workload.template for d in state.workloads.values()) and all(r.workload.template for r in state.revisions.values()):
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
    for placed in draft.incarnations.values():
        incarnation = placed.incarnation
        if incarnation.workload_id != workload_id:
            continue
        received = draft.reports.get(incarnation.host)
        if incarnation.host not in reports:
            reports[incarnation.host] = {i.uid: i for i in received.report.instances} if received is not None else {}
        found.append(
            Seen(
                incarnation=incarnation,
                trusted=is_fresh(received, now),
                report=reports[incarnation.host].get(incarnation.uid),
            )
        )
    return sorted(found, key=lambda s: (s.incarnation.name, s.incarnation.life))


def _scopes_not_in_effect(draft: State, rollout: Rollout, now: float) -> list[str]:
    """Which announcements of the waves so far are not yet out, or not yet withheld, as asked; in words."""
    held = draft.anycast.get(rollout.workload_id)
    prefixes = {held.prefix4, held.prefix6} if held is not None else set()
    missing = []
    for wave in rollout.scopes[: rollout.wave + 1]:
        for change in wave.changes:
            site = draft.network.pop(change.pop)
            for host in site.hosts if site is not None else ():
                if all(u.name != change.upstream for u in host.upstreams):
                    continue
                received, issued = draft.reports.get(host.name), draft.orders.get(host.name)
                if received is None or issued is None or not is_fresh(received, now):
                    missing.append(f"{host.name} is silent")
                    continue
                told = {p.prefix: p for p in received.report.prefixes if p.prefix in prefixes and change.upstream in p.upstreams}
                wanted = {a.prefix for a in issued.order.announcements if a.prefix in prefixes and a.upstream == change.upstream}
                if received.report.generation < issued.order.generation:
                    missing.append(f"{host.name} has not obeyed its newest order yet")
                elif change.scope.mode is Mode.WITHHOLD and told:
                    missing.append(f"{change.pop} still announces to {change.upstream}")
                elif change.scope.mode is Mode.ANNOUNCE and wanted - told.keys():
                    missing.append(f"{change.pop} does not announce to {change.upstream} yet")
    return missing


def _adopted(draft: State) -> State:
    """The template of incarnations that a version of Anypop made which kept none: what their agents say that they were
    made from. An agent that found them made from something else says so; then they are to be changed like any other, by
    a rollout.
    """
    known = {}
    told: dict[str, dict[str, str]] = {}
    for uid, placed in draft.incarnations.items():
        if placed.incarnation.template:
            continue
        host = placed.incarnation.host
        if host not in told:
            received = draft.reports.get(host)
            told[host] = {i.uid: i.template for i in received.report.instances} if received is not None else {}
        if template := told[host].get(uid, ""):
            known[uid] = Placed(incarnation=replace(placed.incarnation, template=template), created_at=placed.created_at)
    return replace(draft, incarnations={**draft.incarnations, **known}) if known else draft


def _swept(draft: State) -> State:
    """Without revisions and rollouts that are too old to be asked for."""
    used = {(p.incarnation.workload_id, p.incarnation.revision) for p in draft.incarnations.values()}
    used |= {(r.workload_id, number) for r in draft.rollouts.values() if not r.phase.ended for number in (r.revision, r.previous)}
    used |= {(d.id, d.good) for d in draft.workloads.values()}
    revisions = {
        key: value for key, value in draft.revisions.items() if key in used or key[1] > draft.workloads[key[0]].version - REVISIONS_KEPT
    }
    ended: dict[WorkloadId, list[Rollout]] = defaultdict(list)
    for rollout in sorted(draft.rollouts.values(), key=lambda r: (r.created_at, r.id), reverse=True):
        if rollout.phase.ended:
            ended[rollout.workload_id].append(rollout)
    old = {r.id for found in ended.values() for r in found[ROLLOUTS_KEPT:]}
    if old:
        draft = replace(draft, rollouts={key: value for key, value in draft.rollouts.items() if key not in old})
    return draft if len(revisions) == len(draft.revisions) else replace(draft, revisions=revisions)

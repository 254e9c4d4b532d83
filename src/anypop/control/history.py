"""What happened between two states, as events for people: who was created, what changed phase, what is announced where.

Pure, and complete by construction: whatever path led to the new state, the difference tells, and costs what differs.
An event's `kind` is stable for machines.
"""

from collections.abc import Collection, Iterator

from anypop.control.blame import affected, because, dark, failing, is_carried, names
from anypop.control.dial_events import dialled_between
from anypop.control.drain_events import drained_between
from anypop.control.scaling_events import scaled_between
from anypop.control.sharing import shared, tenants
from anypop.control.state import Declaration, State
from anypop.judge.verdict import Received
from anypop.model.announce import Prefix, Scope
from anypop.model.events import Event, EventKind, Field
from anypop.model.names import HostName
from anypop.model.order_since import does_not_know, unknown_in
from anypop.model.reasons import Reason
from anypop.model.report import Phase, Report
from anypop.model.report_limits import TOLD_LENGTH, TOLD_LINES
from anypop.model.rollout import RolloutKind
from anypop.model.scopes import community_text
from anypop.model.table import differing
from anypop.plan.announcements import order_of


def events_between(before: State, after: State) -> list[Event]:
    """All events of one step, in the order of cause and effect: seen, declared, planned, ordered, judged."""
    parts = (
        _started,
        _seen,
        _left,
        _declared,
        _rolled,
        drained_between,
        dialled_between,
        scaled_between,
        _ruled,
        _noted,
        _shared,
        _ordered,
        _judged,
        _darkened,
        _lost,
    )
    return [event for part in parts for event in part(before, after)]


def _started(before: State, after: State) -> Iterator[Event]:
    if before.started_at != after.started_at:
        yield Event(kind=EventKind.CONTROL_STARTED, subject="control", message="goes on from what it has stored")


def _declared(before: State, after: State) -> Iterator[Event]:
    for key in sorted(differing(before.workloads, after.workloads)):
        was, now = before.workloads.get(key), after.workloads.get(key)
        if now is None:
            if was is not None:
                yield Event(kind=EventKind.WORKLOAD_GONE, subject=was.workload.slug, stack_id=was.stack_id)
            continue
        slug = now.workload.slug
        if was is None:
            yield Event(
                kind=EventKind.WORKLOAD_CREATED, subject=slug, fields={"version": now.version}, stack_id=now.stack_id
            )
        elif now.delete_requested_at is not None and was.delete_requested_at is None:
            yield Event(kind=EventKind.WORKLOAD_DELETION_ASKED, subject=slug, stack_id=now.stack_id)
        elif now.version != was.version:
            yield Event(
                kind=EventKind.WORKLOAD_CHANGED,
                subject=slug,
                message=f"version {now.version}" + (f": {now.newest.note}" if now.newest.note else ""),
                fields={"version": now.version, "note": now.newest.note},
                stack_id=now.stack_id,
            )


def _rolled(before: State, after: State) -> Iterator[Event]:
    changed = differing(before.rollouts, after.rollouts) & after.rollouts.keys()
    for key in sorted(changed, key=lambda key: (after.rollouts[key].created_at, key)):
        was, now = before.rollouts.get(key), after.rollouts[key]
        declared = after.workloads.get(now.workload_id)
        if declared is None:
            continue
        what = f"revision {now.revision}" if now.kind is RolloutKind.UPDATE else "scopes"
        if was is None:
            count = len(now.waves) or len(now.scopes)
            kind, message = EventKind.ROLLOUT_BEGUN, f"{what}, {count} wave{'' if count == 1 else 's'}"
        elif was.phase is not now.phase:
            kind = EventKind(f"rollout-{now.phase.value}")
            message = f"{what}: {now.reason.says}" + (f" ({now.message})" if now.message else "")
        elif was.restored is not now.restored:
            kind = EventKind.ROLLOUT_RESTORED if now.restored else EventKind.ROLLOUT_NOT_RESTORED
            message = f"{what}: {'every vantage lands' if now.restored else 'some vantage does not land'} as before"
        elif was.wave != now.wave:
            kind, message = (
                EventKind.ROLLOUT_WAVE,
                f"{what}: wave {now.wave + 1} of {len(now.waves) or len(now.scopes)}",
            )
        else:
            continue
        facts: dict[str, Field] = {
            "rollout": now.id,
            "of": now.kind.value,
            "revision": now.revision or None,
            "wave": now.wave + 1,
            "phase": now.phase.value,
            "reason": now.reason.value,
        }
        yield Event(
            kind=kind, subject=declared.workload.slug, message=message, fields=facts, stack_id=declared.stack_id
        )


def _ruled(before: State, after: State) -> Iterator[Event]:
    for key in sorted(differing(before.rules, after.rules)):
        now = after.rules.get(key)
        if (declared := after.workloads.get(key[0])) is not None:
            scope = _words(now.scope) if now is not None else "plainly again"
            message = f"{key[1]} to {key[2]}: {scope}" + (f" ({now.note})" if now is not None and now.note else "")
            yield Event(
                kind=EventKind.SCOPE_CHANGED,
                subject=declared.workload.slug,
                message=message,
                fields={"pop": key[1], "upstream": key[2], "scope": scope},
                stack_id=declared.stack_id,
            )


def _words(scope: Scope) -> str:
    prepends = [f"prepend {scope.prepend}"] if scope.prepend else []
    communities = [community_text(community) for community in scope.every_community]
    return ", ".join([scope.mode.value, *prepends, *communities])


def _noted(before: State, after: State) -> Iterator[Event]:
    if before.plan is after.plan or after.plan is None:
        return
    old = set(before.plan.notes_unlike(after.plan)) if before.plan is not None else set()
    for note in after.plan.notes_unlike(before.plan) if before.plan is not None else after.plan.notes:
        if note not in old:
            yield Event(
                kind=EventKind.NOT_PLANNED,
                subject=note.subject,
                message=f"{note.reason.says}{': ' if note.detail else ''}{note.detail}",
                fields={"reason": note.reason.value},
            )


def _shared(before: State, after: State) -> Iterator[Event]:
    """Prefixes with addresses of several accounts: at each start, and where that has changed."""
    prefixes: set[Prefix] | None = None
    if before.plan is not None:
        changed = differing(before.anycast, after.anycast)
        held = [h for state in (before, after) for w in changed if (h := state.anycast.get(w)) is not None]
        prefixes = {prefix for entry in held for prefix in (entry.prefix4, entry.prefix6)}
        was = {one.prefix: one.accounts for one in shared(before, prefixes)}
    else:
        was = {}
    for one in shared(after, prefixes if prefixes is None else sorted(prefixes, key=order_of)):
        if was.get(one.prefix) != one.accounts:
            yield Event(
                kind=EventKind.PREFIX_SHARED,
                subject=str(one.prefix),
                message=f"has addresses of {len(one.accounts)} accounts"
                f"{'' if is_carried(after, one.prefix) else ', as an older version gave them'}: "
                f"{', '.join(one.names)}; nobody but the operator may change how it is announced"
                f"{'' if is_carried(after, one.prefix) else ', and it is given to nobody more'}",
                fields={
                    "prefix": str(one.prefix),
                    "accounts": ",".join(one.accounts),
                    "workloads": ",".join(one.names),
                },
            )


def _ordered(before: State, after: State) -> Iterator[Event]:
    for host in sorted(differing(before.orders, after.orders) & after.orders.keys()):
        order = after.orders[host].order
        yield Event(
            kind=EventKind.ORDER_ISSUED,
            subject=host,
            message=f"generation {order.generation}: {len(order.instances)} instances, "
            f"{len(order.removed)} to remove, {len(order.announcements)} announcements",
            fields={
                "generation": order.generation,
                "instances": len(order.instances),
                "removed": len(order.removed),
                "announcements": len(order.announcements),
            },
        )


def _left(before: State, after: State) -> Iterator[Event]:
    for uid in sorted(differing(before.tombstones, after.tombstones) - after.tombstones.keys()):
        stone = before.tombstones[uid]
        gone = stone.incarnation
        declared = before.workloads.get(gone.workload_id)
        owner = declared.stack_id if declared is not None else None
        message = f"gone from {gone.host}: {stone.reason.says}"
        yield Event(
            kind=EventKind.INSTANCE_GONE,
            subject=gone.name,
            message=message,
            fields={
                "host": gone.host,
                "uid": uid,
                "reason": stone.reason.value,
                "workload": declared.workload.slug if declared is not None else None,
            },
            stack_id=owner,
        )


def _seen(before: State, after: State) -> Iterator[Event]:
    for host in sorted(differing(before.reports, after.reports) & after.reports.keys()):
        yield from _reported(host, before.reports.get(host), after.reports[host], after)


def _judged(before: State, after: State) -> Iterator[Event]:
    for host in sorted(differing(before.verdict.hosts, after.verdict.hosts) & after.verdict.hosts.keys()):
        verdict, judged = after.verdict.hosts[host], before.verdict.hosts.get(host)
        if judged is not None and judged.trusted != verdict.trusted:
            kind = EventKind.POP_TRUSTED if verdict.trusted else EventKind.POP_UNKNOWN
            yield Event(kind=kind, subject=host, message=verdict.reason.says, fields={"reason": verdict.reason.value})
        if verdict.reason is Reason.OLDER_AGENT and (judged is None or judged.reason is not verdict.reason):
            yield Event(kind=EventKind.ERROR, subject=host, message=_unknown(after, host), fields={"host": host})
        for grant in verdict.grants:
            if judged is None or grant not in judged.grants:
                kind = EventKind.WITHDRAWAL_GRANTED if grant.allowed else EventKind.WITHDRAWAL_REFUSED
                failed = failing(after, host, grant.prefix)
                facts: dict[str, Field] = {
                    "host": host,
                    "prefix": str(grant.prefix),
                    "reason": grant.reason.value,
                    "failed": names(failed) or None,
                }
                fails = "is neither served nor carried" if is_carried(after, grant.prefix) else "does not answer"
                message = grant.reason.says + (f" ({names(failed)} {fails} there)" if failed else "")
                yield Event(kind=kind, subject=f"{host} {grant.prefix}", message=message, fields=facts)
                if grant.allowed:
                    yield from _leaves(after, host, grant.prefix, failed)
    for prefix in sorted(differing(before.verdict.prefixes, after.verdict.prefixes), key=str):
        was, now = before.verdict.prefixes.get(prefix), after.verdict.prefixes.get(prefix)
        if now is not None and now.alarm is not None and (was is None or was.alarm != now.alarm):
            yield Event(
                kind=EventKind.ALARM,
                subject=str(prefix),
                message=now.alarm.says,
                fields={"prefix": str(prefix), "reason": now.alarm.value},
            )


def _leaves(state: State, host: HostName, prefix: Prefix, failed: Collection[Declaration]) -> Iterator[Event]:
    """To whoever has an address in the prefix there."""
    for declared in affected(state, host, prefix):
        why = because(failed, declared, carried=is_carried(state, prefix))
        why = why or "the way to its instances there does not work"
        yield Event(
            kind=EventKind.PREFIX_LEAVES,
            subject=declared.workload.slug,
            message=f"{host} takes {prefix} back, and clients go elsewhere: {why}",
            fields={"host": host, "prefix": str(prefix), "because": why},
            stack_id=declared.stack_id,
        )


def _darkened(before: State, after: State) -> Iterator[Event]:
    """Where a workload has come to be in the dark, or is so no more."""
    if before.plan is None:
        return  # a control that has just started: it was told before
    concerned = differing(before.verdict.late, after.verdict.late)
    for workload in differing(before.history.workloads, after.history.workloads):
        was, now = before.history.workloads.get(workload), after.history.workloads.get(workload)
        held = after.anycast.get(workload)
        if held is not None and (was.served if was is not None else None) != (now.served if now is not None else None):
            concerned |= {d.id for prefix in (held.prefix4, held.prefix6) for d in tenants(after, prefix)}
    for workload in sorted(concerned):
        declared = after.workloads.get(workload)
        if declared is None:
            continue
        then, now_dark = dark(before, workload), dark(after, workload)
        for pop in sorted(then ^ now_dark):
            is_dark = pop in now_dark
            yield Event(
                kind=EventKind.DARK if is_dark else EventKind.DARK_NO_MORE,
                subject=declared.workload.slug,
                message=f"dark in {pop}: it has never answered there, and its prefix is announced for others"
                if is_dark
                else f"no longer dark in {pop}",
                fields={"pop": pop, "reason": Reason.DARK.value},
                stack_id=declared.stack_id,
            )


def _unknown(state: State, host: HostName) -> str:
    part = state.plan.hosts[host] if state.plan is not None else None
    asked = (part.announcements, part.instances) if part is not None else ()
    return f"{does_not_know(unknown_in(asked, state.understands(host)))}; what asks for it is held back there"


def _lost(before: State, after: State) -> Iterator[Event]:
    for host in sorted(after.lost - before.lost):
        kind = EventKind.HOST_EVICTED if host in after.evicted else EventKind.HOST_LOST
        yield Event(
            kind=kind, subject=host, message="its instances are placed on other hosts of its PoP, one after the other"
        )
    for host in sorted(before.lost - after.lost):
        yield Event(kind=EventKind.HOST_BACK, subject=host, message="is in use again")
    if after.losses_frozen and not before.losses_frozen:
        yield Event(
            kind=EventKind.ALARM,
            subject="hosts",
            message="more than a third of all hosts look lost: nothing is moved by itself",
            fields={"reason": Reason.HOST_LOST.value},
        )


def _owner(state: State, host: HostName, uid: str) -> Declaration | None:
    """Whose an instance is: what a host says of another's is no news for its owner."""
    placed = state.incarnations_on(host).get(uid)
    return state.workloads.get(placed.incarnation.workload_id) if placed is not None else None


def _reported(host: HostName, before: Received | None, received: Received, state: State) -> Iterator[Event]:
    now = received.report
    was = before.report if before is not None else Report(pop=now.pop, host=host, at=0, generation=0)
    if None not in (now.began, was.began) and now.began != was.began:
        text = "its agent was started anew; what ran went on"
        yield Event(kind=EventKind.AGENT_RESTARTED, subject=host, message=text, fields={"host": host})
    if now.refused is not None and now.refused != was.refused:
        yield Event(
            kind=EventKind.ORDER_REFUSED, subject=host, message=now.refused.says, fields={"reason": now.refused.value}
        )
    phases = {i.uid: (i.phase, i.healthy, i.reason) for i in was.instances}
    for instance in now.instances:
        if phases.get(instance.uid) != (instance.phase, instance.healthy, instance.reason):
            health = ", healthy" if instance.healthy else ", not healthy" if instance.phase is Phase.RUNNING else ""
            text = f"{instance.phase}{health}: {instance.reason.says}" + (
                f" ({instance.message})" if instance.message else ""
            )
            owner = _owner(state, host, instance.uid)
            yield Event(
                kind=EventKind.INSTANCE,
                subject=instance.name,
                message=text,
                fields={
                    "host": host,
                    "uid": instance.uid,
                    "phase": instance.phase.value,
                    "healthy": instance.healthy,
                    "reason": instance.reason.value,
                    "workload": owner.workload.slug if owner is not None else None,
                },
                stack_id=owner.stack_id if owner is not None else None,
            )
    prefixes = {p.prefix: p for p in was.prefixes}
    for prefix in now.prefixes:
        old = prefixes.get(prefix.prefix)
        if (old.announced if old else False) != prefix.announced or (
            old is not None and old.upstreams != prefix.upstreams
        ):
            kind = EventKind.ANNOUNCED if prefix.announced else EventKind.WITHDRAWN
            to = f" to {', '.join(prefix.upstreams)}" if prefix.upstreams else ""
            yield Event(
                kind=kind,
                subject=f"{host} {prefix.prefix}",
                message=f"{prefix.reason.says}{to}",
                fields={
                    "host": host,
                    "prefix": str(prefix.prefix),
                    "upstreams": ",".join(prefix.upstreams),
                    "reason": prefix.reason.value,
                },
            )
    states = {(s.upstream, s.family): s.state for s in was.sessions}
    for session in now.sessions:
        if states.get((session.upstream, session.family)) != session.state:
            text = session.state + (f": {session.error}" if session.error else "")
            yield Event(
                kind=EventKind.SESSION,
                subject=f"{host} {session.upstream} IPv{session.family}",
                message=text,
                fields={"host": host, "upstream": session.upstream, "family": session.family, "state": session.state},
            )
    yield from _tunnels(host, was, now)
    # one report must not push everything else out of the book of events
    for kind, lines, known in ((EventKind.DRIFT, now.drift, was.drift), (EventKind.ERROR, now.errors, was.errors)):
        for line in lines[:TOLD_LINES]:
            if line not in known:
                yield Event(kind=kind, subject=host, message=line[:TOLD_LENGTH], fields={"host": host})


def _tunnels(host: HostName, was: Report, now: Report) -> Iterator[Event]:
    """Tunnels to other hosts that have come up or gone down: in one line, since a host that dies takes one from each of
    the others.
    """
    before, after = {t.host: t.up for t in was.tunnels}, {t.host: t.up for t in now.tunnels}
    up = sorted(name for name, works in after.items() if works and not before.get(name))
    down = sorted(name for name, works in after.items() if not works and before.get(name))
    down += sorted(name for name, works in before.items() if works and name not in after)
    told = [f"{word}: {', '.join(names)}" for word, names in (("up", up), ("down", down)) if names]
    if told:
        yield Event(
            kind=EventKind.TUNNELS,
            subject=host,
            message="; ".join(told)[:TOLD_LENGTH],
            fields={"host": host, "up": ",".join(up)[:TOLD_LENGTH], "down": ",".join(down)[:TOLD_LENGTH]},
        )

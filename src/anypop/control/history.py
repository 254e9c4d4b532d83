"""What happened between two states, as events for people: who was created, what changed phase, what is announced where.

Pure, and complete by construction: whatever path led to the new state, the difference tells. An event's `kind` is stable for machines.
"""

from collections.abc import Iterator

from anypop.control.state import Event, State
from anypop.judge.verdict import Received
from anypop.model.announce import Scope
from anypop.model.names import HostName
from anypop.model.report import Phase, Report
from anypop.model.rollout import RolloutKind


def events_between(before: State, after: State) -> list[Event]:
    """All events of one step, in the order of cause and effect: seen, declared, planned, ordered, judged."""
    parts = (_seen, _left, _declared, _rolled, _ruled, _noted, _ordered, _judged, _lost)
    return [event for part in parts for event in part(before, after)]


def _declared(before: State, after: State) -> Iterator[Event]:
    if before.workloads is after.workloads:
        return
    for key, now in after.workloads.items():
        was, slug = before.workloads.get(key), now.workload.slug
        if was is None:
            yield Event(kind="workload-created", subject=slug, message="", stack_id=now.stack_id)
        elif now.delete_requested_at is not None and was.delete_requested_at is None:
            yield Event(kind="workload-deletion-asked", subject=slug, message="", stack_id=now.stack_id)
        elif now.version != was.version:
            yield Event(kind="workload-changed", subject=slug, message=f"version {now.version}", stack_id=now.stack_id)
    for key, was in before.workloads.items():
        if key not in after.workloads:
            yield Event(kind="workload-gone", subject=was.workload.slug, message="", stack_id=was.stack_id)


def _rolled(before: State, after: State) -> Iterator[Event]:
    if before.rollouts is after.rollouts:
        return
    for key, now in after.rollouts.items():
        was, declared = before.rollouts.get(key), after.workloads.get(now.workload_id)
        if declared is None or was == now:
            continue
        what = f"revision {now.revision}" if now.kind is RolloutKind.UPDATE else "scopes"
        if was is None:
            kind, message = "rollout-begun", f"{what}, {len(now.waves) or len(now.scopes)} waves"
        elif was.phase is not now.phase:
            kind, message = f"rollout-{now.phase.value}", f"{what}: {now.reason.says}"
        elif was.wave != now.wave:
            kind, message = "rollout-wave", f"{what}: wave {now.wave + 1} of {len(now.waves) or len(now.scopes)}"
        else:
            continue
        message += f" ({now.message})" if now.message else ""
        yield Event(kind=kind, subject=declared.workload.slug, message=message, stack_id=declared.stack_id)


def _ruled(before: State, after: State) -> Iterator[Event]:
    if before.rules is after.rules:
        return
    for key in sorted({*before.rules, *after.rules}):
        was, now = before.rules.get(key), after.rules.get(key)
        if was != now and (declared := after.workloads.get(key[0])) is not None:
            scope = _words(now.scope) if now is not None else "plainly again"
            message = f"{key[1]} to {key[2]}: {scope}" + (f" ({now.note})" if now is not None and now.note else "")
            yield Event(kind="scope-changed", subject=declared.workload.slug, message=message, stack_id=declared.stack_id)


def _words(scope: Scope) -> str:
    prepends = [f"prepend {scope.prepend}"] if scope.prepend else []
    communities = [":".join(map(str, community)) for community in (*scope.communities, *scope.large_communities)]
    return ", ".join([scope.mode.value, *prepends, *communities])


def _noted(before: State, after: State) -> Iterator[Event]:
    if before.plan is after.plan or after.plan is None:
        return
    old = set(before.plan.notes) if before.plan is not None else set()
    for note in after.plan.notes:
        if note not in old:
            yield Event(kind="not-planned", subject=note.subject, message=f"{note.reason.says}{': ' if note.detail else ''}{note.detail}")


def _ordered(before: State, after: State) -> Iterator[Event]:
    if before.orders is after.orders:
        return
    for host, issued in after.orders.items():
        was = before.orders.get(host)
        if was is not issued:
            yield Event(
                kind="order-issued",
                subject=host,
                message=f"generation {issued.order.generation}: {len(issued.order.instances)} instances, "
                f"{len(issued.order.removed)} to remove, {len(issued.order.announcements)} announcements",
            )


def _left(before: State, after: State) -> Iterator[Event]:
    if before.tombstones is after.tombstones:
        return
    for uid, stone in before.tombstones.items():
        if uid not in after.tombstones:
            gone = stone.incarnation
            declared = before.workloads.get(gone.workload_id)
            owner = declared.stack_id if declared is not None else None
            message = f"gone from {gone.host}: {stone.reason.says}"
            yield Event(kind="instance-gone", subject=gone.name, message=message, stack_id=owner)


def _seen(before: State, after: State) -> Iterator[Event]:
    if before.reports is not after.reports:
        for host, received in after.reports.items():
            was = before.reports.get(host)
            if was is not received:
                yield from _reported(host, was, received, _owners(after))


def _judged(before: State, after: State) -> Iterator[Event]:
    for host, verdict in after.verdict.hosts.items():
        judged = before.verdict.hosts.get(host)
        if judged is not None and judged.trusted != verdict.trusted:
            yield Event(kind="pop-trusted" if verdict.trusted else "pop-unknown", subject=host, message=verdict.reason.says)
        for grant in verdict.grants:
            if judged is None or grant not in judged.grants:
                kind = "withdrawal-granted" if grant.allowed else "withdrawal-refused"
                yield Event(kind=kind, subject=f"{host} {grant.prefix}", message=grant.reason.says)
    alarms = {p.prefix: p.alarm for p in before.verdict.prefixes}
    for prefix in after.verdict.prefixes:
        if prefix.alarm is not None and alarms.get(prefix.prefix) != prefix.alarm:
            yield Event(kind="alarm", subject=str(prefix.prefix), message=prefix.alarm.says)


def _lost(before: State, after: State) -> Iterator[Event]:
    for host in sorted(after.lost - before.lost):
        kind = "host-evicted" if host in after.evicted else "host-lost"
        yield Event(kind=kind, subject=host, message="its instances are placed on other hosts of its PoP, one after the other")
    for host in sorted(before.lost - after.lost):
        yield Event(kind="host-back", subject=host, message="is in use again")
    if after.losses_frozen and not before.losses_frozen:
        yield Event(kind="alarm", subject="hosts", message="more than a third of all hosts look lost: nothing is moved by itself")


def _owners(state: State) -> dict[str, str]:
    stacks = {key: d.stack_id for key, d in state.workloads.items()}
    return {uid: stacks[p.incarnation.workload_id] for uid, p in state.incarnations.items() if p.incarnation.workload_id in stacks}


def _reported(host: HostName, before: Received | None, received: Received, owners: dict[str, str]) -> Iterator[Event]:
    now = received.report
    was = before.report if before is not None else Report(pop=now.pop, host=host, at=0, generation=0)
    if now.refused is not None and now.refused != was.refused:
        yield Event(kind="order-refused", subject=host, message=now.refused.says)
    phases = {i.uid: (i.phase, i.healthy, i.reason) for i in was.instances}
    for instance in now.instances:
        if phases.get(instance.uid) != (instance.phase, instance.healthy, instance.reason):
            health = ", healthy" if instance.healthy else ", not healthy" if instance.phase is Phase.RUNNING else ""
            text = f"{instance.phase}{health}: {instance.reason.says}" + (f" ({instance.message})" if instance.message else "")
            yield Event(kind="instance", subject=instance.name, message=text, stack_id=owners.get(instance.uid))
    prefixes = {p.prefix: p for p in was.prefixes}
    for prefix in now.prefixes:
        old = prefixes.get(prefix.prefix)
        if (old.announced if old else False) != prefix.announced or (old is not None and old.upstreams != prefix.upstreams):
            kind = "announced" if prefix.announced else "withdrawn"
            to = f" to {', '.join(prefix.upstreams)}" if prefix.upstreams else ""
            yield Event(kind=kind, subject=f"{host} {prefix.prefix}", message=f"{prefix.reason.says}{to}")
    states = {(s.upstream, s.family): s.state for s in was.sessions}
    for session in now.sessions:
        if states.get((session.upstream, session.family)) != session.state:
            text = session.state + (f": {session.error}" if session.error else "")
            yield Event(kind="session", subject=f"{host} {session.upstream} IPv{session.family}", message=text)
    for line in now.drift:
        if line not in was.drift:
            yield Event(kind="drift", subject=host, message=line)
    for line in now.errors:
        if line not in was.errors:
            yield Event(kind="error", subject=host, message=line)

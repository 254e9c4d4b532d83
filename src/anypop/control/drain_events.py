"""What happened to drains between two states, as events; a part of `history`.

In: two states. Out: one event for each stage, for what is held and why, and for what vantages found stuck. Pure.
"""

from collections.abc import Iterator

from anypop.control.state import State
from anypop.model.drain import COMING_BACK, Drain, DrainStage
from anypop.model.events import Event, EventKind, Field
from anypop.model.table import differing


def drained_between(before: State, after: State) -> Iterator[Event]:
    changed = differing(before.drains, after.drains) & after.drains.keys()
    for key in sorted(changed, key=lambda key: (after.drains[key].created_at, key)):
        was, now = before.drains.get(key), after.drains[key]
        owner = after.workloads.get(now.workload_id) if now.workload_id else None
        for kind, message in _news(was, now):
            facts: dict[str, Field] = {
                "drain": now.id,
                "of": now.kind.value,
                "pop": now.pop,
                "stage": now.stage.value,
                "reason": now.reason.value,
            }
            yield Event(
                kind=kind,
                subject=now.target,
                message=message,
                fields=facts,
                stack_id=owner.stack_id if owner is not None else None,
            )


def _news(was: Drain | None, now: Drain) -> Iterator[tuple[EventKind, str]]:
    if was is None:
        yield EventKind.DRAIN_BEGUN, f"its traffic is to go elsewhere: it {now.reason.says}"
    elif was.stage is not now.stage:
        said = now.results[-1].differs if now.results else ""
        yield (
            _kind(was, now),
            f"{now.stage.value}: it {now.reason.says}" + (f" (not waited for: {said})" if said else ""),
        )
    old = {held.prefix: held.reason for held in was.held} if was is not None else {}
    for held in now.held:
        if old.get(held.prefix) is not held.reason:
            yield (
                EventKind.DRAIN_HELD,
                f"{held.prefix}: {held.reason.says} ({held.left} without it, floor {held.floor})",
            )
    if now.stuck and (was is None or set(now.stuck) - set(was.stuck)):
        yield EventKind.DRAIN_STUCK, f"still reached, although withdrawn, by {', '.join(now.stuck)}"


def _kind(was: Drain, now: Drain) -> EventKind:
    match now.stage:
        case DrainStage.DRAINED:
            return EventKind.DRAINED
        case DrainStage.OVER:
            return EventKind.DRAIN_OVER
        case _ if now.stage in COMING_BACK and was.stage not in COMING_BACK:
            return EventKind.DRAIN_RETURNS
        case _:
            return EventKind.DRAIN_STAGE

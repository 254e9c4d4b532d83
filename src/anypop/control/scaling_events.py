"""What happened to numbers of instances that follow their load, between two states, as events; a part of `history`.

In: two states. Out: one event for each number that the load has changed, and for each that stands still although the
load asks for another one. What a person declares is told by the change of the workload. Pure.
"""

from collections.abc import Iterator

from anypop.control.state import State
from anypop.model.events import Event, EventKind, Field
from anypop.model.reasons import Reason
from anypop.model.scaling import Scaled
from anypop.model.table import differing

_STANDS_STILL = frozenset({Reason.AT_MOST_REPLICAS, Reason.OVER_QUOTA, Reason.NO_ROOM, Reason.SCALING_HELD})


def scaled_between(before: State, after: State) -> Iterator[Event]:
    for key in sorted(differing(before.scaled, after.scaled) & after.scaled.keys() & before.scaled.keys()):
        was, now = before.scaled[key], after.scaled[key]
        if now.replicas != was.replicas and now.last is not None:
            kind, words = EventKind.SCALED, f"{now.replicas} instances (before: {was.replicas}): it {now.last.says}"
        elif now.reason is not was.reason and now.reason in _STANDS_STILL:
            kind, words = EventKind.SCALING_HELD, f"{now.replicas} instances: it {now.reason.says}"
        else:
            continue
        yield _event(after, kind, was, now, words + (f" ({now.message})" if now.message else ""))


def _event(after: State, kind: EventKind, was: Scaled, now: Scaled, message: str) -> Event:
    owner = after.workloads.get(now.workload_id)
    slug = owner.workload.slug if owner is not None else ""
    facts: dict[str, Field] = {
        "workload": slug,
        "target": now.target,
        "pop": now.pop,
        "replicas": now.replicas,
        "was": was.replicas,
        "reason": now.reason.value,
    }
    return Event(
        kind=kind,
        subject=f"{slug} {now.target} {now.pop}",
        message=message,
        fields=facts,
        stack_id=owner.stack_id if owner is not None else None,
    )

"""What happened to dials between two states, as events; a part of `history`.

In: two states. Out: one event for each dial that a person has changed, and for each that sheds more or less. Pure.
"""

from collections.abc import Iterator

from anypop.control.state import State
from anypop.model.dial import WHOLE, Dial
from anypop.model.events import Event, EventKind, Field
from anypop.model.reasons import Reason
from anypop.model.table import differing


def dialled_between(before: State, after: State) -> Iterator[Event]:
    for key in sorted(differing(before.dials, after.dials) & after.dials.keys()):
        was, now = before.dials.get(key), after.dials[key]
        owner = after.workloads.get(now.workload_id) if now.workload_id else None
        old = was if was is not None else Dial(pop=now.pop)
        if was is None or was.version != now.version:
            reason = Reason.ASKED_BY_OPERATOR
            message = f"keeps {now.percent} % of its new connections (before: {old.percent} %)"
            if old.shed_above != now.shed_above:
                above = f"above a load of {now.shed_above} %" if now.shed_above is not None else "never"
                message += f", and sheds {above}"
            message += f": {now.note}" if now.note else ""
            kind = EventKind.DIALLED
        elif was.shed_to != now.shed_to:
            reason = Reason.SHEDS if now.shed_to < WHOLE else Reason.UNDIALLED
            message = f"keeps {now.shed_to} % of its new connections (before: {was.shed_to} %): it {reason.says}"
            kind = EventKind.SHEDS
        else:
            continue
        facts: dict[str, Field] = {
            "pop": now.pop,
            "workload": owner.workload.slug if owner is not None else "",
            "percent": now.keeps,
            "was": old.keeps,
            "shed_above": now.shed_above,
            "reason": reason.value,
        }
        name = f"{owner.workload.slug} {now.pop}" if owner is not None else now.pop
        yield Event(
            kind=kind,
            subject=name,
            message=message,
            fields=facts,
            stack_id=owner.stack_id if owner is not None else None,
        )

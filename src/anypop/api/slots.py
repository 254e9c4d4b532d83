"""The instances of a workload before anybody is told of them: which incarnation stands for each slot.

In: control's state, a workload, the time. Out: lives with how each stands, in the order of their names. Nothing is made
of them yet: a list that shows a page of ten thousand makes only what is on that page. Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from anypop.control.state import Declaration, State
from anypop.judge.instances import Shown, shown
from anypop.judge.verdict import Received
from anypop.model.names import HostName, InstanceName
from anypop.model.plan import Incarnation
from anypop.model.report import InstanceReport, Phase

Told = dict[tuple[str, InstanceName], InstanceReport]


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """`asked_at`: since when it is to go, None of what stays."""

    incarnation: Incarnation
    created_at: float
    asked_at: float | None
    seen: Shown


class Reports:
    """What hosts say of their instances, each report looked through once."""

    def __init__(self) -> None:
        self._told: dict[HostName, tuple[Received, Told]] = {}

    def of(self, life: Incarnation, received: Received | None) -> InstanceReport | None:
        if received is None:
            return None
        known = self._told.get(life.host)
        if known is None or known[0] is not received:
            known = received, {(i.uid, i.name): i for i in received.report.instances}
            self._told[life.host] = known
        return known[1].get((life.uid, life.name))


def lives(state: State, declared: Declaration, now: float, reports: Reports | None = None) -> list[Life]:
    """All incarnations of a workload by name and age, those being taken down included."""
    reports = reports if reports is not None else Reports()
    living = [(p.incarnation, p.created_at, None) for p in state.incarnations_of(declared.id).values()]
    leaving = [(t.incarnation, t.created_at, t.asked_at) for t in state.tombstones_of(declared.id).values()]
    ordered = sorted([*living, *leaving], key=lambda entry: (entry[0].name, entry[0].life, entry[1]))
    return [
        Life(
            incarnation=life,
            created_at=created_at,
            asked_at=asked_at,
            seen=shown(reports.of(life, received), received, now=now, removing=asked_at is not None),
        )
        for life, created_at, asked_at in ordered
        for received in [state.reports.get(life.host)]
    ]


def slots(every: Iterable[Life]) -> list[Life]:
    """Of each slot the incarnation that serves, or is on its way to; one that is being taken down only where no other
    lives in its slot.
    """
    found: dict[InstanceName, Life] = {}
    for life in every:
        other = found.get(life.incarnation.name)
        leaving = life.asked_at is not None
        if (
            other is None
            or (not leaving and (other.asked_at is not None or life.seen.phase is Phase.RUNNING))
            or (leaving and other.asked_at is not None)
        ):
            found[life.incarnation.name] = life
    return list(found.values())

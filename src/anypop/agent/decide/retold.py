"""The reports of a host, one after the other: between two passes each is the last one at another time. Pure.

In: what `report_of` is given. Out: its report. A host tells that it lives every few seconds, for ever, and mostly
nothing has happened since the pass that told last: then nothing is put together anew. It decides nothing of its own:
what is told is what `report_of` would say.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

from anypop.agent.decide.converge import next_due
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.observed import Observed
from anypop.agent.decide.report import report_of
from anypop.model.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class _Last:
    """`until`: when something of it follows from the time."""

    seen: Facts | Observed
    given: dict[str, Any]
    report: Report
    until: float


class Retold:
    """Of one host."""

    def __init__(self) -> None:
        self._last: _Last | None = None

    def report(self, seen: Facts | Observed, *, at: float, **given: Any) -> Report:
        """As `report_of` has it. What was seen counts as the same as long as it is the same object."""
        last = self._last
        if last is not None and last.seen is seen and last.report.at <= at < last.until and last.given == given:
            return replace(last.report, at=at)
        report = report_of(seen, at=at, **given)
        self._last = _Last(seen=seen, given=given, report=report, until=_until(seen, at))
        return report


def _until(seen: Facts | Observed, at: float) -> float:
    """What `converge` waits for, the report may tell of; how long a lane rests yet, it tells to the second."""
    if isinstance(seen, Observed):
        return math.inf
    if seen.observed.memory.trouble:
        return at
    due = next_due(seen, at)
    return math.inf if due is None else due

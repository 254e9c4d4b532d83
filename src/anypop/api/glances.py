"""A workload at a glance: how many of its instances are in which phase, how many are healthy, and where.

In: control's state, a workload, the time. Out: plain data, as the API's lists of many show it. However many ask, what
one state of control says of a workload is counted once.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from anypop.api import shapes
from anypop.api.slots import Reports, lives, slots
from anypop.control.state import Declaration, State
from anypop.model.names import CityCode
from anypop.plan.fields import location

PLACE = ("cityCode", "city", "country", "continent")


class Glances:
    """Summaries of one moment, each made once."""

    def __init__(self) -> None:
        self._reports = Reports()
        self._moment: tuple[State, int] | None = None
        self._made: dict[str, dict[str, Any]] = {}

    def of(self, state: State, declared: Declaration, now: float) -> dict[str, Any]:
        if self._moment is None or self._moment[0] is not state or self._moment[1] != int(now):
            self._moment, self._made = (state, int(now)), {}
        if (found := self._made.get(declared.id)) is None:
            found = self._made[declared.id] = _summary(state, declared, now, self._reports)
        return found


_glances = Glances()


def of(state: State, declared: Declaration, now: float) -> dict[str, Any]:
    """Not to be changed by whoever gets it: others get the same."""
    return _glances.of(state, declared, now)


def name_of(declared: Declaration) -> str:
    return str(declared.document.get("name", declared.workload.slug))


def named(state: State, declared: Declaration) -> dict[str, Any]:
    """What lists of them are filtered and sorted by."""
    held = state.anycast.get(declared.id)
    both = (held.address4, held.address6 if declared.workload.dual_stack else None) if held is not None else ()
    return {
        "id": declared.id,
        "name": name_of(declared),
        "slug": declared.workload.slug,
        "createdAt": shapes.moment(declared.created_at),
        "anycast": [str(address) for address in both if address is not None],
    }


def _summary(state: State, declared: Declaration, now: float, reports: Reports) -> dict[str, Any]:
    phases: Counter[str] = Counter()
    cities: dict[CityCode, Counter[str]] = {}
    healthy: Counter[CityCode] = Counter()
    for life in slots(lives(state, declared, now, reports)):
        phases[life.seen.word] += 1
        cities.setdefault(life.incarnation.pop, Counter())[life.seen.word] += 1
        healthy[life.incarnation.pop] += life.seen.healthy
    data = {
        **named(state, declared),
        "version": str(declared.version),
        "images": [container.image for container in declared.workload.containers],
        "phases": dict(sorted(phases.items())),
        "healthy": healthy.total(),
        "cities": [
            {**_place(code), "phases": dict(sorted(count.items())), "healthy": healthy[code]}
            for code, count in sorted(cities.items())
        ],
    }
    if declared.delete_requested_at is not None:
        data["deleteRequestedAt"] = shapes.moment(declared.delete_requested_at)
    return data


def _place(code: CityCode) -> Mapping[str, Any]:
    known = location(code)
    return {name: known[name] for name in PLACE if name in known}

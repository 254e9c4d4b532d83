"""A chart made of hosts' own samples, by the same arithmetic as a store's: what is shown where there is no store.

In: series of samples, and the question. Out: curves. A counter that became smaller began anew, and counts from nought;
a moment around which nothing was measured has no value, and no line is drawn through it. Pure.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from anypop.control.metrics.charts import CHARTS, Chart, Question, grid

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """`labels`: those that the question puts together by."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


def curves(series: Iterable[tuple[Mapping[str, str], Points]], question: Question, window_s: float) -> list[Curve]:
    """`series`: each with all of its points, the oldest first."""
    chart = CHARTS[question.chart]
    found: dict[tuple[str, ...], dict[float, float]] = defaultdict(dict)
    moments = grid(question)
    for labels, points in series:
        key = tuple(labels.get(name, "") for name in question.labels)
        into = found[key]
        for at, value in _values(points, moments, window_s, chart):
            if at not in into:
                into[at] = value
            else:
                into[at] = max(into[at], value) if chart.together == "max" else into[at] + value
    return [
        Curve(labels=dict(zip(question.labels, key, strict=True)), points=tuple(sorted(values.items())))
        for key, values in sorted(found.items())
        if values
    ]


def _values(points: Points, moments: Sequence[float], window_s: float, chart: Chart) -> Iterable[tuple[float, float]]:
    times = [at for at, _ in points]
    for moment in moments:
        inside = points[bisect_right(times, moment - window_s) : bisect_right(times, moment)]
        value = _rate(inside) if chart.rate else _level(inside, chart)
        if value is not None:
            yield moment, value


def _rate(points: Points) -> float | None:
    if len(points) < 2 or points[-1][0] <= points[0][0]:
        return None
    grown = sum(
        now - before if now >= before else now
        for (_, before), (_, now) in pairwise(points)
    )  # fmt: skip
    return grown / (points[-1][0] - points[0][0])


def _level(points: Points, chart: Chart) -> float | None:
    if not points:
        return None
    values = [value for _, value in points]
    return max(values) if chart.together == "max" else sum(values) / len(values)

"""The tiers together: a row each second for an hour, each ten seconds for a day, each minute for a month.

In: a row each second. Out: the same in the first tier, and what is made of it in the others: a counter's last value, a
gauge's mean; and answers to who asks for a span. The coarser tiers are written down more rarely: what they lack after a
death is made again from the finer ones, so a death costs the seconds that no tier had yet. What was not measured stays
a hole.
"""

import os
from array import array
from collections.abc import Sequence
from pathlib import Path

from anypop.agent.samples.rows import Layout, Part, Row, Wanted
from anypop.agent.samples.segments import Segments, Shape
from anypop.model.metrics import METRICS, SeriesKey, is_counter

_S, _MIN, _H, _D = 1000, 60_000, 3_600_000, 86_400_000
_MIB = 1 << 20
SHAPES = (
    Shape("1s", _S, _H, 10 * _MIN, 5, 64 * _MIB),
    Shape("10s", 10 * _S, _D, 2 * _H, 6, 96 * _MIB),
    Shape("1m", _MIN, 31 * _D, _D, 10, 256 * _MIB),
)
_PART_OF_DISK = 50  # of a small disk the tiers take a fiftieth at most
MOST_POINTS = 2_000_000
"""In one answer: who wants more asks for fewer series, a longer step or less time."""


class TooMuch(Exception):  # noqa: N818 - it reads as a verdict where it is raised
    """More points than one answer has."""


class Points:
    """Of one series: a sample for each step."""

    def __init__(self, key: SeriesKey) -> None:
        self.key, self._counter = key, is_counter(key.name)
        self.times_ms, self.values = array("q"), array("d")
        self._per_unit = METRICS[key.name].per_unit if key.name in METRICS else 1
        self._step, self._at_ms, self._sum, self._count = -1, 0, 0, 0

    def add(self, at_ms: int, value: int, step: int) -> None:
        """Times only grow."""
        if step != self._step:
            self.end()
            self._step = step
        if self._counter or not self._count:
            self._sum, self._count = value, 1
        else:
            self._sum += value
            self._count += 1
        self._at_ms = at_ms

    def end(self) -> None:
        """No more of this step comes."""
        if self._count:
            self.times_ms.append(self._at_ms)
            self.values.append(self._sum / self._count / self._per_unit)
        self._sum = self._count = 0


class _Window:
    """The rows since the last one of a coarser tier."""

    def __init__(self, into: Segments) -> None:
        self.into = into
        self._layout: Layout = ()
        self._gauges: list[int] = []  # where they stand in it
        self._rows: list[Row] = []
        self._ends_ms = 0

    def is_over(self, layout: Layout, row: Row) -> bool:
        """Whether what was there before this row is a row of the coarser tier."""
        return bool(self._rows) and (layout is not self._layout or row.at_ms >= self._ends_ms)

    def add(self, layout: Layout, row: Row) -> tuple[Layout, Row] | None:
        """What is a row of the coarser tier now."""
        made = None
        if self.is_over(layout, row):
            made = self._layout, _mean(self._gauges, self._rows)
            self._rows = []
        if not self._rows:
            step = self.into.shape.step_ms
            self._ends_ms = row.at_ms // step * step + step
        if layout is not self._layout:
            self._layout = layout
            self._gauges = [n for n, key in enumerate(layout) if not is_counter(key.name)]
        self._rows.append(row)
        return made


class Tiers:
    """Those in `folder`. Blocking. One thread adds; any may ask."""

    def __init__(self, folder: Path, shapes: Sequence[Shape] = SHAPES) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = os.statvfs(folder)
        part = found.f_blocks * found.f_frsize // _PART_OF_DISK // len(shapes)
        self._tiers = [Segments(folder, s._replace(most_bytes=min(s.most_bytes, part))) for s in shapes]
        self._windows = [_Window(tier) for tier in self._tiers[1:]]
        self._make_up()

    def writes(self, layout: Layout, row: Row) -> bool:
        """Whether something is written down when this row is added, in whatever tier."""
        return self._tiers[0].is_almost_full or any(
            window.into.is_almost_full and window.is_over(layout, row) for window in self._windows
        )

    def add(self, layout: Layout, row: Row) -> None:
        """The layout of rows of the same series is the same object."""
        self._tiers[0].add(layout, row)
        self._pass_on(0, layout, row)

    def _pass_on(self, number: int, layout: Layout, row: Row) -> None:
        for window in self._windows[number:]:
            made = window.add(layout, row)
            if made is None:
                return
            layout, row = made
            window.into.add(layout, row)

    def _make_up(self) -> None:
        """What the coarser tiers lack of what the finer ones have: the coarsest first, since it is made of the next."""
        for number in reversed(range(len(self._windows))):
            finer, window = self._tiers[number], self._windows[number]
            for layout, row in finer.rows(window.into.newest_ms + 1):
                self._pass_on(number, layout, row)

    @property
    def lost(self) -> int:
        return sum(tier.lost for tier in self._tiers)

    def bytes(self) -> dict[str, int]:
        """On disk, by tier."""
        return {tier.shape.name: tier.bytes() for tier in self._tiers}

    def last(self) -> dict[SeriesKey, int]:
        """The newest row, also of an agent before this one."""
        found: dict[SeriesKey, int] = {}
        for layout, row in self._tiers[0].rows(self._tiers[0].newest_ms):
            found = {key: value for key, value in zip(layout, row.values, strict=True) if value is not None}
        return found

    def ask(self, since_ms: int, until_ms: int, step_ms: int, wanted: Wanted) -> list[Points]:
        """A sample of each series in each step at most: a counter's last value, a gauge's mean. From the coarsest tier
        that is fine enough; what is too old for it from the coarser ones, what is too new from the finer. Raises
        `TooMuch`.
        """
        step_ms = max(step_ms, self._tiers[0].shape.step_ms)
        found: dict[SeriesKey, Points] = {}
        for tier, low_ms, high_ms in self._pieces(since_ms, until_ms, step_ms):
            for part in tier.parts(low_ms, high_ms, wanted):
                self._take(part, (low_ms, high_ms, step_ms), found)
                if sum(len(points.times_ms) for points in found.values()) > MOST_POINTS:
                    raise TooMuch(f"more than {MOST_POINTS} points: ask for fewer series, a longer step or less time")
        for points in found.values():
            points.end()
        return [points for points in found.values() if points.times_ms]

    def _pieces(self, since_ms: int, until_ms: int, step_ms: int) -> list[tuple[Segments, int, int]]:
        """Which tier tells of which span, the oldest first."""
        best = max(n for n, tier in enumerate(self._tiers) if tier.shape.step_ms <= step_ms)
        pieces, high_ms = [], min(until_ms, self._tiers[best].newest_ms)
        for tier in self._tiers[best:]:
            pieces.append((tier, since_ms, high_ms))
            if (oldest_ms := tier.oldest_ms) is not None:
                high_ms = min(high_ms, oldest_ms - 1)
        pieces.reverse()
        low_ms = max(since_ms, self._tiers[best].newest_ms + 1)
        for tier in reversed(self._tiers[:best]):
            pieces.append((tier, low_ms, min(until_ms, tier.newest_ms)))
            low_ms = max(low_ms, tier.newest_ms + 1)
        return [(tier, low, high) for tier, low, high in pieces if low <= high]

    @staticmethod
    def _take(part: Part, span: tuple[int, int, int], found: dict[SeriesKey, Points]) -> None:
        low_ms, high_ms, step_ms = span
        if not part.times_ms or part.times_ms[0] > high_ms or part.times_ms[-1] < low_ms:
            return
        for key, column in part.columns.items():
            points = found.get(key)
            if points is None:
                points = found[key] = Points(key)
            for at_ms, value in zip(part.times_ms, column, strict=True):
                if value is not None and low_ms <= at_ms <= high_ms:
                    points.add(at_ms, value, at_ms // step_ms)

    def flush(self) -> None:
        for tier in self._tiers:
            tier.flush()

    def close(self) -> None:
        for tier in self._tiers:
            tier.close()


def _mean(gauges: Sequence[int], rows: Sequence[Row]) -> Row:
    """Of these one row: what counters are at its end, and what gauges were meanwhile."""
    last = rows[-1]
    if len(rows) == 1:
        return last
    values = list(last.values)
    for n in gauges:
        known = [value for row in rows if (value := row.values[n]) is not None]
        values[n] = round(sum(known) / len(known)) if known else None
    return Row(last.at_ms, values)

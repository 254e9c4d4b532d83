"""A deployment's steps as a waterfall. Pure.

In: a timeline as control tells it. Out: lines with a bar for each step, from the end of the step before it to its own.
A step that nobody saw has no bar, and the next one is as long as both.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from anypop.model.traces import bars

WIDTH = 48
_FULL, _EDGE = "█", "▏"


def lines(timeline: Mapping[str, Any]) -> Iterator[str]:
    """All instances, by one scale."""
    instances = timeline.get("instances") or []
    longest = max((bar.end for one in instances for bar in bars(one)), default=0.0) or 1.0
    for one in instances:
        found = bars(one)
        took = f"{found[-1].end:.0f} ms" if found else "nothing yet"
        yield f"{one.get('name')} at {one.get('host')}: {took}{'' if one.get('complete') else ', not complete'}"
        for bar in found:
            begin, end = (round(WIDTH * max(0.0, at) / longest) for at in (bar.begin, bar.end))
            drawn = (" " * begin + (_FULL * (end - begin) or _EDGE)).ljust(WIDTH + 1)
            yield f"  {bar.step:<10} {drawn} {bar.end - bar.begin:>8.0f} ms"

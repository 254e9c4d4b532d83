"""Samples as control gets them: frames, each one `Samples` of the model.

In: the series with their points. Out: one frame after the other, none larger than a frame may be; a long series is in
several of them, in order.
"""

from collections.abc import AsyncGenerator, Iterable

from anypop.agent.samples.tiers import Points
from anypop.model.codec import to_json
from anypop.model.streams import LARGEST_FRAME, POINTS_IN_FRAME, Series

_HEAD, _TAIL = b'{"series":[', b"]}"


async def frames(found: Iterable[Points]) -> AsyncGenerator[bytes, None]:
    """Made one at a time: all of them may be many megabytes."""
    kept: list[bytes] = []
    size = len(_HEAD) + len(_TAIL)
    for points in found:
        for first in range(0, len(points.times_ms), POINTS_IN_FRAME):
            piece = to_json(_part(points, slice(first, first + POINTS_IN_FRAME)))
            if kept and size + len(piece) + 1 > LARGEST_FRAME:
                yield _HEAD + b",".join(kept) + _TAIL
                kept, size = [], len(_HEAD) + len(_TAIL)
            kept.append(piece)
            size += len(piece) + 1
    if kept:
        yield _HEAD + b",".join(kept) + _TAIL


def _part(points: Points, part: slice) -> Series:
    times = (at_ms / 1000 for at_ms in points.times_ms[part])
    return Series(
        name=points.key.name, labels=points.key.labels, points=tuple(zip(times, points.values[part], strict=True))
    )

"""Cities to be clicked on a map of the world. Pure.

In: locations as the API tells them. Out: marks, each at its place in the picture, with its name where there is room for
it. Where places and names stand is `picture.world`'s.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from anypop.picture.world import GAP, around, labels, place


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A city in the picture. `anchor`: on which side of `text_x` its name stands; not `named`: there is no room for
    the name, the list beside the map has it.
    """

    code: str
    name: str
    x: float
    y: float
    text_x: float
    text_y: float
    anchor: str
    named: bool


def marks(locations: Iterable[Mapping[str, Any]]) -> tuple[Mark, ...]:
    """Each city that has coordinates."""
    cities = [
        (str(one["cityCode"]), str(one.get("city", "")), *place(float(one["latitude"]), float(one["longitude"])))
        for one in locations
        if "latitude" in one and "longitude" in one
    ]
    named = labels([(code, x, y) for code, _, x, y in cities], [around(x, y) for _, _, x, y in cities])
    return tuple(
        Mark(
            code=code, name=name, x=x, y=y, named=label is not None,
            text_x=label.x if label else round(x + GAP, 1), text_y=label.y if label else y + 4.5,
            anchor=label.anchor if label else "start",
        )
        for (code, name, x, y), label in zip(cities, named, strict=True)
    )  # fmt: skip

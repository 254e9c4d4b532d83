"""The world as a picture: where a city stands on it, and where its name is written. Pure.

In: coordinates. Out: points of a picture of 960 by 480 (the Natural Earth projection of T. Patterson, in the polynomial
form of B. Savric and others, 2011), on which the coastlines of `land.svg` lie; names that do not cover each other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import radians
from typing import Any

WIDTH, HEIGHT = 960, 480
# as script/assets draws the coastlines
SCALE, LEFT, TOP = 175.0, 480.0, 262.0

LETTER, LINE = 9.0, 14.0  # of a name, in units of the picture
GAP = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A city in the picture. `anchor`: on which side of `text_x` its name stands; empty `code_shown`: there is no room
    for the name, the list beside the map has it.
    """

    code: str
    name: str
    x: float
    y: float
    text_x: float
    text_y: float
    anchor: str
    named: bool


def place(latitude: float, longitude: float) -> tuple[float, float]:
    """A point of the picture for degrees north and east."""
    lat, lon = radians(latitude), radians(longitude)
    p2 = lat * lat
    p4 = p2 * p2
    across = lon * (0.8707 - 0.131979 * p2 + p4 * (-0.013791 + p4 * (0.003971 * p2 - 0.001529 * p4)))
    up = lat * (1.007226 + p2 * (0.015085 + p4 * (-0.044475 + 0.028874 * p2 - 0.005916 * p4)))
    return round(LEFT + SCALE * across, 1), round(TOP - SCALE * up, 1)


def marks(locations: Iterable[Mapping[str, Any]]) -> tuple[Mark, ...]:
    """Each city that has coordinates. Names take the first of four sides where they cover neither name nor city."""
    cities = [
        (str(one["cityCode"]), str(one.get("city", "")), *place(float(one["latitude"]), float(one["longitude"])))
        for one in locations
        if "latitude" in one and "longitude" in one
    ]
    taken = [(x - 6, y - 6, x + 6, y + 6) for _, _, x, y in cities]
    found = []
    for code, name, x, y in cities:
        wide = LETTER * len(code)
        sides = (
            ("start", x + GAP, y + 4.5, (x + GAP, y - LINE / 2, x + GAP + wide, y + LINE / 2)),
            ("end", x - GAP, y + 4.5, (x - GAP - wide, y - LINE / 2, x - GAP, y + LINE / 2)),
            ("middle", x, y - GAP, (x - wide / 2, y - GAP - LINE, x + wide / 2, y - GAP)),
            ("middle", x, y + GAP + 10, (x - wide / 2, y + GAP, x + wide / 2, y + GAP + LINE)),
        )
        free = next((side for side in sides if not any(_cover(side[3], other) for other in taken)), None)
        anchor, text_x, text_y, box = free or sides[0]
        if free is not None:
            taken.append(box)
        found.append(
            Mark(
                code=code, name=name, x=x, y=y, text_x=round(text_x, 1), text_y=round(text_y, 1), anchor=anchor,
                named=free is not None,
            )
        )  # fmt: skip
    return tuple(found)


Box = tuple[float, float, float, float]


def _cover(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]

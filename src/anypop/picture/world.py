"""The world as a picture: where a place stands on it, and where a name is written. Pure.

In: coordinates. Out: points of a picture of 960 by 480 (the Natural Earth projection of T. Patterson, in the polynomial
form of B. Savric and others, 2011), on which the coastlines of `land.svg` lie; places for names that cover neither each
other nor what is drawn.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from math import asin, cos, radians, sin, sqrt

WIDTH, HEIGHT = 960, 480
# as script/assets draws the coastlines
SCALE, LEFT, TOP = 175.0, 480.0, 262.0

LETTER, LINE = 9.0, 14.0  # of a name, in units of the picture
GAP = 8.0
DOT = 6.0  # half of the room that a place takes

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Where a name is written. `anchor`: which end of it stands at `x`."""

    x: float
    y: float
    anchor: str
    box: Box


def place(latitude: float, longitude: float) -> tuple[float, float]:
    """A point of the picture for degrees north and east."""
    lat, lon = radians(latitude), radians(longitude)
    p2 = lat * lat
    p4 = p2 * p2
    across = lon * (0.8707 - 0.131979 * p2 + p4 * (-0.013791 + p4 * (0.003971 * p2 - 0.001529 * p4)))
    up = lat * (1.007226 + p2 * (0.015085 + p4 * (-0.044475 + 0.028874 * p2 - 0.005916 * p4)))
    return round(LEFT + SCALE * across, 1), round(TOP - SCALE * up, 1)


def distance_km(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Great circle between two places of degrees north and east (haversine, a sphere of 6371 km)."""
    (lat_a, lon_a), (lat_b, lon_b) = a, b
    phi_a, phi_b = radians(lat_a), radians(lat_b)
    chord = sin((phi_b - phi_a) / 2) ** 2 + cos(phi_a) * cos(phi_b) * sin(radians(lon_b - lon_a) / 2) ** 2
    return 2 * 6371.0 * asin(min(1.0, sqrt(chord)))


def around(x: float, y: float, half: float = DOT) -> Box:
    """The room that a place itself takes."""
    return x - half, y - half, x + half, y + half


def labels(
    places: Sequence[tuple[str, float, float]], taken: Collection[Box] = (), spared: Collection[Box] = ()
) -> list[Label | None]:
    """For each name with its point the first of ten sides where it covers neither a name nor anything `taken`, names
    that stand first in the list first; what is `spared` is covered where there is no other side. None: there is no
    room for it.
    """
    full = list(taken)
    found: list[Label | None] = []
    for name, x, y in places:
        wide = LETTER * len(name)
        sides = (
            ("start", x + GAP, y + 4.5, (x + GAP, y - LINE / 2, x + GAP + wide, y + LINE / 2)),
            ("end", x - GAP, y + 4.5, (x - GAP - wide, y - LINE / 2, x - GAP, y + LINE / 2)),
            ("middle", x, y - GAP, (x - wide / 2, y - GAP - LINE, x + wide / 2, y - GAP)),
            ("middle", x, y + GAP + 10, (x - wide / 2, y + GAP, x + wide / 2, y + GAP + LINE)),
            *_aslant(x, y, wide),
        )
        free = [side for side in sides if not any(_cover(side[3], other) for other in full)]
        if not free:
            found.append(None)
            continue
        anchor, text_x, text_y, box = min(free, key=lambda side: any(_cover(side[3], other) for other in spared))
        full.append(box)
        found.append(Label(x=round(text_x, 1), y=round(text_y, 1), anchor=anchor, box=box))
    return found


def _aslant(x: float, y: float, wide: float) -> Iterator[tuple[str, float, float, Box]]:
    """Further sides: a line above and below, on the right, on the left and over the place."""
    across = (("start", x + GAP, x + GAP), ("end", x - GAP, x - GAP - wide), ("middle", x, x - wide / 2))
    for anchor, text_x, left in across:
        rows = (y + 32.5, y - 22.5) if anchor == "middle" else (y + 4.5 + LINE, y + 4.5 - LINE)
        for text_y in rows:
            top = text_y - 4.5 - LINE / 2
            yield anchor, text_x, text_y, (left, top, left + wide, top + LINE)


def _cover(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]

"""Ways between places as great circles, bundled where they lead to one place from the same side. Pure.

In: pairs of places. Out: for each pair the lines of its way in the picture: more than one where it crosses the edge of
the map. Ways of a bundle leave their own place and run together the longer they go, as rivers do, so that fifty of them
are one thick line with fifty springs instead of a web.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import acos, asin, atan2, cos, degrees, pi, radians, sin, sqrt

from anypop.picture.world import place

Place = tuple[float, float]  # degrees north, degrees east
Line = tuple[tuple[float, float], ...]
_Vector = tuple[float, float, float]

STEPS = 48  # of a way: less than 4 degrees each, smooth at any size
SIDE = radians(25)  # ways that arrive within this angle are of one bundle
NEAR = radians(4)  # nearer than this no way is bundled: it would bend more than it runs
TOGETHER = 0.6  # of the way: from here on a bundle is one line


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """From a place to where it leads."""

    begin: Place
    end: Place


@lru_cache(maxsize=16)  # places stay where they are while what is said of them changes
def drawn(ways: tuple[Way, ...]) -> tuple[tuple[Line, ...], ...]:
    """The lines of each way, in the order of `ways`. One that leads nowhere else has none."""
    trunks: dict[int, _Vector] = {}
    for bundle in _bundles(ways):
        middle = _unit(tuple(map(sum, zip(*(_vector(ways[index].begin) for index in bundle), strict=True))))
        trunks |= dict.fromkeys(bundle, middle)
    return tuple(_lines(way, trunks.get(index)) for index, way in enumerate(ways))


def _bundles(ways: Sequence[Way]) -> Iterator[list[int]]:
    """Ways to one place from one side, two or more."""
    ends: dict[Place, list[tuple[float, int]]] = {}
    for index, way in enumerate(ways):
        if _angle(_vector(way.begin), _vector(way.end)) > NEAR:
            ends.setdefault(way.end, []).append((_bearing(way.end, way.begin), index))
    for members in ends.values():
        bundle: list[tuple[float, int]] = []
        for one in sorted(members):
            if bundle and one[0] - bundle[0][0] > SIDE:
                yield [index for _, index in bundle]
                bundle = []
            bundle.append(one)
        yield [index for _, index in bundle]


def _lines(way: Way, trunk: _Vector | None) -> tuple[Line, ...]:
    begin, end = _vector(way.begin), _vector(way.end)
    if _angle(begin, end) < radians(0.3):  # the place itself
        return ()
    points = []
    for step in range(STEPS + 1):
        part = step / STEPS
        point = _between(begin, end, part)
        if trunk is not None:
            near = min(1.0, part / TOGETHER)
            near = near * near * (3 - 2 * near)
            other = _between(trunk, end, part)
            point = _unit(tuple(a * (1 - near) + b * near for a, b in zip(point, other, strict=True)))
        points.append(_place(point))
    return tuple(tuple(place(*one) for one in line) for line in _within_the_map(points))


def _within_the_map(points: Iterable[Place]) -> Iterator[list[Place]]:
    """Cut where a way leaves the map on one side and comes back on the other."""
    line: list[Place] = []
    for lat, lon in points:
        if line and abs(lon - line[-1][1]) > 180:
            edge = 180.0 if line[-1][1] > 0 else -180.0
            yield [*line, (lat, edge)]
            line = [(lat, -edge)]
        line.append((lat, lon))
    yield line


def _vector(at: Place) -> _Vector:
    lat, lon = radians(at[0]), radians(at[1])
    return cos(lat) * cos(lon), cos(lat) * sin(lon), sin(lat)


def _place(vector: _Vector) -> Place:
    x, y, z = vector
    return degrees(asin(max(-1.0, min(1.0, z)))), degrees(atan2(y, x))


def _unit(vector: Sequence[float]) -> _Vector:
    x, y, z = vector
    length = sqrt(x * x + y * y + z * z) or 1.0
    return x / length, y / length, z / length


def _angle(a: _Vector, b: _Vector) -> float:
    return acos(max(-1.0, min(1.0, sum(x * y for x, y in zip(a, b, strict=True)))))


def _between(a: _Vector, b: _Vector, part: float) -> _Vector:
    """On the great circle from `a` to `b`."""
    angle = _angle(a, b)
    if sin(angle) < 1e-9:
        return b
    first, second = sin((1 - part) * angle) / sin(angle), sin(part * angle) / sin(angle)
    return _unit(tuple(first * x + second * y for x, y in zip(a, b, strict=True)))


def _bearing(here: Place, there: Place) -> float:
    """In which direction it lies: 0 to 2 pi, clockwise from north."""
    lat_a, lat_b, turn = radians(here[0]), radians(there[0]), radians(there[1] - here[1])
    across = sin(turn) * cos(lat_b)
    up = cos(lat_a) * sin(lat_b) - sin(lat_a) * cos(lat_b) * cos(turn)
    return atan2(across, up) % (2 * pi)

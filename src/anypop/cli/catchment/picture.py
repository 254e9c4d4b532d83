"""A prediction as a map: SVG text out, with nothing that would have to be fetched. Pure.

The world in equirectangular projection, its land drawn by the world's airports (a grey dot for each square degree that
has one); each city with networks as a pie of the PoPs where they land, as large as its share, pale where a slice is
mostly a tie; a thin line to the PoP of the largest slice where that is not the nearest; PoPs as named rings.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from math import cos, pi, sin

import airportsdata
import numpy as np

from anypop.model.cities import City, find_city
from anypop.routing.catchment.predict import Prediction

_WIDTH, _MAP, _TOP = 1440, 600, 56  # 4 pixels a degree; latitudes from 84 north to 66 south: nobody lives beyond
_NORTH = 84.0
# Colours that stay apart for colour-blind eyes (Okabe and Ito), then steps of hue for more PoPs than that.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#7f3fbf")
_NOWHERE = "#9a9a9a"
_LARGEST = 22.0  # radius of the dot of a city with a tenth of everybody


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dot:
    """One city: most of its weight lands in `pop` (index, -1: nowhere). `slices`: PoP, part of the city's weight,
    whether mostly a tie.
    """

    place: City
    weight: float
    pop: int
    slices: tuple[tuple[int, float, bool], ...]
    astray: bool
    words: str


def colour(index: int) -> str:
    """The colour of the PoP with this index."""
    if index < 0:
        return _NOWHERE
    return _COLOURS[index] if index < len(_COLOURS) else f"hsl({(index * 137.5) % 360:.0f},60%,42%)"


def draw(found: Prediction, *, title: str, onward: Mapping[str, str] | None = None) -> str:
    """The whole picture. `onward`: by PoP, which other one answers what comes in there."""
    dots = _dots(found)
    known = sum(dot.weight for dot in dots)
    legend_top = _TOP + _MAP
    shares = {share.name: share for share in found.by_pop()}
    columns = 6
    lines = -(-(len(found.pops) + 1) // columns)
    height = legend_top + 24 + 22 * lines + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        'font-size="14">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="34" font-size="20" fill="#222222">{escape(title)}</text>',
        f'<g transform="translate(0 {_TOP})"><rect width="{_WIDTH}" height="{_MAP}" fill="#f4f7fa"/>',
        _graticule(),
        f'<path d="{_land()}" stroke="#d3d7dc" stroke-width="3.6" stroke-linecap="round" fill="none"/>',
        *_lines(found, dots),
        *_circles(dots),
        *_rings(found),
        "</g>",
        *_legend(found, {pop: share.weight for pop, share in shares.items()}, legend_top + 24, columns, onward or {}),
    ]
    if known < 0.999:
        parts.append(
            f'<text x="{_WIDTH - 16}" y="34" text-anchor="end" fill="#666666">{100 * (1 - known):.0f} % in unknown '
            "places, not drawn</text>"
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _dots(found: Prediction) -> list[_Dot]:
    """The largest first, so that small ones are drawn over them."""
    members: dict[str, list[int]] = defaultdict(list)
    for site, city in enumerate(found.internet.city):
        members[city].append(site)
    dots: list[_Dot] = []
    for city, sites in members.items():
        place = find_city(city)
        if place is None:
            continue
        index = np.array(sites)
        weight = found.weight[index]
        landed = found.pop[index]
        total = float(weight.sum()) or 1.0
        slices = [
            (
                int(pop),
                float(weight[landed == pop].sum()) / total,
                bool((found.level[index[landed == pop]] == 2).mean() > 0.5),
            )
            for pop in np.unique(landed)
        ]
        slices.sort(key=lambda part: -part[1])
        pop = slices[0][0]
        words = f"{place.name}: " + ", ".join(f"{100 * part:.0f} % to {_name(found, to)}" for to, part, _ in slices)
        astray = bool(pop >= 0 and (found.nearest[index[landed == pop]] != pop).any())
        dots.append(
            _Dot(place=place, weight=float(weight.sum()), pop=pop, slices=tuple(slices), astray=astray, words=words)
        )
    return sorted(dots, key=lambda dot: -dot.weight)


def _name(found: Prediction, pop: int) -> str:
    return str(found.pops[pop]) if pop >= 0 else "no route"


def _x(longitude: float) -> float:
    return round((longitude + 180) * _WIDTH / 360, 1)


def _y(latitude: float) -> float:
    return round((_NORTH - latitude) * _WIDTH / 360, 1)


def _graticule() -> str:
    across = [f"M0 {_y(latitude)}H{_WIDTH}" for latitude in (60, 30, 0, -30)]
    down = [f"M{_x(longitude)} 0V{_MAP}" for longitude in range(-150, 180, 30)]
    return f'<path d="{"".join([*across, *down])}" stroke="#e6ebf0" fill="none"/>'


@cache
def _land() -> str:
    """A point for each square degree with an airport: together they show the continents."""
    cells = {(round(row["lat"]), round(row["lon"])) for row in airportsdata.load("ICAO").values()}
    return "".join(f"M{_x(lon):g} {_y(lat):g}h0" for lat, lon in sorted(cells) if -65 < lat < _NORTH)


def _lines(found: Prediction, dots: list[_Dot]) -> list[str]:
    """From cities to a PoP that is not the nearest one of all who land there."""
    lines = []
    for dot in dots:
        home = find_city(found.pops[dot.pop]) if dot.pop >= 0 and dot.astray else None
        if home is None or home.code == dot.place.code:
            continue
        here, there = dot.place.longitude, home.longitude
        # The shorter way round: over the date line it leaves the map on one side and comes back on the other.
        turn = 360.0 if here - there > 180 else -360.0 if there - here > 180 else 0.0
        for shift in (0.0, -turn) if turn else (0.0,):
            ends = (
                f'x1="{_x(here + shift)}" y1="{_y(dot.place.latitude)}" x2="{_x(there + turn + shift)}" '
                f'y2="{_y(home.latitude)}"'
            )
            lines.append(f'<line {ends} stroke="{colour(dot.pop)}" stroke-width="1" stroke-opacity="0.45"/>')
    return lines


def _circles(dots: list[_Dot]) -> list[str]:
    circles = []
    for dot in dots:
        radius = round(max(3.0, min(_LARGEST, _LARGEST * (dot.weight / 0.1) ** 0.5)), 1)
        x, y = _x(dot.place.longitude), _y(dot.place.latitude)
        circles.append(f"<g><title>{escape(dot.words)}</title>")
        circles.append(f'<circle cx="{x}" cy="{y}" r="{radius}" fill="#ffffff" stroke="{colour(dot.pop)}"/>')
        begin = 0.0
        for pop, part, tied in dot.slices:
            paint = f'fill="{colour(pop)}" fill-opacity="{0.3 if tied else 0.8}"'
            if part > 0.999:
                circles.append(f'<circle cx="{x}" cy="{y}" r="{radius}" {paint}/>')
            elif part > 0.01:  # thinner than anybody can see
                circles.append(f'<path d="{_wedge(x, y, radius, begin, begin + part)}" {paint}/>')
            begin += part
        circles.append("</g>")
    return circles


def _wedge(x: float, y: float, radius: float, begin: float, end: float) -> str:
    """A slice from `begin` to `end`, in turns, clockwise from the top."""
    (ax, ay), (bx, by) = ((x + radius * sin(2 * pi * turn), y - radius * cos(2 * pi * turn)) for turn in (begin, end))
    return f"M{x} {y}L{ax:.1f} {ay:.1f}A{radius} {radius} 0 {int(end - begin > 0.5)} 1 {bx:.1f} {by:.1f}Z"


def _rings(found: Prediction) -> list[str]:
    announcing = found.announcements.pops
    rings = []
    taken: list[tuple[float, float]] = []
    for index, pop in enumerate(found.pops):
        place = find_city(pop)
        if place is None or pop not in announcing:
            continue
        x, y = _x(place.longitude), _y(place.latitude)
        rings.append(f'<circle cx="{x}" cy="{y}" r="6" fill="{colour(index)}" stroke="#ffffff" stroke-width="2"/>')
        # A name to the right of its ring, or else to the left, or else below: three letters are 32 wide and 14 high.
        spots = [(x + 9, y - 7), (x - 41, y - 7), (x + 9, y + 18), (x - 41, y + 18)]
        at = next((s for s in spots if all(abs(s[0] - t[0]) > 36 or abs(s[1] - t[1]) > 14 for t in taken)), spots[0])
        taken.append(at)
        rings.append(
            f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" font-weight="bold" fill="#111111" stroke="#ffffff" '
            'stroke-width="3" '
            f'paint-order="stroke">{escape(pop)}</text>'
        )
    return rings


def _legend(
    found: Prediction, shares: dict[str, float], top: int, columns: int, onward: Mapping[str, str]
) -> list[str]:
    entries = [(index, str(pop), shares.get(str(pop), 0.0)) for index, pop in enumerate(found.pops)]
    entries.sort(key=lambda entry: -entry[2])
    if shares.get("", 0.0) > 0:
        entries.append((-1, "no route", shares[""]))
    parts = []
    for number, (index, name, share) in enumerate(entries):
        x, y = 24 + (number % columns) * (_WIDTH - 48) // columns, top + 22 * (number // columns)
        parts.append(f'<circle cx="{x}" cy="{y}" r="7" fill="{colour(index)}"/>')
        then = f", answered in {onward[name]}" if name in onward else ""
        parts.append(f'<text x="{x + 14}" y="{y + 5}" fill="#222222">{escape(name)} {100 * share:.1f} %{then}</text>')
    bottom = top + 22 * (-(-len(entries) // columns)) + 4
    parts.append(
        f'<text x="24" y="{bottom}" fill="#666666" font-size="12">pie: networks of a city, as large as their share, by '
        "PoP; "
        "pale: mostly ties; line: the largest slice lands elsewhere than in its nearest PoP; "
        "grey dots: the world's airports, for orientation</text>"
    )
    return parts

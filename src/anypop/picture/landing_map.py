"""Where places land, as a map: PoPs, arcs from each place to the PoP that it reaches, the strayed ones marked. Pure.

In: PoPs with how they are, places with where they land, when that was seen and by what. Out: SVG text: with links and
classes for a page that brings its own style, or whole with its looks written into it for a file. A state is told by a
shape as well as by a colour, a strayed arc is dashed and its place is a diamond: no picture needs colours to be read.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from html import escape

from anypop.picture.arcs import Line, Way, drawn
from anypop.picture.world import DOT, around, labels, place

TOP, SHOWN = 20, 440  # of the picture: nobody lives above or below
MOST_NAMED = 24  # places; more would be text alone

# The style of a picture that stands alone, class by class, in the portal's light colours. A later line overrides an
# earlier one; attributes, since a style sheet inside is what a careful page or viewer leaves out.
_INK, _QUIET, _SEA, _ACT, _BAD = "#15191e", "#56616d", "#f4f6f8", "#0b5cad", "#b33600"
LOOKS: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("sea", {"fill": _SEA}),
    ("land", {"fill": "#d9dfe5"}),
    ("arc", {"fill": "none", "stroke": _ACT, "stroke-width": "1.6", "stroke-opacity": ".75"}),
    ("arc model", {"stroke-width": "1.2", "stroke-opacity": ".5"}),
    ("arc was", {"stroke": _QUIET, "stroke-width": "1.2", "stroke-dasharray": "2 4"}),
    ("arc moved", {"stroke-width": "2.4", "stroke-opacity": "1"}),
    ("arc astray", {"stroke": _BAD, "stroke-width": "2.4", "stroke-dasharray": "7 4", "stroke-opacity": "1"}),
    ("place", {"fill": "#ffffff", "stroke": _ACT, "stroke-width": "1.6"}),
    ("place astray", {"fill": _BAD, "stroke": "#ffffff"}),
    ("place lost", {"fill": "#ffffff", "stroke": _BAD}),
    ("flow", {"fill": _ACT, "fill-opacity": ".18"}),
    ("home", {"fill": "none", "stroke": _ACT, "stroke-width": "1.6"}),
    ("pop", {"stroke": "#ffffff", "stroke-width": "2"}),
    ("pop good", {"fill": "#00705a"}),
    ("pop way", {"fill": "#805500"}),
    ("pop bad", {"fill": _BAD}),
    ("pop off", {"fill": "#ffffff", "stroke": _QUIET}),
    ("name", {"fill": _INK, "font-weight": "600"}),
    ("strayed", {"fill": _BAD, "font-weight": "600"}),
    ("of", {"fill": _QUIET}),
    ("caption", {"fill": _QUIET, "font-size": "12"}),
)
_TEXTS = 'font-family="sans-serif" font-size="13" paint-order="stroke" stroke-linejoin="round"'
_CLASS = re.compile(r'<(\w+) class="([\w ]+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A PoP. `style`: good, way (drained, starting), bad or off (nothing is known of it). `share`: its part of the
    traffic, from 0 (or not known) to 1.
    """

    code: str
    latitude: float
    longitude: float
    style: str
    says: str
    share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """A place and the PoP where it lands; empty: nowhere. `astray`: much further than it need be. `link`: where its
    explanation is. `by_model`: predicted, not seen. `was`: where it lands now, of one that a change would move.
    """

    name: str
    latitude: float
    longitude: float
    pop: str
    astray: bool
    says: str
    link: str = ""
    by_model: bool = False
    was: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """`caption`: when it was seen and by what, or by which graph it is predicted."""

    title: str
    caption: str
    sites: tuple[Site, ...]
    flights: tuple[Flight, ...]


@lru_cache(maxsize=16)  # however many look at one picture, it is drawn once
def inside(picture: Picture) -> str:
    """What lies on the coastlines."""
    return "\n".join(_parts(picture))


def whole(picture: Picture, land: str) -> str:
    """A file of its own. `land`: the coastlines, as the data of a path."""
    unlinked = replace(picture, flights=tuple(replace(one, link="") for one in picture.flights))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 {TOP} 960 {SHOWN}" role="img">\n'
        f"<title>{escape(picture.title)}</title>\n"
    )
    body = (
        f'<rect class="sea" y="{TOP}" width="960" height="{SHOWN}"/>\n<path class="land" d="{escape(land)}"/>\n'
        f"<g {_TEXTS}>\n{inside(unlinked)}\n</g>"
    )
    return f"{head}{_CLASS.sub(_looks, body)}\n</svg>\n"


def _looks(found: re.Match[str]) -> str:
    """The attributes of an element's classes in their place."""
    tag, classes = found[1], set(found[2].split())
    attributes: dict[str, str] = {"stroke": _SEA, "stroke-width": "3"} if tag == "text" else {}
    for wanted, look in LOOKS:
        if classes.issuperset(wanted.split()):
            attributes |= look
    told = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f'<{tag} data-is="{found[2]}"{told}'


def _parts(picture: Picture) -> Iterator[str]:
    at = {site.code: site for site in picture.sites}
    landing = [f for f in picture.flights if f.pop in at]
    ways = tuple(
        Way(begin=(f.latitude, f.longitude), end=(at[f.pop].latitude, at[f.pop].longitude)) for f in landing
    )  # fmt: skip
    lines = drawn(ways)
    moved = [f for f in picture.flights if f.was in at]
    before = tuple(
        Way(begin=(f.latitude, f.longitude), end=(at[f.was].latitude, at[f.was].longitude)) for f in moved
    )  # fmt: skip
    for parts in drawn(before) if before else ():
        if parts:
            yield f'<path class="arc was" d="{_data(parts)}"/>'
    # strayed ones last, so that nothing lies over them
    for flight, parts in sorted(zip(landing, lines, strict=True), key=lambda one: one[0].astray):
        if parts:
            yield _linked(flight, _arc(flight, parts))
    homes = {f.pop for f, parts in zip(landing, lines, strict=True) if not parts}
    for flight in sorted(picture.flights, key=lambda one: one.astray):
        if flight.pop not in homes or flight.astray or not _is_at(flight, at[flight.pop]):
            yield _linked(flight, _place(flight, picture.sites))
    for site in picture.sites:
        yield _site(site, home=site.code in homes)
    yield from _names(picture, [point for parts in lines for line in parts for point in line])
    yield f'<text class="caption" x="12" y="{TOP + SHOWN - 12}">{escape(picture.caption)}</text>'


def _is_at(flight: Flight, site: Site) -> bool:
    return abs(flight.latitude - site.latitude) < 1 and abs(flight.longitude - site.longitude) < 1


def _linked(flight: Flight, drawing: str) -> str:
    body = f"<title>{escape(flight.says)}</title>{drawing}"
    if not flight.link:
        return f"<g>{body}</g>"
    return f'<a href="{escape(flight.link)}" aria-label="{escape(flight.says)}" tabindex="-1">{body}</a>'


def _classes(kind: str, flight: Flight) -> str:
    more = (
        (" astray" if flight.astray else "")
        + ("" if flight.pop else " lost")
        + (" model" if flight.by_model else "")
        + (" moved" if flight.was else "")
    )
    return f'class="{kind}{more}"'


def _arc(flight: Flight, parts: Sequence[Line]) -> str:
    data = _data(parts)
    # a finger or a pointer needs more than a line is wide
    reach = f'<path class="reach" d="{data}" fill="none" stroke="none"/>' if flight.link else ""
    return f'{reach}<path {_classes("arc", flight)} d="{data}"/>'


def _data(parts: Sequence[Line]) -> str:
    return "".join("M" + "L".join(f"{x:g} {y:g}" for x, y in line) for line in parts)


def _place(flight: Flight, sites: Sequence[Site]) -> str:
    x, y = place(flight.latitude, flight.longitude)
    if flight.astray or not flight.pop:
        # where a PoP stands too, both are to be seen
        half = 11 if any(_is_at(flight, site) for site in sites) else 6
        shape = f"M{x} {y - half:g}l{half} {half}l-{half} {half}l-{half} -{half}z"
        return f'<path {_classes("place", flight)} d="{shape}"/>'
    radius = 2.5 if flight.by_model else 3.5
    return f'<circle {_classes("place", flight)} cx="{x}" cy="{y}" r="{radius}"/>'


def flow_radius(share: float) -> float:
    """Of the disc that tells a PoP's part of the traffic: its area grows with that; 0: none is drawn."""
    return round((49 + 1300 * min(1.0, share)) ** 0.5, 1) if share > 0 else 0.0


def _site(site: Site, *, home: bool) -> str:
    x, y = place(site.latitude, site.longitude)
    # there without a share too: a page may hear of it later
    flow = f'<circle class="flow" data-flow="{escape(site.code)}" cx="{x}" cy="{y}" r="{flow_radius(site.share):g}"/>'
    ring = f'<circle class="home" cx="{x}" cy="{y}" r="9.5"/>' if home else ""
    shapes = {
        "way": f'<path class="pop way" d="M{x} {y - 7:g}l7 12h-14z"/>',
        "bad": f'<path class="pop bad" d="M{x - 5.5:g} {y - 5.5:g}h11v11h-11z"/>',
        "off": f'<circle class="pop off" cx="{x}" cy="{y}" r="5"/>',
    }
    shape = shapes.get(site.style, f'<circle class="pop good" cx="{x}" cy="{y}" r="6"/>')
    return f"<g><title>{escape(site.says)}</title>{flow}{ring}{shape}</g>"


def _names(picture: Picture, on_arcs: Sequence[tuple[float, float]]) -> Iterator[str]:
    """PoPs first, then places that strayed, then the others as far as there is room beside places and arcs."""
    sites = [(site.code, *place(site.latitude, site.longitude)) for site in picture.sites]
    flights = sorted(picture.flights, key=lambda one: not one.astray)
    codes = {site.code for site in picture.sites}
    named = [f for f in flights if f.astray or (len(flights) <= MOST_NAMED and f.name not in codes)][:MOST_NAMED]
    places = [(f.name, *place(f.latitude, f.longitude)) for f in named]
    taken = [around(x, y, DOT + 1) for _, x, y in (*sites, *places)]
    found = labels([*sites, *places], taken, [around(x, y, 1) for x, y in on_arcs])
    kinds = ["name"] * len(sites) + ["strayed" if f.astray else "of" for f in named]
    for (text, _, _), label, kind in zip([*sites, *places], found, kinds, strict=True):
        if label is not None:
            yield (
                f'<text class="{kind}" x="{label.x}" y="{label.y}" text-anchor="{label.anchor}">{escape(text)}</text>'
            )

"""A change of announcements in waves: one PoP after another, with what each vantage should see after each.

In: the graph, what is announced now, the scopes wanted, the vantages and where each lands now. Out: `Wave`s in the
order that takes nobody further than needed, and `Doubt`s where the model is wrong already. Whether it then came true is
for whoever carries the waves out. Pure; the types need no numpy, working them out does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING

from anypop.model.announce import Scope
from anypop.model.cities import city_of_pop, distance_km
from anypop.model.sessions import Announcements

if TYPE_CHECKING:
    from anypop.advice.graph import Graph

Key = tuple[str, str]  # PoP and upstream's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """The scopes that one PoP gets. `expected`: per vantage the PoPs where it may land afterwards."""

    pop: str
    scopes: Mapping[Key, Scope]
    expected: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewpoint:
    """A place to test from: its network and its city."""

    name: str
    asn: int
    city: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A vantage whose present place the model gets wrong. `seen`: where it lands, empty: in no PoP."""

    vantage: str
    predicted: frozenset[str]
    seen: str

    @property
    def says(self) -> str:
        return (
            f"the model is wrong about {self.vantage} ({' or '.join(sorted(self.predicted))}, but it lands in "
            f"{self.seen or 'no PoP'}): "
            "it is only watched for not landing further away"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Waves:
    """The whole change."""

    waves: tuple[Wave, ...]
    doubts: tuple[Doubt, ...]


def waves_of(
    graph: "Graph",
    now: Announcements,
    scopes: Mapping[Key, Scope],
    viewpoints: Sequence[Viewpoint],
    seen: Mapping[str, str | None],
) -> Waves:
    """One wave for each PoP whose scopes change. `seen`: where each vantage lands now. Raises `Invalid` for sessions
    that the graph does not have.
    """
    doubts = tuple(
        Doubt(vantage=vantage, predicted=wanted, seen=seen.get(vantage) or "")
        for vantage, wanted in _predicted(graph, now, viewpoints).items()
        if seen.get(vantage) not in wanted
    )
    found: list[Wave] = []
    done: dict[Key, Scope] = {}
    left = list(dict.fromkeys(key[0] for key in scopes))
    while left:
        # First what hurts least while the others are still to come: everybody passes through every state on the way.
        tried = {pop: {key: scope for key, scope in scopes.items() if key[0] == pop} for pop in left}
        pop = min(left, key=lambda one: _suffering(graph, now.with_scopes(done | tried[one]), now))
        left.remove(pop)
        done |= tried[pop]
        then = now.with_scopes(done)
        expected = _predicted(graph, then, viewpoints) | _not_further(then, doubts, viewpoints)
        found.append(Wave(pop=pop, scopes=tried[pop], expected=expected))
    return Waves(waves=tuple(found), doubts=doubts)


def _suffering(graph: "Graph", then: Announcements, now: Announcements) -> float:
    """How far beyond its nearest PoP of now everybody lands on average."""
    from anypop.advice.question import predicted  # noqa: PLC0415 - numpy; see the module

    mean = predicted(graph, then, now.pops).mean_extra_km
    return 0.0 if isnan(mean) else mean


def _predicted(
    graph: "Graph", announcements: Announcements, viewpoints: Sequence[Viewpoint]
) -> dict[str, frozenset[str]]:
    """Per vantage where it may land. One that the graph does not have is left out."""
    from anypop.advice.question import predicted  # noqa: PLC0415 - numpy; see the module

    prediction = predicted(graph, announcements, announcements.pops)
    found: dict[str, frozenset[str]] = {}
    for place in viewpoints:
        site = _site_of(graph, place)
        if site is not None:
            row = prediction.row(site)
            found[place.name] = frozenset(row.ties or ([row.pop] if row.pop else []))
    return found


def _not_further(
    then: Announcements, doubts: Sequence[Doubt], viewpoints: Sequence[Viewpoint]
) -> dict[str, frozenset[str]]:
    """Per doubted vantage the PoPs that are no further from it than the one where it lands."""
    homes = {place.name: place.city for place in viewpoints}
    pops = sorted({session.pop for session in then.sessions})
    return {
        doubt.vantage: frozenset(
            pop for pop in pops if _km(homes[doubt.vantage], pop) <= _km(homes[doubt.vantage], doubt.seen)
        )
        for doubt in doubts
    }


def _site_of(graph: "Graph", place: Viewpoint) -> int | None:
    """The site of a network in the vantage's city, or its nearest one; None when the graph does not have the
    network.
    """
    sites = graph.internet.sites_of(place.asn)
    exact = [site for site in sites if graph.internet.city[site] == place.city]
    if exact or not sites:
        return exact[0] if exact else None
    return min(sites, key=lambda site: _km(place.city, graph.internet.city[site]))


def _km(a: str, b: str) -> float:
    here, there = city_of_pop(a), city_of_pop(b)
    return distance_km(here, there) if here is not None and there is not None else float("inf")

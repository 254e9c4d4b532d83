"""A prediction as a map in a file: PoPs with how large their part is, and where the networks of each city land. Pure.

In: a prediction. Out: SVG text, drawn as the portal draws its map (`anypop.picture`), with nothing that would have to
be fetched. An arc leads from a city to the PoP where most of its networks land, and to where a good part strays: to a
PoP more than `FAR_KM` further than the nearest, as for the doctor.
"""

from collections.abc import Iterator, Mapping

from anypop.model.cities import City, city_of_pop, find_city
from anypop.picture.land import land
from anypop.picture.landing_map import Flight, Picture, Site, whole
from anypop.picture.world import distance_km
from anypop.routing.catchment.predict import Prediction
from anypop.routing.catchment.strays import FAR_KM

MOST_CITIES = 300  # the heaviest; more arcs are one grey
GOOD_PART = 0.25
MOST_SHARES = 8


def draw(found: Prediction, *, title: str, graph: str, onward: Mapping[str, str] | None = None) -> str:
    """The whole picture. `onward`: by PoP, which other one answers what comes in there."""
    shares = {share.name: share.weight for share in found.by_pop()}
    homes = {str(pop): place for pop in sorted(found.announcements.pops) if (place := city_of_pop(pop)) is not None}
    sites = tuple(
        Site(
            code=pop, latitude=home.latitude, longitude=home.longitude, style="good", share=shares.get(pop, 0.0),
            says=_answered(pop, shares.get(pop, 0.0), onward or {}),
        )
        for pop, home in homes.items()
    )  # fmt: skip
    flights, drawn = _flights(found, homes)
    largest = sorted(shares.items(), key=lambda one: -one[1])[:MOST_SHARES]
    caption = f"predicted, {graph}: " + ", ".join(f"{name or 'no route'} {100 * part:.1f} %" for name, part in largest)
    if drawn < 0.999:
        caption += f"; {100 * (1 - drawn):.0f} % in unknown places or too small, not drawn"
    return whole(Picture(title=title, caption=caption, sites=sites, flights=flights), land())


def _answered(pop: str, share: float, onward: Mapping[str, str]) -> str:
    then = f", answered in {onward[pop]}" if pop in onward else ""
    return f"{pop}: {100 * share:.1f} %{then}"


def _flights(found: Prediction, homes: Mapping[str, City]) -> tuple[tuple[Flight, ...], float]:
    """The heaviest cities, and which part of everybody they are."""
    cities: dict[str, dict[str, float]] = {}
    for city, pop, weight in zip(found.internet.city, found.pop, found.weight, strict=True):
        lands, parts = str(found.pops[pop]) if pop >= 0 else "", cities.setdefault(city, {})
        parts[lands] = parts.get(lands, 0.0) + float(weight)
    rows = sorted(cities.items(), key=lambda one: (-sum(one[1].values()), one[0]))
    placed = [(place, parts) for city, parts in rows if (place := find_city(city)) is not None][:MOST_CITIES]
    flights = tuple(flight for one in placed for flight in _of_city(*one, homes))
    return flights, sum(sum(parts.values()) for _, parts in placed)


def _of_city(place: City, parts: Mapping[str, float], homes: Mapping[str, City]) -> Iterator[Flight]:
    """To where most of it lands, and to where a good part strays; the others are in its words."""
    here, total = (place.latitude, place.longitude), sum(parts.values()) or 1.0
    rows = sorted(parts.items(), key=lambda one: (-one[1], one[0]))
    away = {pop: distance_km(here, (home.latitude, home.longitude)) for pop, home in homes.items()}
    says = ", ".join(f"{100 * weight / total:.0f} % to {pop or 'nowhere'}" for pop, weight in rows)
    for number, (lands, weight) in enumerate(rows):
        astray = lands in away and away[lands] - min(away.values()) > FAR_KM
        if number == 0 or (astray and weight / total >= GOOD_PART):
            yield Flight(
                name=place.name, latitude=place.latitude, longitude=place.longitude, pop=lands, astray=astray,
                by_model=True, says=f"{place.name}: {says}",
            )  # fmt: skip

"""Why a place lands where it lands: views of routers in, a chain of decisions with reasons out. The `why` of lab,
model and doctor alike.

`explain` walks from the vantage's router by each router's best route to the end, notes at every hop what was
rejected, by which step, and where that would have led. What decided is the last AS on the way that rejected a route
to the nearest PoP. Pure; the words come from `sentences`.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from anypop.model.cities import city_of_pop, distance_km, find_city, one_way_ms
from anypop.model.names import CityCode
from anypop.model.network import Network
from anypop.routing import sentences
from anypop.routing.decision import BIRD, Rules
from anypop.routing.follow import End, KnownRoutes, Landing, RouterView
from anypop.routing.why import Announced, Hop, Option, Why

__all__ = [
    "Announced",
    "End",
    "Hop",
    "Landing",
    "Option",
    "RouterView",
    "Why",
    "explain",
    "nearest_pop",
    "round_trip_ms",
]


def explain(
    views: Mapping[str, RouterView],
    start: str,
    *,
    vantage: str = "",
    nearest: CityCode | None = None,
    network: Network | None = None,
    rules: Rules = BIRD,
) -> Why:
    """Why traffic that enters at router `start` lands where it does.

    `vantage`: its name for people (default: the router's). `nearest`: the PoP it should reach; default the closest
    one by distance among the PoPs in `views`. `network` gives upstreams their names. An unknown `start` is a
    KeyError: ask only for routers that exist.
    """
    known_routes = KnownRoutes(views, rules)
    origin = views[start]
    best = known_routes.decision(start).best
    if origin.pop is not None:
        way = Landing(end=End.LANDED, pop=origin.pop)
    elif best is None:
        way = Landing(end=End.NO_ROUTE)
    else:
        way = known_routes.landing(start, best)
    passed = [start, *(name for name in way.routers if views[name].pop is None)]
    hops = tuple(_hop(known_routes, name) for name in dict.fromkeys(passed)) if origin.pop is None else ()
    nearest = nearest or nearest_pop(origin.city, (view.pop for view in views.values() if view.pop is not None))
    cities = (origin.city, *way.cities)
    rtt = round_trip_ms(cities)
    decisive = _decisive(hops, nearest) if way.pop != nearest else None
    if decisive is None:
        at, option, home = None, None, (origin.city, *([nearest] if nearest else []))
    else:
        at, option = decisive
        before = cities[: hops.index(at) + 1]
        home = (*before, *option.lands.cities)
    nearest_rtt = rtt if way.pop == nearest else round_trip_ms(home)
    arrived = way.pop is not None
    why = Why(
        vantage=vantage or start,
        start=start,
        end=way.end,
        landed=way.pop,
        nearest=nearest,
        hops=hops,
        decided_at_as=at.asn if at else None,
        decided_in=at.city if at else None,
        decided_by=option.eliminated_by if option else None,
        chosen=at.best if at else None,
        rejected=option.candidate if option else None,
        caused_by=_announced(views, start, way, network) if arrived else None,
        rtt_ms=rtt if arrived else 0.0,
        nearest_rtt_ms=nearest_rtt,
        extra_ms=max(0.0, round(rtt - nearest_rtt, 3)) if arrived else 0.0,
    )
    return sentences.told(why)


def nearest_pop(city: CityCode, pops: Iterable[CityCode]) -> CityCode | None:
    """The PoP closest to `city` by great circle; the first by name among equals. None when there is no PoP or the
    city is unknown.
    """
    here = find_city(city)
    if here is None:
        return None
    places = [(code, city_of_pop(code)) for code in sorted(set(pops))]
    return min(((distance_km(here, there), code) for code, there in places if there is not None), default=(0.0, None))[
        1
    ]


def round_trip_ms(cities: Sequence[CityCode]) -> float:
    """Round trip in ms along cities by their distances; a city without a known place adds nothing."""
    known = [place for place in map(city_of_pop, cities) if place is not None]
    return round(2 * sum(one_way_ms(distance_km(a, b)) for a, b in pairwise(known)), 3)


def _hop(known_routes: KnownRoutes, router: str) -> Hop:
    view, decision = known_routes.views[router], known_routes.decision(router)
    ordered = [(decision.best, None)] if decision.best is not None else []
    options = tuple(
        Option(
            candidate=known_routes.at_border(router, candidate),
            eliminated_by=step,
            lands=known_routes.landing(router, candidate),
        )
        for candidate, step in [*ordered, *((lost.candidate, lost.step) for lost in reversed(decision.eliminated))]
    )
    return Hop(
        router=router,
        asn=view.asn,
        city=view.city,
        options=options,
        best=options[0].candidate if options else None,
        step=decision.step,
        runner_up=known_routes.at_border(router, decision.runner_up) if decision.runner_up is not None else None,
        unexplained=decision.against,
    )


def _decisive(hops: Sequence[Hop], nearest: CityCode | None) -> tuple[Hop, Option] | None:
    """The last AS on the way that rejected a route to the nearest PoP; of its routers the first that did, since those
    behind it only follow.
    """
    found: tuple[Hop, Option] | None = None
    for hop in hops:
        homeward = [
            option for option in hop.options if option.eliminated_by is not None and option.lands.pop == nearest
        ]
        if homeward and (found is None or found[0].asn != hop.asn):
            found = hop, homeward[0]
    return found


def _announced(views: Mapping[str, RouterView], start: str, way: Landing, network: Network | None) -> Announced | None:
    if way.pop is None or not way.routers:
        return None
    before = views[way.routers[-2] if len(way.routers) > 1 else start]
    pop = network.pop(way.pop) if network is not None else None
    name = ""
    for upstream in pop.upstreams if pop is not None else ():
        if {str(upstream.neighbor4), str(upstream.neighbor6)} & before.addresses:
            name = upstream.name
    return Announced(pop=way.pop, upstream_asn=before.asn, upstream=name, router=before.router)

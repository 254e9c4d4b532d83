"""Why London lands in New York, from hand-made views of the article's routers; and ways that do not arrive."""

from dataclasses import replace
from ipaddress import ip_network

from anypop.model import codec
from anypop.model.names import CityCode
from anypop.model.route import Candidate, Relationship, Step
from anypop.routing.explain import Announced, End, RouterView, Why, explain, nearest_pop, round_trip_ms

PREFIX = ip_network("203.0.113.0/24")
CUSTOMER, PEER, PROVIDER = Relationship.CUSTOMER, Relationship.PEER, Relationship.PROVIDER
_PREFERENCE = {CUSTOMER: 300, PEER: 200, PROVIDER: 100, Relationship.INTERNAL: 0, Relationship.ORIGIN: 0}


def route(path: str, to: str, kind: Relationship, *, metric: int | None = None, best: bool = False) -> Candidate:
    """A candidate over the router `to`, whose address is its name; `metric` makes it internal."""
    return Candidate(
        prefix=PREFIX,
        as_path=tuple(map(int, path.split())),
        local_pref=_PREFERENCE[kind],
        ebgp=metric is None,
        igp_metric=metric or 0,
        next_hop=to,
        neighbor=to,
        relationship=kind if metric is None else Relationship.INTERNAL,
        best=best,
    )


def view(name: str, asn: int, city: str, *candidates: Candidate, pop: str = "") -> RouterView:
    return RouterView(
        router=name,
        asn=asn,
        city=CityCode(city),
        pop=CityCode(pop) if pop else None,
        addresses=frozenset({name}),
        candidates=candidates,
    )


def article() -> dict[str, RouterView]:
    """The routers that matter to London, as the article found them."""
    views = [
        view(
            "london",
            64601,
            "LHR",
            route("3356 209 33438", "3356-lhr", PROVIDER, best=True),
            route("2914 1299 33438", "2914-lhr", PROVIDER),
            route("3257 1299 33438", "3257-lhr", PROVIDER),
        ),
        view(
            "3356-lhr",
            3356,
            "LHR",
            route("1299 33438", "1299-lhr", PEER),
            route("209 33438", "3356-jfk", CUSTOMER, metric=55),
            route("209 33438", "3356-lax", CUSTOMER, metric=90),
        ),
        view(
            "3356-jfk",
            3356,
            "JFK",
            route("209 33438", "209-jfk", CUSTOMER),
            route("209 33438", "3356-lax", CUSTOMER, metric=40),
        ),
        view(
            "3356-lax",
            3356,
            "LAX",
            route("209 33438", "209-lax", CUSTOMER),
            route("209 33438", "3356-jfk", CUSTOMER, metric=40),
        ),
        view("2914-lhr", 2914, "LHR", route("1299 33438", "1299-lhr", PEER)),
        view("3257-lhr", 3257, "LHR", route("1299 33438", "1299-lhr", PEER)),
        view("1299-lhr", 1299, "LHR", route("33438", "pop-lhr", CUSTOMER)),
        view(
            "209-jfk", 209, "JFK", route("33438", "pop-jfk", CUSTOMER), route("33438", "209-lax", CUSTOMER, metric=40)
        ),
        view(
            "209-lax", 209, "LAX", route("33438", "pop-lax", CUSTOMER), route("33438", "209-jfk", CUSTOMER, metric=40)
        ),
        *(view(f"pop-{city.lower()}", 33438, city, pop=city) for city in ("AMS", "LHR", "JFK", "LAX")),
    ]
    return {item.router: item for item in views}


def test_london_lands_in_new_york_by_local_preference_of_3356() -> None:
    """The case that started it, with its numbers and its words."""
    why = explain(article(), "london", vantage="London")
    assert (why.end, why.landed, why.nearest) == (End.LANDED, "JFK", "LHR")
    assert (why.decided_at_as, why.decided_in, why.decided_by) == (3356, "LHR", Step.LOCAL_PREFERENCE)
    assert [hop.router for hop in why.hops] == ["london", "3356-lhr", "3356-jfk", "209-jfk"]
    assert why.caused_by == Announced(pop=CityCode("JFK"), upstream_asn=209, router="209-jfk")
    assert why.candidates[0].candidate.as_path == (3356, 209, 33438) and why.candidates[0].eliminated_by is None
    assert why.sentences[0] == (
        "AS3356 in London prefers the customer route 209 33438 (local preference 300), learnt in JFK, over the peer "
        "route 1299 33438 (200)."
    )
    assert why.sentences[1] == "London lands in JFK by what JFK announces to AS209, 69 ms further than LHR."
    assert 65 < why.extra_ms < 75


def test_every_alternative_says_where_it_would_have_landed() -> None:
    """Following the neighbours' own best routes."""
    london = explain(article(), "london").hops[0]
    assert {option.candidate.as_path[0]: option.lands.pop for option in london.options} == {
        3356: "JFK",
        2914: "LHR",
        3257: "LHR",
    }
    lumen = explain(article(), "london").hops[1]
    assert [(o.candidate.learnt_at, o.candidate.relationship, o.lands.pop, o.eliminated_by) for o in lumen.options] == [
        ("JFK", CUSTOMER, "JFK", None),
        ("LAX", CUSTOMER, "LAX", Step.NEAREST_EXIT),
        ("LHR", PEER, "LHR", Step.LOCAL_PREFERENCE),
    ]


def test_who_lands_at_home_needs_no_culprit() -> None:
    """A vantage next to its PoP has nothing to explain."""
    why = explain(article(), "2914-lhr", vantage="a server of NTT")
    assert (why.landed, why.decided_at_as, why.extra_ms) == ("LHR", None, 0.0)
    assert why.sentences == ("a server of NTT lands in LHR, the nearest PoP.",)


def test_a_pop_that_nobody_on_the_way_can_reach_is_said_so() -> None:
    """Amsterdam announces to none of these: no decision kept it out."""
    why = explain(article(), "3356-jfk", nearest=CityCode("AMS"))
    assert why.decided_at_as is None and why.landed == "JFK"
    assert why.sentences[0] == "No router on the way from 3356-jfk holds a route that leads to AMS."


def test_missing_routes_loops_and_black_holes_are_answers() -> None:
    """None of them is an exception."""
    views = article()
    empty = views | {"3356-lhr": replace(views["3356-lhr"], candidates=())}
    assert explain(empty, "london").end is End.NO_ROUTE
    looping = views | {"209-jfk": view("209-jfk", 209, "JFK", route("3356 33438", "3356-lhr", PROVIDER))}
    assert explain(looping, "london").end is End.LOOP
    dark = views | {"209-jfk": view("209-jfk", 209, "JFK", route("33438", "203.0.113.9", CUSTOMER))}
    why = explain(dark, "london", vantage="London")
    assert (why.end, why.landed) == (End.BLACK_HOLE, None)
    assert why.sentences[-1] == "London reaches no PoP: the next hop of a route on the way belongs to no router."
    assert explain({"x": view("x", 1, "LHR")}, "x").end is End.NO_ROUTE


def test_a_why_survives_the_wire() -> None:
    """The API and `-o json` carry it whole."""
    why = explain(article(), "london", vantage="London")
    assert codec.from_json(Why, codec.to_json(why)) == why


def test_distances_follow_the_cities() -> None:
    """The closest PoP by great circle; a round trip along the cities that are known."""
    assert nearest_pop(CityCode("SEA"), map(CityCode, ("LHR", "LAX", "JFK"))) == "LAX"
    assert nearest_pop(CityCode("???"), [CityCode("LHR")]) is None
    assert 66 < round_trip_ms([CityCode("LHR"), CityCode("???"), CityCode("JFK")]) < 77

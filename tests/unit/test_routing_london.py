"""The London case on a graph of thousands of networks: the doctor finds it, names it, and ranks its repairs by what
they do everywhere.
"""

from dataclasses import replace
from functools import cache

import numpy as np

from anypop.model.announce import Mode, Scope
from anypop.model.names import CityCode
from anypop.model.network import UpstreamKind
from anypop.model.route import Step
from anypop.routing.catchment.diff import diff
from anypop.routing.catchment.doctor import Diagnosis, diagnose
from anypop.routing.catchment.predict import Confidence, predict
from anypop.routing.catchment.repairs import Repair
from anypop.routing.catchment.sessions import Announcements, Session
from anypop.routing.catchment.strays import find_strays
from anypop.routing.catchment.views import why
from anypop.routing.engine.propagate import Engine
from anypop.routing.internet.generate import FIRST_NUMBER, generate
from anypop.routing.internet.places import Places
from anypop.routing.internet.relationships import Link, Relationships, read_relationships
from anypop.routing.internet.world import build_internet

NETWORKS = 2000
US = ("JFK", "LAX", "ORD", "SEA", "DFW", "ATL")


def session(pop: str, upstream: str, asn: int) -> Session:
    return Session(pop=CityCode(pop), upstream=upstream, asn=asn)


ANNOUNCED = Announcements(
    asn=33438,
    sessions=(
        session("AMS", "arelion", 1299),
        session("LHR", "arelion", 1299),
        session("JFK", "centurylink", 209),
        session("LAX", "centurylink", 209),
        session("JFK", "arelion", 1299),
        session("LAX", "arelion", 1299),
    ),
)


@cache
def engine() -> Engine:
    """A generated graph in which 3356 is provider of 209, and 209 is found in the USA alone."""
    world = generate(NETWORKS, 7)
    first_edge = FIRST_NUMBER + NETWORKS // 10
    american = [asn for asn, at in world.places.cities.items() if asn > first_edge and at[0] in US]
    base = world.relationships
    rows = [(3356, 209, Link.PROVIDER), (209, 6939, Link.PEER), *((209, asn, Link.PROVIDER) for asn in american[::8])]
    a, b, kind = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    links = Relationships(
        a=np.concatenate([base.a, a]),
        b=np.concatenate([base.b, b]),
        kind=np.concatenate([base.kind, kind]),
        line=np.arange(len(base) + len(a), dtype=np.int64),
        file="london",
    )
    cities = {
        **world.places.cities,
        209: ("JFK", "ORD", "LAX", "SEA"),
        3356: ("LHR", "FRA", "AMS", "JFK", "ORD", "LAX", "SIN", "GRU", "SYD"),
        1299: ("LHR", "FRA", "AMS", "ARN", "JFK", "LAX"),
    }
    return Engine(build_internet(links, Places(cities=cities)))


@cache
def diagnosis() -> Diagnosis:
    return diagnose(engine(), ANNOUNCED)


def london() -> tuple[int, tuple[Repair, ...]]:
    """The index of the cause by 3356 in Europe, and its repairs."""
    index = next(
        i for i, c in enumerate(diagnosis().strays.causes) if (c.asn, c.region, c.landed) == (3356, "EU", "JFK")
    )
    return index, diagnosis().repairs[index]


def test_the_doctor_finds_the_cause_and_names_it() -> None:
    """In these words."""
    index, _ = london()
    cause = diagnosis().strays.causes[index]
    assert cause.sentence == (
        "networks behind 3356 in Europe and North America land in JFK and LAX, since 3356 prefers the customer route "
        "by 209, learnt in the USA (local preference)"
    )
    assert cause.why.decided_by is Step.LOCAL_PREFERENCE and cause.networks > 20
    assert {ANNOUNCED.sessions[i].upstream for i in cause.sessions} == {"centurylink"}


def test_scoping_209_at_both_is_ranked_over_buying_3356_in_europe() -> None:
    """The latter draws 3356's customers in America across the ocean."""
    _, repairs = london()
    best = repairs[0]
    assert best.kind in ("scope", "withhold") and {change.pop for change in best.changes} == {"JFK", "LAX"}
    assert best.cured > 20 and best.harmed <= best.mended / 10
    bought = [r for r in repairs if r.kind == "add upstream" and r.changes[0].asn == 3356]
    assert bought and all(repairs.index(r) > repairs.index(best) and r.harmed > best.harmed for r in bought)
    scoped = next(r for r in repairs if r.kind == "scope")
    assert scoped.changes[0].says == "anypop announce scope JFK centurylink --community 209:7100"


def test_withholding_los_angeles_alone_mends_nothing() -> None:
    """New York still feeds the same preference: a few Americans come home, Europe does not."""
    _, repairs = london()
    alone = next(r for r in repairs if r.kind == "withhold" and [c.pop for c in r.changes] == ["LAX"])
    assert alone.cured < 10 < repairs[0].cured and alone.score < 0 < repairs[0].score


def test_why_at_scale_speaks_like_the_lab() -> None:
    """The same function, the same words."""
    outcome = diagnosis().prediction.outcome
    site = next(s for s in outcome.internet.sites_of(3356) if outcome.internet.city[s] == "LHR")
    answer = why(outcome, site, nearest=CityCode("LHR"))
    assert (answer.landed, answer.decided_at_as, answer.decided_in, answer.decided_by) == (
        "JFK",
        3356,
        "LHR",
        Step.LOCAL_PREFERENCE,
    )
    assert answer.sentences[0].startswith(
        "AS3356 in London prefers the customer route 209 33438 (local preference 300), learnt in JFK, over"
    )
    assert answer.caused_by is not None and answer.caused_by.upstream_asn == 209


def test_a_prediction_accounts_for_every_network() -> None:
    """Shares sum up, confidence is told, and a site's row is whole."""
    prediction = diagnosis().prediction
    assert abs(sum(share.weight for share in prediction.by_pop()) - 1) < 1e-9
    assert sum(share.sites for share in prediction.by_region()) == len(engine().internet)
    assert prediction.by_country()[0].weight >= prediction.by_country()[-1].weight
    row = prediction.rows_of(209)[0]
    assert row.path == (33438,) and row.kind == "customer" and row.confidence in (Confidence.SINGLE, Confidence.TIE)
    assert prediction.rows_of(1) == () and len(prediction.biggest(5)) == 5


def test_a_pin_moves_the_network_and_those_behind_it() -> None:
    """What was measured overrules the model, also for customers that have their route from there."""
    prediction = diagnosis().prediction
    outcome = prediction.outcome
    follower = next(s for s in range(len(engine().internet)) if len(outcome.way(s)) > 2 and outcome.pop(s) != "LAX")
    pinned = outcome.way(follower)[1]
    after = predict(engine(), ANNOUNCED, pins={pinned: "LAX"})
    assert after.row(pinned).pop == "LAX" and after.row(pinned).confidence is Confidence.PINNED
    assert after.row(follower).pop == "LAX"


def test_a_change_is_told_before_it_is_made() -> None:
    """How many networks move where, and how much further."""
    before = predict(engine(), ANNOUNCED)
    after = predict(engine(), ANNOUNCED.changed(1, Scope(mode=Mode.WITHHOLD)), homes=before.announcements.pops)
    found = diff(before, after)
    assert (
        found.sentence.startswith("this withdraws LHR from 1 of 1 upstream; ") and "networks move to " in found.sentence
    )
    assert all(move.before == "LHR" or move.after != "LHR" for move in found.moves)
    assert found.stay > 0 and diff(before, before).moves == ()


def test_the_fork_is_blamed_and_not_our_own_upstream() -> None:
    """6939 prefers what its customer 4826 tells in Sydney to our own session in Amsterdam. 4826 refused Amsterdam as
    well, being the last on every way, but is only the cause of what is behind it alone.
    """
    behind = range(64501, 64507)
    rows = ["6939,4826,provider", *(f"6939,{asn},provider" for asn in behind), "4826,64510,provider"]
    rows += ["64520,64501,provider", "64519,64520,provider"]
    cities = {
        6939: ("AMS", "SYD"),
        4826: ("SYD",),
        64510: ("AMS",),
        64519: ("AMS",),
        64520: ("AMS",),
        **{asn: ("CDG" if asn % 2 else "AMS",) for asn in behind},
    }
    links = read_relationships("\n".join(rows).encode(), "f")
    peer = replace(session("AMS", "he", 6939), kind=UpstreamKind.PEER)
    far_away = replace(session("AMS", "vocus", 4826), scope=Scope(prepend=2))
    long = replace(session("AMS", "far", 64519), scope=Scope(prepend=4))
    announced = Announcements(asn=9, sessions=(peer, session("SYD", "vocus", 4826), far_away, long))
    world = Engine(build_internet(links, Places(cities=cities)))
    # one of those behind it could take another way home itself, and most people are there: still no fork
    strays = find_strays(world, predict(world, announced, weights={**dict.fromkeys(cities, 1.0), 64501: 50.0}))
    assert [(c.asn, c.networks, c.refused) for c in strays.causes] == [(6939, 7, True), (4826, 1, True)]
    assert strays.causes[0].sentence.startswith(
        "networks behind 6939 in Europe land in SYD, since 6939 prefers the customer route by 4826, learnt in SYD"
    )


def test_whoever_loses_its_route_is_harmed() -> None:
    """Two islands: withholding the only PoP of one brings its stray home to nowhere."""
    links = read_relationships(b"10,1,provider\n20,2,provider\n20,3,provider\n", "f")
    alone = Engine(
        build_internet(links, Places(cities={10: ("LHR",), 1: ("LHR",), 20: ("JFK",), 2: ("JFK",), 3: ("LHR",)}))
    )
    found = diagnose(alone, Announcements(asn=9, sessions=(session("LHR", "ten", 10), session("JFK", "twenty", 20))))
    (cause,), (repairs,) = found.strays.causes, found.repairs
    assert (cause.landed, cause.nearest, cause.refused, cause.networks) == ("JFK", "LHR", False, 1)
    assert cause.sentence == "networks behind 20 in Europe land in JFK, since 20 holds no route to LHR"
    withheld = next(repair for repair in repairs if repair.kind == "withhold")
    assert (withheld.cured, withheld.harmed) == (0, 3)
    assert repairs[-1] == withheld  # what only harms comes last

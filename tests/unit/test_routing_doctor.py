"""What the doctor proposes and how sure it is, on small internets whose right answer is known."""

from dataclasses import replace
from functools import cache

import airportsdata
import numpy as np
import pytest

from anypop.model.announce import Mode, Scope
from anypop.model.cities import find_city
from anypop.model.names import CityCode
from anypop.model.network import UpstreamKind
from anypop.routing.catchment.candidates import _doubt_of
from anypop.routing.catchment.doctor import diagnose
from anypop.routing.catchment.predict import predict
from anypop.routing.catchment.repairs import EASE, Change, Gain, Repair, applied, ranked
from anypop.routing.catchment.sessions import Announcements, Session
from anypop.routing.dictionary import well_known
from anypop.routing.engine.propagate import Engine
from anypop.routing.internet.places import Places
from anypop.routing.internet.relationships import read_relationships
from anypop.routing.internet.world import build_internet

BEHIND = range(64501, 64521)


def session(pop: str, upstream: str, asn: int) -> Session:
    return Session(pop=CityCode(pop), upstream=upstream, asn=asn)


@cache
def world() -> Engine:
    """6939 in Amsterdam, Sydney and Sao Paulo sells to 4826 in Sydney, 4827 in Sao Paulo and twenty networks in
    Amsterdam; 1299 in Amsterdam is its peer.
    """
    rows = ["6939,4826,provider", "6939,4827,provider", "6939,1299,peer"]
    rows += [f"6939,{asn},provider" for asn in BEHIND]
    cities = {6939: ("AMS", "SYD", "GRU"), 1299: ("AMS",), 4826: ("SYD",), 4827: ("GRU",)}
    cities |= dict.fromkeys(BEHIND, ("AMS",))
    return Engine(build_internet(read_relationships("\n".join(rows).encode(), "f"), Places(cities=cities)))


HOME = session("AMS", "arelion", 1299)
SYDNEY = session("SYD", "vocus", 4826)
SAO_PAULO = replace(session("GRU", "algar", 4827), scope=Scope(prepend=1))
OWN = session("AMS", "he", 6939)
PEER = replace(session("AMS", "he", 6939), kind=UpstreamKind.PEER)


def announced(*sessions: Session) -> Announcements:
    return Announcements(asn=9, sessions=sessions)


def test_two_changes_are_found_where_one_alone_only_moves_strays_elsewhere() -> None:
    """Withheld in Sydney alone, all of them land in Sao Paulo."""
    found = diagnose(world(), announced(HOME, SYDNEY, SAO_PAULO), most_causes=1)
    best = next(repair for repair in found.repairs[0] if not repair.needs)
    assert best.kind == "two changes" and best.cured == 21
    assert {change.pop for change in best.changes} == {"SYD", "GRU"}
    alone = [r for r in found.repairs[0] if len(r.changes) == 1 and not r.needs]
    assert alone and all(r.cured <= 1 for r in alone)


def test_a_home_is_one_of_as_many_pops_as_there_are() -> None:
    """Seventy more PoPs, of which nobody hears, change neither the cause nor what mends it."""
    silent = Scope(mode=Mode.WITHHOLD)
    far = [
        code
        for code in sorted(airportsdata.load("IATA"))
        if code < "AMS" and (city := find_city(code)) and city.continent in ("OC", "NA")
    ]
    more = [replace(session(code, "vocus", 4826), scope=silent) for code in far[:70]]
    few, many = (
        diagnose(world(), announced(HOME, SYDNEY, *some), most_causes=1, most_repairs=1) for some in ([], more)
    )
    assert len(many.prediction.outcome.pops) == 72
    assert many.strays.causes[0].sentence == few.strays.causes[0].sentence
    assert many.strays.causes[0].refused and many.repairs[0][0].title == few.repairs[0][0].title


def test_a_gain_has_an_interval_that_holds_it_and_is_the_same_each_time() -> None:
    """Between nothing, where the deciding network does otherwise, and all that stray."""
    found, again = (diagnose(world(), announced(HOME, SYDNEY), most_causes=1) for _ in range(2))
    gains = [repair.gain for repair in found.repairs[0]]
    assert gains == [repair.gain for repair in again.repairs[0]]
    best = found.repairs[0][0]
    assert best.gain is not None
    assert 0 <= best.gain.low <= best.gain.expected <= best.gain.high <= best.mended_weight
    assert best.gain.low < best.gain.high


def test_who_was_seen_at_home_is_not_mended() -> None:
    """Of twenty modelled strays nineteen are measured to land at home: little is left to gain."""
    plain = diagnose(world(), announced(HOME, SYDNEY), most_causes=1)
    internet = world().internet
    belief = np.full(len(internet), np.nan)
    for asn in BEHIND[1:]:
        belief[list(internet.sites_of(asn))] = 0.0
    seen = diagnose(world(), announced(HOME, SYDNEY), most_causes=1, belief=belief)
    now, then = plain.repairs[0][0].gain, seen.repairs[0][0].gain
    assert now is not None and then is not None and then.expected < now.expected / 5
    assert seen.strays.causes[0].weight < plain.strays.causes[0].weight / 5


def test_a_peer_at_home_may_become_a_transit() -> None:
    """It prefers its customers to its peers: bought transit is a customer's route, and a contract."""
    found = diagnose(world(), announced(PEER, SYDNEY), most_causes=1)
    bought = next(r for r in found.repairs[0] if r.kind == "peer to transit")
    assert bought.cured == 22 and bought.needs == "takes a contract with AS6939"
    after = applied(announced(PEER, SYDNEY), bought.changes)
    assert [(s.kind, s.upstream) for s in after.sessions] == [
        (UpstreamKind.TRANSIT, "he"),
        (UpstreamKind.TRANSIT, "vocus"),
    ]


@pytest.mark.parametrize(
    ("at_home", "kind", "needs"),
    [
        (replace(OWN, scope=Scope(mode=Mode.WITHHOLD)), "announce", ""),
        (replace(OWN, silent="the BGP session is down"), "bring back", "what keeps it silent has to be mended there"),
    ],
)
def test_what_is_not_heard_at_home_is_announced_again(at_home: Session, kind: str, needs: str) -> None:
    """A rule of ours is taken back; a session that is down nobody brings back from here."""
    found = diagnose(world(), announced(at_home, HOME, SYDNEY), most_causes=1)
    again = next(r for r in found.repairs[0] if r.kind == kind)
    assert (again.changes[0].upstream, again.needs, again.cured) == ("he", needs, 21)
    assert applied(announced(at_home), again.changes).sessions == (OWN,)


def test_a_session_that_is_down_takes_nobody() -> None:
    """Everybody lands where somebody hears us, and the PoP stays a home."""
    down = replace(SYDNEY, silent="the BGP session is down")
    found = predict(world(), announced(HOME, down))
    assert {share.name for share in found.by_pop() if share.weight} <= {"AMS", ""}
    assert found.announcements.pops == ("AMS", "SYD")


def test_a_new_pop_is_proposed_where_most_land_far_away() -> None:
    """Twenty networks in Amsterdam land in Sydney: one there, with a transit that the graph has there; who is in Sao
    Paulo is nearer to it as well.
    """
    found = diagnose(world(), announced(session("SYD", "he", 6939)), most_causes=1)
    best = found.new_pops[0]
    assert (best.kind, best.changes[0].pop, best.changes[0].asn) == ("add PoP", "AMS", 6939)
    assert best.mended == 23 and best.gain is not None and best.gain.expected > 0
    assert best.needs == "takes a contract with AS6939"


def repair(kind: str, gain: Gain | None, *, changes: int = 1, needs: str = "") -> Repair:
    change = Change(pop=CityCode("JFK"), upstream="x", asn=1, scope=Scope())
    return Repair(
        kind=kind, title=kind, changes=(change,) * changes, cured=1, mended=1, harmed=0,
        mended_weight=0.1, harmed_weight=0.0, gain_km=0.0, gain=gain, needs=needs,
    )  # fmt: skip


def test_the_surer_then_the_smaller_then_the_easier_repair_comes_first() -> None:
    """At one expected gain."""
    wide, narrow = Gain(expected=0.1, low=0.0, high=0.2), Gain(expected=0.1, low=0.09, high=0.11)
    order = [
        repair("scope", narrow),
        repair("prepend", narrow),
        repair("scope", narrow, changes=2),
        repair("add upstream", narrow, needs="a contract"),
        repair("scope", wide),
        repair("scope", None),
    ]
    assert list(ranked(order[::-1], 0.1)) == order
    assert {one.kind for one in order} <= set(EASE)


def test_who_prefers_what_we_announce_to_it_is_said_to_do_so() -> None:
    """It was called "the customer route of our own", which says nothing to anybody."""
    found = diagnose(world(), announced(PEER, session("SYD", "he-sydney", 6939)), most_causes=1)
    assert (
        "6939 prefers what we announce to it ourselves, learnt in SYD, a customer route (local preference)"
        in found.strays.causes[0].sentence
    )


def test_what_a_network_may_ignore_is_marked_and_one_prepend_is_one() -> None:
    """NOPEER is a standard, and many networks do not follow it."""
    found = diagnose(world(), announced(HOME, SYDNEY, SAO_PAULO), most_causes=5, most_repairs=50)
    titles = [repair.title for repairs in found.repairs for repair in repairs]
    assert any(title.startswith("prepend once to AS4826") for title in titles), titles
    assert any(title.startswith("prepend once more to AS4827") for title in titles), titles
    entry = well_known()[3]
    assert _doubt_of(entry) == "a standard that many networks do not follow: ask this one"

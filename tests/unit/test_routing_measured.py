"""Observations, pins, and how good a prediction was."""

import base64
import json

import pytest

from anypop.model.errors import Invalid
from anypop.model.names import CityCode
from anypop.model.network import Network
from anypop.routing.catchment.evaluate import evaluate, score
from anypop.routing.catchment.observations import Observation, pins_of, read_csv
from anypop.routing.catchment.predict import predict
from anypop.routing.catchment.search import search
from anypop.routing.catchment.sessions import Announcements, Session, from_network, seeds_of
from anypop.routing.engine.propagate import Engine
from anypop.routing.internet.places import Places
from anypop.routing.internet.relationships import read_relationships
from anypop.routing.internet.world import build_internet
from anypop.routing.measured import atlas

DATA = b"10|1|-1\n20|1|-1\n10|2|-1\n20|3|-1\n10|20|0\n20|4|-1\n"
CITIES = {10: ("LHR",), 20: ("JFK",), 1: ("AMS",), 2: ("LHR", "JFK"), 3: ("LAX",), 4: ("LHR",)}
ENGINE = Engine(
    build_internet(read_relationships(DATA, "f"), Places(cities={asn: tuple(c) for asn, c in CITIES.items()}))
)
OURS = Announcements(
    asn=33438,
    sessions=(
        Session(pop=CityCode("LHR"), upstream="ten", asn=10),
        Session(pop=CityCode("JFK"), upstream="twenty", asn=20),
    ),
)


def city_in(answer: str) -> str | None:
    """PoPs are called like `instance-1.lhr` here."""
    code = answer.rpartition(".")[2].upper()
    return code if code in ("LHR", "JFK") else None


def test_a_csv_of_observations() -> None:
    """AS numbers or prefixes, ISO times or seconds."""
    text = (
        "network,vantage,pop,time\n3356,london,lhr,2026-01-02T03:04:05Z\nAS64500,x,JFK,17\n192.0.2.0/24,y,JFK,0,AMS\n"
    )
    rows = read_csv(text, "o", asn_of_prefix={"192.0.2.0/24": 7}.get)
    assert [(row.asn, row.pop, row.city) for row in rows] == [(3356, "LHR", ""), (64500, "JFK", ""), (7, "JFK", "AMS")]
    assert rows[0].at == 1767323045.0


def test_wrong_observations_are_named_with_their_lines() -> None:
    """All at once."""
    with pytest.raises(Invalid) as caught:
        read_csv("1,v,LHR\nfoo,v,LHR,0\n1,v,QQQ,0\n1,v,LHR,noon\n10.0.0.0/8,v,LHR,0\n1,v,LHR,0,QQQ\n", "o")
    assert [str(p).split(":")[1] for p in caught.value.problems] == ["1", "2", "3", "4", "5", "6"]


def test_ripe_atlas_results_of_three_kinds() -> None:
    """DNS CHAOS as text and as a packet, an HTTP header, the last hop of a traceroute."""
    # hostname.bind TXT CH "instance-1.lhr", answered with a name pointer
    packet = bytes.fromhex("1234840000010001000000000868 6f73746e616d650462696e640000100003".replace(" ", ""))
    packet += bytes.fromhex("c00c0010000300000000000f") + b"\x0einstance-1.lhr"
    results = [
        {
            "type": "dns",
            "prb_id": 1,
            "timestamp": 5,
            "result": {"answers": [{"TYPE": "TXT", "RDATA": ["instance-1.jfk"]}]},
        },
        {"type": "dns", "prb_id": 2, "resultset": [{"result": {"abuf": base64.b64encode(packet).decode()}}]},
        {"type": "http", "prb_id": 3, "result": [{"header": ["Server: x", "X-Served-By: instance-0.lhr"]}]},
        {
            "type": "traceroute",
            "prb_id": 4,
            "result": [{"hop": 1, "result": [{"from": "a.jfk"}]}, {"hop": 2, "result": [{"x": "*"}]}],
        },
        {"type": "dns", "prb_id": 5, "result": {"abuf": "AAAA"}},
        {"type": "dns", "prb_id": 6, "error": "timeout"},
    ]
    expected = [(101, "JFK"), (102, "LHR"), (103, "LHR"), (104, "JFK")]
    for text in (json.dumps(results), "\n".join(map(json.dumps, results))):
        rows = atlas.read(text, "a", identify=city_in, asn_of_probe=lambda probe: 100 + probe).observations
        assert [(row.asn, row.pop) for row in rows] == expected


@pytest.mark.parametrize("text", ["[", "{", '[1, {"type": "dns"}]', "nonsense"])
def test_what_is_no_atlas_result_is_told(text: str) -> None:
    """And crashes nothing."""
    with pytest.raises(Invalid):
        atlas.read(text, "a", identify=city_in)


def test_pins_follow_the_commonest_then_the_newest() -> None:
    """An observation with a city pins the site there."""
    net = ENGINE.internet
    rows = [
        Observation(asn=1, pop="LHR", at=1),
        Observation(asn=1, pop="JFK", at=2),
        Observation(asn=3, pop="LHR", at=1),
        Observation(asn=3, pop="JFK", at=5),
        Observation(asn=3, pop="LHR", at=0),
        Observation(asn=2, pop="JFK", city="JFK"),
        Observation(asn=2, pop="LHR"),
        Observation(asn=999, pop="LHR"),
    ]
    named = {net.name(site): pop for site, pop in pins_of(net, rows).items()}
    assert named == {"AS1 in AMS": "JFK", "AS3 in LAX": "LHR", "AS2 in JFK": "JFK", "AS2 in LHR": "LHR"}


def test_a_network_with_equally_good_ways_follows_the_one_that_is_measured() -> None:
    """AS1 buys from AS10 and AS20 alike, and the model takes the first: a pin at the second leads it there; of two pins
    its own choice counts; a pin at a neighbour that is further away leads nobody.
    """
    net = ENGINE.internet
    place = {net.name(site): site for site in range(len(net))}
    ten, twenty, one = place["AS10 in LHR"], place["AS20 in JFK"], place["AS1 in AMS"]

    def landing(pins: dict[int, str]) -> str:
        return str(predict(ENGINE, OURS, pins=pins).row(one).pop)

    assert landing({}) == "LHR"
    assert landing({twenty: "JFK"}) == "JFK" and landing({ten: "JFK"}) == "JFK"
    assert landing({twenty: "JFK", ten: "LHR"}) == "LHR"
    assert landing({place["AS3 in LAX"]: "JFK"}) == "LHR"


def test_a_score_never_comes_without_its_baseline() -> None:
    """Three of four measured networks are in LHR: always saying LHR is right in 75 %, and balanced in 50 %."""
    result = score([("LHR", "LHR"), ("LHR", "LHR"), ("JFK", "LHR"), ("LHR", "JFK")])
    assert (result.accuracy, result.baseline, result.baseline_pop) == (0.5, 0.75, "LHR")
    assert result.balanced == pytest.approx((2 / 3 + 0) / 2) and result.balanced_baseline == 0.5
    with pytest.raises(Invalid):
        score([])


def test_evaluation_is_by_confidence_and_leaves_out_what_it_was_told() -> None:
    """AS1 is a tie of two providers, the others have one way."""
    measured = [
        Observation(asn=1, pop="JFK"),
        Observation(asn=3, pop="JFK"),
        Observation(asn=4, pop="LHR"),
        Observation(asn=77, pop="LHR"),
    ]
    prediction = predict(ENGINE, OURS)
    found = evaluate(prediction, measured)
    assert {s.name: (s.networks, s.right) for s in found.by_confidence} == {"single": (2, 1), "tie": (1, 0)}
    assert found.overall.networks == 3 and found.unmatched == 1 and ("LHR", "JFK", 1) in found.confusion
    pins = pins_of(ENGINE.internet, measured[:1])
    told = evaluate(predict(ENGINE, OURS, pins=pins), measured, held_out=pins)
    assert told.overall.networks == 2


def test_the_search_tries_every_single_change_of_every_session() -> None:
    """Withhold, and prepend once to three times; the cost of each is what a prediction of it says."""
    prediction = predict(ENGINE, OURS)
    tried = search(ENGINE, prediction, threads=2)
    assert len(tried) == 8 and [t.cost for t in tried] == sorted(t.cost for t in tried)
    for one in tried:
        index = OURS.sessions.index(one.session)
        after = predict(ENGINE, OURS.changed(index, one.scope), homes=prediction.announcements.pops)
        assert after.mean_extra_km == pytest.approx(one.cost)
        assert one.gain == pytest.approx(prediction.mean_extra_km - one.cost)
        assert one.moved == int((after.pop != prediction.pop).sum())


def test_sessions_that_do_not_fit_the_graph_are_all_told() -> None:
    """With their place in the list."""
    wrong = Announcements(
        asn=1,
        sessions=(
            Session(pop=CityCode("QQQ"), upstream="a", asn=10),
            Session(pop=CityCode("LHR"), upstream="b", asn=9),
        ),
    )
    with pytest.raises(Invalid) as caught:
        seeds_of(ENGINE.internet, wrong)
    assert len(caught.value.problems) == 2 and "sessions[1] (LHR to b).asn: AS9 is not in the graph" in str(
        caught.value
    )
    with pytest.raises(Invalid):
        seeds_of(ENGINE.internet, Announcements(asn=1, sessions=()))


def test_a_network_without_pops_has_no_sessions() -> None:
    """`from_network` reads the operator's description."""
    assert from_network(Network(asn=33438, anycast4=(), anycast6=(), pops=())).sessions == ()

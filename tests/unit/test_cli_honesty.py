"""What is not known is said to be unknown, and what was left out is said to be left out: predictions on the command
line.
"""

import json
from pathlib import Path

import httpx
import pytest

from anypop.advice import graph
from anypop.model.names import CityCode
from anypop.routing.catchment.predict import predict
from anypop.routing.catchment.sessions import Announcements, Session
from anypop.routing.engine.small import engine_for
from anypop.routing.internet.places import Places
from anypop.routing.internet.relationships import read_relationships
from anypop.routing.internet.world import build_internet
from tests.cli_calls import Caller
from tests.fake_control import FakeControl
from tests.unit.test_cli_catchment import GRAPH, LONDON, PLAN
from tests.unit.test_cli_commands import CREATE


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Caller:
    return Caller(tmp_path, FakeControl().transport, monkeypatch)


def test_without_places_there_are_no_distances(call: Caller) -> None:
    """Not 0 km: null in JSON, a word in the table, none in the sentence of a change, none in a why, and a word of
    the doctor's.
    """
    graph = ["--graph", str(LONDON / "as-rel.txt")]
    found = json.loads(call("catchment", "predict", *graph, *PLAN, "-o", "json").out)
    assert found["mean_extra_km"] is None and {row["extra_km"] for row in found["by_pop"]} == {None}
    shown = call("catchment", "predict", *graph, *PLAN, "--what-if", "withhold:AMS,LHR:*").out
    assert "in unknown places, so no distances (--footprint FILE)" in shown and " km" not in shown
    assert "there and back" not in call("why", "AS2914", *graph, *PLAN).out
    assert "cannot be told without --footprint FILE" in call("doctor", *graph, *PLAN).out
    ran = call("why", "AS2914", "--city", "London", *graph, *PLAN)
    assert ran.code == 2 and "in an unknown place" in ran.err and "--footprint" in ran.err


def test_who_loses_the_route_is_among_the_losers(call: Caller) -> None:
    """Somebody without a route has no distance, and is not better off for it."""
    rules = ["--what-if", "withhold:*:*"]
    change = json.loads(call("catchment", "predict", *GRAPH, *PLAN, *rules, "-o", "json").out)["change"]
    assert change["lost"] == pytest.approx(1) and (change["winners"], change["losers"]) == (0, 0)
    assert "100.0 % lose their route" in call("catchment", "predict", *GRAPH, *PLAN, *rules).out
    assert "lose their route" not in call("catchment", "predict", *GRAPH, *PLAN, "--what-if", "withhold:LHR:*").out


def test_a_network_of_many_places_is_as_big_as_it_is() -> None:
    """Its weight is shared among its places; it is the biggest all the same, and comes with all of them."""
    links = read_relationships(b"1|2|-1\n1|3|-1\n1|4|-1\n5|6|-1\n", "six")
    engine = engine_for(build_internet(links, Places(cities={1: ("LHR", "JFK", "SIN"), 2: ("LHR",)})))
    session = Session(pop=CityCode("LHR"), upstream="a", asn=1)
    found = predict(engine, Announcements(asn=9, sessions=(session,)))
    assert [(row.asn, row.city) for row in found.biggest(2)] == [(1, "LHR"), (1, "JFK"), (1, "SIN"), (5, "")]
    weighted = predict(engine, found.announcements, weights={1: 1.0, 6: 2.0})
    assert [row.asn for row in weighted.biggest(1)] == [6]


def test_a_loop_that_an_override_closes_is_told_by_its_line(tmp_path: Path) -> None:
    """In the file that the user wrote, with the lines of the graph beside it."""
    (tmp_path / "graph").write_text("1|2|-1\n# x\n2|3|-1\n")
    (tmp_path / "over").write_text("asn_a,asn_b,relation\n\n3,1,provider\n")
    found = graph.load(graph.Sources(graph=tmp_path / "graph", overrides=tmp_path / "over"))
    lines = f"(line 3 and lines 1, 3 of {tmp_path / 'graph'})"
    assert found.warnings == (f"{tmp_path / 'over'}:3: AS1, AS2, AS3 are their own providers in a loop {lines}",)


def test_weights_of_other_networks_are_refused(call: Caller, tmp_path: Path) -> None:
    """Else everybody would count nothing, and every share be 0."""
    (tmp_path / "users.csv").write_text("asn,weight\n99999,3\n3356,0\n")
    ran = call("catchment", "predict", *GRAPH, *PLAN, "--weights", str(tmp_path / "users.csv"))
    assert ran.code == 2 and "gives no network of as-rel.txt with cities.csv a weight above 0" in ran.err


def test_observations_without_a_network_are_said_to_be_left_out(call: Caller, tmp_path: Path) -> None:
    """Results of Atlas do not tell the probes' networks, and such an observation pins nothing."""
    answer = {
        "type": "dns",
        "prb_id": 1,
        "timestamp": 1706788800,
        "result": {"answers": [{"TYPE": "TXT", "RDATA": ["lhr1"]}]},
    }
    (tmp_path / "atlas.json").write_text(json.dumps([answer]))
    ran = call("catchment", "observe", "--import", str(tmp_path / "atlas.json"), "--pops", "LHR")
    assert ran.code == 0 and "1 of them not kept" in ran.err and "--probes FILE" in ran.err


def test_a_prediction_that_was_told_everything_cannot_be_scored(call: Caller, tmp_path: Path) -> None:
    """And says that this is why, not that nothing was measured."""
    pinned = ["--observations", str(LONDON / "seen.csv"), "--save", str(tmp_path / "pinned")]
    assert call("catchment", "predict", *GRAPH, *PLAN, *pinned).code == 0
    ran = call("catchment", "evaluate", "--predicted", str(tmp_path / "pinned"), "--measured", str(LONDON / "seen.csv"))
    assert ran.code == 2 and "the prediction was told all it could be asked (4 pinned)" in ran.err


def test_an_upstream_that_the_footprint_has_elsewhere_is_said(call: Caller, tmp_path: Path) -> None:
    """What it hears in London then starts in Amsterdam, which the operator should know."""
    (tmp_path / "cities.csv").write_text("asn,cities\n1299,AMS JFK\n")
    ran = call(
        "catchment",
        "predict",
        "--graph",
        str(LONDON / "as-rel.txt"),
        "--footprint",
        str(tmp_path / "cities.csv"),
        *PLAN,
    )
    assert ran.code == 0 and "the footprint has no AS1299 in LHR: what it hears there enters in AMS" in ran.err
    assert "the footprint has no" not in call("catchment", "predict", *GRAPH, *PLAN).err


def test_a_file_that_is_no_text_is_one_problem(call: Caller, tmp_path: Path) -> None:
    """Not one for each of its lines."""
    (tmp_path / "x.bz2").write_bytes(b"1|2|0\nab\0cd\nef\n")
    ran = call("catchment", "predict", "--graph", str(tmp_path / "x.bz2"), *PLAN)
    assert ran.code == 2 and ran.err.strip().endswith("x.bz2:2: is not text, nor packed by gzip or bzip2")


def test_a_dictionary_is_read_without_a_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is data that comes with the program; only where there is no platform: else control's counts."""
    (tmp_path / "empty").mkdir()
    call = Caller(tmp_path, FakeControl().transport, monkeypatch)
    ran = call("--state", str(tmp_path / "empty"), "communities", "show", "1299", "-o", "json")
    found = json.loads(ran.out)
    assert ran.code == 0 and "1299:150" in {entry["community"] for entry in found["entries"]}


def test_deleting_says_what_it_withdraws(call: Caller) -> None:
    """Before it asks: nobody has a route to the address any more."""
    call(*CREATE)
    assert (
        "this withdraws 198.51.100.0/24 at AMS, JFK, LAX, LHR: every network loses its route to it"
        in call("workload", "delete", "web").out
    )


def test_a_workload_that_goes_while_another_is_deleted_is_no_reason_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stood in the list, and nowhere when it was asked for its announcements."""
    control = FakeControl().transport

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/workloads/other/announcements"):
            return httpx.Response(404, json={"code": 5, "message": "no workload other on stack default"})
        found = control.handle_request(request)
        if request.method == "GET" and request.url.path.endswith("/workloads"):
            page = json.loads(found.read())
            page["results"] += [one | {"slug": "other", "id": "other"} for one in page["results"]]
            return httpx.Response(found.status_code, json=page)
        return found

    call = Caller(tmp_path, httpx.MockTransport(answer), monkeypatch)
    assert call(*CREATE).code == 0
    ran = call("workload", "delete", "web", "--yes", "--no-wait")
    assert ran.code == 0 and "this withdraws 198.51.100.0/24" in ran.out, ran

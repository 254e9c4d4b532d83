"""Predictions on the command line: files in, tables, JSON and pictures out; and what a change will move, said
beforehand.
"""

import gzip
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.advice import graph, history, plans, saved_predictions, what_if
from anypop.cli.catchment import observations
from anypop.model.announce import Mode, Scope
from anypop.model.errors import Invalid
from anypop.model.names import CityCode
from anypop.model.network import OTHER_NETWORKS
from anypop.routing.catchment.diff import diff
from anypop.routing.catchment.predict import predict
from anypop.routing.catchment.sessions import Announcements, Session
from anypop.routing.engine.propagate import Outcome
from anypop.routing.engine.seeds import Seed
from anypop.routing.engine.small import SmallEngine
from tests.cli_calls import Caller
from tests.examples import examples
from tests.fake_control import FakeControl
from tests.unit.test_cli_commands import CREATE

LONDON = Path(__file__).parents[1] / "golden" / "cli" / "london"
GRAPH = ["--graph", str(LONDON / "as-rel.txt"), "--footprint", str(LONDON / "cities.csv")]
PLAN = ["--plan", str(LONDON / "plan.yaml")]


@pytest.fixture
def control() -> FakeControl:
    return FakeControl()


@pytest.fixture
def call(control: FakeControl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Caller:
    return Caller(tmp_path, control.transport, monkeypatch)


def ground() -> graph.Graph:
    return graph.load(graph.Sources(graph=LONDON / "as-rel.txt", footprint=LONDON / "cities.csv"))


def network() -> dict[str, Any]:
    """What the small control's announcements belong to."""
    pops = []
    for i, (city, asn) in enumerate((("AMS", 1299), ("LHR", 1299), ("JFK", 209), ("LAX", 209))):
        ends = {"neighbor4": "192.0.2.1", "local4": "192.0.2.0", "neighbor6": "2001:db8::1", "local6": "2001:db8::"}
        upstream = {"name": f"as{asn}", "asn": asn, "interface": "up0", **ends}
        prefixes = {
            "private4": f"10.{i}.0.0/20",
            "private6": f"fd00:{i}::/64",
            "external4": f"203.0.{i}.0/24",
            "external6": f"2001:db8:{i}::/48",
        }
        pops.append({"city": city, "router_id": f"10.1.0.{i}", "upstreams": [upstream], **prefixes})
    return {"asn": 33438, "anycast4": ["198.51.100.0/24"], "anycast6": ["2001:db8:1::/48"], "pops": pops}


def test_json_of_a_prediction_counts_everybody(call: Caller) -> None:
    """Shares sum to one, over PoPs, regions and countries alike."""
    found = json.loads(call("catchment", "predict", *GRAPH, *PLAN, "-o", "json").out)
    assert (found["networks"], found["sites"], found["stable"]) == (11, 21, True)
    for table in ("by_pop", "by_region", "by_country"):
        assert sum(row["weight"] for row in found[table]) == pytest.approx(1)
    london = next(row for row in found["biggest"] if row["asn"] == 64497)
    assert (london["confidence"], london["ties"]) == ("tie", ["JFK", "LHR"])


def test_a_saved_prediction_can_be_compared_without_its_graph(call: Caller, tmp_path: Path) -> None:
    """The same moves come out of two files as of the two plans they were made of."""
    for name in ("plan", "scoped"):
        assert (
            call(
                "catchment", "predict", *GRAPH, "--plan", str(LONDON / f"{name}.yaml"), "--save", str(tmp_path / name)
            ).code
            == 0
        )
    of_files = json.loads(call("catchment", "diff", str(tmp_path / "plan"), str(tmp_path / "scoped"), "-o", "json").out)
    of_plans = json.loads(
        call("catchment", "diff", *(str(LONDON / f"{n}.yaml") for n in ("plan", "scoped")), *GRAPH, "-o", "json").out
    )
    assert of_files["moves"] and of_files["moves"] == [
        move | {"weight": pytest.approx(move["weight"])} for move in of_plans["moves"]
    ]
    assert of_files["sentence"] == of_plans["sentence"]
    assert (of_files["losers"], of_files["winners"]) == (0, pytest.approx(of_plans["winners"]))


def test_predictions_over_different_graphs_are_not_compared(call: Caller, tmp_path: Path) -> None:
    """That would count networks that only one of them knows."""
    call("catchment", "predict", *GRAPH, *PLAN, "--save", str(tmp_path / "a"))
    call("catchment", "predict", "--graph", str(LONDON / "as-rel.txt"), *PLAN, "--save", str(tmp_path / "b"))
    ran = call("catchment", "diff", str(tmp_path / "a"), str(tmp_path / "b"))
    assert ran.code == 2 and "different graphs" in ran.err


@pytest.mark.parametrize(
    "damage",
    [lambda t: t[:-200], lambda t: t.replace('"version":1', '"version":9'), lambda t: t.replace('"AMS"', '"XXX"')],
)
def test_a_damaged_prediction_is_refused(tmp_path: Path, damage: Any) -> None:
    """Cut short, of another version, of a PoP that is no city: never a crash."""
    found = predict(ground().engine, plans.read((LONDON / "plan.yaml").read_text(), "plan"))
    text = saved_predictions.write(found, graph="london")
    assert diff(saved_predictions.read(text, "x"), found).moves == ()
    with pytest.raises(Invalid):
        saved_predictions.read(damage(text), "x")


def test_the_picture_is_one_document_that_needs_nothing_else(call: Caller, tmp_path: Path) -> None:
    """It parses as XML, names every PoP that announces, and refers to nothing outside."""
    file = tmp_path / "map.svg"
    assert call("catchment", "predict", *GRAPH, *PLAN, "--svg", str(file)).code == 0
    root = ElementTree.parse(file).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"AMS", "LHR", "JFK", "LAX"} <= texts
    assert "href" not in file.read_text() and "url(" not in file.read_text()
    titles = [e.text or "" for e in root.iter("{http://www.w3.org/2000/svg}title")]
    assert "Paris: 100 % to JFK" in titles
    assert {title.partition(":")[0] for title in titles} >= {"AMS", "LHR", "JFK", "LAX"}
    flows = {e.get("data-flow"): float(e.get("r", "")) for e in root.iter("{http://www.w3.org/2000/svg}circle")}
    shares = {title[:3]: float(title[5:].split()[0]) for title in titles if re.match(r"[A-Z]{3}: ", title)}
    by_share = sorted(shares, key=lambda pop: shares[pop])
    assert [flows[pop] for pop in by_share] == sorted(flows[pop] for pop in by_share), "as large as their part"


PLANS = st.builds(
    lambda sessions: Announcements(asn=64500, sessions=tuple({(s.pop, s.upstream): s for s in sessions}.values())),
    st.lists(
        st.builds(
            Session,
            pop=st.sampled_from([CityCode("LHR"), CityCode("JFK")]),
            upstream=st.sampled_from(["a", "no", "12", "x: y", "null"]),
            asn=st.integers(1, 2**32 - 1),
            kind=st.sampled_from(OTHER_NETWORKS),
            scope=st.builds(
                Scope,
                mode=st.sampled_from(Mode),
                prepend=st.integers(0, 8),
                communities=st.lists(
                    st.tuples(st.integers(0, 65535), st.integers(0, 65535)), max_size=3, unique=True
                ).map(tuple),
                large_communities=st.lists(st.tuples(*[st.integers(0, 2**32 - 1)] * 3), max_size=2, unique=True).map(
                    tuple
                ),
                extended_communities=st.sampled_from([(), ((0, 2, 6939, 70), (2, 3, 70000, 7)), ((3, 6, 0, 1),)]),
            ),
        ),
        min_size=1,
        max_size=4,
    ),
)


@settings(max_examples=examples(60), deadline=None)
@given(PLANS)
def test_a_plan_reads_back_as_it_was_written(plan: Announcements) -> None:
    """Names that YAML would take for something else included."""
    assert plans.read(plans.write(plan), "plan") == plan


@settings(max_examples=examples(80), deadline=None)
@given(
    st.text(max_size=120)
    | st.sampled_from(["asn: 1\nsessions: [1, {}, []]", "asn: {}\nsessions: {a: b}", "[]", "sessions:\n- pop: [1]"])
)
def test_no_text_crashes_the_reader_of_plans(text: str) -> None:
    """Whatever is no plan is refused with lines."""
    try:
        plans.read(text, "plan")
    except Invalid as error:
        assert all(problem.path.startswith("plan") for problem in error.problems)


def test_what_if_rules_apply_one_after_the_other() -> None:
    """Several PoPs, stars, names and numbers; a reset takes back what came before."""
    now = plans.read((LONDON / "plan.yaml").read_text(), "plan")
    after = what_if.changed(
        now,
        [
            "withhold:*:209",
            "prepend:JFK:AS1299:3",
            "scope:jfk,lax:centurylink:209:7100",
            "add:LHR:3356",
            "reset:LAX:209",
        ],
    )
    scopes = {(str(s.pop), s.upstream): s.scope for s in after.sessions}
    assert scopes["JFK", "centurylink"] == Scope(communities=((209, 7100),))
    assert scopes["LAX", "centurylink"] == Scope()
    assert scopes["JFK", "arelion"] == Scope(prepend=3) and scopes["LHR", "as3356"] == Scope()


def test_files_of_the_state_folder_stand_in_for_options(call: Caller, tmp_path: Path) -> None:
    """graph.yaml names them; an option or the environment wins, and then an override of another graph does not
    count.
    """
    (tmp_path / "graph.yaml").write_text(f"graph: {LONDON / 'as-rel.txt'}\nfootprint: {LONDON / 'cities.csv'}\n")
    assert "on as-rel.txt with cities.csv" in call("catchment", "predict", *PLAN).out
    (tmp_path / "other.txt.gz").write_bytes(gzip.compress(b"1299|209|-1\n"))
    assert "on other.txt.gz;" in call("catchment", "predict", "--graph", str(tmp_path / "other.txt.gz"), *PLAN).out
    call.monkeypatch.setenv("ANYPOP_GRAPH", str(tmp_path / "other.txt.gz"))
    assert "on other.txt.gz;" in call("catchment", "predict", *PLAN).out
    (tmp_path / "graph.yaml").write_text("grph: x\n")
    ran = call("catchment", "predict", *PLAN)
    assert ran.code == 2 and "grph is none of graph, overrides" in ran.err


def test_weights_decide_what_counts(call: Caller, tmp_path: Path) -> None:
    """With all users in one network, its PoP has them all; wrong rows are told with their lines."""
    (tmp_path / "users.csv").write_text("asn,weight\nAS64496,5\n")
    found = json.loads(
        call("catchment", "predict", *GRAPH, *PLAN, "--weights", str(tmp_path / "users.csv"), "-o", "json").out
    )
    assert {row["name"]: row["weight"] for row in found["by_pop"]}["AMS"] == 1
    (tmp_path / "users.csv").write_text("64496,5\n64496,6\nx,1\n3356,-2\n3356\n")
    ran = call("catchment", "predict", *GRAPH, *PLAN, "--weights", str(tmp_path / "users.csv"))
    assert ran.code == 2 and [f"users.csv:{line}" in ran.err for line in (1, 2, 3, 4, 5)] == [
        False,
        True,
        True,
        True,
        True,
    ]


def test_observations_are_kept_pinned_and_scored(call: Caller, tmp_path: Path) -> None:
    """What was seen overrules the model; what was told beforehand proves nothing about it; a second import adds
    nothing.
    """
    ran = call("catchment", "observe", "--import", str(LONDON / "seen.csv"), "-o", "json")
    assert json.loads(ran.out) == {
        "file": str(tmp_path / "observations.csv"),
        "read": 5,
        "added": 5,
        "kept": 5,
        "pops": {"JFK": 2, "AMS": 2, "LAX": 1},
    }
    assert (
        json.loads(call("catchment", "observe", "--import", str(LONDON / "seen.csv"), "-o", "json").out)["added"] == 0
    )
    pinned = json.loads(
        call("catchment", "predict", *GRAPH, *PLAN, "-o", "json", "--save", str(tmp_path / "pinned")).out
    )
    assert next(row for row in pinned["biggest"] if row["asn"] == 64497)["confidence"] == "pinned"
    assert (
        call(
            "catchment", "evaluate", "--predicted", str(tmp_path / "pinned"), "--measured", str(LONDON / "seen.csv")
        ).code
        == 2
    )
    (tmp_path / "observations.csv").unlink()
    call("catchment", "predict", *GRAPH, *PLAN, "--save", str(tmp_path / "free"))
    ran = call(
        "catchment",
        "evaluate",
        "--predicted",
        str(tmp_path / "free"),
        "--measured",
        str(LONDON / "seen.csv"),
        "-o",
        "json",
    )
    found = json.loads(ran.out)
    assert found["unmatched"] == 1 and found["overall"]["networks"] == 4 and found["overall"]["right"] == 3
    assert {"accuracy", "baseline", "balanced_accuracy", "balanced_baseline"} <= set(found["overall"])
    assert {row["class"] for row in found["by_confidence"]} == {"single", "tie"}
    told = call(
        "catchment", "evaluate", "--predicted", str(tmp_path / "free"), "--measured", str(LONDON / "seen.csv")
    ).out
    assert re.search(r"^all +4 +75\.0 % +50\.0 % +83\.3 % +33\.3 % +JFK$", told, re.MULTILINE), told
    assert (
        "LHR was predicted, JFK was measured: 1" in told
        and "measurements of networks that the prediction does not have: 1" in told
    )


def test_a_probe_of_the_lab_is_an_observation(call: Caller, control: FakeControl) -> None:
    """`probe -o json` goes straight in; a vantage that got no answer saw nothing."""
    rows = [
        {"vantage": "london", "asn": 64497, "city": "LHR", "pop": "JFK", "answered": 3},
        {"vantage": "x", "asn": 1, "pop": None, "answered": 0},
    ]
    ran = call("catchment", "observe", "--import", "-", "-o", "json", stdin=json.dumps(rows))
    assert json.loads(ran.out)["pops"] == {"JFK": 1}


def test_atlas_results_need_to_know_what_an_answer_means(call: Caller, tmp_path: Path) -> None:
    """By the codes of PoPs in the answer, or by texts that were said to mean one; the probes' networks come from a
    file.
    """
    results = [
        {
            "type": "dns",
            "prb_id": 1,
            "timestamp": 1706788800,
            "result": {"answers": [{"TYPE": "TXT", "RDATA": ["web-eu1-lhr-0"]}]},
        },
        {
            "type": "traceroute",
            "prb_id": 2,
            "timestamp": 1706788800,
            "result": [{"hop": 9, "result": [{"from": "192.0.2.77"}]}],
        },
    ]
    (tmp_path / "atlas.json").write_text(json.dumps(results))
    (tmp_path / "probes.csv").write_text("probe,asn\n1,64497\n2,AS64496\n")
    argv = ["catchment", "observe", "--import", str(tmp_path / "atlas.json"), "-o", "json"]
    assert "say which answers mean which PoP" in call(*argv).err
    found = json.loads(
        call(*argv, "--pops", "LHR,AMS", "--map", "192.0.2.77=AMS", "--probes", str(tmp_path / "probes.csv")).out
    )
    assert found["pops"] == {"LHR": 1, "AMS": 1} and found["kept"] == 2
    assert call(*argv, "--map", "192.0.2.77").code == 2 and call(*argv, "--pops", "QQQ").code == 2


def test_a_prefix_stands_for_its_network(tmp_path: Path) -> None:
    """The longest known prefix around it says whose it is."""
    (tmp_path / "prefixes.csv").write_text("10.0.0.0/8,1\n10.1.0.0/16,2\n2001:db8::/32,3\n")
    (tmp_path / "seen.csv").write_text("10.1.2.0/24,a,LHR,0\n10.2.0.0/24,b,LHR,0\n2001:db8:1::/48,c,LHR,0\n")
    found = observations.imported(str(tmp_path / "seen.csv"), prefixes=tmp_path / "prefixes.csv")
    assert [seen.asn for seen in found.observations] == [2, 1, 3]
    with pytest.raises(Invalid):
        observations.imported(str(tmp_path / "seen.csv"))


def test_a_generated_graph_can_be_asked(call: Caller, tmp_path: Path) -> None:
    """The same seed gives the same files, packed or not."""
    for name in ("a.txt", "b.txt.gz", "c.txt.bz2"):
        assert call("catchment", "generate", "--ases", "60", "--seed", "3", "--out", str(tmp_path / name)).code == 0
    outs = [
        call(
            "catchment",
            "predict",
            "--graph",
            str(tmp_path / n),
            "--footprint",
            str(tmp_path / f"{n[0]}.cities.csv"),
            *PLAN,
            "-o",
            "json",
        )
        for n in ("a.txt", "b.txt.gz", "c.txt.bz2")
    ]
    assert all("AS209" in ran.err for ran in outs)
    plan = tmp_path / "plan.yaml"
    plan.write_text("asn: 1\nsessions: [{pop: LHR, asn: 1299}, {pop: JFK, asn: 3356}]\n")
    found = [
        json.loads(call("catchment", "predict", "--graph", str(tmp_path / n), "--plan", str(plan), "-o", "json").out)
        for n in ("a.txt", "b.txt.gz")
    ]
    assert found[0]["by_pop"] == found[1]["by_pop"] and found[0]["networks"] == 60


def test_a_change_is_foreseen_where_a_graph_is_known(call: Caller, control: FakeControl, tmp_path: Path) -> None:
    """In words before the question, as data in JSON; not with --no-predict, and not without a graph."""
    call(*CREATE)
    assert "predicted" not in json.loads(call("announce", "withhold", "web", "--pop", "LHR", "-o", "json").out)
    call("announce", "reset", "web")
    control.answers["GET", "/anypop/v1/network"] = (200, network())
    (tmp_path / "graph.yaml").write_text(f"graph: {LONDON / 'as-rel.txt'}\nfootprint: {LONDON / 'cities.csv'}\n")
    ran = call("announce", "withhold", "web", "--pop", "LHR")
    assert re.search(
        r"^this withdraws LHR from 1 of 1 upstream; \d networks? moves? to AMS \(\+\d+ km\)", ran.out, re.MULTILINE
    ), ran.out
    assert "predicted" not in json.loads(call("announce", "reset", "web", "--no-predict", "-o", "json").out)
    found = json.loads(call("announce", "withhold", "web", "--pop", "LHR", "-o", "json").out)["predicted"]
    assert {move["from"] for move in found["moves"]} == {"LHR"} and found["losers"] > 0


def test_a_graph_that_cannot_be_read_stops_no_announcement(call: Caller, control: FakeControl, tmp_path: Path) -> None:
    """One line says so, and the change is made."""
    call(*CREATE)
    (tmp_path / "graph.yaml").write_text("graph: nowhere.txt\n")
    ran = call("announce", "withhold", "web", "--pop", "LHR")
    assert ran.code == 0 and "no prediction: " in ran.err and "nowhere.txt" in ran.err
    assert control.rules["LHR", "1299"]["mode"] == "withhold"


def test_announcements_of_the_past_are_kept_and_learnt_from(call: Caller, tmp_path: Path) -> None:
    """Each announcement is a pair of files; a prediction from all of them says chances, and so does what is saved."""
    asn = {row["asn"] for row in json.loads(call("catchment", "predict", *GRAPH, *PLAN, "-o", "json").out)["biggest"]}
    seen = tmp_path / "seen.csv"
    seen.write_text("network,vantage,pop,time\n" + "".join(f"{n},v,JFK,2026-01-01\n" for n in sorted(asn)))
    history = ["--history", str(tmp_path / "history")]
    plan = plans.read((LONDON / "plan.yaml").read_text(), "plan")
    for pops in (("JFK", "LHR"), ("AMS", "JFK"), ("JFK", "LAX")):
        some = tmp_path / "some.yaml"
        some.write_text(
            plans.write(Announcements(asn=plan.asn, sessions=tuple(s for s in plan.sessions if s.pop in pops)))
        )
        for _ in range(2):  # the same again adds nothing
            told = json.loads(
                call(
                    "catchment", "observe", "--import", str(seen), "--announced", str(some), *history, "-o", "json"
                ).out
            )
            assert told["kept"] == len(asn)
        # pairs are called by the second
        for file in sorted((tmp_path / "history").glob("2*")):
            file.rename(file.with_name(f"1{pops[0]}{pops[1]}{file.suffix}"))
    assert len(list((tmp_path / "history").glob("*.yaml"))) == 3
    found = json.loads(call("catchment", "predict", *GRAPH, *PLAN, *history, "-o", "json").out)
    assert found["learnt"].startswith("from what networks preferred before")
    assert {row["pop"] for row in found["biggest"]} == {"JFK"}
    assert all(0.3 < row["chance"] < 1 for row in found["biggest"])
    plain = call("catchment", "predict", *GRAPH, *PLAN, *history)
    assert "CHANCE" in plain.out
    saved = tmp_path / "saved.json"
    assert call("catchment", "predict", *GRAPH, *PLAN, *history, "--save", str(saved)).code == 0
    score = json.loads(
        call("catchment", "evaluate", "--predicted", str(saved), "--measured", str(seen), "-o", "json").out
    )
    assert score["overall"]["accuracy"] == 1
    assert score["calibration"]["classes"]


def test_where_a_rule_at_one_neighbour_moves_a_network_the_graph_has_the_word(call: Caller, tmp_path: Path) -> None:
    """What was announced from the same PoPs before says nothing of the rule; who does not move stays as learnt."""
    before = json.loads(call("catchment", "predict", *GRAPH, *PLAN, "-o", "json", "--biggest", "100").out)["biggest"]
    after = json.loads(
        call(
            "catchment", "predict", *GRAPH, "--plan", str(LONDON / "scoped.yaml"), "-o", "json", "--biggest", "100"
        ).out
    )["biggest"]
    moved = {(a["asn"], a["city"]): a["pop"] for b, a in zip(before, after, strict=True) if a["pop"] != b["pop"]}
    assert moved
    seen = tmp_path / "seen.csv"
    seen.write_text(
        "network,vantage,pop,time\n" + "".join(f"{n},v,LAX,2026-01-01\n" for n in {r["asn"] for r in before})
    )
    history = ["--history", str(tmp_path / "history")]
    call("catchment", "observe", "--import", str(seen), "--announced", str(LONDON / "plan.yaml"), *history)
    asked = ["--plan", str(LONDON / "scoped.yaml"), *history, "-o", "json", "--biggest", "100"]
    for row in json.loads(call("catchment", "predict", *GRAPH, *asked).out)["biggest"]:
        assert row["pop"] == moved.get((row["asn"], row["city"]), "LAX")


def test_a_history_that_cannot_be_read_is_told_with_all_its_problems(call: Caller, tmp_path: Path) -> None:
    """Each with its file."""
    folder = tmp_path / "history"
    none = call("catchment", "predict", *GRAPH, *PLAN, "--history", str(folder))
    assert (none.code, "is no folder" in none.err) == (2, True)
    folder.mkdir()
    (folder / "a.yaml").write_text("asn: x\n")
    (folder / "b.yaml").write_text((LONDON / "plan.yaml").read_text())
    (folder / "b.csv").write_text("network,vantage,pop,time\n1,v,XXX,2026-01-01\n")
    told = call("catchment", "predict", *GRAPH, *PLAN, "--history", str(folder))
    assert told.code == 2
    assert "a.yaml" in told.err
    assert "b.csv" in told.err


def test_a_neighbour_that_the_graph_does_not_have_is_left_out_where_that_is_asked(call: Caller, tmp_path: Path) -> None:
    """With a warning; else it is an error that says what to do."""
    plan = tmp_path / "some.yaml"
    plan.write_text((LONDON / "plan.yaml").read_text() + "  - {pop: LHR, asn: 64999}\n")
    asked = ["catchment", "predict", *GRAPH, "--plan", str(plan), "-o", "json"]
    refused = call(*asked)
    assert refused.code == 2 and "AS64999" in refused.err and "--skip-unknown" in refused.err
    told = call(*asked, "--skip-unknown")
    assert "AS64999 is not in as-rel.txt" in told.err
    plain = call("catchment", "predict", *GRAPH, *PLAN, "-o", "json").out
    assert json.loads(told.out)["by_pop"] == json.loads(plain)["by_pop"]
    both = ["catchment", "diff", str(plan), str(LONDON / "plan.yaml"), *GRAPH]
    assert call(*both).code == 2 and call(*both, "--skip-unknown").code == 0


def test_shares_of_pops_are_kept_with_what_was_announced_and_move_the_whole(call: Caller, tmp_path: Path) -> None:
    """The sum of all chances is what each PoP is known to get; alone they mean nothing."""
    (tmp_path / "shares.csv").write_text("pop,queries\nAMS,10\nLHR,70\nJFK,10\nLAX,10\n")
    asked = ["catchment", "observe", "--import", str(tmp_path / "shares.csv")]
    assert "shares are of announcements" in call(*asked).err
    history = ["--history", str(tmp_path / "history")]
    told = call(*asked, "--announced", str(LONDON / "plan.yaml"), *history)
    assert told.code == 0 and "LHR 70.0 %" in told.out
    found = json.loads(call("catchment", "predict", *GRAPH, *PLAN, *history, "-o", "json").out)
    assert "the share that it is known to have" in found["learnt"]
    assert max(found["by_pop"], key=lambda row: row["weight"])["name"] == "LHR"


def test_which_networks_to_ask_next_is_said_with_the_probes_that_stand_there(call: Caller, tmp_path: Path) -> None:
    """Each network once, those first that decide most; together they stand for all. Only those that have a probe."""
    (tmp_path / "probes.csv").write_text("probe,asn\n11,64497\n12,64497\n13,64496\n14,1\n")
    asked = ["catchment", "observe", "--plan", "5", *GRAPH]
    assert call(*asked).code == 2, "under which announcements is not said"
    asked += ["--announced", str(LONDON / "plan.yaml")]
    every = json.loads(call(*asked, "-o", "json").out)
    assert len({row["asn"] for row in every}) == len(every) == 5
    decides = [row["decides"] for row in every]
    assert decides == sorted(decides, reverse=True) and sum(decides) == pytest.approx(1, abs=1e-4)
    some = json.loads(call(*asked, "--probes", str(tmp_path / "probes.csv"), "-o", "json").out)
    assert {row["asn"]: row["probes"] for row in some} == {64497: [11, 12], 64496: [13]}
    assert "STANDS FOR" in call(*asked).out
    assert call(*asked, "--import", "x").code == 2


def test_a_prediction_is_propagated_once_to_be_judged(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a history too: what spreads is the same for those who learn and for what they learn from."""
    runs: list[int] = []
    run = SmallEngine.run

    def counted(engine: SmallEngine, seeds: Sequence[Seed], *, ends: bool = False) -> Outcome:
        runs.append(1)
        return run(engine, seeds, ends=ends)

    monkeypatch.setattr(SmallEngine, "run", counted)
    asked = ["catchment", "evaluate", "--measured", str(LONDON / "seen.csv"), *PLAN, *GRAPH]
    assert call(*asked).code == 0 and len(runs) == 1
    one_pop = tmp_path / "one.yaml"
    one_pop.write_text("asn: 33438\nsessions:\n  - {pop: AMS, upstream: arelion, asn: 1299}\n")
    history = ["--history", str(tmp_path / "history")]
    call("catchment", "observe", "--import", str(LONDON / "seen.csv"), "--announced", str(one_pop), *history)
    runs.clear()
    assert call(*asked, *history).code == 0 and len(runs) == 1


def test_a_part_of_what_was_measured_judges_a_prediction_that_knows_the_rest(call: Caller, tmp_path: Path) -> None:
    """By a seed; the vote of neighbours stands beside it; with a history chances are drawn over how often they came
    true.
    """
    every = json.loads(call("catchment", "predict", *GRAPH, *PLAN, "-o", "json", "--biggest", "100").out)["biggest"]
    seen = tmp_path / "seen.csv"
    seen.write_text("".join(f"{n},v,JFK,0\n" for n in sorted({row["asn"] for row in every})))
    asked = ["catchment", "evaluate", "--measured", str(seen), *PLAN, *GRAPH]
    found = json.loads(call(*asked, "--hold-out", "0.4", "-o", "json").out)
    assert found["vote"]["accuracy"] == 1 and found["vote"]["networks"] == found["overall"]["networks"]
    assert found == json.loads(call(*asked, "--hold-out", "0.4", "-o", "json").out)
    assert call(*asked, "--hold-out", "0").code == 2
    assert call("catchment", "evaluate", "--measured", str(seen)).code == 2
    history = ["--history", str(tmp_path / "history")]
    call("catchment", "observe", "--import", str(seen), "--announced", str(LONDON / "scoped.yaml"), *history)
    svg = tmp_path / "reliability.svg"
    told = call(*asked, *history, "--svg", str(svg))
    assert told.code == 0 and "LOG LOSS" in told.out, told.err
    root = ElementTree.parse(svg).getroot()
    assert len(list(root.iter("{http://www.w3.org/2000/svg}circle"))) >= 1


def test_what_traffic_told_goes_into_the_history(call: Caller, control: FakeControl, tmp_path: Path) -> None:
    """One pair of files for each announcement, both families together; told again nothing is there twice."""
    plan = "asn: 33438\nsessions:\n  - {pop: AMS, upstream: a, asn: 1299}\n  - {pop: JFK, upstream: b, asn: 209}\n"
    row = {"plan": plan, "first_at": "2026-11-01T00:00:00.000000Z", "begun_at": "2026-11-02T00:00:00.000000Z"}
    rows = [
        {**row, "id": "a", "prefix": "198.51.100.0/24", "sources": 1},
        {**row, "id": "b", "prefix": "2001:db8:1::/48", "sources": 2},
        {**row, "id": "c", "prefix": "2001:db8:1::/48", "sources": 0, "plan": plan.replace("AMS", "LHR")},
    ]
    landed = {
        "a": [{"pop": "AMS", "sources": ["192.0.2.0/24"]}],
        "b": [{"pop": "JFK", "sources": ["2001:db8:7::/48", "2001:db8:8::/48"]}],
    }
    control.answers["GET", "/anypop/v1/catchments"] = (200, {"results": rows})
    for name, found in landed.items():
        control.answers["GET", f"/anypop/v1/catchments/{name}"] = (200, {"landed": found})
    (tmp_path / "prefixes").write_text("192.0.2.0/24,64497\n2001:db8::/32,64498\n")
    words = ["catchment", "observe", "--from-traffic", "--history", str(tmp_path / "h")]
    assert "--prefixes" in call(*words).err
    assert call(*words, "--prefixes", str(tmp_path / "prefixes"), "--announced", "x").code != 0
    for _ in range(2):
        said = call(*words, "--prefixes", str(tmp_path / "prefixes"), "-o", "json")
        assert said.code == 0, said.err
    (told,) = json.loads(said.out)
    assert (told["read"], told["kept"], told["pops"]) == (2, 2, {"AMS": 1, "JFK": 1})
    (kept,) = history.read(tmp_path / "h")
    assert {(o.asn, o.pop) for o in kept.seen} == {(64497, "AMS"), (64498, "JFK")}

"""Advice on its own: what people ask before they act, with nothing but plain arguments, and no terminal, control or lab
in sight.
"""

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anypop.advice import answers, graph, plans, proposals, question
from anypop.advice.graph import Graph, Sources
from anypop.advice.history import Kept
from anypop.advice.known import known_of
from anypop.advice.preview import compared
from anypop.advice.waves import Key, Viewpoint, Waves, waves_of
from anypop.agent.act.bgp.proposed import bird_conf
from anypop.model.announce import Mode, Scope
from anypop.model.errors import Invalid
from anypop.model.network import UpstreamKind
from anypop.model.scopes import scope_data
from anypop.model.sessions import Announcements
from anypop.routing.catchment.observations import Observation
from tests.control_world import a_network

LONDON = Path(__file__).parents[1] / "golden" / "cli" / "london"
HOME = Scope(communities=((209, 7100),))


def london() -> Graph:
    return graph.load(Sources(graph=LONDON / "as-rel.txt", footprint=LONDON / "cities.csv"))


def now() -> Announcements:
    return plans.read((LONDON / "plan.yaml").read_text(), "plan")


def test_only_what_thinks_loads_numpy() -> None:
    """Looking for files, rules, plans, and the types of waves do not: a process that must stay small may use them."""
    light, heavy = "graph, known, plans, waves, what_if", {"numpy", "numba", "typer", "rich", "httpx"}
    code = f"import sys; from anypop.advice import {light}; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "graph.yaml").write_text("graph: g.txt\nfootprint: f.csv\nweights: w.csv\n")
    (tmp_path / "observations.csv").write_text("")
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "lab.json").write_text("{}")
    return tmp_path


def found(folder: Path, given: Sources | None = None, environment: Mapping[str, str] | None = None) -> Sources | None:
    return graph.find(given or Sources(), folder=folder, environment=environment or {})


def test_files_count_in_this_order(folder: Path) -> None:
    """Those that are named, the environment, graph.yaml, the lab; an override or footprint goes with the graph it was
    written for.
    """
    written = Sources(
        graph=folder / "g.txt",
        footprint=folder / "f.csv",
        weights=folder / "w.csv",
        observations=folder / "observations.csv",
    )
    assert found(folder) == written
    other = Path("/other.txt")
    of_environment = found(folder, environment={"ANYPOP_GRAPH": str(other)})
    assert of_environment == Sources(graph=other, weights=folder / "w.csv", observations=folder / "observations.csv")
    named = found(folder, Sources(graph=folder / "g.txt"), {"ANYPOP_GRAPH": str(other), "ANYPOP_FOOTPRINT": "/x.csv"})
    assert named == written
    (folder / "graph.yaml").unlink()
    assert found(folder) == Sources(observations=folder / "observations.csv", lab=folder / "lab" / "lab.json")
    (folder / "lab" / "lab.json").unlink()
    assert found(folder) is None


@pytest.mark.parametrize(
    ("text", "words"), [("grph: x\n", "grph is none of graph"), ("- x\n", "must name files"), ("a: [", "is not YAML")]
)
def test_a_graph_yaml_that_is_wrong_is_refused(folder: Path, text: str, words: str) -> None:
    """In words, before anything is loaded."""
    (folder / "graph.yaml").write_text(text)
    with pytest.raises(Invalid, match=words):
        found(folder)


def test_problems_of_all_files_are_told_together(tmp_path: Path) -> None:
    """A file that is not there, a wrong relationship, a wrong weight."""
    (tmp_path / "g.txt").write_text("1|2|7\n")
    (tmp_path / "w.csv").write_text("1,x\n")
    with pytest.raises(Invalid) as caught:
        graph.load(Sources(graph=tmp_path / "g.txt", footprint=tmp_path / "none.csv", weights=tmp_path / "w.csv"))
    text = str(caught.value)
    assert "g.txt:1" in text and "w.csv:1" in text and "none.csv cannot be read: No such file" in text


def test_a_question_of_control_s_rows_needs_no_control() -> None:
    """What is in effect counts; without rows every PoP announces to every upstream."""
    rows: list[dict[str, Any]] = [
        {
            "prefix": "185.85.196.0/24",
            "pop": "JFK",
            "upstream": "as209",
            "asn": 209,
            "scope": {},
            "effective": scope_data(HOME),
        }
    ]
    known = known_of(a_network(), "web", rows)
    assert (known.workload, known.prefixes) == ("web", ("185.85.196.0/24",))
    assert [(s.key, s.scope) for s in known.announcements.sessions] == [(("JFK", "as209"), HOME)]
    assert len(known_of(a_network()).announcements.sessions) == 8
    assert known.onward == {}
    away = known_of(a_network(), "web", [rows[0] | {"carried_to": "LAX"}])
    told = question.ask(london(), question.question_of(away.announcements, known=away), compare=False).notes
    assert "what comes in at JFK is answered in LAX" in told
    with pytest.raises(Invalid) as caught:
        question.question_of(known.announcements, ["withhold:SIN:209", "reset:JFK:209"], ["what_if[0]", "what_if[1]"])
    assert [problem.path for problem in caught.value.problems] == ["what_if[0]"]


def test_a_pop_behind_an_edge_router_is_not_guessed_at() -> None:
    """What its edge router tells whom is not known, and our own number in the graph is nobody's neighbour."""
    (first, *others) = now().sessions
    edge = replace(now(), sessions=(replace(first, upstream="edge", asn=3356, kind=UpstreamKind.EDGE), *others))
    asked: list[Callable[[], object]] = [
        lambda: question.ask(london(), question.question_of(edge), compare=False),
        lambda: compared(london(), now(), edge),
    ]
    for ask in asked:
        with pytest.raises(Invalid, match="the hosts of AMS announce to its edge router"):
            ask()


def test_an_answer_compares_only_where_that_was_asked() -> None:
    """As data it has `change` then, and of each network where it lands now; shares sum to one."""
    asked = question.question_of(now(), ["scope:JFK,LAX:209:209:7100"])
    plain = answers.answer_data(question.ask(london(), asked, compare=False), biggest=1, graph="x")
    compared = answers.answer_data(question.ask(london(), asked, compare=True), biggest=1, graph="x")
    assert all(row.pop("was") for row in compared["biggest"])
    assert "change" not in plain and compared == plain | {"change": compared["change"]}
    assert {move["to"] for move in compared["change"]["moves"]} == {"LHR"}
    assert sum(row["weight"] for row in plain["by_pop"]) == pytest.approx(1)


def test_proposals_have_the_lines_of_bird_conf_where_a_network_is_known() -> None:
    """Who brings no function that writes them gets none."""
    known = known_of(a_network())
    place = proposals.Place(workload="web", network=known.network, prefixes=("185.85.196.0/24",), render=bird_conf)
    world = london()
    diagnosis = proposals.diagnosed(world, now(), causes=1, far_km=1500)
    (best, *_) = proposals.useful(diagnosis.repairs[0], 5)
    assert proposals.bird_lines(best, now(), proposals.Place(workload="web")) == {}
    named = plans.read(
        (LONDON / "plan.yaml").read_text().replace("centurylink", "as209").replace("arelion", "as1299"), "plan"
    )
    diagnosis = proposals.diagnosed(world, named, causes=1, far_km=1500)
    data = proposals.data(diagnosis, place, most=2, graph=world.says)
    (first, _) = data["causes"][0]["repairs"]
    assert first["commands"] == ["anypop announce scope web --pop JFK,LAX --upstream as209 --community 209:7100"]
    assert set(first["bird_conf"]) == {"JFK", "LAX"}
    assert "+ if net = 185.85.196.0/24 then { bgp_community.add((209,7100)); accept; }" in first["bird_conf"]["JFK"]


VIEWPOINTS = (
    Viewpoint(name="london", asn=64497, city="LHR"),
    Viewpoint(name="amsterdam", asn=64496, city="AMS"),
    Viewpoint(name="nowhere", asn=65000, city="LHR"),
)
REPAIR: dict[Key, Scope] = {("JFK", "centurylink"): HOME, ("LAX", "centurylink"): HOME}


def waves(seen: Mapping[str, str | None], scopes: Mapping[Key, Scope] = REPAIR) -> Waves:
    return waves_of(london(), now(), scopes, VIEWPOINTS, seen)


def test_a_change_goes_out_pop_by_pop_with_what_each_vantage_should_see() -> None:
    """All scopes go out once; at the end London lands at home; a vantage that the graph does not have is not judged."""
    made = waves({"london": "JFK", "amsterdam": "AMS", "nowhere": "JFK"})
    assert made.doubts == ()
    assert {key: scope for wave in made.waves for key, scope in wave.scopes.items()} == REPAIR
    assert sorted(wave.pop for wave in made.waves) == ["JFK", "LAX"]
    assert all(set(wave.expected) == {"london", "amsterdam"} for wave in made.waves)
    assert made.waves[-1].expected == {"london": frozenset({"LHR"}), "amsterdam": frozenset({"AMS"})}


def test_the_pop_whose_change_alone_takes_nobody_further_goes_first() -> None:
    """While JFK still draws Europe, to limit JFK first would send it to LAX."""
    assert [wave.pop for wave in waves({"london": "JFK", "amsterdam": "AMS"}).waves] == ["LAX", "JFK"]


def test_a_vantage_that_the_model_gets_wrong_may_only_come_nearer() -> None:
    """The doubt says what was predicted and seen; a vantage that lands nowhere may land anywhere."""
    made = waves({"london": "AMS", "amsterdam": None})
    assert {(doubt.vantage, doubt.seen) for doubt in made.doubts} == {("london", "AMS"), ("amsterdam", "")}
    assert "the model is wrong about london" in made.doubts[0].says and "but it lands in AMS" in made.doubts[0].says
    expected = made.waves[0].expected
    assert expected["london"] == {"LHR", "AMS"} and expected["amsterdam"] == {"AMS", "LHR", "JFK", "LAX"}


def test_a_pop_that_withdraws_is_no_place_where_a_vantage_may_land() -> None:
    """One wave, and nobody lands in New York any more."""
    off = Scope(mode=Mode.WITHHOLD)
    (wave,) = waves({"london": "JFK", "amsterdam": "AMS"}, {("JFK", "centurylink"): off, ("JFK", "arelion"): off}).waves
    assert not any("JFK" in pops for pops in wave.expected.values())


def test_a_tenant_is_told_which_repairs_are_not_his_to_make() -> None:
    """A community that the operator does not let him send, a prefix that he shares, a contract; what is his to announce
    is open to him, and all but the contract to the operator.
    """
    repairs = proposals.diagnosed(london(), now(), causes=1, far_km=1500).repairs[0]
    scoped, withheld, bought = (
        next(repair for repair in repairs if repair.kind == kind) for kind in ("scope", "withhold", "add upstream")
    )
    strict, generous = (replace(a_network(), tenant_communities=listed) for listed in ((), ("209:*",)))
    operator = proposals.Place(network=strict)
    tenant = replace(operator, tenant=True)
    assert [bool(proposals.blocked(one, now(), operator)) for one in (scoped, withheld, bought)] == [False, False, True]
    assert "is not in the operator's list" in proposals.blocked(scoped, now(), tenant)
    assert proposals.blocked(scoped, now(), replace(tenant, network=generous)) == ""
    assert proposals.blocked(withheld, now(), tenant) == ""
    shared = replace(tenant, kept="another account has an address in it")
    assert proposals.blocked(withheld, now(), shared) == "another account has an address in it"
    assert proposals.blocked(bought, now(), shared).startswith("takes a contract")


def test_the_doctor_believes_the_model_as_far_as_what_was_measured_lets_it() -> None:
    """Under these very announcements the strays of London were seen at home, everybody else where the model says: they
    are believed little, the others nearly wholly.
    """
    world = london()
    assert proposals._belief(world, now()) is None
    plain = proposals.diagnosed(world, now(), causes=1, far_km=1500)
    astray = plain.strays.member
    net, pops = world.internet, plain.prediction.pops
    seen = tuple(
        Observation(asn=int(net.asn[site]), city=net.city[site], pop=pops[int(index)])
        for site, index in enumerate(np.where(astray, plain.prediction.nearest, plain.prediction.pop))
        if index >= 0
    )
    measured = replace(world, history=(Kept(announced=now(), seen=seen),))
    belief = proposals._belief(measured, now())
    assert belief is not None and ((belief >= 0) & (belief <= 1)).all()
    assert belief[astray].max() < 0.5 < belief[~astray & (plain.prediction.pop >= 0)].min()
    after = proposals.diagnosed(measured, now(), causes=1, far_km=1500)
    weight = [found.strays.causes[0].weight if found.strays.causes else 0.0 for found in (plain, after)]
    assert weight[1] < weight[0] / 2

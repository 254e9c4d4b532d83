"""The doctor on the command line: what it finds, the exact change, and a repair that is taken back when the outcome
differs.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from anypop.advice import plans, proposals
from anypop.agent.act.bgp.proposed import bird_conf
from anypop.cli import rollouts
from anypop.cli.catchment import vantages
from anypop.model.announce import Mode, Scope
from anypop.model.names import CityCode
from anypop.model.network import network_from
from anypop.model.scopes import scope_data
from anypop.routing.catchment.repairs import Change, Repair
from tests.cli_calls import Caller
from tests.fake_control import VANTAGES, FakeControl, probed
from tests.unit.test_cli_catchment import LONDON, network
from tests.unit.test_cli_commands import CREATE

# Of the small control's vantages; 64502 hears 3356 alone, so that London is astray.
LINKS = "3356|209|-1\n3356|1299|0\n1299|64501|-1\n3356|64502|-1\n209|64504|-1\n"
CITIES = "3356,LHR JFK LAX\n1299,AMS LHR JFK LAX\n209,JFK LAX SEA\n64501,AMS\n64502,LHR\n64504,SEA\n"


class World(FakeControl):
    """A small control behind which London really comes home once JFK and LAX are limited; `deaf`: it does not."""

    def __init__(self, *, deaf: bool = False) -> None:
        super().__init__()
        self.deaf = deaf
        self.looks_at_rollouts = 0
        self.on_look: Callable[[int], None] = lambda count: None
        self.answers["GET", "/anypop/v1/network"] = (200, network())

    def lands(self) -> dict[str, str | None]:
        limited = {pop for (pop, _), scope in self.rules.items() if scope["mode"] == "withhold" or scope["communities"]}
        lands = "JFK" if self.deaf or "JFK" not in limited else "LHR" if "LAX" in limited else "LAX"
        return super().lands() | {"london": lands}

    def _probe(self, request: httpx.Request, body: Any) -> httpx.Response:
        rows = [probed(v, body["requests"]) | {"pop": self.lands()[str(v["name"])]} for v in VANTAGES]
        return httpx.Response(200, json={"address": "198.51.100.1", "results": rows})

    def answer(self, request: httpx.Request) -> httpx.Response:
        if "/rollouts/" in request.url.path and request.method == "GET":
            self.looks_at_rollouts += 1
            self.on_look(self.looks_at_rollouts)
        return super().answer(request)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[World], Caller]:
    def make(world: World) -> Caller:
        monkeypatch.setattr(rollouts, "POLL_S", 0.01)
        (tmp_path / "links.txt").write_text(LINKS)
        (tmp_path / "cities.csv").write_text(CITIES)
        call = Caller(tmp_path, world.transport, monkeypatch)
        (tmp_path / "graph.yaml").write_text("graph: links.txt\nfootprint: cities.csv\n")
        assert call(*CREATE).code == 0
        return call

    return make


def test_the_report_names_the_cause_and_the_exact_change(shell: Callable[[World], Caller]) -> None:
    """The sentence, the command line with its workload, the lines of bird.conf for both families."""
    call = shell(World())
    ran = call("doctor")
    assert (
        "1. networks behind 3356 in Europe land in JFK, since 3356 prefers the customer route by 209, learnt in the USA"
        in ran.out
    )
    assert "anypop announce scope web --pop JFK,LAX --upstream as209 --community 209:7100" in ran.out
    assert "+ if net = 198.51.100.0/24 then { bgp_community.add((209,7100)); accept; }" in ran.out
    assert "- if net = 2001:db8:1::/48 then { accept; }" in ran.out


def test_json_has_every_repair_with_its_score_and_its_configuration(shell: Callable[[World], Caller]) -> None:
    """The numbers are those that --apply takes; every change of a session has its lines."""
    found = json.loads(shell(World())("doctor", "-o", "json").out)
    cause = found["causes"][0]
    assert (cause["asn"], cause["region"], cause["landed"], cause["nearest"]) == (3356, "EU", "JFK", "LHR")
    assert [repair["number"] for repair in cause["repairs"]] == [f"1.{i}" for i in range(1, len(cause["repairs"]) + 1)]
    for repair in cause["repairs"]:
        configured = [change["pop"] for change in repair["changes"] if not repair["blocked"]]
        assert list(repair["bird_conf"]) == configured and all(repair["bird_conf"].values())
    assert all(repair["mended"] >= repair["cured"] > 0 and repair["harmed"] >= 0 for repair in cause["repairs"])


def test_withholding_takes_the_lines_out_of_one_session_s_filter() -> None:
    """Both families, and nothing else of the file changes."""
    prefixes = ("198.51.100.0/24", "2001:db8:1::/48")
    place = proposals.Place(workload="web", network=network_from(network()), prefixes=prefixes, render=bird_conf)
    now = plans.read((LONDON / "plan.yaml").read_text().replace("centurylink", "as209"), "plan")
    change = Change(pop=CityCode("JFK"), upstream="as209", asn=209, scope=Scope(mode=Mode.WITHHOLD))
    score: dict[str, Any] = {
        "cured": 1,
        "mended": 1,
        "harmed": 0,
        "unsure": 0,
        "mended_weight": 0.1,
        "harmed_weight": 0.0,
        "gain_km": 1.0,
    }
    repair = Repair(kind="withhold", title="x", changes=(change,), **score)
    lines = proposals.bird_lines(repair, now, place)["JFK"]
    assert lines[:1] == ["- route 198.51.100.0/24 unreachable;"] and all(line.startswith("- ") for line in lines)
    assert "- if net = 2001:db8:1::/48 then { accept; }" in lines
    assert proposals.commands(repair, now, "web") == ["anypop announce withhold web --pop JFK --upstream as209"]


def test_a_command_of_the_doctor_does_what_apply_does(shell: Callable[[World], Caller]) -> None:
    """Whoever copies the line from the report gets the same rules."""
    world = World()
    call = shell(world)
    line = json.loads(call("doctor", "-o", "json").out)["causes"][0]["repairs"][0]["commands"][0]
    assert call(*line.split()[1:], "--no-predict").code == 0
    by_hand, world.rules = world.rules, {}
    assert call("doctor", "--apply", "1.1", "--patience", "1").code == 0
    assert world.rules == by_hand


def test_a_repair_goes_out_pop_by_pop_and_says_how_it_went(shell: Callable[[World], Caller]) -> None:
    """First the PoP whose change alone takes nobody further; all waves are one request, and each is seen from the
    vantages.
    """
    world = World()
    call = shell(world)
    ran = call("doctor", "--apply", "1", "--patience", "1")
    assert ran.code == 0, ran.err
    (asked,) = [body for method, path, body in world.changes() if path.endswith("/rollouts")]
    assert [[rule["pop"] for rule in wave["rules"]] for wave in asked["waves"]] == [["LAX"], ["JFK"]]
    assert [wave["expected"]["london"] for wave in asked["waves"]] == [["JFK"], ["LHR"]]
    assert asked["strategy"] == {"deadline_s": 1.0, "bake_s": 0.25}
    assert "wave 1 of 2: LAX" in ran.err and "wave 2 of 2: JFK" in ran.err and "london LHR" in ran.err
    assert "1 network moves to LHR" in ran.out or "networks move to LHR" in ran.out
    assert "networks behind 3356 in Europe" not in call("doctor").out


def test_an_outcome_that_differs_takes_everything_back(shell: Callable[[World], Caller]) -> None:
    """The rules that were there before come back, with their notes; exit code 1 and what was seen instead."""
    world = World(deaf=True)
    call = shell(world)
    call("announce", "prepend", "web", "--pop", "AMS", "--count", "1", "--no-predict")
    before = {key: dict(scope) for key, scope in world.rules.items()}
    ran = call("doctor", "--apply", "1", "--patience", "0.4", "-o", "json")
    assert ran.code == 1
    assert "london lands in JFK, predicted LHR" in ran.err and "the outcome differs: taking everything back" in ran.err
    found = json.loads(ran.out)
    assert (found["applied"], found["rolled_back"], found["restored"]) == (False, True, True)
    assert (
        found["waves"][-1]["differs"] == ["london lands in JFK, predicted LHR"]
        and found["rollout"] in world.waves.rollouts
    )
    assert [set(wave) for wave in found["waves"]] == [{"pop", "seconds", "seen", "differs"}] * 2
    plain = {"mode": "announce", "prepend": 0, "communities": [], "large_communities": [], "extended_communities": []}
    assert {key: scope for key, scope in world.rules.items() if scope != plain} == before


def test_a_scope_that_somebody_changes_meanwhile_stays(
    shell: Callable[[World], Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the change another one's rule for the same session was overwritten without a word."""
    world = World()
    call = shell(world)
    ask = vantages.viewpoints

    def late(*arguments: Any) -> Any:
        world.rules["JFK", "209"] = scope_data(Scope(prepend=2))
        return ask(*arguments)

    monkeypatch.setattr(vantages, "viewpoints", late)
    ran = call("doctor", "--apply", "1", "--patience", "1")
    assert ran.code == 1 and "somebody has changed what is announced" in ran.err and "JFK to as209" in ran.err
    assert not world.waves.rollouts and set(world.rules) == {("JFK", "209")}


def test_a_contract_cannot_be_applied_and_a_number_must_exist(shell: Callable[[World], Caller]) -> None:
    """Buying transit is for people; nothing is sent in either case."""
    world = World()
    call = shell(world)
    repairs = json.loads(call("doctor", "--repairs", "20", "-o", "json").out)["causes"][0]["repairs"]
    bought = next(repair["number"] for repair in repairs if repair["kind"] == "add upstream")
    ran = call("doctor", "--repairs", "20", "--apply", bought)
    assert ran.code == 2 and "takes a contract with AS" in ran.err
    for number in ("9.1", "1.99", "x", "0", "1.0"):
        assert call("doctor", "--apply", number).code == 2
    assert [request for request in world.changes() if "workloads/web/" in request[1]] == []


def test_an_interrupt_ends_the_watching_alone(shell: Callable[[World], Caller]) -> None:
    """Control goes on with the repair; what is said is how to watch it again, and how to take it back."""
    world = World()
    call = shell(world)

    def press(count: int) -> None:
        if count == 2:
            raise KeyboardInterrupt

    world.on_look = press
    before = len(world.changes())
    ran = call("doctor", "--apply", "1", "--patience", "1")
    assert ran.code == 130 and ran.out.count("made:") == 0
    (rollout,) = world.waves.rollouts
    assert f"anypop rollout wait web {rollout[:8]}" in ran.err and f"anypop rollout abort web {rollout[:8]}" in ran.err
    assert [method for method, _, _ in world.changes()[before:]] == ["POST"], "nothing is taken back from here"
    assert world.waves.rollouts[rollout]["phase"] == "running" and world.rules


def test_a_control_that_is_away_for_a_while_is_waited_for(shell: Callable[[World], Caller]) -> None:
    """It is said once, and the end is told when control is back."""
    world = World()
    call = shell(world)

    def away(count: int) -> None:
        if count in (2, 3):
            raise httpx.ConnectError("refused")

    world.on_look = away
    ran = call("doctor", "--apply", "1", "--patience", "1")
    assert ran.code == 0, ran.err
    assert ran.err.count("control does not answer") == 1 and ran.err.count("wave 1 of 2") == 1
    assert "made: " in ran.out


def test_a_repair_that_somebody_else_ends_is_told(shell: Callable[[World], Caller]) -> None:
    """Exit code 1, and who lands as before; a pause is no end: exit code 6, and how to go on."""
    world = World()
    call = shell(world)

    def abort(count: int) -> None:
        if count == 2:
            world.waves.abort(next(iter(world.waves.rollouts)))

    world.on_look = abort
    ran = call("doctor", "--apply", "1", "--patience", "1", "-o", "json")
    assert ran.code == 1 and "somebody ended it" in ran.err and "every vantage lands as before" in ran.err
    found = json.loads(ran.out)
    assert (found["applied"], found["rolled_back"], found["restored"], world.rules) == (False, True, True, {})

    def pause(count: int) -> None:
        list(world.waves.rollouts.values())[-1]["phase"] = "paused"

    world.on_look = pause
    ran = call("doctor", "--apply", "1", "--patience", "1")
    assert ran.code == 6 and "is paused" in ran.err and "anypop rollout resume web" in ran.err

"""The doctor on the command line: what it finds, the exact change, and a repair that is taken back when the outcome differs."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from anypop.advice import plans, proposals
from anypop.advice.waves import Key, Wave
from anypop.agent.act.bgp.proposed import bird_conf
from anypop.cli.catchment import repair as repairs
from anypop.cli.catchment.repair import Course, Look, Patience
from anypop.model.announce import Mode, Scope
from anypop.model.names import CityCode
from anypop.model.network import network_from
from anypop.routing.catchment.doctor import Change, Repair
from tests.cli_calls import Caller
from tests.fake_control import FakeControl, probed
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
        self.answers["GET", "/anypop/v1/network"] = (200, network())

    def _probe(self, request: httpx.Request, body: Any) -> httpx.Response:
        from tests.fake_control import VANTAGES  # noqa: PLC0415 - its own list

        rows = [probed(v, body["requests"]) for v in VANTAGES]
        limited = {pop for (pop, _), scope in self.rules.items() if scope["mode"] == "withhold" or scope["communities"]}
        lands = "JFK" if self.deaf or "JFK" not in limited else "LHR" if "LAX" in limited else "LAX"
        for row in rows:
            if row["vantage"] == "london":
                row |= {"pop": lands, "hits": {f"web-x-{lands.lower()}-0": body["requests"]}}
        return httpx.Response(200, json={"address": "198.51.100.1", "results": rows})


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[World], Caller]:
    def make(world: World) -> Caller:
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
    assert "1. customers of 3356 in Europe land in JFK, since 3356 prefers the customer route by 209, learnt in the USA" in ran.out
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
        configured = [change["pop"] for change in repair["changes"] if not change["added"]]
        assert list(repair["bird_conf"]) == configured and all(repair["bird_conf"].values())
    assert all(repair["mended"] >= repair["cured"] > 0 and repair["harmed"] >= 0 for repair in cause["repairs"])


def test_withholding_takes_the_lines_out_of_one_session_s_filter() -> None:
    """Both families, and nothing else of the file changes."""
    prefixes = ("198.51.100.0/24", "2001:db8:1::/48")
    place = proposals.Place(workload="web", network=network_from(network()), prefixes=prefixes, render=bird_conf)
    now = plans.read((LONDON / "plan.yaml").read_text().replace("centurylink", "as209"), "plan")
    change = Change(pop=CityCode("JFK"), upstream="as209", asn=209, scope=Scope(mode=Mode.WITHHOLD))
    score: dict[str, Any] = {"cured": 1, "mended": 1, "harmed": 0, "unsure": 0, "mended_weight": 0.1, "harmed_weight": 0.0, "gain_km": 1.0}
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
    """First the PoP whose change alone takes nobody further; each wave is one request, and each is seen from the vantages."""
    world = World()
    call = shell(world)
    ran = call("doctor", "--apply", "1", "--patience", "1")
    assert ran.code == 0, ran.err
    assert [[rule["pop"] for rule in body["rules"]] for method, _, body in world.changes() if method == "PATCH"] == [["LAX"], ["JFK"]]
    assert "wave 1 of 2: LAX" in ran.err and "wave 2 of 2: JFK" in ran.err and "london LHR" in ran.err
    assert "1 network moves to LHR" in ran.out or "networks move to LHR" in ran.out
    assert "customers of 3356 in Europe" not in call("doctor").out


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
    assert found["waves"][-1]["differs"] == ["london lands in JFK, predicted LHR"]
    plain = {"mode": "announce", "prepend": 0, "communities": [], "large_communities": []}
    assert {key: scope for key, scope in world.rules.items() if scope != plain} == before


def test_a_contract_cannot_be_applied_and_a_number_must_exist(shell: Callable[[World], Caller]) -> None:
    """Buying transit is for people; nothing is sent in either case."""
    world = World()
    call = shell(world)
    repairs = json.loads(call("doctor", "--repairs", "20", "-o", "json").out)["causes"][0]["repairs"]
    bought = next(repair["number"] for repair in repairs if repair["kind"] == "add upstream")
    ran = call("doctor", "--repairs", "20", "--apply", bought)
    assert ran.code == 2 and "is a contract with a network" in ran.err
    for number in ("9.1", "1.99", "x", "0", "1.0"):
        assert call("doctor", "--apply", number).code == 2
    assert [request for request in world.changes() if request[0] == "PATCH"] == []


@dataclass(slots=True)
class Now:
    """A clock that only sleeping moves."""

    at: float = 0.0

    def sleep(self, seconds: float) -> None:
        self.at += seconds

    @property
    def patience(self) -> Patience:
        return Patience(patience_s=10, hold_s=2, pause_s=0.5, clock=lambda: self.at, sleep=self.sleep)


@dataclass(slots=True)
class Router:
    """Announcements that take effect `delay` seconds after they were made; `place` is where the one vantage then lands."""

    now: Now
    place: Callable[[Mapping[Key, Scope]], str | None]
    delay: float = 1.0
    held: dict[Key, Scope] = field(default_factory=dict)
    shown: dict[Key, Scope] = field(default_factory=dict)
    due: float = 0.0
    restored: list[Key] = field(default_factory=list)
    breaks_at: int = 99
    sets: int = 0

    def set(self, scopes: Mapping[Key, Scope]) -> None:
        self.sets += 1
        if self.sets == self.breaks_at:
            raise KeyboardInterrupt
        self.held |= scopes
        self.due = self.now.at + self.delay

    def restore(self, keys: Sequence[Key]) -> None:
        self.restored = list(keys)
        self.held = {key: scope for key, scope in self.held.items() if key not in keys}
        self.due = self.now.at + self.delay

    def wrong(self, scopes: Mapping[Key, Scope]) -> list[str]:
        self._settle()
        return [f"{key}" for key, scope in scopes.items() if self.shown.get(key) != scope]

    def look(self) -> Mapping[str, Look]:
        self._settle()
        return {"v": Look(pop=self.place(self.shown), whole=True)}

    def _settle(self) -> None:
        if self.now.at >= self.due:
            self.shown = dict(self.held)


OFF = Scope(mode=Mode.WITHHOLD)
WAVES = (
    Wave(pop="A", scopes={("A", "u"): OFF}, expected={"v": frozenset({"B"})}),
    Wave(pop="B", scopes={("B", "u"): OFF}, expected={"v": frozenset({"C"})}),
)


def as_predicted(shown: Mapping[Key, Scope]) -> str:
    return "C" if ("B", "u") in shown else "B" if ("A", "u") in shown else "A"


def run(router: Router) -> Course:
    return repairs.apply(WAVES, router, router, say=lambda _: None, patience=router.now.patience)


def test_waves_wait_for_what_the_vantages_see() -> None:
    """Each holds for two seconds before the next begins."""
    router = Router(Now(), as_predicted)
    course = run(router)
    assert not course.rolled_back and [wave.pop for wave in course.waves] == ["A", "B"]
    assert all(wave.seconds >= 3 for wave in course.waves) and set(router.held) == {("A", "u"), ("B", "u")}


def test_a_right_outcome_that_does_not_last_is_a_wrong_one() -> None:
    """The vantage passes through the predicted PoP and ends elsewhere."""
    now = Now()
    router = Router(now, lambda shown: "A" if not shown else "B" if now.at < 2.5 else "Z")
    course = run(router)
    assert course.rolled_back and course.differs == ["v lands in Z, predicted B"]


def test_the_second_wave_takes_the_first_one_back_too() -> None:
    """All that was touched comes back, and the vantages land as before."""
    router = Router(Now(), lambda shown: None if ("B", "u") in shown else as_predicted(shown))
    course = run(router)
    assert course.rolled_back and course.restored and router.restored == [("A", "u"), ("B", "u")]
    assert course.differs == ["v lands in no PoP, predicted C"] and router.held == {}


def test_an_interrupt_takes_everything_back_and_goes_on() -> None:
    """Also in the middle of a wave."""
    router = Router(Now(), as_predicted, breaks_at=2)
    with pytest.raises(KeyboardInterrupt):
        run(router)
    assert router.restored == [("A", "u"), ("B", "u")] and router.held == {}


def test_lost_answers_are_a_difference() -> None:
    """A PoP that is reached and does not answer is no repair."""

    class Deaf(Router):
        def look(self) -> Mapping[str, Look]:
            return {name: Look(pop=look.pop, whole=not self.held) for name, look in Router.look(self).items()}

    course = run(Deaf(Now(), as_predicted))
    assert course.rolled_back and course.differs == ["v does not get all its answers"]

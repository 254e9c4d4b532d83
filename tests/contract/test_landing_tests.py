"""Tests that are kept, and repairs: who may, how often, what two tests tell of each other, and that a repair is a
rollout with the model's expectations.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anypop.control import kept_tests
from anypop.control.roles import Role
from tests.contract.test_api_predictions import CITIES, command_line
from tests.control_world import FakeAgent, World
from tests.london_world import fun, go_on, london_world
from tests.people import somebody

FUN = "/anypop/v1/stacks/default/workloads/fun"
KEEP = [
    {"pop": pop, "upstream": "as209", "scope": {"communities": ["209:7100"]}, "note": "stay"} for pop in ("JFK", "LAX")
]


class Asked:
    """A control with the article's case, and people of two accounts."""

    def __init__(self, world: World) -> None:
        self.world = world
        fun(world)
        self.agents: list[FakeAgent] = world.agents()
        world.settle(self.agents)
        accounts = world.platform.accounts
        own, theirs = accounts.first_account().id, accounts.create_account("theirs").id
        accounts.create_stack(theirs, "theirs", "theirs")
        self.viewer = somebody(world, own, "vic", Role.VIEWER)
        self.stranger = somebody(world, theirs, "eve", Role.OWNER)

    def test(self, **body: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.world.send("POST", f"{FUN}/tests", body)["test"]
        return found

    def status(self, method: str, path: str, who: dict[str, str], body: object = None) -> int:
        return self.world.call(method, path, headers=who, json=body).status_code


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    with london_world(tmp_path_factory.mktemp("asked"), now=time.time()) as world:
        yield Asked(world)


def test_a_test_is_kept_and_compared_with_a_later_one(asked: Asked) -> None:
    """London goes home between the two: it moved, the others did not; the figures of each are those of its rows."""
    before = asked.test()
    assert (before["vantages"], before["asked"], before["answered"], before["astray"]) == (4, 60, 60, 1)
    london = next(row for row in before["results"] if row["vantage"] == "london")
    assert (london["pop"], london["nearest"], london["hits"]) == ("JFK", "LHR", {"fun-eu-jfk-0": 8, "fun-eu-jfk-1": 7})
    assert 5500 < london["extra_km"] < 5600 and london["median_ms"] == 2.0
    asked.world.send("PUT", f"{FUN}/announcements", {"rules": KEEP})
    asked.world.clock.now += 60
    after = asked.test(requests=3)
    asked.world.send("DELETE", f"{FUN}/announcements")
    assert (after["astray"], after["asked"]) == (0, 12)
    listed = asked.world.get(f"{FUN}/tests")["results"]
    assert [one["id"] for one in listed[:2]] == [after["id"], before["id"]]
    found = asked.world.get(f"{FUN}/tests/{after['id'][:13]}?against={before['id']}")["test"]
    assert {row["vantage"]: row["moved"] for row in found["compared"]} == {
        "amsterdam": False, "london": True, "new-york": False, "seattle": False,
    }  # fmt: skip
    assert found["against"]["id"] == before["id"] and found["results"] == after["results"]


def test_whoever_may_see_a_workload_may_test_it_and_nobody_else(asked: Asked) -> None:
    """A viewer may; to another account neither workload nor tests are there, whatever id it names."""
    known = asked.test()["id"]
    assert asked.status("POST", f"{FUN}/tests", asked.viewer, {}) == 200
    for method, path in (("POST", "tests"), ("GET", "tests"), ("GET", f"tests/{known}"), ("POST", "repairs/plan")):
        assert asked.status(method, f"{FUN}/{path}", asked.stranger, {"rules": KEEP} if "plan" in path else {}) == 404
    assert asked.status("GET", f"{FUN}/tests/0000", asked.viewer) == 404


def test_a_tenant_tests_so_often_and_one_at_a_time(asked: Asked) -> None:
    """All share the vantages."""
    world = asked.world
    theirs = next(a.id for a in world.platform.accounts.accounts() if a.name == "theirs")
    world.platform.testing.add(theirs)
    there = "/anypop/v1/stacks/theirs/workloads/own/tests"
    made = world.body("own")
    made["workload"]["targets"]["eu"]["spec"]["deployments"]["minReplicas"] = 1
    assert asked.status("POST", "/workload/v1/stacks/theirs/workloads", asked.stranger, made) == 200
    assert asked.status("POST", there, asked.stranger, {}) == 429
    world.platform.testing.clear()
    answers = [asked.status("POST", there, asked.stranger, {}) for _ in range(2)]
    assert answers == [200, 429]


def test_the_oldest_go_and_all_go_with_their_workload(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_tests, "MOST", 2)
    world = asked.world
    world.create("short", cities=CITIES)
    path = "/anypop/v1/stacks/default/workloads/short/tests"
    made = []
    for _ in range(3):
        world.clock.now += 1
        made.append(world.send("POST", path, {"requests": 1})["test"]["id"])
    assert [one["id"] for one in world.get(path)["results"]] == made[:0:-1]
    workload = next(d.id for d in world.state.workloads.values() if d.workload.slug == "short")
    world.settle(asked.agents)
    world.send("DELETE", "/workload/v1/stacks/default/workloads/short")
    world.settle(asked.agents)
    assert workload not in world.state.workloads
    assert kept_tests.KeptTests(world.platform.core.store).listed(workload) == []


def test_the_command_line_tests_lists_and_compares(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept is the same by either way."""
    call = command_line(asked.world, tmp_path, monkeypatch)
    ran = call("test", "-w", "fun", "-n", "4")
    assert ran.code == 0, ran.err
    newest = asked.world.get(f"{FUN}/tests")["results"][0]
    assert f"kept as {newest['id'][:8]}" in ran.out and "5,540 km" in ran.out and "4/4" in ran.out
    ran = call("test", "-w", "fun", "--list", "-o", "json")
    assert newest["id"] in [one["id"] for one in json.loads(ran.out)]
    ran = call("test", "-w", "fun", "--show", newest["id"][:8], "--against", newest["id"][:8])
    assert ran.code == 0 and "beside" in ran.out, ran.err


def test_a_repair_is_a_rollout_with_what_the_model_expects(asked: Asked) -> None:
    """LAX first, since that takes nobody further; then JFK, and London is home."""
    world = asked.world
    plan = world.send("POST", f"{FUN}/repairs/plan", {"rules": KEEP})
    assert [(w["pop"], w["expected"]["london"]) for w in plan["waves"]] == [("LAX", ["JFK"]), ("JFK", ["LHR"])]
    assert plan["seen"]["london"] == "JFK" and plan["predicted"]["winners"] > 0 and not plan["doubts"]
    assert not world.state.rules, "a plan changes nothing"
    assert asked.status("POST", f"{FUN}/repairs", asked.viewer, {"rules": KEEP}) == 403
    assert asked.status("POST", f"{FUN}/repairs", asked.stranger, {"rules": KEEP}) in (403, 404)
    begun = world.send("POST", f"{FUN}/repairs", {"rules": KEEP, "title": "stay home"})["rollout"]
    for _ in range(30):
        found = world.get(f"{FUN}/rollouts/{begun['id']}")["rollout"]
        if found["phase"] != "running":
            break
        go_on(world, asked.agents)
    assert (found["phase"], found["vantages"]["london"]) == ("done", "LHR")
    assert {rule["note"] for rule in world.get(f"{FUN}/announcements")["rules"]} == {"doctor: stay home"}


def test_a_wrong_repair_is_refused_in_words(asked: Asked) -> None:
    """With the path of each field; and without a graph there is no plan."""
    wrong = [{"pop": "XXX", "upstream": "as209", "scope": {}}, {"pop": "JFK", "upstream": "as1", "scope": {}}]
    answer = asked.world.call("POST", f"{FUN}/repairs/plan", json={"rules": wrong})
    assert answer.status_code == 400
    told = answer.json()["details"]
    fields = {v["field"] for d in told for v in d.get("fieldViolations", ())}
    assert {"rules[0].pop", "rules[1].upstream"} <= fields

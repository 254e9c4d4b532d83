"""Drains through the real control: who may, what is stored, what everybody is shown, and what survives a restart."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from anypop.model.announce import Mode
from tests.contract.test_tenants import tenant
from tests.control_world import FakeAgent, World, a_body

DRAINS = "/anypop/v1/drains"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        yield made


def drain(world: World, target: str, **more: Any) -> dict[str, Any]:
    body = {"drain": {"target": target, "deadline_s": 30, "calm_s": 1, **more}}
    found: dict[str, Any] = world.send("POST", DRAINS, body)["drain"]
    return found


def stage(world: World, identity: str) -> str:
    return str(world.get(f"{DRAINS}/{identity}")["drain"]["stage"])


def until(world: World, agents: list[FakeAgent], identity: str, wanted: str) -> None:
    """Hosts obey and report, every two seconds of control's clock."""
    for _ in range(60):
        for agent in agents:
            agent.obey()
        if stage(world, identity) == wanted:
            return
        world.clock.now += 2.0
    raise AssertionError(f"not {wanted}: {world.get(f'{DRAINS}/{identity}')}")


def modes(world: World, host: str) -> set[Mode]:
    order = next(i.order for name, i in world.state.orders.items() if name == host)
    return {a.scope.mode for a in order.announcements if a.gates}


def refused(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    return answer.text


def test_a_pop_is_drained_stays_so_over_a_restart_and_comes_back(world: World) -> None:
    """Stored with every step; shown as drained; every act is in the audit log, and each stage an event."""
    world.create()
    agents = world.agents()
    world.settle(agents)
    begun = drain(world, "lhr")
    assert (begun["target"], begun["stage"], begun["leaves"]) == ("LHR", "counting", True)
    for agent in agents:
        agent.obey()
    world.restart()
    agents = world.agents()
    until(world, agents, begun["id"], "drained")
    assert (modes(world, "LHR"), modes(world, "AMS")) == ({Mode.WITHHOLD}, {Mode.ANNOUNCE})
    world.restart()
    assert modes(world, "LHR") == {Mode.WITHHOLD}
    agents = world.agents()
    for agent in agents:
        agent.obey()
    pop = next(p for p in world.get("/anypop/v1/pops")["results"] if p["pop"] == "LHR")
    assert (pop["verdict"], pop["reason"], pop["drain"]) == ("drained", "drained", "LHR drained")
    host = next(h for h in world.get("/anypop/v1/hosts")["results"] if h["host"] == "LHR")
    assert host["state"] == "drained"
    reasons = {i["name"]: i.get("reason") for i in world.instances() if "-lhr-" in i["name"]}
    assert set(reasons.values()) == {"drained"}
    world.send("POST", f"{DRAINS}/{begun['id']}/undrain")
    until(world, agents, begun["id"], "over")
    assert modes(world, "LHR") == {Mode.ANNOUNCE}
    assert world.get(DRAINS)["results"] == []
    listed = world.get(f"{DRAINS}?ended=true")["results"]
    told = [s["stage"] for s in listed[0]["stages"]]
    assert told == [
        "counting",
        "lowering",
        "decaying",
        "withdrawing",
        "emptying",
        "drained",
        "returning",
        "raising",
        "restoring",
    ]
    audited = {(e["operation"], e["subject"]) for e in world.get("/anypop/v1/audit")["results"]}
    assert {("begin_drain", "LHR"), ("undrain", "LHR")} <= audited
    kinds = {e["kind"] for e in world.get("/anypop/v1/events?limit=1000")["results"] if e["subject"] == "LHR"}
    assert {"drain-begun", "drain-stage", "drained", "drain-returns", "drain-over"} <= kinds


def test_asked_twice_it_is_one_drain_with_the_new_times_and_it_turns_round(world: World) -> None:
    world.create()
    agents = world.agents()
    world.settle(agents)
    first = drain(world, "LHR")
    again = drain(world, "LHR", deadline_s=7, until="2030-01-01T00:00:00Z")
    assert (again["id"], again["deadline_s"], again["until"][:10]) == (first["id"], 7, "2030-01-01")
    world.send("POST", f"{DRAINS}/{first['id']}/undrain")
    turned = drain(world, "LHR")
    assert (turned["id"], turned["stage"]) == (first["id"], "lowering")
    said = refused(world.call("POST", DRAINS, json={"drain": {"target": "LHR", "until": "2001-01-01T00:00:00Z"}}), 400)
    assert "is over already" in said


def test_what_drains_is_the_operators_but_for_ones_own_instances(world: World) -> None:
    """A tenant drains its instance and sees that alone; neither PoPs nor anybody else's, in either direction."""
    theirs = tenant(world)
    world.create()
    path = "/workload/v1/stacks/theirs/workloads"
    assert world.call("POST", path, json=a_body("newcomer"), headers=theirs).status_code == 200
    agents = world.agents()
    world.settle(agents)
    mine = next(str(p.incarnation.name) for p in world.state.incarnations.values() if "newcomer" in p.incarnation.name)
    others = next(str(p.incarnation.name) for p in world.state.incarnations.values() if "fun" in p.incarnation.name)

    def ask(target: str, **who: Any) -> httpx.Response:
        return world.call("POST", DRAINS, json={"drain": {"target": target}}, **who)

    for target in ("LHR", "LHR/as1299", "host:LHR"):
        assert "operator" in refused(ask(target, headers=theirs), 403)
    refused(ask(others, headers=theirs), 404)
    own = ask(mine, headers=theirs)
    assert own.status_code == 200
    assert own.json()["drain"]["stage"] == "replacing"
    of_operator = drain(world, "LHR")["id"]
    assert [d["target"] for d in world.get(DRAINS, headers=theirs)["results"]] == [mine]
    for method, rest in (("GET", ""), ("POST", "/undrain")):
        refused(world.call(method, f"{DRAINS}/{of_operator}{rest}", headers=theirs), 404)
    assert world.state.drains[of_operator].stage.leaves


def test_a_host_that_does_not_count_is_waited_for_until_the_deadline(world: World) -> None:
    """An agent of before says nothing of what it exports or gets: nothing is taken for done that nobody saw."""
    world.create()
    agents = world.agents()
    world.settle(agents)
    for agent in agents:
        agent.packets = None
    begun = drain(world, "LHR", deadline_s=16)
    for _ in range(5):
        world.clock.now += 2.0
        for agent in agents:
            agent.obey()
    assert stage(world, begun["id"]) == "decaying"
    until(world, agents, begun["id"], "drained")
    differs = [s["differs"] for s in world.get(f"{DRAINS}/{begun['id']}")["drain"]["stages"]]
    assert len(differs) == 5

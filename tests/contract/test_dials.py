"""Dials through the real control: who may, what hosts are told, what is refused, what everybody is shown, and what
survives a restart. Agents pretend, but send away what the real decision says.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from anypop.judge.shedding import STEP_S
from anypop.model.backbone import DialledPop
from anypop.model.names import CityCode
from anypop.model.network import Capacity
from tests.contract.test_backbone import Vantages, joined
from tests.contract.test_tenants import refused, tenant
from tests.control_world import FakeAgent, World, a_body

DIALS = "/anypop/v1/dials"
LHR = CityCode("LHR")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path, joined()) as made:
        yield made


def put(world: World, pop: str, percent: int | None = None, *, who: dict[str, str] | None = None, **more: Any) -> Any:
    body = {"pop": pop, **({"percent": percent} if percent is not None else {}), **more}
    return world.call("PUT", DIALS, json={"dial": body}, **({"headers": who} if who else {}))


def dialled(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["dial"]
    return found


def listed(world: World) -> dict[tuple[str, str | None], dict[str, Any]]:
    return {(d["pop"], d.get("workload")): d for d in world.get(DIALS)["results"]}


def ordered(world: World, host: str) -> tuple[DialledPop, ...]:
    order = next(i.order for name, i in world.state.orders.items() if name == host)
    return order.backbone.dials if order.backbone is not None else ()


def obey(agents: list[FakeAgent], rounds: int = 2) -> None:
    for _ in range(rounds):
        for agent in agents:
            agent.obey()


def running(world: World, *, cities: tuple[str, ...] = ("AMS", "LHR")) -> list[FakeAgent]:
    world.create("fun", cities=cities)
    agents = world.agents()
    world.settle(agents)
    obey(agents)
    return agents


def test_a_workload_is_dialled_in_one_pop_and_every_host_is_told(world: World) -> None:
    """Stored, with a version; in force once the hosts have told; shown by why, pops and backbone; audited, an event."""
    agents = running(world)
    first = dialled(put(world, "lhr", 30, workload="fun", note="canary"))
    assert (first["pop"], first["percent"], first["version"], first["in_force"]) == ("LHR", 30, 1, "no")
    assert first["reason"] == "dial-waits"
    held = next(iter(world.state.anycast.values()))
    wanted = (DialledPop(pop=LHR, percent=30, addresses=(held.address4, held.address6)),)
    assert {host: ordered(world, host) for host in ("LHR", "AMS", "JFK")} == dict.fromkeys(
        ("LHR", "AMS", "JFK"), wanted
    )
    obey(agents)
    world.restart()
    assert ordered(world, "LHR") == wanted
    agents = world.agents()
    obey(agents)
    (row,) = listed(world).values()
    assert (row["in_force"], row["reason"], row["note"], row["by_operator"]) == ("yes", "dialled", "canary", True)
    assert [d["workload"] for d in world.get("/anypop/v1/backbone")["dials"]] == ["fun"]
    again = dialled(put(world, "LHR", 100, workload="fun"))
    assert (again["version"], again["in_force"]) == (2, "plain")
    assert ordered(world, "AMS") == ()
    assert listed(world) == {}
    audited = [e for e in world.get("/anypop/v1/audit")["results"] if e["operation"] == "set_dial"]
    assert [(e["subject"], e["after"]["percent"]) for e in audited] == [("fun LHR", 30), ("fun LHR", 100)]
    events = [e for e in world.get("/anypop/v1/events?limit=1000")["results"] if e["kind"] == "dialled"]
    assert [(e["subject"], e["fields"]["was"], e["fields"]["percent"]) for e in events] == [
        ("fun LHR", 100, 30),
        ("fun LHR", 30, 100),
    ]


def test_why_tells_that_a_part_goes_on_by_the_dial(world: World) -> None:
    agents = running(world)
    put(world, "LHR", 30, workload="fun")
    obey(agents)
    world.platform.vantages = world.platform.glass = Vantages()
    found = world.get("/anypop/v1/why?target=london&workload=fun&stack=default")
    (host,) = found["onward"]
    assert (host["local"], host["kept"], [(s["host"], s["share"]) for s in host["shares"]]) == (30, 30, [("AMS", 70)])
    assert found["sentences"][-1] == (
        "In LHR: its host serves 30 % of the new connections itself and sends 70 % by tunnel to AMS, since LHR is "
        "dialled to 30 %."
    )


def test_asked_twice_it_is_one_change_and_an_older_version_is_refused(world: World) -> None:
    running(world)
    assert dialled(put(world, "LHR", 50, version=0))["version"] == 1
    assert dialled(put(world, "LHR", 50))["version"] == 1
    assert "version 1" in refused(put(world, "LHR", 40, version=0), 409)
    assert dialled(put(world, "LHR", 40, version=1))["version"] == 2


def test_the_lower_of_a_pop_and_a_workload_counts(world: World) -> None:
    agents = running(world)
    put(world, "LHR", 60)
    put(world, "LHR", 20, workload="fun")
    assert [d.percent for d in ordered(world, "LHR")] == [60, 20]
    obey(agents)
    assert {k: d["in_force"] for k, d in listed(world).items()} == {("LHR", None): "yes", ("LHR", "fun"): "yes"}
    pop = next(p for p in world.get("/anypop/v1/pops")["results"] if p["pop"] == "LHR")
    assert pop["dial"].startswith("keeps 60 % of its new connections (yes:")


def test_what_nobody_could_take_is_refused_in_words(world: World) -> None:
    running(world)
    world.create("alone", cities=("LHR",))
    said = {
        "stands in no other PoP": put(world, "LHR", 50, workload="alone"),
        "has no instance in JFK": put(world, "JFK", 50, workload="fun"),
    }
    for words, answer in said.items():
        assert words in refused(answer, 400)
    assert dialled(put(world, "AMS", 20, workload="fun"))["percent"] == 20
    assert "every other PoP is dialled as low for fun (AMS 20 %)" in refused(put(world, "LHR", 30, workload="fun"), 400)
    assert dialled(put(world, "LHR", 10, workload="fun"))["percent"] == 10
    for body in ({"percent": 101}, {"percent": -1}, {"percent": "all"}, {}):
        assert world.call("PUT", DIALS, json={"dial": {"pop": "LHR", **body}}).status_code == 400
    refused(put(world, "XXX", 5), 404)
    refused(put(world, "LHR", 5, workload="nothing"), 404)


def test_without_a_backbone_a_dial_is_refused_and_one_that_stands_is_told_as_idle(tmp_path: Path) -> None:
    with World(tmp_path, replace(joined(), backbone=None)) as plain:
        plain.create()
        assert "there is no backbone" in refused(put(plain, "LHR", 50), 400)
        assert dialled(put(plain, "LHR", 100))["percent"] == 100
    (tmp_path / "two").mkdir()
    with World(tmp_path / "two", joined()) as world:
        running(world)
        put(world, "LHR", 50)
        network = world.get("/anypop/v1/network")
        network["backbone"] = None
        assert world.call("PUT", "/anypop/v1/network?confirm=true", json=network).status_code == 200
        (row,) = listed(world).values()
        assert (row["in_force"], row["reason"]) == ("no", "no-backbone")


def test_when_all_others_fall_ill_it_is_served_here_and_told(world: World) -> None:
    agents = running(world)
    put(world, "LHR", 0)
    obey(agents)
    assert listed(world)["LHR", None]["in_force"] == "yes"
    ams = next(a for a in agents if a.host == "AMS")
    ams.broken = frozenset(f"fun-eu-ams-{n}" for n in range(2))
    obey(agents)
    row = listed(world)["LHR", None]
    assert (row["in_force"], row["reason"]) == ("no", "nobody-takes")


def test_an_owner_dials_what_is_its_own_and_nothing_that_the_operator_has_set(world: World) -> None:
    theirs = tenant(world)
    world.create("fun")
    path = "/workload/v1/stacks/theirs/workloads"
    assert world.call("POST", path, json=a_body("newcomer", cities=("AMS", "LHR")), headers=theirs).status_code == 200
    agents = world.agents()
    world.settle(agents)
    assert "operator" in refused(put(world, "LHR", 50, who=theirs), 403)
    refused(put(world, "LHR", 50, workload="fun", who=theirs), 404)
    refused(put(world, "LHR", 50, workload="fun", stack="default", who=theirs), 404)
    assert dialled(put(world, "LHR", 50, workload="newcomer", who=theirs))["by_operator"] is False
    put(world, "AMS", 90)
    assert [d.get("workload") for d in world.get(DIALS, headers=theirs)["results"]] == ["newcomer"]
    assert dialled(put(world, "LHR", 10, workload="newcomer", stack="theirs"))["by_operator"] is True
    assert "the operator has set this dial to 10 %" in refused(
        put(world, "LHR", 90, workload="newcomer", who=theirs), 403
    )
    put(world, "LHR", 100, workload="newcomer", stack="theirs")
    assert dialled(put(world, "LHR", 80, workload="newcomer", who=theirs))["percent"] == 80


def test_a_workload_that_goes_takes_its_dials(world: World) -> None:
    agents = running(world)
    put(world, "LHR", 50, workload="fun")
    world.send("DELETE", "/workload/v1/stacks/default/workloads/fun")
    world.settle(agents)
    assert dict(world.state.dials) == {}
    world.restart()
    assert dict(world.state.dials) == {}


def test_a_pop_above_its_set_load_sheds_while_another_has_room(world: World) -> None:
    """By itself and step by step, told as an event, kept over a restart; never without room; and back."""
    agents = running(world)
    for agent in agents:
        agent.capacity = Capacity(cpu_millis=1000, memory_bytes=64 << 30, disk_bytes=1 << 40)
        agent.used_millis = 100
    lhr, others = next(a for a in agents if a.host == "LHR"), [a for a in agents if a.host != "LHR"]
    lhr.used_millis = 900
    obey(agents)
    assert dict(world.state.dials) == {}, "off unless somebody sets it"
    for agent in others:
        agent.used_millis = 900
    obey(agents)
    made = dialled(put(world, "LHR", shed_above=80))
    assert (made["percent"], made["keeps"], made["load"]) == (100, 100, 90.0)
    obey(agents)
    assert listed(world)["LHR", None]["keeps"] == 100, "nobody has room"
    others[0].used_millis = 100
    obey(agents)
    shed = listed(world)["LHR", None]
    assert (shed["keeps"], shed["percent"], shed["version"]) == (88, 100, 1)
    assert ordered(world, "AMS") == (DialledPop(pop=LHR, percent=88),)
    obey(agents)
    assert listed(world)["LHR", None]["keeps"] == 88, "a step is followed by a wait"
    world.restart()
    agents = world.agents()
    for agent in agents:
        agent.capacity, agent.used_millis = lhr.capacity, 100
    obey(agents)
    world.clock.now += STEP_S
    obey(agents)
    row = listed(world)["LHR", None]
    assert (row["keeps"], row["reason"], row["in_force"]) == (93, "sheds", "yes")
    events = [e for e in world.get("/anypop/v1/events?limit=1000")["results"] if e["kind"] == "sheds"]
    assert [e["fields"]["percent"] for e in events] == [88, 93]
    assert dialled(put(world, "LHR", shed_above=None))["keeps"] == 100
    assert listed(world) == {}
    assert "a workload has no load of its own" in refused(put(world, "LHR", shed_above=80, workload="fun"), 400)

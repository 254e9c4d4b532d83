"""Workloads at a glance, pages of instances, what differs between revisions: counted as they are, and cheaply."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from anypop.api import glances, shapes
from anypop.api.models.summaries import Summary
from anypop.api.summaries import _watched
from anypop.api.watch import _states
from anypop.control.state import Declaration
from tests import documented
from tests.control_world import FakeAgent, World

BASE = "/workload/v1/stacks/default/workloads"
OURS = "/anypop/v1/stacks/default"
MANY = 40


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("summaries")) as made:
        for number in range(MANY):
            made.create(f"w{number:02}", anycast=number == 0, replicas=1)
        made.settle()
        yield made


@pytest.fixture(scope="module")
def agents(world: World) -> list[FakeAgent]:
    found = world.agents()
    world.settle(found)
    return found


def one(world: World, slug: str) -> dict[str, Any]:
    (found,) = world.get(f"{OURS}/summaries", params={"page_request.filter": f"slug='{slug}'"})["results"]
    return dict(found)


def test_a_summary_counts_what_the_instances_are(world: World, agents: list[FakeAgent]) -> None:
    """Running, failed, to come, to go, unknown: as the list of instances says it of each, in each city."""
    agents[0].crashing = {"registry.example/web:1"}
    world.settle(agents)
    world.send("PATCH", f"{BASE}/w01", {"workload": world.replicas(3)})
    for slug in ("w00", "w01"):
        found = one(world, slug)
        instances = world.instances(slug)
        assert found["phases"] == Counter(i["phase"] for i in instances)
        for city in found["cities"]:
            here = Counter(i["phase"] for i in instances if i["location"]["cityCode"] == city["cityCode"])
            assert city["phases"] == here and city["continent"] == "Europe"
        assert found["images"] == ["registry.example/web:1"]
        assert found["healthy"] == sum(i["healthy"] for i in instances) == sum(c["healthy"] for c in found["cities"])
    assert one(world, "w01")["phases"].keys() >= {"SCHEDULING", "RUNNING"}
    held = world.get(f"{BASE}/w00")["workload"]["metadata"]["annotations"]
    assert one(world, "w00")["anycast"] == [
        address.partition("/")[0] for address in held["anycast.platform.stackpath.net/subnets"].split(",")
    ]
    world.clock.now += 60  # nobody has reported since
    assert one(world, "w00")["phases"] == {"INSTANCE_PHASE_UNSPECIFIED": 2}, "what is not known is told as unknown"
    assert one(world, "w00")["healthy"] == 0
    agents[0].crashing = set()
    agents[0].broken = frozenset({"w00-eu-ams-0"})
    world.settle(agents)
    found = one(world, "w00")
    assert (found["phases"], found["healthy"]) == ({"RUNNING": 2}, 1), "its process runs, and does not answer"
    assert [c["healthy"] for c in found["cities"]] == [0, 1]
    assert [i["healthy"] for i in world.instances("w00")] == [False, True]
    agents[0].broken = frozenset()
    world.settle(agents)


def test_pages_and_filters_look_at_names_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many workloads there are, those of the page are counted and no others."""
    counted: list[str] = []
    true = glances.of

    def of(state: Any, declared: Declaration, now: float) -> dict[str, Any]:
        counted.append(declared.workload.slug)
        return true(state, declared, now)

    monkeypatch.setattr(glances, "of", of)
    found = world.get(f"{OURS}/summaries?page_request.first=5&page_request.after=9&page_request.sort_by=-name")
    assert [w["slug"] for w in found["results"]] == ["w29", "w28", "w27", "w26", "w25"] == counted
    assert found["pageInfo"]["totalCount"] == str(MANY)
    counted.clear()
    found = world.get(f"{OURS}/summaries?page_request.first=3")
    assert [w["slug"] for w in found["results"]] == ["w00", "w01", "w02"], "by name, unless otherwise asked"
    counted.clear()
    assert world.get(f"{OURS}/summaries?page_request.filter=name~'W3'")["pageInfo"]["totalCount"] == "10"
    assert len(counted) == 10
    held = world.get(f"{OURS}/summaries", params={"page_request.filter": "anycast!='' and name~'0'"})
    assert [w["slug"] for w in held["results"]] == ["w00"] and held["results"][0]["anycast"]
    for wrong in ("page_request.filter=phases='x'", "page_request.sort_by=image", "page_request.first=x"):
        assert world.call("GET", f"{OURS}/summaries?{wrong}").status_code == 400, wrong
    assert world.call("GET", "/anypop/v1/stacks/nowhere/summaries").status_code == 404


def test_a_page_of_instances_makes_no_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list, one instance by its name, a watched page: what is made is what is told."""
    world.create("large", anycast=False, replicas=30, resources={"requests": {"cpu": "100m", "memory": "64Mi"}})
    made: list[str] = []
    true = shapes._instance

    def instance(revision: Any, life: Any, *rest: Any, **more: Any) -> dict[str, Any]:
        made.append(life.name)
        return true(revision, life, *rest, **more)

    monkeypatch.setattr(shapes, "_instance", instance)
    found = world.get(f"{BASE}/large/instances?page_request.first=5&page_request.after=9")
    names = [i["name"] for i in found["results"]]
    assert names == made and len(names) == 5 and found["pageInfo"]["totalCount"] == "60"
    made.clear()
    world.get(f"{BASE}/large/instances/{names[0]}")
    assert made == names[:1]
    made.clear()
    declared = world.state.find(world.stack.id, "large")
    assert declared is not None
    event = world.run(first(_states(world.platform, declared.id, slice(10, 15))))
    told = json.loads(event.partition("data: ")[2])
    assert [i["name"] for i in told["instances"]] == names == made
    assert sum(told["summary"]["phases"].values()) == 60
    assert world.call("GET", f"{OURS}/workloads/large/watch?first=x").status_code == 400


async def first(events: Any) -> str:
    return str(await anext(events))


def test_one_watch_tells_of_many_and_only_of_what_changed(world: World, agents: list[FakeAgent]) -> None:
    """By id and by slug; one that is gone, or never was, is told once."""
    world.settle(agents)
    world.create("short", anycast=False, replicas=1)
    world.settle(agents)
    other = one(world, "w05")
    watch = _watched(world.platform, world.stack, ("w04", other["id"], "short", "nobody"))

    async def some(count: int) -> list[tuple[str, Any]]:
        async with asyncio.timeout(20):
            events = [await anext(watch) for _ in range(count)]
        lines = [event.splitlines() for event in events]
        return [(kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for kind, data, *_ in lines]

    begun = world.run(some(4))
    assert [(kind, data.get("slug") or data["ref"]) for kind, data in begun] == [
        ("summary", "w04"), ("summary", "w05"), ("summary", "short"), ("gone", "nobody"),
    ]  # fmt: skip
    documented.same(Summary, json.dumps(begun[0][1]), "an event of the watch")
    world.send("PATCH", f"{BASE}/w20", {"workload": world.replicas(2)})  # nobody asked for that one
    world.send("PATCH", f"{BASE}/w05", {"workload": world.replicas(2)})
    ((kind, told),) = world.run(some(1))
    assert (kind, told["slug"], told["phases"]) == ("summary", "w05", {"RUNNING": 2, "SCHEDULING": 2})
    world.send("DELETE", f"{BASE}/short")
    ((kind, told),) = world.run(some(1))
    assert kind == "summary" and "deleteRequestedAt" in told
    world.settle(agents)
    ends = [world.run(some(1))[0] for _ in range(2)]
    assert ("gone", {"ref": "short"}) in ends
    for wrong in ("", "?workloads=", "?workloads=" + ",".join(f"w{n}" for n in range(101))):
        assert world.call("GET", f"{OURS}/summaries/watch{wrong}").status_code == 400


def test_two_revisions_are_compared_field_by_field_and_no_secret_is_told(world: World) -> None:
    """Against the one before, or any that is kept."""
    world.create("changed", anycast=False, replicas=1, env={"A": {"value": "1"}, "S": {"secretValue": "hush-1"}})
    path, ours = f"{BASE}/changed", f"{OURS}/workloads/changed/revisions"
    for image, secret in (("r/web:2", "hush-2"), ("r/web:3", "hush-2")):
        env = {"A": {"value": image}, "S": {"secretValue": secret}}
        spec = {"containers": {"web": {"image": image, "env": env}}}
        world.send("PATCH", path, {"workload": {"spec": spec}})
    found = world.get(f"{ours}/3/changes")
    assert (found["revision"], found["since"]) == (3, 2)
    assert {c["path"]: (c["before"], c["after"]) for c in found["changes"]} == {
        "spec.containers.web.env.A.value": ("r/web:2", "r/web:3"),
        "spec.containers.web.image": ("r/web:2", "r/web:3"),
    }
    whole = world.call("GET", f"{ours}/3/changes?since=1")
    assert {"path": "spec.containers.web.env.S.secretValue", "secret": True} in whole.json()["changes"]
    assert "hush" not in whole.text
    back = world.get(f"{ours}/1/changes?since=3")
    assert any(c.get("after") == "registry.example/web:1" for c in back["changes"])
    for wrong in ("9/changes", "3/changes?since=9", "1/changes", "0/changes"):
        assert world.call("GET", f"{ours}/{wrong}").status_code == 404, wrong

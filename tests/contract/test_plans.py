"""The dry run: what it says is what then happens, and asking changes nothing."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.control_world import World, a_body

PLAN = "/anypop/v1/stacks/default/plan"
BASE = "/workload/v1/stacks/default/workloads"


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("plans")) as made:
        yield made


def plan(world: World, body: Any) -> Any:
    """The answer, after a look whether anything was kept of it."""
    before = world.state
    found = world.send("POST", PLAN, body)
    assert world.state.workloads == before.workloads and world.state.orders == before.orders
    assert world.state.anycast == before.anycast and world.state.serial == before.serial
    return found


def names(world: World, slug: str = "fun") -> set[str]:
    return {i["name"] for i in world.instances(slug) if "deletedAt" not in i}


def announced(world: World) -> set[tuple[str, str, str]]:
    return {
        (str(host), str(one.prefix), one.upstream)
        for host, issued in world.state.orders.items()
        for one in issued.order.announcements
    }


def rows(found: list[dict[str, str]]) -> set[tuple[str, str, str]]:
    return {(row["host"], row["prefix"], row["upstream"]) for row in found}


def test_a_creation_a_change_and_a_deletion_are_told_as_they_come_to_pass(world: World) -> None:
    """Names, announcements and price, each compared with what the real thing then did."""
    body = a_body(replicas=2)
    told = plan(world, body)
    assert told["action"] == "create" and told["replaced"] == told["deleted"] == told["not_placed"] == []
    plain = announced(world)
    made = world.create(replicas=2)
    world.settle()
    assert set(told["created"]) == names(world) and len(names(world)) == 4
    assert rows(told["announced"]) == announced(world) - plain and rows(told["announced"])
    assert told["price"]["difference"] == told["price"]["after"]["monthly"] > 0 and "before" not in told["price"]

    wider = a_body(cities=("AMS", "LHR", "JFK"), replicas=1)
    told, before = plan(world, wider), announced(world)
    assert told["action"] == "change" and told["replaced"] == []
    assert set(told["created"]) == {"fun-eu-jfk-0"} and set(told["deleted"]) == {"fun-eu-ams-1", "fun-eu-lhr-1"}
    wider["workload"]["metadata"]["version"] = made["metadata"]["version"]
    world.send("PUT", f"{BASE}/fun", wider)
    world.settle()
    assert rows(told["announced"]) == announced(world) - before and rows(told["withdrawn"]) == before - announced(world)
    assert names(world) == {"fun-eu-ams-0", "fun-eu-lhr-0", "fun-eu-jfk-0"}

    other = a_body(cities=("AMS", "LHR", "JFK"), replicas=1, image="registry.example/web:2")
    told = plan(world, other)
    assert set(told["replaced"]) == names(world) and told["waves"] and told["price"]["difference"] == 0
    assert [change["path"] for change in told["changes"]] == ["spec.containers.web.image"]
    assert plan(world, wider)["action"] == "nothing"

    told, before = plan(world, {"delete": "fun"}), announced(world)
    assert told["action"] == "delete" and set(told["deleted"]) == names(world) and told["price"]["difference"] < 0
    world.call("DELETE", f"{BASE}/fun")
    world.settle()
    assert rows(told["withdrawn"]) == before - announced(world) and rows(told["withdrawn"])


def test_what_would_be_refused_is_refused_and_what_finds_no_place_is_told(world: World) -> None:
    """A quota, an unknown workload, a body that is none; and instances for which there is no room."""
    for wrong in ({}, {"workload": {}, "delete": "x"}, {"workload": 7}, {"delete": 7}, a_body(image="")):
        assert world.call("POST", PLAN, json=wrong).status_code == 400
    assert world.call("POST", PLAN, json={"delete": "none"}).status_code == 404
    stack = world.stack.id
    world.send("PUT", f"/anypop/v1/stacks/{stack}/quota", {"quota": {"instances": 3}})
    assert world.call("POST", PLAN, json=a_body(replicas=2)).status_code == 429
    world.send("PUT", f"/anypop/v1/stacks/{stack}/quota", {"quota": {}})
    crowd = plan(world, a_body(cities=("AMS",), replicas=400, anycast=False))
    assert len(crowd["created"]) == 400 and crowd["not_placed"][0]["reason"]

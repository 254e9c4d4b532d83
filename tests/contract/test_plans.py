"""The dry run: what it says is what then happens, and asking changes nothing."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.control_world import World, a_body

PLAN = "/anypop/v1/stacks/default/plan"
BASE = "/workload/v1/stacks/default/workloads"
APPLY = "/anypop/v1/stacks/default/apply"


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


def one(slug: str, **more: Any) -> dict[str, Any]:
    return dict(a_body(slug, **more)["workload"])


def test_a_set_is_declared_in_one_step_and_as_it_was_planned(world: World) -> None:
    """One created, one changed, one as it is: each as the plan said, one version each, and the price of all."""
    world.create("old")
    world.create("same")
    world.settle()
    wanted = [one("new", replicas=2), one("old", replicas=3), one("same")]
    before, plain = world.state, announced(world)
    told = world.send("POST", f"{APPLY}/plan", {"workloads": wanted})
    assert world.state.workloads == before.workloads and world.state.serial == before.serial
    assert [(w["slug"], w["action"]) for w in told["workloads"]] == [
        ("new", "create"), ("old", "change"), ("same", "nothing"),
    ]  # fmt: skip
    quotes = [world.send("POST", "/anypop/v1/quote", {"workload": w})["monthly"] for w in wanted]
    assert told["price"]["after"] == pytest.approx(sum(quotes))
    assert told["price"]["difference"] == pytest.approx(sum(w["price"]["difference"] for w in told["workloads"]))

    assert world.call("POST", APPLY, json={"workloads": wanted}).status_code == 400  # which version is replaced?
    for w in wanted[1:]:
        w["metadata"]["version"] = "1"
    results = world.send("POST", APPLY, {"workloads": wanted})["results"]
    assert [r["action"] for r in results] == ["create", "change", "nothing"]
    assert [r["workload"]["metadata"]["version"] for r in results] == ["1", "2", "1"]
    world.settle()
    for planned in told["workloads"]:
        assert set(planned["created"]) <= names(world, planned["slug"])
    assert rows(told["announced"]) == announced(world) - plain
    assert world.call("POST", APPLY, json={"workloads": wanted}).status_code == 409  # somebody was faster: we were


def test_what_fits_alone_and_not_together_is_refused_whole(world: World) -> None:
    """A quota, addresses, and wrong fields of two: nothing of the set is there afterwards."""
    two = [one("a", replicas=2, anycast=False), one("b", replicas=2, anycast=False)]
    world.send("PUT", f"/anypop/v1/stacks/{world.stack.id}/quota", {"quota": {"instances": 6}})
    for w in two:
        assert plan(world, {"workload": w})["action"] == "create"
    for path in (f"{APPLY}/plan", APPLY):
        refused = world.call("POST", path, json={"workloads": two})
        assert refused.status_code == 429 and "8 instances would be declared" in refused.text
    world.send("PUT", f"/anypop/v1/stacks/{world.stack.id}/quota", {"quota": {}})

    wrong = [one("a", image=""), one("fine"), one("b") | {"colour": "red"}, one("fine")]
    refused = world.call("POST", APPLY, json={"workloads": wrong})
    for path in ("workloads[0].spec.containers.web.image", "workloads[2].colour", "workloads[3].slug"):
        assert refused.status_code == 400 and f'"{path}"' in refused.text

    many = [one(f"a{n}", anycast=True) for n in range(400)]
    assert plan(world, {"workload": many[0]})["action"] == "create"
    refused = world.call("POST", APPLY, json={"workloads": many})
    assert refused.status_code == 400 and "Nothing was created" in refused.text
    assert world.state.workloads == {} and not world.state.anycast


def an_allocation(slug: str, action: str = "RETAIN") -> dict[str, Any]:
    return {
        "slug": slug,
        "spec": {
            "allocationClass": "stackpath-edge/unicast",
            "ipFamily": "IPv4",
            "reclaimPolicy": {"action": action},
            "selectors": [{"key": "cityCode", "operator": "in", "values": ["LHR"]}],
        },
    }


def a_claim(slug: str, allocation: str) -> dict[str, Any]:
    return {"slug": slug, "spec": {"ipFamily": "IPv4", "allocation": {"name": allocation}}}


def test_addresses_and_deletions_are_one_step_with_the_workloads(world: World) -> None:
    """A workload that claims what the same set makes, and one that goes: planned, priced and done as one; and where the
    last of it is refused, nothing of it was done.
    """
    world.create("old", anycast=False)
    world.create("stays", anycast=False)
    world.settle()
    new = one("new", cities=("LHR",), replicas=1, anycast=False)
    new["spec"]["networkInterfaces"][0]["assignments"] = [
        {"slug": "front", "mode": "ONE_TO_ONE_NAT", "allocationClaimTemplate": {
            "slug": "front", "spec": {"ipFamily": "IPv4", "allocation": {"name": "kept"}}}}
    ]  # fmt: skip
    wanted: dict[str, Any] = {
        "allocation_claims": [a_claim("front", "kept")],
        "allocations": [an_allocation("kept")],
        "workloads": [new],
        "delete": [str(world.state.find(world.stack.id, "old").id)],  # type: ignore[union-attr]
    }
    before = world.state
    told = world.send("POST", f"{APPLY}/plan", wanted)
    assert (world.state.serial, world.state.allocations, world.state.claims) == (before.serial, {}, {})
    assert told["allocations"] == [{"slug": "kept", "action": "create", "idle_monthly": 3.65}]
    assert told["allocation_claims"] == [{"slug": "front", "action": "create"}]
    assert [(row["slug"], row["action"]) for row in told["deleted"]] == [("old", "delete")]
    assert len(told["deleted"][0]["deleted"]) == 4
    assert told["price"]["before"] == -told["deleted"][0]["price"]["difference"] > 0
    assert told["price"]["after"] == told["workloads"][0]["price"]["difference"] > 0

    changed = one("stays") | {"metadata": {"version": "1", "annotations": {"anycast.platform.stackpath.net": "true"}}}
    for bad, status in (({"workloads": [new, changed]}, 400), ({"delete": [*wanted["delete"], "none"]}, 404)):
        assert world.call("POST", APPLY, json=wanted | bad).status_code == status
        assert (world.state.serial, world.state.allocations, world.state.claims) == (before.serial, {}, {})
        assert world.state.workloads == before.workloads

    made = world.send("POST", APPLY, wanted)
    assert made["deleted"] == ["old"] and made["results"][0]["action"] == "create"
    assert made["allocations"][0]["allocation"]["status"]["prefix"]
    world.settle()
    assert world.state.find(world.stack.id, "old") is None
    (instance,) = world.instances("new")
    prefix = made["allocations"][0]["allocation"]["status"]["prefix"]
    assert f"{instance['externalIpAddress']}/32" == prefix

    again = {"allocations": [an_allocation("kept")], "allocation_claims": [a_claim("front", "kept")]}
    told = world.send("POST", f"{APPLY}/plan", again)
    assert [row["action"] for row in (*told["allocations"], *told["allocation_claims"])] == ["nothing", "nothing"]
    other = {"allocations": [an_allocation("kept", "DELETE"), an_allocation("next")]}
    results = world.send("POST", APPLY, other)["allocations"]
    assert [(r["action"], r["allocation"]["metadata"]["version"]) for r in results] == [
        ("change", "2"),
        ("create", "1"),
    ]


def test_what_of_a_set_is_wrong_is_told_by_its_place(world: World) -> None:
    world.create("old", anycast=False)
    moved = an_allocation("here") | {"slug": "bad slug!"}
    wrong = {
        "allocations": [an_allocation("a"), moved, an_allocation("a")],
        "allocation_claims": [{"slug": "c", "spec": {"ipFamily": "IPv4"}}],
        "workloads": [one("old", anycast=False) | {"metadata": {"version": "1"}}],
        "delete": ["old", 7],
    }
    refused = world.call("POST", APPLY, json=wrong)
    assert refused.status_code == 400
    for path in ("allocations[1].slug", "allocations[2].slug", "allocation_claims[0].spec.allocation", "delete[0]"):
        assert f'"{path}"' in refused.text
    assert '"delete[1]"' in refused.text and not world.state.allocations


def test_room_is_counted_for_a_set_as_a_whole(world: World) -> None:
    """Each finds its place alone; of both together one instance does not, and the plan of the set says so."""
    sizes = {"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}
    all_there_is = plan(world, crowd("probe", 400, sizes))
    most = len(all_there_is["created"]) - len(all_there_is["not_placed"])
    assert 2 <= most < 400
    both = [crowd("a", most, sizes)["workload"], crowd("b", 1, sizes)["workload"]]
    for w in both:
        assert plan(world, {"workload": w})["not_placed"] == []
    told = world.send("POST", f"{APPLY}/plan", {"workloads": both})
    assert len(told["not_placed"]) == 1 and told["not_placed"][0]["reason"] in ("no-room", "pop-full")


def crowd(slug: str, replicas: int, more: dict[str, Any]) -> dict[str, Any]:
    return dict(a_body(slug, cities=("AMS",), replicas=replicas, anycast=False, **more))


@pytest.mark.parametrize(
    "body", [{}, {"workloads": []}, {"workloads": {}}, {"workloads": [7]}, {"workload": {}}, {"delete": "x"}]
)
def test_what_is_no_set_is_refused(world: World, body: Any) -> None:
    for path in (f"{APPLY}/plan", APPLY):
        assert world.call("POST", path, json=body).status_code == 400

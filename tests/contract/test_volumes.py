"""Volumes through the real control, its API and its store: where they are, who has them, what takes them away. Agents
pretend.
"""

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from anypop.model.names import HostName
from anypop.model.network import Network
from anypop.model.order import Order
from tests.contract.test_tenants import tenant
from tests.control_world import FakeAgent, World, a_body, a_network

WORKLOADS = "/workload/v1/stacks/default/workloads"
VOLUMES = "/anypop/v1/stacks/default/volumes"
CLAIM = {"name": "data", "slug": "data", "spec": {"resources": {"requests": {"storage": "1Gi"}}}}


def two_in_london() -> Network:
    """Amsterdam, and a London of two hosts."""
    plain = a_network({"AMS": (1299,), "LHR": (1299, 6939)})
    london = next(p for p in plain.pops if p.city == "LHR")
    first = replace(london.hosts[0], name=HostName("LHR-1"))
    more = {"private4": "10.201.0.0/20", "private6": "fd00:201::/64", "external4": "198.19.99.0/24"}
    nets = {key: type(getattr(first, key))(value) for key, value in more.items()}
    second = replace(
        first, name=HostName("LHR-2"), router_id=first.router_id + 77, upstreams=(),
        external6=type(first.external6)("2001:db8:e99::/48"), **nets,
    )  # fmt: skip
    pops = tuple(replace(p, hosts=(first, second)) if p.city == "LHR" else p for p in plain.pops)
    return replace(plain, pops=pops, lost_after_s=30.0)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path, two_in_london()) as made:
        yield made


def with_volume(slug: str = "db", *, cities: tuple[str, ...] = ("LHR",), replicas: int = 1) -> dict[str, Any]:
    body = a_body(slug, cities=cities, replicas=replicas)
    spec = body["workload"]["spec"]
    spec["volumeClaimTemplates"] = [copy.deepcopy(CLAIM)]
    next(iter(spec["containers"].values()))["volumeMounts"] = [{"slug": "data", "mountPath": "/srv/data"}]
    return body


def declared(world: World, **more: Any) -> list[FakeAgent]:
    world.send("POST", WORKLOADS, with_volume(**more))
    agents = world.agents()
    seconds(world, agents, 4)
    return agents


def seconds(world: World, agents: list[FakeAgent], count: int = 1, *, silent: str = "") -> None:
    for _ in range(count):
        world.clock.now += 1
        for agent in agents:
            if agent.host == silent:
                continue
            agent.obey()
            names = [i.name for i in agent.order.instances] if agent.order is not None else []
            assert len(names) == len(set(names)), "two were told for one volume"


def refused(answer: httpx.Response, status: int, says: str) -> None:
    assert answer.status_code == status, answer.text
    assert says in answer.text


def listed(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.get(VOLUMES)["results"]
    return found


def order_of(world: World, host: str) -> Order:
    return world.state.orders[HostName(host)].order


def test_an_instance_gets_its_volume_and_clients_read_what_they_know(world: World) -> None:
    """The answer to the creation has what was sent, and a phase: clients compare it field by field."""
    made = world.send("POST", WORKLOADS, with_volume())["workload"]
    assert made["spec"]["volumeClaimTemplates"] == [{**CLAIM, "metadata": {}, "phase": "PENDING"}]
    (instance,) = world.instances("db")
    host = next(iter(world.state.incarnations.values())).incarnation.host
    (told,) = order_of(world, host).volumes
    assert (told.instance, told.claim, told.size_bytes, told.made) == (instance["name"], "data", 1 << 30, False)
    assert order_of(world, host).instances[0].containers[0].mounts[0].path == "/srv/data"
    agents = world.agents()
    seconds(world, agents, 3)
    assert world.get(f"{WORKLOADS}/db")["workload"]["spec"]["volumeClaimTemplates"][0]["phase"] == "BOUND"
    (one,) = listed(world)
    assert (one["id"], one["phase"], one["host"], one["told"]) == (told.id, "BOUND", host, True)
    assert order_of(world, host).volumes[0].made
    # it is sent back as it was read, and nothing has changed
    document = world.get(f"{WORKLOADS}/db")["workload"]
    assert world.send("PUT", f"{WORKLOADS}/db", {"workload": document})["workload"]["metadata"]["version"] == "1"


def test_a_smaller_scale_keeps_it_and_a_larger_one_finds_it(world: World) -> None:
    agents = declared(world, replicas=2)
    before = {v["instance"]: (v["host"], v["id"]) for v in listed(world)}
    assert len({host for host, _ in before.values()}) == 2
    world.send("PATCH", f"{WORKLOADS}/db", {"workload": world.replicas(1)})
    seconds(world, agents, 4)
    kept = next(v for v in listed(world) if v["instance"] == "db-eu-lhr-1")
    assert (kept["phase"], kept["leaving"], (kept["host"], kept["id"])) == ("UNBOUND", False, before["db-eu-lhr-1"])
    world.restart()
    agents = world.agents()
    seconds(world, agents, 2)
    world.send("PATCH", f"{WORKLOADS}/db", {"workload": world.replicas(2)})
    seconds(world, agents, 4)
    assert {v["instance"]: (v["host"], v["id"]) for v in listed(world)} == before
    lives = {p.incarnation.name: p.incarnation.host for p in world.state.incarnations.values()}
    assert lives == {name: host for name, (host, _) in before.items()}


def test_it_goes_with_its_workload_after_the_instances_and_by_a_token(world: World) -> None:
    agents = declared(world, cities=("AMS", "LHR"))
    for agent in agents:
        agent.drains = True
    assert world.call("DELETE", f"{WORKLOADS}/db").status_code == 204
    seconds(world, agents, 3)
    orders = [i.order for i in world.state.orders.values()]
    assert sum(len(o.volumes) for o in orders) == 2
    assert not any(o.volumes_removed for o in orders)
    for agent in agents:
        agent.drains = False
    seconds(world, agents)
    orders = [i.order for i in world.state.orders.values()]
    assert (sum(len(o.volumes) for o in orders), sum(len(o.volumes_removed) for o in orders)) == (0, 2)
    assert world.call("GET", f"{WORKLOADS}/db").status_code == 200
    world.restart()  # the token does not hang on anybody's memory
    agents = world.agents()
    seconds(world, agents, 3)
    assert world.call("GET", f"{WORKLOADS}/db").status_code == 404
    assert listed(world) == []
    assert not any(i.order.volumes_removed for i in world.state.orders.values())


def test_an_update_stops_the_old_one_first_and_only_where_somebody_else_serves(world: World) -> None:
    """Two in two PoPs: one after the other, and no host ever has two for one volume. Alone there is no other way, and
    the rollout says what it costs.
    """
    agents = declared(world, cities=("AMS", "LHR"))
    said = set()

    def update(image: str) -> None:
        document = copy.deepcopy(world.get(f"{WORKLOADS}/db")["workload"])
        next(iter(document["spec"]["containers"].values()))["image"] = image
        world.send("PUT", f"{WORKLOADS}/db", {"workload": document})
        for _ in range(60):
            seconds(world, agents)
            rollout = max(world.state.rollouts.values(), key=lambda r: r.revision)
            said.add(rollout.message)
            if rollout.phase.ended:
                assert rollout.phase.value == "done"
                return
        raise AssertionError("not done within 60 s")

    update("registry.example/web:2")
    assert any(text.endswith("; others serve meanwhile") for text in said)
    document = copy.deepcopy(world.get(f"{WORKLOADS}/db")["workload"])
    document["targets"]["eu"]["spec"]["deployments"]["selectors"][0]["values"] = ["LHR"]
    world.send("PUT", f"{WORKLOADS}/db", {"workload": document})
    seconds(world, agents, 4)
    update("registry.example/web:3")
    assert any(text.endswith("so nobody serves meanwhile") for text in said)
    images = {i.containers[0].image for o in world.state.orders.values() for i in o.order.instances}
    assert images == {"registry.example/web:3"}


def test_it_stays_with_its_host_until_somebody_lets_it_go(world: World) -> None:
    """A host that is lost: the slot waits and says so. Let go, it lives on the other host, with another volume, and the
    old one goes by its token when the host is heard again.
    """
    agents = declared(world)
    (volume,) = listed(world)
    lost = volume["host"]
    refused(world.call("DELETE", f"{VOLUMES}/{volume['id']}"), 400, "which is in use")
    seconds(world, agents, 60, silent=lost)
    assert lost in world.state.lost
    assert {p.incarnation.host for p in world.state.incarnations.values()} == {lost}
    assert world.state.plan is not None
    assert [(n.subject, n.reason.value) for n in world.state.plan.notes] == [("db-eu-lhr-0", "volume-lost")]
    assert listed(world)[0]["told"] is False
    world.send("DELETE", f"{VOLUMES}/db-eu-lhr-0:data")
    seconds(world, agents, 4, silent=lost)
    (home,) = {p.incarnation.host for p in world.state.incarnations.values()}
    assert home != lost
    assert {(v["host"], v["leaving"]) for v in listed(world)} == {(lost, True), (home, False)}
    seconds(world, agents, 6)
    assert [v["host"] for v in listed(world)] == [home]


def test_snapshots_are_taken_put_back_and_deleted_and_all_of_it_is_in_the_log(world: World) -> None:
    agents = declared(world)
    (volume,) = listed(world)
    path, host = f"{VOLUMES}/{volume['instance']}:data", volume["host"]
    asked = world.send("POST", f"{path}/snapshots", {"snapshot": {"name": "early"}})["volume"]
    assert asked["snapshots"] == [{"name": "early", "complete": False, "leaving": False}]
    seconds(world, agents, 2)
    assert listed(world)[0]["snapshots"][0]["complete"] is True
    refused(world.call("POST", f"{path}/snapshots", json={"snapshot": {"name": "early"}}), 409, "there already")
    refused(world.call("POST", f"{path}/restore", json={"snapshot": "late"}), 404, "it has early")
    assert world.send("POST", f"{path}/restore", {"snapshot": "early"})["volume"]["restoring"] == "early"
    assert order_of(world, host).volumes[0].restore.count == 1
    seconds(world, agents, 2)
    assert "restoring" not in listed(world)[0]
    world.send("DELETE", f"{path}/snapshots/early")
    assert order_of(world, host).volumes[0].dropped == ("early",)
    seconds(world, agents, 2)
    assert listed(world)[0]["snapshots"] == []
    log = [(e["operation"], e["subject"]) for e in world.get("/anypop/v1/audit")["results"]]
    for operation in ("take_snapshot", "restore_volume", "delete_snapshot"):
        assert (operation, f"{volume['instance']}:data") in log


def test_what_a_volume_cannot_follow_is_refused_and_nobody_elses_is_seen(world: World) -> None:
    declared(world)
    document = copy.deepcopy(world.get(f"{WORKLOADS}/db")["workload"])
    document["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = "512Mi"
    refused(world.call("PUT", f"{WORKLOADS}/db", json={"workload": document}), 400, "cannot shrink")
    (volume,) = listed(world)
    headers = tenant(world, "other")
    assert world.call("DELETE", f"{VOLUMES}/{volume['id']}", headers=headers).status_code == 404
    account = world.get("/anypop/v1/quota")["account"]
    world.send("PUT", f"/anypop/v1/accounts/{account}/quota", {"quota": {"volume_bytes": 2 << 30}})
    refused(world.call("POST", WORKLOADS, json=with_volume("more", replicas=2)), 429, "GiB of volumes")
    price = world.send("POST", "/anypop/v1/quote", with_volume("more", replicas=2))
    (line,) = [x for x in price["lines"] if x["item"] == "volume data (1 GiB, standard)"]
    assert (line["quantity"], round(line["monthly"], 6)) == (2, 0.212)


def test_a_volume_costs_from_when_it_is_there_until_it_is_told_to_go(world: World) -> None:
    """By its size and for as long as it is kept, also while no instance has it; a larger one costs more from then."""
    agents = declared(world, replicas=2)
    hourly = 0.106 / 730

    def used() -> dict[str, Any]:
        found: dict[str, Any] = world.get("/anypop/v1/stacks/default/usage")["results"][0]
        return found

    def volumes_cost(found: dict[str, Any]) -> float:
        instances_cost = 0.09 * float(found["instance_hours"]) + 0.14 * float(found.get("anycast_hours", 0))
        return float(found["costs"]["USD"]) - instances_cost

    begun = used()["volume_gib_hours"]
    seconds(world, agents, 60)
    grown = used()
    assert abs(grown["volume_gib_hours"] - begun - 2 * 60 / 3600) < 1e-6
    assert abs(volumes_cost(grown) - grown["volume_gib_hours"] * hourly) < 1e-9
    world.send("PATCH", f"{WORKLOADS}/db", {"workload": world.replicas(1)})
    seconds(world, agents, 60)
    kept = used()["volume_gib_hours"] - grown["volume_gib_hours"]
    assert abs(kept - 2 * 60 / 3600) < 1e-6, "what the smaller scale left behind is kept, and costs"
    world.call("DELETE", f"{WORKLOADS}/db")
    seconds(world, agents, 10)
    ended = used()
    assert ended["gone"] and ended["volume_gib_hours"] >= grown["volume_gib_hours"] + kept
    seconds(world, agents, 60)
    assert used() == ended

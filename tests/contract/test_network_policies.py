"""Network policies through the real control: created, read, changed and deleted as the Workload API's clients do it;
what hosts are told, also when instances come and go; and whose they are.
"""

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from anypop.model.announce import Address
from anypop.model.order import Order
from tests.contract.test_tenants import tenant
from tests.control_world import World

BASE = "/ipam/v1/stacks/default/network_policies"
LABEL = "workload.platform.stackpath.net/workload-slug"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        yield made


def selecting(slug: str) -> list[dict[str, Any]]:
    return [{"key": LABEL, "operator": "in", "values": [slug]}]


def a_policy(name: str, priority: int, **spec: Any) -> dict[str, Any]:
    return {"networkPolicy": {"name": name, "spec": {"priority": priority, **spec}}}


def order(world: World, host: str) -> Order:
    return next(i.order for name, i in world.state.orders.items() if name == host)


def addresses(world: World, slug: str) -> set[Address]:
    fields = ("ipAddress", "externalIpAddress", "ipv6Address", "externalIpv6Address")
    return {ip_address(i[f]) for i in world.instances(slug) for f in fields}


def violations(response: Any) -> dict[str, str]:
    assert response.status_code == 400, response.text
    return {v["field"]: v["description"] for d in response.json()["details"] for v in d.get("fieldViolations", ())}


def test_a_policy_is_created_read_changed_and_deleted(world: World) -> None:
    """As it was sent, with a version and times; what changes nothing is no new version; each change is in the audit
    log, and all of it survives a restart.
    """
    spec = {
        "policyTypes": ["INGRESS"], "instanceSelectors": selecting("web"),
        "ingress": [{"action": "ALLOW", "from": {"ipBlock": [{"cidr": "192.0.2.0/24"}]},
                     "protocols": {"tcp": {"destinationPorts": ["443"]}, "icmp": {}}}],
    }  # fmt: skip
    made = world.send("POST", BASE, a_policy("Front door", 20000, **spec))["networkPolicy"]
    assert (made["slug"], made["name"], made["metadata"]["version"]) == ("front-door", "Front door", "1")
    assert made["spec"] == {**spec, "priority": 20000} and "updatedAt" not in made["metadata"]
    one = f"{BASE}/{made['id']}"
    assert world.get(one)["networkPolicy"] == made == world.get(f"{BASE}/front-door")["networkPolicy"]
    again = {"networkPolicy": {k: v for k, v in made.items() if k not in ("id", "stackId")}}
    assert world.send("PUT", one, again)["networkPolicy"]["metadata"]["version"] == "1"
    again["networkPolicy"]["spec"] = {**made["spec"], "priority": "7"}
    changed = world.send("PUT", one, again)["networkPolicy"]
    assert (changed["metadata"]["version"], changed["spec"]["priority"]) == ("2", 7)
    assert world.call("PUT", one, json=again).status_code == 409, "it was made to version 1"
    world.send("POST", BASE, a_policy("second", 3, policyTypes=["EGRESS"]))
    world.restart()
    listed = world.get(f"{BASE}?page_request.filter=name='Front door'")
    assert [p["id"] for p in listed["results"]] == [made["id"]] and listed["pageInfo"]["totalCount"] == "1"
    assert [p["slug"] for p in world.get(BASE)["results"]] == ["second", "front-door"], "in the order of asking"
    assert world.call("DELETE", one).status_code == 204
    assert world.call("GET", one).status_code == world.call("DELETE", one).status_code == 404
    told = world.get("/anypop/v1/audit")["results"]
    mine = [(e["operation"], e["subject"]) for e in told if e["operation"].endswith("network_policy")]
    assert sorted(mine) == sorted([
        ("create_network_policy", "front-door"), ("create_network_policy", "second"),
        ("replace_network_policy", "front-door"), ("replace_network_policy", f"default {made['id']}"),
        ("delete_network_policy", "front-door"),
    ])  # fmt: skip


def test_what_is_wrong_is_refused_with_its_place(world: World) -> None:
    """Nothing of it is stored; an empty id in a path is no list."""
    world.send("POST", BASE, a_policy("one", 20000, policyTypes=["INGRESS"]))
    taken = world.call("POST", BASE, json=a_policy("two", 20000, policyTypes=["INGRESS"]))
    assert taken.json()["code"] == 3
    assert violations(taken) == {"spec.priority": "network policy with priority 20000 already exists on stack"}
    for _ in range(2):
        shared = a_policy("", 65534, policyTypes=["INGRESS"])
        shared["networkPolicy"]["name"] = f"shared {_}"
        world.send("POST", BASE, shared)
    assert world.call("POST", BASE, json=a_policy("one", 5, policyTypes=["EGRESS"])).status_code == 409
    found = violations(
        world.call("POST", BASE, json=a_policy("x", 0, ingress=[{"action": "PASS", "protocols": {"tpc": {}}}]))
    )
    assert found.keys() == {"spec.priority", "spec.ingress[0].action", "spec.ingress[0].protocols.tpc"}
    assert violations(world.call("POST", BASE, json={})) == {"networkPolicy": "is required"}
    assert world.call("GET", f"{BASE}/").status_code == 404
    assert world.get(BASE)["pageInfo"]["totalCount"] == "3"


def test_hosts_are_told_who_is_meant_as_instances_come_and_go(world: World) -> None:
    """Each host that has an instance under a policy gets its rules, and the addresses that its selectors mean now; who
    leaves is guarded to the last.
    """
    world.create("web", cities=("AMS", "LHR"))
    world.create("db", cities=("LHR",))
    agents = world.agents()
    world.settle(agents)
    world.send("POST", BASE, a_policy(
        "to-db", 10, instanceSelectors=selecting("db"),
        ingress=[{"action": "ALLOW", "from": {"instanceSelectors": selecting("web")}}],
    ))  # fmt: skip
    assert not order(world, "AMS").rulings and not order(world, "JFK").rulings, "nobody there is under it"
    told = order(world, "LHR")
    db = {p.incarnation.uid for p in world.state.incarnations.values() if p.incarnation.name.startswith("db")}
    assert {uid for r in told.rulings for uid in r.uids} == db and len(told.policies) == 1
    (group,) = told.groups
    assert set(group.addresses) == addresses(world, "web")
    world.send("PATCH", "/workload/v1/stacks/default/workloads/web", {"workload": world.replicas(3)})
    assert len(order(world, "LHR").groups[0].addresses) > len(group.addresses)
    assert set(order(world, "LHR").groups[0].addresses) == addresses(world, "web")
    world.call("DELETE", "/workload/v1/stacks/default/workloads/db")
    leaving = order(world, "LHR")
    assert {r.uid for r in leaving.removed} == db == {uid for r in leaving.rulings for uid in r.uids}
    world.settle(agents)
    assert not order(world, "LHR").rulings and not order(world, "LHR").groups


def test_a_policy_is_its_stacks_alone(world: World) -> None:
    """Another account neither sees nor changes it, and one of its own means its own instances, whatever it selects."""
    world.create("web", cities=("LHR",))
    world.settle()
    mine = world.send("POST", BASE, a_policy("mine", 10, policyTypes=["INGRESS"]))["networkPolicy"]
    who = tenant(world)
    theirs = "/ipam/v1/stacks/theirs/network_policies"
    for path in (f"{BASE}/{mine['id']}", BASE):
        assert world.call("GET", path, headers=who).status_code == 404
    assert world.call("GET", f"{theirs}/{mine['id']}", headers=who).status_code == 404
    assert world.call("DELETE", f"{theirs}/{mine['id']}", headers=who).status_code == 404
    before = order(world, "LHR")
    everybody = a_policy("all", 10, ingress=[{"action": "ALLOW"}], egress=[{"action": "BLOCK"}])
    assert world.call("POST", theirs, json=everybody, headers=who).status_code == 200
    assert order(world, "LHR") == before

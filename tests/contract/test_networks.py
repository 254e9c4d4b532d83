"""Networks of a stack through the real control, and instances without public addresses: what is taken, kept, told to
hosts, and refused.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.test_network_policies import a_policy, order, violations
from tests.contract.test_tenants import tenant
from tests.control_world import World, a_body

BASE = "/ipam/v1/stacks/default/networks"
WORKLOADS = "/workload/v1/stacks/default/workloads"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        yield made


def in_network(slug: str, network: str, **interface: Any) -> dict[str, Any]:
    body = a_body(slug, cities=("LHR",), replicas=1)
    body["workload"]["spec"]["networkInterfaces"] = [{"network": network, **interface}]
    return body


def test_a_network_is_created_changed_used_and_deleted(world: World) -> None:
    """Not wrapped when sent; a change of nothing keeps the version; hosts are told whose instance is in which; while
    one is in it, it stays.
    """
    (default,) = world.get(BASE)["results"]
    assert (default["slug"], default["metadata"]["version"]) == ("default", "1")
    made = world.send("POST", BASE, {"name": "Blue", "metadata": {"labels": {"a": "b"}}})["network"]
    assert (made["slug"], made["name"], made["metadata"]["version"]) == ("blue", "Blue", "1")
    assert made["virtualNetworkIdentifier"] > 0 and made["ipFamilies"] == ["IPv4", "IPv6"]
    same = world.send("PATCH", f"{BASE}/{made['id']}", {"name": "Blue", "metadata": {"labels": {"a": "b"}}})["network"]
    assert same == made == world.get(f"{BASE}/blue")["network"]
    labelled = world.send("PATCH", f"{BASE}/default", {"metadata": {"labels": {"tier": "front"}}})["network"]
    assert (labelled["id"], labelled["metadata"]["version"]) == (default["id"], "2")
    assert labelled["metadata"]["createdAt"] == default["metadata"]["createdAt"]
    wrong = violations(world.call("POST", WORKLOADS, json=in_network("w", "bleu")))
    assert wrong == {"spec.networkInterfaces[0].network": "there is no network bleu on stack; there are default, blue"}
    world.send("POST", WORKLOADS, in_network("w", "blue"))
    world.restart()
    world.settle()
    assert [n["slug"] for n in world.get(BASE)["results"]] == ["default", "blue"]
    (instance,) = order(world, "LHR").instances
    assert instance.links[0].network == "blue" and instance.domain == f"{instance.stack_id}/blue"
    assert world.instances("w")[0]["networkInterfaces"][0]["network"] == "blue"
    assert world.call("DELETE", f"{BASE}/blue").json()["message"] == "network blue is in use by w"
    world.call("DELETE", f"{WORKLOADS}/w")
    world.settle()
    assert world.call("DELETE", f"{BASE}/blue").status_code == 204
    assert world.call("DELETE", f"{BASE}/default").status_code == 400
    audited = [e["operation"] for e in world.get("/anypop/v1/audit")["results"] if "network" in e["operation"]]
    assert {"create_stack_network", "change_stack_network", "delete_stack_network"} <= {*audited}


def test_what_does_not_act_is_refused_and_others_see_nothing(world: World) -> None:
    """Unknown members, a taken slug; another account's network is not there."""
    assert violations(world.call("POST", BASE, json={"name": "x", "nmae": "x"})).keys() == {"nmae"}
    assert violations(world.call("POST", BASE, json={})).keys() == {"name"}
    assert world.call("POST", BASE, json={"name": "default"}).status_code == 409
    assert world.call("GET", f"{BASE}/").status_code == 404
    assert violations(world.call("PATCH", f"{BASE}/default", json={"slug": "other"})).keys() == {"slug"}
    made = world.send("POST", BASE, {"name": "blue"})["network"]
    number = "virtualNetworkIdentifier"
    assert violations(world.call("POST", BASE, json={"name": "x", number: 7})).keys() == {number}
    assert violations(world.call("PATCH", f"{BASE}/blue", json={number: made[number] + 1})).keys() == {number}
    assert world.send("PATCH", f"{BASE}/blue", made)["network"] == made, "it may be sent back as it was read"
    who = tenant(world)
    theirs = "/ipam/v1/stacks/theirs/networks"
    assert [n["slug"] for n in world.call("GET", theirs, headers=who).json()["results"]] == ["default"]
    assert world.call("GET", f"{theirs}/{made['id']}", headers=who).status_code == 404


def test_policies_select_networks_by_their_labels(world: World) -> None:
    """A policy follows a label that a network gets, or loses."""
    world.create("web", cities=("LHR",))
    world.send("POST", BASE, {"name": "blue"})
    world.send("POST", WORKLOADS, in_network("w", "blue"))
    world.settle()
    tier = [{"key": "tier", "operator": "in", "values": ["front"]}]
    world.send(
        "POST", "/ipam/v1/stacks/default/network_policies",
        a_policy("front", 9, networkSelectors=tier, policyTypes=["INGRESS"]),
    )  # fmt: skip
    assert not order(world, "LHR").rulings
    world.send("PATCH", f"{BASE}/blue", {"metadata": {"labels": {"tier": "front"}}})
    (blue,) = (i.uid for i in order(world, "LHR").instances if i.links[0].network == "blue")
    assert [r.uids for r in order(world, "LHR").rulings] == [(blue,)]
    world.send("PATCH", f"{BASE}/blue", {"metadata": {"labels": {}}})
    assert not order(world, "LHR").rulings


def test_instances_without_public_addresses_have_private_ones_alone(world: World) -> None:
    """As the workload says, and the API shows no other; turned on it is another incarnation with the same place."""
    body = in_network("w", "default", enableOneToOneNat=False)
    assert world.send("POST", WORKLOADS, body)["workload"]["spec"]["networkInterfaces"][0]["enableOneToOneNat"] is False
    world.settle()
    (shown,) = world.instances("w")
    assert shown["ipAddress"] and not {"externalIpAddress", "externalIpv6Address"} & shown.keys()
    (before,) = order(world, "LHR").instances
    assert not list(before.externals())
    patch = {"spec": {"networkInterfaces": [{"network": "default"}]}}
    world.send("PATCH", f"{WORKLOADS}/w", {"workload": patch})
    world.settle()
    after = [i for i in order(world, "LHR").instances if list(i.externals())]
    assert after and after[0].uid != before.uid


def test_a_change_made_from_an_older_look_is_refused(world: World) -> None:
    """Of a network, a subnet and a route: 409, and nothing is changed; no number is told by its path."""
    parts = "/ipam/v1alpha/stacks/default/networks/blue"
    world.send("POST", BASE, {"name": "blue", "rootSubnet": "10.7.0.0/16"})
    subnet = world.send("POST", f"{parts}/subnets", {"subnet": {"name": "wide", "prefix": "11.0.0.0/9"}})["subnet"]
    gateways = [{"interfaceSelectors": [{"key": "role", "operator": "In", "values": ["gateway"]}]}]
    sent = {"name": "out", "destinationPrefixes": ["192.0.2.0/24"], "gatewaySelectors": gateways}
    route = world.send("POST", f"{parts}/routes", {"route": sent})["route"]
    own = {"prefix": subnet["prefix"]}
    for method, path, member, same in (
        ("PATCH", f"{BASE}/blue", "network", {}),
        ("PUT", f"{parts}/subnets/wide", "subnet", own),
        ("PUT", f"{parts}/routes/out", "route", {k: v for k, v in route.items() if k != "metadata"}),
    ):

        def body(name: str, version: object, member: str = member, same: Any = same) -> Any:
            changed = {**same, "name": name, "metadata": {"version": version}}
            return changed if member == "network" else {member: changed}

        first = world.send(method, path, body("first", "1"))[member]
        assert (first["name"], first["metadata"]["version"]) == ("first", "2"), member
        late = world.call(method, path, json=body("late", 1))
        assert late.status_code == 409 and "has version 2, not 1" in late.json()["message"], late.text
        assert violations(world.call(method, path, json=body("late", "two"))).keys() == {"metadata.version"}
        assert world.get(path)[member] == first

"""Several interfaces of an instance through the real control: what is taken and refused, what hosts are told, what the
API shows, and that another set of them is another incarnation.
"""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from anypop.model.policy import at_interface
from anypop.model.stack_network import NETWORK_LABEL
from tests.contract.test_network_policies import a_policy, order, violations
from tests.contract.test_networks import BASE, WORKLOADS, in_network
from tests.control_world import World

SUBNETS = "/ipam/v1alpha/stacks/default/networks/red/subnets"
SELECTED = {"key": NETWORK_LABEL, "operator": "In", "values": ["red"]}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        made.send("POST", BASE, {"name": "blue", "rootSubnet": "10.0.0.0/8", "ipv6Subnet": "fd00:b::/64"})
        made.send("POST", BASE, {"name": "red", "rootSubnet": "11.0.0.0/9", "ipv6Subnet": "fd00:c::/64"})
        yield made


def in_networks(slug: str, *interfaces: dict[str, Any]) -> dict[str, Any]:
    body = in_network(slug, "default")
    body["workload"]["spec"]["networkInterfaces"] = list(interfaces)
    return body


def test_an_instance_has_an_interface_in_each_network_that_it_names(world: World) -> None:
    """Its host and the API have all of them, with an address of each network; public addresses and environment are as
    with one. Siblings know it by name in each. What is asked of it survives control.
    """
    body = in_networks("w", {"network": "default"}, {"network": "blue"}, {"network": "red", "ipFamilies": ["IPv6"]})
    paths = {"BLUE": '.networkInterfaces[?(@.network=="blue")].ipAddress', "IP": ".ipAddress"}
    body["workload"]["spec"]["containers"]["web"]["env"] = {
        name: {"valueFrom": {"instanceFieldRef": {"fieldPath": path}}} for name, path in paths.items()
    }
    made = world.send("POST", WORKLOADS, body)["workload"]
    assert [i["network"] for i in made["spec"]["networkInterfaces"]] == ["default", "blue", "red"]
    for network in ("blue", "red"):
        world.send("POST", WORKLOADS, in_network(network, network))
    world.restart()
    world.settle()
    (shown,) = world.instances("w")
    default, blue, red = shown["networkInterfaces"]
    assert [i["network"] for i in (default, blue, red)] == ["default", "blue", "red"]
    assert shown["ipAddress"] == default["ipAddress"] and shown["externalIpAddress"]
    assert ip_address(blue["ipAddress"]) in ip_network("10.0.0.0/8")
    assert ip_address(blue["ipv6Address"]) in ip_network("fd00:b::/64")
    assert ip_address(red["ipv6Address"]) in ip_network("fd00:c::/64") and "ipAddress" not in red
    told = order(world, "LHR")
    (instance,) = (i for i in told.instances if i.links[0].network == "default")
    assert [link.network for link in instance.links] == ["default", "blue", "red"]
    assert len({a.private for a in instance.addresses()}) == 5 and len(list(instance.externals())) == 2
    assert dict(instance.containers[0].env) == {"BLUE": blue["ipAddress"], "IP": default["ipAddress"]}
    named = {one.network: one.instances[0] for one in told.names if one.slug == "w"}
    assert set(named) == {"default", "blue", "red"}
    assert [str(a) for a in named["blue"].addresses] == [blue["ipAddress"], blue["ipv6Address"]]
    assert [str(a) for a in named["default"].addresses] == [default["ipAddress"], default["ipv6Address"]]
    for network in ("blue", "red"):
        assert "w" in world.call("DELETE", f"{BASE}/{network}").json()["message"]


def test_another_set_of_interfaces_is_another_incarnation(world: World) -> None:
    """Added and taken away by an update, which a rollout brings; the links of the one that goes are not given to
    anybody before it is gone. A workload whose interface stays the same keeps its template and its instance.
    """
    world.send("POST", WORKLOADS, in_networks("w", {"network": "default"}))
    world.send("POST", WORKLOADS, in_networks("other", {"network": "default"}))
    world.settle()
    before = {i.name: i for i in order(world, "LHR").instances}
    seen = {}
    for networks in (("default", "blue"), ("default", "blue", "red"), ("default",)):
        change = {"spec": {"networkInterfaces": [{"network": n} for n in networks]}}
        world.send("PATCH", f"{WORKLOADS}/w", {"workload": change})
        every = [a.private for i in order(world, "LHR").instances for a in i.addresses()]
        assert len(every) == len(set(every)), "no two have one link"
        world.settle()
        now = {i.name: i for i in order(world, "LHR").instances}
        (name,) = (one for one in now if one.startswith("w-"))
        assert tuple(link.network for link in now[name].links) == networks
        assert now[name].uid not in seen
        seen[now[name].uid] = now[name].template
    assert len(set(seen.values())) == 3 and list(seen.values())[-1] == before[name].template
    (other,) = (one for one in before if one.startswith("other-"))
    assert order(world, "LHR").instance(other) == before[other]


def test_what_an_instance_cannot_have_is_refused_with_its_path(world: World) -> None:
    """Two in one network, public addresses at a further one, no subnet there, subnets that overlap: also later."""
    path = "spec.networkInterfaces[1]"
    world.send("POST", BASE, {"name": "bare"})
    world.send("POST", BASE, {"name": "wide", "rootSubnet": "10.0.0.0/9"})
    blue = {"network": "blue"}
    wrong: list[tuple[list[dict[str, Any]], str, str]] = [
        ([blue, {"network": "blue"}], f"{path}.network", "already"),
        ([{}, {"network": "default"}], f"{path}.network", "already"),
        ([{}, {**blue, "enableOneToOneNat": True}], f"{path}.enableOneToOneNat", "first interface"),
        ([{}, {"network": "bare"}], f"{path}.network", "rootSubnet"),
        ([{}, {"network": "none"}], f"{path}.network", "there is no network none"),
        ([blue, {"network": "wide"}], f"{path}.network", "overlaps"),
        ([{}, {**blue, "subnet": "none"}], f"{path}.subnet", "there is no subnet"),
        ([{}, {"network": "red", "assignments": [{"mode": "PRIMARY"}]}], f"{path}.assignments", "first interface"),
    ]
    for interfaces, where, said in wrong:
        told = violations(world.call("POST", WORKLOADS, json=in_networks("w", *interfaces)))
        assert said in told.get(where, ""), (interfaces, told)
    many = [{"network": n} for n in ("default", "blue", "red", "a", "b")]
    assert "spec.networkInterfaces" in violations(world.call("POST", WORKLOADS, json=in_networks("w", *many)))
    world.send("POST", WORKLOADS, in_networks("w", blue, {"network": "red"}))
    for prefix in ("10.64.0.0/16", "fd00:b:0:0:1::/80"):
        refused = world.call("POST", SUBNETS, json={"subnet": {"name": "s", "prefix": prefix}})
        assert refused.status_code == 400 and "instances of w are in both" in refused.json()["message"]
    refused = world.call("PATCH", f"{BASE}/blue", json={"rootSubnet": "11.0.0.0/10"})
    assert refused.status_code == 400
    world.send("POST", SUBNETS, {"subnet": {"name": "s", "prefix": "12.0.0.0/9"}})


def test_policies_hold_at_the_interface_in_the_network_that_they_name(world: World) -> None:
    """One that selects a network applies to that interface alone, also while its incarnation leaves; and its addresses
    there are those that a rule means by the network.
    """
    world.send("POST", WORKLOADS, in_networks("w", {"network": "blue"}, {"network": "red"}))
    world.send("POST", WORKLOADS, in_network("other", "red"))
    policy = a_policy(
        "p", 100, networkSelectors=[SELECTED], ingress=[{"action": "ALLOW", "from": {"networkSelectors": [SELECTED]}}]
    )
    world.send("POST", "/ipam/v1/stacks/default/network_policies", policy)
    world.settle()
    told = order(world, "LHR")
    (both,) = (i for i in told.instances if len(i.links) == 2)
    (other,) = (i for i in told.instances if len(i.links) == 1)
    (ruling,) = told.rulings
    assert set(ruling.uids) == {at_interface(both.uid, 1), other.uid}
    (group,) = told.groups
    red = {a for i in (both.links[1], *other.links) for own in i.addresses for a in (own.private, own.vpc) if a}
    assert red <= set(group.addresses) and not {a.private for a in both.links[0].addresses} & set(group.addresses)
    change = {"spec": {"networkInterfaces": [{"network": "blue"}]}}
    world.send("PATCH", f"{WORKLOADS}/w", {"workload": change})
    agents = world.agents()
    for agent in agents:
        agent.drains = True
    world.settle(agents)
    assert both.uid in {removal.uid for removal in order(world, "LHR").removed}
    assert at_interface(both.uid, 1) in {uid for one in order(world, "LHR").rulings for uid in one.uids}

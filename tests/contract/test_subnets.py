"""Subnets of a stack's networks through the real control: what is taken and refused, and the addresses that instances
have by them.
"""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from anypop.control.network import change_network
from anypop.model.errors import Invalid
from anypop.model.names import HostName
from anypop.model.network import Network
from tests.contract.test_network_policies import order, violations
from tests.contract.test_networks import BASE, WORKLOADS, in_network
from tests.contract.test_tenants import tenant
from tests.control_world import World, a_network

BLUE = "/ipam/v1alpha/stacks/default/networks/blue/subnets"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        made.send("POST", BASE, {"name": "blue", "rootSubnet": "10.0.0.0/8", "ipv6Subnet": "fd00:b::/64"})
        yield made


def subnet(world: World, name: str, prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = world.send("POST", BLUE, {"subnet": {"name": name, "prefix": prefix}})["subnet"]
    return found


def test_a_subnet_is_created_changed_used_and_deleted(world: World) -> None:
    """It need not lie inside the network's own; a change of nothing keeps the version; one that an instance, or a kept
    revision, has an address in stays as it is.
    """
    made = subnet(world, "Wide", "11.0.0.0/9")
    assert (made["slug"], made["prefix"], made["metadata"]["version"]) == ("wide", "11.0.0.0/9", "1")
    assert made["networkId"] == world.get(f"{BASE}/blue")["network"]["id"]
    body = {"subnet": {"name": "Wide", "prefix": "11.0.0.0/9", "metadata": {}}}
    assert world.send("PUT", f"{BLUE}/{made['id']}", body)["subnet"] == made == world.get(f"{BLUE}/wide")["subnet"]
    other = world.send("PUT", f"{BLUE}/wide", {"subnet": {"prefix": "11.128.0.0/9"}})["subnet"]
    assert (other["prefix"], other["metadata"]["version"]) == ("11.128.0.0/9", "2")
    world.send("POST", WORKLOADS, in_network("w", "blue", subnet="wide"))
    world.restart()
    world.settle()
    (found,) = world.instances("w")
    assert ip_address(found["ipAddress"]) in ip_network("11.128.0.0/9")
    assert ip_address(found["ipv6Address"]) in ip_network("fd00:b::/64")
    (interface,) = found["networkInterfaces"]
    assert (interface["ipAddress"], interface["network"]) == (found["ipAddress"], "blue")
    assert interface["gateway"] and interface["ipv6Gateway"]
    for change in ({"prefix": "11.0.0.0/9"}, {"prefix": "10.0.0.0/8"}):
        said = world.call("PUT", f"{BLUE}/wide", json={"subnet": change}).json()["message"]
        assert said == "subnet wide of network blue is in use by w"
    assert world.call("DELETE", f"{BLUE}/wide").status_code == 400
    assert "w use it" in world.call("PATCH", f"{BASE}/blue", json={"rootSubnet": "10.0.0.0/9"}).json()["message"]
    world.call("DELETE", f"{WORKLOADS}/w")
    world.settle()
    assert world.call("DELETE", f"{BLUE}/wide").status_code == 204
    assert world.get(BLUE)["results"] == []
    changed = world.send("PATCH", f"{BASE}/blue", {"rootSubnet": "10.0.0.0/9"})["network"]
    assert (changed["rootSubnet"], changed["metadata"]["version"]) == ("10.0.0.0/9", "2")


def test_what_cannot_be_given_is_refused_and_no_path_with_an_empty_id_is_answered(world: World) -> None:
    """By prefix, by name, twice, in another account's stack; for a workload with the path to the field."""
    wrong: list[tuple[dict[str, Any], set[str]]] = [
        ({"name": "x", "prefix": "10.0.0.1/8"}, {"subnet.prefix"}),
        ({"name": "x"}, {"subnet.prefix"}),
        ({"prefix": "10.9.0.0/16"}, {"subnet.name"}),
        ({"name": "x", "prefix": "10.9.0.0/24"}, {"subnet.prefix"}),
        ({"name": "x", "prefix": "10.1.0.0/22"}, {"subnet.prefix"}),
        ({"name": "x", "prefix": "198.18.0.0/22"}, {"subnet.prefix"}),
        ({"name": "x", "prefix": "127.0.0.0/8", "nmae": "y"}, {"subnet.nmae"}),
    ]
    for sent, paths in wrong:
        assert violations(world.call("POST", BLUE, json={"subnet": sent})).keys() == paths, sent
    bad = {"name": "x", "rootSubnet": "fd00::/8", "ipv6Subnet": "10.0.0.0/8"}
    assert violations(world.call("POST", BASE, json=bad)).keys() == {"rootSubnet", "ipv6Subnet"}
    tiny = {"name": "x", "rootSubnet": "10.9.0.0/24", "ipv6Subnet": "fd00:9::/121"}
    assert violations(world.call("POST", BASE, json=tiny)).keys() == {"rootSubnet", "ipv6Subnet"}
    assert world.call("POST", BLUE, json={"subnet": {"name": "x", "prefix": "10.0.0.0/8"}}).status_code == 409
    subnet(world, "x", "10.9.0.0/16")
    assert world.call("POST", BLUE, json={"subnet": {"name": "x", "prefix": "10.10.0.0/16"}}).status_code == 409
    for interface in ({"subnet": "y"}, {"ipv6Subnet": "x"}):
        told = violations(world.call("POST", WORKLOADS, json=in_network("w", "blue", **interface)))
        assert told.keys() == {f"spec.networkInterfaces[0].{name}" for name in interface}
    for method in ("GET", "PUT", "DELETE"):
        for path in (f"{BLUE}/", BLUE.replace("/blue/", "//"), f"{BASE}//subnets"):
            assert world.call(method, path, json={}).status_code in (404, 405), (method, path)
    theirs = BLUE.replace("/default/", "/theirs/")
    who = tenant(world)
    assert world.call("GET", theirs, headers=who).status_code == 404
    assert world.call("GET", BLUE, headers=who).status_code in (403, 404)


def test_networks_may_have_one_subnet_and_no_two_instances_one_address(world: World) -> None:
    """Of two stacks, and of two networks; each host gives from a part of its own, and every host of a network is told
    of a subnet that it gets while instances run, which keep all that they have.
    """
    who = tenant(world)
    world.send("POST", BASE, {"name": "red", "rootSubnet": "10.0.0.0/8"})
    made = world.call(
        "POST", "/ipam/v1/stacks/theirs/networks", headers=who, json={"name": "blue", "rootSubnet": "10.0.0.0/8"}
    )
    assert made.status_code == 200
    for network in ("blue", "red"):
        body = in_network(network, network)
        deployments = body["workload"]["targets"]["eu"]["spec"]["deployments"]
        deployments["minReplicas"], deployments["selectors"][0]["values"] = 2, ["LHR", "AMS"]
        world.send("POST", WORKLOADS, body)
    world.settle()
    found = [i["ipAddress"] for network in ("blue", "red") for i in world.instances(network)]
    assert len(found) == len({*found}) == 8 and all(ip_address(a) in ip_network("10.0.0.0/8") for a in found)
    assert len({a.rpartition(".")[0] for a in found}) == 2, "a part for each host"
    before = {i.uid for i in order(world, "LHR").instances}
    subnet(world, "more", "192.168.0.0/16")
    told = {str(prefix) for i in order(world, "LHR").instances for link in i.links for prefix in link.reach}
    assert told == {"10.0.0.0/8", "fd00:b::/64", "192.168.0.0/16"}
    world.settle()
    assert {i.uid for i in order(world, "LHR").instances} == before


FAMILIES = {4: ("ipAddress", "externalIpAddress"), 6: ("ipv6Address", "externalIpv6Address")}


@pytest.mark.parametrize(("version", "family"), [(4, "IPv4"), (6, "IPv6")])
def test_in_a_network_of_one_family_instances_have_no_address_of_the_other(
    world: World, version: int, family: str
) -> None:
    """Neither as their hosts are told nor as the API shows them; what needs the other one is refused with its path."""
    made = world.send("POST", BASE, {"name": "one", "ipFamilies": [family]})["network"]
    assert made["ipFamilies"] == [family]
    other = {4: ("IPv6", "fd00:9::/64", "ipv6Subnet"), 6: ("IPv4", "10.9.0.0/16", "rootSubnet")}[version]
    assert violations(world.call("PATCH", f"{BASE}/one", json={other[2]: other[1]})).keys() == {other[2]}
    refused = world.call("POST", BLUE.replace("/blue/", "/one/"), json={"subnet": {"name": "s", "prefix": other[1]}})
    assert violations(refused).keys() == {"subnet.prefix"}
    wrong = in_network("w", "one", ipFamilies=["IPv4", "IPv6"])
    path = "spec.networkInterfaces[0].ipFamilies"
    assert violations(world.call("POST", WORKLOADS, json=wrong)).keys() == {path}
    body = in_network("w", "one", ipFamilies=[family])
    if version == 6:
        assert "an anycast address has IPv4" in violations(world.call("POST", WORKLOADS, json=body))[path]
        body["workload"].pop("metadata")
    lacks = FAMILIES[10 - version][0]
    asked = {"valueFrom": {"instanceFieldRef": {"fieldPath": f".{lacks}"}}}
    body["workload"]["spec"]["containers"]["web"]["env"] = {"OTHER": asked}
    field = "spec.containers.web.env.OTHER.valueFrom.instanceFieldRef.fieldPath"
    assert violations(world.call("POST", WORKLOADS, json=body)).keys() == {field}
    asked["valueFrom"]["instanceFieldRef"]["optional"] = True  # type: ignore[assignment]
    made = world.send("POST", WORKLOADS, body)["workload"]
    assert made["spec"]["networkInterfaces"][0]["ipFamilies"] == [family]
    world.settle()
    (shown,) = world.instances("w")
    assert set(FAMILIES[version]) <= shown.keys() and not set(FAMILIES[10 - version]) & shown.keys()
    (instance,) = order(world, "LHR").instances
    assert [a.private.version for a in instance.addresses()] == [version]
    assert {a.version for a in (*instance.externals(), *instance.anycast)} == {version}
    called = [one for named in order(world, "LHR").names for one in named.instances]
    assert [a.version for one in called for a in one.addresses] == [version], "by its name neither"
    assert world.call("PATCH", f"{BASE}/one", json={"ipFamilies": ["IPv4", "IPv6"]}).status_code == 400


def test_ipv6_alone_may_be_one_interface_s(world: World) -> None:
    """In a network of both families; it is another incarnation, and its subnet of IPv4 is refused."""
    body = in_network("w", "blue", ipFamilies=["IPv6"])
    body["workload"].pop("metadata")
    world.send("POST", WORKLOADS, body)
    world.settle()
    (shown,) = world.instances("w")
    assert "ipAddress" not in shown and ip_address(shown["ipv6Address"]) in ip_network("fd00:b::/64")
    subnet(world, "s", "10.9.0.0/16")
    patch = {"spec": {"networkInterfaces": [{"network": "blue", "ipFamilies": ["IPv6"], "subnet": "s"}]}}
    wrong = violations(world.call("PATCH", f"{WORKLOADS}/w", json={"workload": patch}))
    assert wrong == {"spec.networkInterfaces[0].subnet": "its instances have no IPv4; leave it out"}
    (before,) = order(world, "LHR").instances
    patch["spec"]["networkInterfaces"][0] |= {"ipFamilies": ["IPv4", "IPv6"]}
    world.send("PATCH", f"{WORKLOADS}/w", {"workload": patch})
    world.settle()
    assert before.uid not in {i.uid for i in order(world, "LHR").instances if i.private(4)}


def test_hosts_keep_their_numbers(world: World) -> None:
    """However the document changes, and where it says none; so a part of a subnet stays whose it is. Hosts for which a
    subnet that is in use has no part are refused.
    """
    had = world.state.network.numbers()
    cities = {"SIN": (2914,), "LHR": (1299, 3257), "AMS": (1299, 3356), "JFK": (209, 2914), "LAX": (209, 1299)}
    wanted: Network = a_network(cities)
    now = wanted.numbered(world.state.network).numbers()
    assert {name: number for name, number in now.items() if name in had} == had
    assert sorted(now.values()) == [0, 1, 2, 3, 4] and now[HostName("SIN")] == 4
    copied = replace(wanted.pops[0].hosts[0], number=had[HostName("LHR")])
    copy = replace(wanted, pops=(replace(wanted.pops[0], hosts=(copied,)), *wanted.pops[1:]))
    assert copy.numbered(world.state.network).numbers() == now, "one that was copied from another host"
    world.send("PATCH", f"{BASE}/default", {"rootSubnet": "10.64.0.0/21"})
    world.send("POST", WORKLOADS, in_network("small", "default"))
    change_network(wanted)(world.state, 0.0)
    with pytest.raises(Invalid, match="network default/default is in use"):
        change_network(a_network({**cities, **{f"X{n}": (2914,) for n in range(4)}}))(world.state, 0.0)
    swapped = wanted.numbered(wanted)
    with pytest.raises(Invalid, match="cannot be changed while"):
        change_network(swapped)(world.state, 0.0)

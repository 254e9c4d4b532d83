"""Routes of a stack's networks through gateways, by the real control: what is taken and refused, who is told of them,
and how they are said to stand.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anypop.control.gateway_routes import MOST_ROUTES
from anypop.model.stack_network import NETWORK_LABEL
from tests.contract.test_backbone import joined
from tests.contract.test_interfaces import in_networks
from tests.contract.test_network_policies import order, violations
from tests.contract.test_networks import BASE, WORKLOADS, in_network
from tests.contract.test_tenants import tenant
from tests.control_world import World

BLUE = "/ipam/v1alpha/stacks/default/networks/blue/routes"
RED = BLUE.replace("blue", "red")
GATEWAYS = [{"interfaceSelectors": [{"key": "role", "operator": "In", "values": ["gateway"]}]}]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        made.send("POST", BASE, {"name": "blue", "rootSubnet": "10.0.0.0/8", "ipv6Subnet": "fd00:b::/64"})
        made.send("POST", BASE, {"name": "red", "rootSubnet": "11.0.0.0/9"})
        yield made


def a_route(**more: Any) -> dict[str, Any]:
    return {"name": "Out", "destinationPrefixes": ["192.0.2.0/24"], "gatewaySelectors": GATEWAYS, **more}


def with_gateway(world: World) -> None:
    """One that is in both networks and is labelled so, and one alone in each."""
    body = in_networks("gw", {"network": "blue"}, {"network": "red"})
    body["workload"]["metadata"] = {"labels": {"role": "gateway"}}
    world.send("POST", WORKLOADS, body)
    world.send("POST", WORKLOADS, in_network("b", "blue"))
    world.send("POST", WORKLOADS, in_network("r", "red"))
    world.settle()


def test_a_route_is_created_read_changed_and_deleted(world: World) -> None:
    """As it was sent, with what the server adds, which may be sent back; what says the same is no new version. It
    survives control.
    """
    red = world.get(f"{BASE}/red")["network"]
    sent = a_route(destinationNetworks=[{"networkId": "red"}], metadata={"labels": {"a": "b"}})
    made = world.send("POST", BLUE, {"route": sent})["route"]
    assert (made["slug"], made["metadata"]["version"]) == ("out", "1")
    assert made["metadata"]["annotations"] == {NETWORK_LABEL: "blue"} and made["metadata"]["labels"] == {"a": "b"}
    assert made["destinationNetworks"] == [{"networkId": red["id"]}]
    assert made["networkId"] == world.get(f"{BASE}/blue")["network"]["id"]
    assert made["gatewaySelectors"] == GATEWAYS and "statuses" not in made
    assert (
        world.send("PUT", f"{BLUE}/{made['id']}", {"route": made})["route"] == made == world.get(f"{BLUE}/out")["route"]
    )
    changed = world.send("PUT", f"{BLUE}/out", {"route": {**made, "destinationNetworks": []}})["route"]
    assert changed["metadata"]["version"] == "2" and "destinationNetworks" not in changed
    world.restart()
    assert world.get(BLUE)["results"] == [changed] and world.get(RED)["results"] == []
    assert world.call("DELETE", f"{BLUE}/out").status_code == 204
    assert world.call("GET", f"{BLUE}/out").status_code == 404


def test_what_cannot_be_a_route_is_refused_with_its_path(world: World) -> None:
    """Everywhere, what nobody passes on to, a family without a subnet, its own network, nobody as gateway."""
    world.send("POST", BASE, {"name": "bare"})
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"destinationPrefixes": ["0.0.0.0/0"]}, "route.destinationPrefixes[0]"),
        ({"destinationPrefixes": ["192.0.2.0/24", "127.0.0.0/8"]}, "route.destinationPrefixes[1]"),
        ({"destinationPrefixes": ["192.0.2.1/24"]}, "route.destinationPrefixes[0]"),
        ({"destinationPrefixes": []}, "route.destinationPrefixes"),
        ({"destinationNetworks": [{"networkId": "none"}]}, "route.destinationNetworks[0].networkId"),
        ({"destinationNetworks": [{}]}, "route.destinationNetworks[0].networkId"),
        ({"destinationNetworks": [{"networkId": "bare"}]}, "route.destinationNetworks[0].networkId"),
        ({"destinationNetworks": [{"networkId": "red", "stackId": "x"}]}, "route.destinationNetworks[0].stackId"),
        ({"gatewaySelectors": []}, "route.gatewaySelectors"),
        ({"gatewaySelectors": [{"interfaceSelectors": []}]}, "route.gatewaySelectors[0].interfaceSelectors"),
        ({"gatewaySelector": GATEWAYS}, "route.gatewaySelector"),
        ({"name": ""}, "route.name"),
    ]
    for change, path in wrong:
        assert path in violations(world.call("POST", BLUE, json={"route": a_route(**change)})), change
    world.send("POST", BASE, {"name": "four", "ipFamilies": ["IPv4"]})
    six = a_route(destinationPrefixes=["2001:db8::/32"])
    for network in ("four", "red"):
        told = violations(world.call("POST", BLUE.replace("blue", network), json={"route": six}))
        assert "no subnet of IPv6" in told["route.destinationPrefixes[0]"]
    world.send("POST", BLUE, {"route": a_route()})
    assert world.call("POST", BLUE, json={"route": a_route()}).status_code == 409
    for n in range(1, MOST_ROUTES):
        world.send("POST", BLUE, {"route": a_route(name=f"r{n}")})
    assert "may have" in world.call("POST", BLUE, json={"route": a_route(name="more")}).json()["message"]
    who = tenant(world)
    assert world.call("GET", BLUE, headers=who).status_code in (403, 404)
    for method in ("GET", "PUT", "DELETE"):
        for path in (f"{BLUE}/", BLUE.replace("/blue/", "//")):
            assert world.call(method, path, json={}).status_code in (404, 405), (method, path)


def test_instances_of_the_network_are_told_and_nobody_is_made_anew(world: World) -> None:
    """Where it leads, each; whom to let pass, the gateway's interface in that network alone. A subnet that the other
    network gets is led to as well. What is led to cannot be deleted. A route that goes is told too.
    """
    with_gateway(world)
    before = {i.name: i.uid for i in order(world, "LHR").instances}

    def told(slug: str, network: str) -> tuple[list[str], list[str]]:
        found = [i for i in order(world, "LHR").instances if i.name.startswith(f"{slug}-")]
        (link,) = [one for i in found for one in i.links if one.network == network]
        return list(map(str, link.ways)), list(map(str, link.passes))

    world.send("POST", BLUE, {"route": a_route(destinationNetworks=[{"networkId": "red"}])})
    led = ["11.0.0.0/9", "192.0.2.0/24"]
    assert (told("b", "blue"), told("gw", "blue")) == ((led, []), (led, led))
    assert told("gw", "red") == told("r", "red") == ([], [])
    world.send("POST", RED.replace("routes", "subnets"), {"subnet": {"name": "more", "prefix": "12.0.0.0/9"}})
    assert told("b", "blue")[0] == ["11.0.0.0/9", "12.0.0.0/9", "192.0.2.0/24"]
    world.send("POST", RED, {"route": a_route(destinationPrefixes=[], destinationNetworks=[{"networkId": "blue"}])})
    assert told("r", "red") == (["10.0.0.0/8"], []) and told("gw", "red")[1] == ["10.0.0.0/8"]
    world.settle()
    world.send("POST", WORKLOADS, in_network("late", "blue"))
    assert told("late", "blue")[0] == ["11.0.0.0/9", "12.0.0.0/9", "192.0.2.0/24"]
    world.call("DELETE", f"{WORKLOADS}/r")
    world.settle()
    assert {name: uid for name, uid in before.items() if not name.startswith("r-")}.items() <= {
        i.name: i.uid for i in order(world, "LHR").instances
    }.items()
    assert world.call("DELETE", f"{BLUE}/out").status_code == 204
    assert told("b", "blue") == told("gw", "blue") == ([], [])


def test_a_network_that_a_route_leads_to_stays(world: World) -> None:
    world.send("POST", BLUE, {"route": a_route(destinationNetworks=[{"networkId": "red"}])})
    said = world.call("DELETE", f"{BASE}/red").json()["message"]
    assert "routes of network blue lead to network red" in said
    world.send("DELETE", f"{BLUE}/out")
    assert world.call("DELETE", f"{BASE}/red").status_code == 204


@pytest.mark.parametrize("backbone", [True, False])
def test_a_route_stands_by_gateways_of_other_hosts_where_hosts_carry(tmp_path: Path, backbone: bool) -> None:
    """Of the own PoP, else of the nearest one that has some; without a backbone by those of the own host alone."""
    with World(tmp_path, joined() if backbone else replace(joined(), backbone=None)) as world:
        world.send("POST", BASE, {"name": "blue", "rootSubnet": "10.0.0.0/8", "ipv6Subnet": "fd00:b::/64"})
        world.send("POST", BLUE, {"route": a_route()})
        body = in_networks("gw", {"network": "blue"})
        body["workload"]["metadata"] = {"labels": {"role": "gateway"}}
        world.send("POST", WORKLOADS, body)
        both = in_network("b", "blue")
        (target,) = both["workload"]["targets"].values()
        (selector,) = target["spec"]["deployments"]["selectors"]
        selector["values"] = ["AMS", "LHR"]
        world.send("POST", WORKLOADS, both)
        agents = world.agents()
        world.settle(agents)

        def states() -> set[tuple[str, str]]:
            return {(one["region"], one["state"]) for one in world.get(f"{BLUE}/out")["route"]["statuses"]}

        assert states() == {("LHR", "RUNNING"), ("AMS", "RUNNING" if backbone else "NO_GATEWAY")}
        (gateway,) = world.instances("gw")
        for one in world.get(f"{BLUE}/out")["route"]["statuses"]:
            if one["state"] == "RUNNING":
                assert gateway["networkInterfaces"][0]["ipAddress"] in one["gatewayIps"]
        for agent in agents:
            agent.broken = frozenset({gateway["name"]})
            agent.report()
        assert states() == {("LHR", "NO_GATEWAY"), ("AMS", "NO_GATEWAY")}


def test_how_a_route_stands_follows_from_what_hosts_say(world: World) -> None:
    """At each host with instances of the network: by the gateways that are healthy there; none where there is none."""
    with_gateway(world)
    world.send("POST", BLUE, {"route": a_route()})
    agents = world.agents()
    world.settle(agents)
    (gateway,) = (i for i in world.instances("gw"))
    (address,) = (i["ipAddress"] for i in gateway["networkInterfaces"] if i["network"] == "blue")
    (status,) = world.get(f"{BLUE}/out")["route"]["statuses"]
    assert (status["region"], status["state"]) == ("LHR", "RUNNING") and status["gatewayIps"][0] == address
    for agent in agents:
        agent.broken = frozenset({gateway["name"]})
        agent.report()
    assert world.get(f"{BLUE}/out")["route"]["statuses"] == [{"region": "LHR", "state": "NO_GATEWAY"}]

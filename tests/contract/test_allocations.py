"""Addresses that last, through the real control: given once, kept when their workload goes, held by the next one that
names the claim, and gone when nobody wants them any more. What hosts are told to do is looked at, not only answers.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import pytest

from anypop.control import allocations as kept
from anypop.model.names import HostName
from anypop.model.network import UpstreamKind
from tests.contract.test_network_policies import order, violations
from tests.contract.test_tenants import tenant
from tests.control_world import World, a_body, a_network

IPAM = "/ipam/v1/stacks/default"
ALLOCATIONS, CLAIMS = f"{IPAM}/allocations", f"{IPAM}/allocation_claims"
WORKLOADS = "/workload/v1/stacks/default/workloads"
KEEP = {"action": "RETAIN"}
LHR = [{"key": "cityCode", "operator": "in", "values": ["LHR"]}]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path, a_network({"LHR": (1299,), "AMS": (3356,)})) as made:
        yield made


def later(world: World, seconds: float) -> None:
    """Tokens do not last that long."""
    world.clock.now += seconds
    world.headers = world.login(world.credential.client_id, world.credential.secret)


def address(version: int = 4, kind: str = "unicast", reclaim: dict[str, str] | None = None, **more: Any) -> Any:
    """What is wished of an address."""
    length = 32 if version == 4 else 128
    spec = {"allocationClass": f"stackpath-edge/{kind}", "ipFamily": f"IPv{version}", "prefixLength": length}
    return {**spec, "reclaimPolicy": reclaim or KEEP, **more}


def allocate(world: World, slug: str, version: int = 4, kind: str = "unicast", **more: Any) -> dict[str, Any]:
    body = {"name": slug, "slug": slug, "spec": address(version, kind, selectors=LHR, **more)}
    done(world, world.send("POST", ALLOCATIONS, {"allocation": body}))
    return allocation(world, slug)


def allocation(world: World, slug: str) -> dict[str, Any]:
    found: dict[str, Any] = world.get(f"{ALLOCATIONS}/{slug}")["allocation"]
    return found


def claim(world: World, slug: str) -> dict[str, Any]:
    found: dict[str, Any] = world.get(f"{CLAIMS}/{slug}")["allocationClaim"]
    return found


def done(world: World, told: dict[str, Any]) -> dict[str, Any]:
    """An operation as clients wait for it."""
    name = told["name"].rpartition("/")[2]
    assert told["done"] is True and told["name"] == f"stacks/{world.stack.id}/operations/{name}"
    assert world.get(f"{IPAM}/operations/{name}/wait?timeout=30s")["done"] is True
    return told


def assigned(slug: str, *assignments: dict[str, Any], replicas: int = 1, city: str = "LHR") -> dict[str, Any]:
    """A workload whose instances claim addresses."""
    body = a_body(slug, cities=(city,), replicas=replicas, anycast=False)
    body["workload"]["spec"]["networkInterfaces"] = [{"network": "default", "assignments": list(assignments)}]
    return body


def external(slug: str = "front", version: int = 4, reclaim: dict[str, str] | None = None, **source: Any) -> Any:
    """An assignment of an external address. Without a source it is made for the slot."""
    own = {"template": {"spec": address(version, reclaim=reclaim)}}
    spec = {"ipFamily": f"IPv{version}", "reclaimPolicy": reclaim or KEEP, "allocation": source or own}
    return {"mode": "ONE_TO_ONE_NAT", "allocationClaimTemplate": {"slug": slug, "spec": spec}}


def create(world: World, body: dict[str, Any]) -> None:
    world.send("POST", WORKLOADS, body)
    world.settle()


def delete(world: World, slug: str) -> None:
    assert world.call("DELETE", f"{WORKLOADS}/{slug}").status_code == 204
    world.settle()
    assert world.call("GET", f"{WORKLOADS}/{slug}").status_code == 404


def externals(world: World, host: str = "LHR") -> dict[str, str]:
    """What its host is told: by instance."""
    return {i.name: str(next(iter(i.addresses())).external) for i in order(world, host).instances}


def conditions(found: dict[str, Any]) -> dict[str, tuple[bool, str]]:
    return {c["type"]: (c["status"] == "CONDITION_STATUS_TRUE", c["message"]) for c in found["status"]["conditions"]}


def plain(prefix: str) -> str:
    return prefix.partition("/")[0]


def test_an_allocation_is_made_changed_kept_and_let_go(world: World) -> None:
    """Version 1 at first; a change of nothing is no version; it survives control; its place rests when it goes."""
    made = allocate(world, "a")
    assert made["metadata"]["version"] == "1" and made["status"]["prefix"] == "198.18.0.1/32"
    assert conditions(made)["Allocated"] == (True, "LHR has it")
    change = {"allocation": {"name": "A", "metadata": {"labels": {"app": "x"}}, "spec": {"reclaimPolicy": KEEP}}}
    for version in ("2", "2"):
        done(world, world.send("PATCH", f"{ALLOCATIONS}/a", change))
        assert allocation(world, "a")["metadata"]["version"] == version
    wrong = {"allocation": {"slug": "b", "spec": {"ipFamily": "IPv6"}}}
    assert {*violations(world.call("PATCH", f"{ALLOCATIONS}/a", json=wrong))} == {"slug", "spec.ipFamily"}
    stale = world.call("PATCH", f"{ALLOCATIONS}/a", json={"allocation": {"metadata": {"version": "1"}}})
    assert stale.status_code == 409
    assert world.call("POST", ALLOCATIONS, json={"allocation": {"slug": "a", "spec": address()}}).status_code == 409
    world.restart()
    assert allocation(world, "a")["status"]["prefix"] == "198.18.0.1/32"
    create(world, a_body("w", cities=("LHR",), replicas=1, anycast=False))
    assert externals(world)["w-eu-lhr-0"] == "198.18.0.2", "nobody else gets it"
    done(world, world.send("DELETE", f"{ALLOCATIONS}/a"))
    assert world.call("GET", f"{ALLOCATIONS}/a").status_code == 404
    assert allocate(world, "b")["status"]["prefix"] == "198.18.0.3/32", "what was let go rests first"
    audited = [
        e["operation"] for e in world.get("/anypop/v1/audit")["results"] if e["operation"].endswith("_allocation")
    ]
    assert {*audited} == {"create_allocation", "change_allocation", "delete_allocation"}


def test_a_city_without_a_pop_is_waited_for_and_told(world: World) -> None:
    """Codes need not be of three letters; once there is a PoP, there is an address."""
    selectors = [{"key": "cityCode", "operator": "in", "values": ["EC4LAB01"]}]
    body = {"name": "far", "spec": address(selectors=selectors)}
    done(world, world.send("POST", ALLOCATIONS, {"allocation": body}))
    found = allocation(world, "far")
    assert "prefix" not in found["status"] and found["spec"]["selectors"] == selectors
    assert conditions(found)["Allocated"] == (
        False, "there is no PoP in a city that its selectors leave; there are AMS, LHR"
    )  # fmt: skip


def test_an_operation_is_told_once_and_can_be_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    allocate(world, "a")
    told = world.send("DELETE", f"{ALLOCATIONS}/a")
    name = told["name"].rpartition("/")[2]
    assert told["metadata"]["verb"] == "delete" and told["response"] == {}
    assert world.call("DELETE", f"{IPAM}/operations/{name}").status_code == 204
    for path in (name, f"{name}/wait"):
        assert world.call("GET", f"{IPAM}/operations/{path}").status_code == 404
    allocate(world, "b")
    change = {"allocation": {"name": "b"}}
    monkeypatch.setattr(kept, "OPERATIONS_KEPT", 3)
    for _ in range(5):
        world.send("PATCH", f"{ALLOCATIONS}/b", change)
    assert len(world.state.operations) == 3


def test_a_claim_of_a_template_has_an_allocation_of_its_own(world: World) -> None:
    """Version 2 right after its creation, and the template by the claim's name: clients expect both."""
    spec = {"ipFamily": "IPv4", "prefixLength": 32, "reclaimPolicy": KEEP}
    template = {"spec": address(selectors=LHR)}
    body = {"name": "mine", "slug": "mine", "spec": {**spec, "allocation": {"template": template}}}
    done(world, world.send("POST", CLAIMS, {"allocationClaim": body}))
    found = claim(world, "mine")
    assert found["metadata"]["version"] == "2" and found["spec"]["allocation"]["template"]["name"] == "mine"
    assert found["status"]["allocation"].endswith("/allocations/mine")
    assert found["status"]["prefix"] == allocation(world, "mine")["status"]["prefix"]
    held = world.call("DELETE", f"{ALLOCATIONS}/mine")
    assert held.status_code == 400 and "held by claim mine" in held.json()["message"]
    done(world, world.send("PATCH", f"{CLAIMS}/mine", {"allocationClaim": {}}))
    assert claim(world, "mine")["metadata"]["version"] == "2"
    done(world, world.send("DELETE", f"{CLAIMS}/mine"))
    assert [a["slug"] for a in world.get(ALLOCATIONS)["results"]] == ["mine"], "its own policy is to be kept"


def test_two_claims_never_hold_one_address(world: World) -> None:
    """By name, by selector, and by two requests at once; the second waits, and has it when the first goes."""
    allocate(world, "a")

    def named(slug: str, **source: Any) -> dict[str, Any]:
        spec = {"ipFamily": "IPv4", "reclaimPolicy": KEEP, "allocation": source}
        return {"allocationClaim": {"slug": slug, "spec": spec}}

    async def both() -> None:
        asked = (world.request("POST", CLAIMS, json=named(s, name="default/a"), headers=world.headers) for s in "xy")
        assert [r.status_code for r in await asyncio.gather(*asked)] == [200, 200]

    world.run(both())
    by_selector = {"allocationClass": "stackpath-edge/unicast", "matchExpressions": LHR}
    world.send("POST", CLAIMS, named("z", selector=by_selector))
    found = {c["slug"]: c for c in world.get(CLAIMS)["results"]}
    holders = [slug for slug, c in found.items() if "prefix" in c["status"]]
    assert len(holders) == 1 and holders[0] in "xy"
    (other,) = {"x", "y"} - {*holders}
    assert conditions(found[other])["Bound"] == (False, f"allocation a is held by claim {holders[0]}")
    assert conditions(found["z"])["Bound"] == (False, "no free allocation fits its selector")
    world.restart()
    world.send("DELETE", f"{CLAIMS}/{holders[0]}")
    assert [c["slug"] for c in world.get(CLAIMS)["results"] if "prefix" in c["status"]] == [other], (
        "the older waits first"
    )
    elsewhere = world.call("POST", CLAIMS, json=named("q", name="other-stack/a"))
    assert violations(elsewhere)["spec.allocation.name"].startswith("'other-stack' is another stack")


def test_the_address_of_a_deleted_workload_comes_back_to_the_next_one(world: World) -> None:
    """RETAIN: while nobody has it, nobody gets it; the next workload that names the claims has the same addresses."""
    create(world, assigned("shop", external(), replicas=2))
    before = externals(world)
    assert {*before} == {"shop-eu-lhr-0", "shop-eu-lhr-1"}
    found = {c["slug"]: c for c in world.get(CLAIMS)["results"]}
    assert {*found} == {"front-eu-lhr-0", "front-eu-lhr-1"}
    assert {plain(c["status"]["prefix"]) for c in found.values()} == {*before.values()}
    assert found["front-eu-lhr-0"]["status"]["resourceBinding"] == {"type": "instance", "name": "shop-eu-lhr-0"}
    held = world.call("DELETE", f"{CLAIMS}/front-eu-lhr-0")
    assert held.status_code == 400 and "held by shop-eu-lhr-0" in held.json()["message"]
    delete(world, "shop")
    assert conditions(claim(world, "front-eu-lhr-0"))["InUse"][0] is False
    later(world, 3600)
    create(world, a_body("plain", cities=("LHR",), replicas=3, anycast=False))
    assert not {*externals(world).values()} & {*before.values()}
    create(world, assigned("next", external(), replicas=2))
    now = externals(world)
    assert [now[f"next-eu-lhr-{n}"] for n in range(2)] == [before[f"shop-eu-lhr-{n}"] for n in range(2)]
    world.restart()
    world.settle()
    assert {i["name"]: i["externalIpAddress"] for i in world.instances("next")} == {
        name: a for name, a in now.items() if name.startswith("next")
    }


def test_an_update_keeps_the_address_and_a_smaller_scale_lets_the_claim_be(world: World) -> None:
    create(world, assigned("shop", external(), replicas=2))
    before = externals(world)
    image = {"spec": {"containers": {"web": {"image": "registry.example/web:2"}}}}
    world.send("PATCH", f"{WORKLOADS}/shop", {"workload": image})
    for _ in range(30):
        world.settle()
        world.clock.now += 30
        for agent in world.agents():
            agent.obey()
    assert externals(world) == before
    world.send("PATCH", f"{WORKLOADS}/shop", {"workload": world.replicas(1)})
    world.settle()
    assert conditions(claim(world, "front-eu-lhr-1"))["InUse"][0] is False
    world.send("PATCH", f"{WORKLOADS}/shop", {"workload": world.replicas(2)})
    world.settle()
    assert externals(world) == before


@pytest.mark.parametrize(("reclaim", "left"), [({"action": "DELETE"}, 0), (KEEP, 1)])
def test_each_policy_when_the_workload_goes(world: World, reclaim: dict[str, str], left: int) -> None:
    create(world, assigned("shop", external(reclaim=reclaim)))
    assert len(world.get(CLAIMS)["results"]) == len(world.get(ALLOCATIONS)["results"]) == 1
    delete(world, "shop")
    assert len(world.get(CLAIMS)["results"]) == len(world.get(ALLOCATIONS)["results"]) == left


def test_an_idle_address_goes_when_its_time_is_over(world: World) -> None:
    """By itself; also while control is away; a clock that was set back makes it no longer than its period."""
    for_an_hour = {"action": "RETAIN_FOR_IDLE_PERIOD", "idleRetentionPeriod": "3600s"}
    create(world, assigned("shop", external(reclaim=for_an_hour)))
    later(world, 100_000)  # it is in use: no time counts
    world.settle()
    delete(world, "shop")
    assert claim(world, "front-eu-lhr-0")["spec"]["reclaimPolicy"] == for_an_hour
    assert "it goes at" in conditions(claim(world, "front-eu-lhr-0"))["InUse"][1]
    later(world, 3599)
    world.agents()[0].report()
    assert len(world.state.claims) == 1
    later(world, -50_000)
    world.restart()
    later(world, 3599)
    world.agents()[0].report()
    assert len(world.state.claims) == 1
    world.clock.now += 2
    world.restart()
    world.agents()[0].report()
    assert not world.state.claims and len(world.state.allocations) == 1, "its allocation is idle since now"
    later(world, 3601)
    world.agents()[0].report()
    assert not world.state.allocations


def test_a_slot_waits_for_its_address_and_says_for_what(world: World) -> None:
    """Held by another; elsewhere; on a host that is drained: never silently another address."""
    create(world, assigned("one", external()))
    create(world, assigned("two", external()))
    assert {*externals(world)} == {"one-eu-lhr-0"}
    (note,) = [n for n in world.state.plan.whole().notes if n.subject == "two-eu-lhr-0"]  # type: ignore[union-attr]
    assert note.detail == "claim front-eu-lhr-0 is held by one-eu-lhr-0"
    address_then = externals(world)["one-eu-lhr-0"]
    delete(world, "one")
    assert externals(world) == {"two-eu-lhr-0": address_then}
    create(world, assigned("three", external("back", name="nowhere")))
    assert "three-eu-lhr-0" not in externals(world)
    allocate(world, "nowhere")
    world.settle()
    assert externals(world)["three-eu-lhr-0"] == plain(allocation(world, "nowhere")["status"]["prefix"])


def two_hosts(world_path: Path, *, edge: bool = False) -> World:
    """A London of two hosts; `edge`: behind the PoP's own router."""
    network = a_network({"LHR": (1299,), "AMS": (3356,)})
    (one,) = network.pops[0].hosts
    if edge:
        one = replace(
            one, upstreams=tuple(replace(u, name="edge", kind=UpstreamKind.EDGE, asn=33438) for u in one.upstreams)
        )
    other = replace(
        one, name=HostName("LHR-2"), private4=IPv4Network("10.9.0.0/20"), private6=IPv6Network("fd00:9::/64"),
        external4=IPv4Network("198.18.9.0/29"), external6=IPv6Network("2001:db8:e9::/48"),
        upstreams=one.upstreams if edge else (), router_id=one.router_id + 100,
    )  # fmt: skip
    pop = replace(network.pops[0], hosts=(one, other), edge=network.pops[0].hosts[0].upstreams if edge else ())
    return World(world_path, replace(network, pops=(pop, network.pops[1])))


def test_an_address_stays_on_its_host_when_that_is_full_or_given_up(tmp_path: Path) -> None:
    """Six external addresses: a seventh waits, and a reserved one is a slot's even where all are taken."""
    with two_hosts(tmp_path) as world:
        for n in range(3):
            allocate(world, f"a{n}")
        hosts = {plain(allocation(world, f"a{n}")["status"]["prefix"]) for n in range(3)}
        assert len(hosts) == 3
        mine = allocation(world, "a0")
        create(world, assigned("w", external("c", name="a0")))
        at = next(h for h in ("LHR", "LHR-2") if "w-eu-lhr-0" in externals(world, h))
        assert externals(world, at)["w-eu-lhr-0"] == plain(mine["status"]["prefix"])
        delete(world, "w")
        world.send("POST", f"/anypop/v1/hosts/{at}/evict", {})
        assert conditions(allocation(world, "a0"))["Usable"] == (False, f"{at} is lost or given up")
        create(world, assigned("w", external("c", name="a0")))
        assert not any("w-eu-lhr-0" in externals(world, h) for h in ("LHR", "LHR-2"))
        note = next(n for n in world.state.plan.whole().notes if n.subject == "w-eu-lhr-0")  # type: ignore[union-attr]
        assert note.detail.startswith(
            f"its address is on {at}, which is lost or given up; {at} has BGP sessions of its"
        )
        holds, why = conditions(allocation(world, "a0"))["Follows"]
        assert not holds and why.startswith(f"{at} has BGP sessions of its own (")


def test_an_address_follows_its_slot_to_another_host_behind_an_edge_router(tmp_path: Path) -> None:
    """Its host is given up: the other one is told the address, also to the edge router; who asks is told where it is
    and that it can be had there; and it comes back to the next workload on whichever host that lives.
    """
    with two_hosts(tmp_path, edge=True) as world:
        create(world, assigned("w", external()))
        home = next(h for h in ("LHR", "LHR-2") if externals(world, h))
        other = "LHR-2" if home == "LHR" else "LHR"
        kept = externals(world, home)["w-eu-lhr-0"]
        world.send("POST", f"/anypop/v1/hosts/{home}/evict", {})
        world.settle()
        assert externals(world, other) == {"w-eu-lhr-0": kept}
        assert f"{kept}/32" in {str(a.prefix) for a in order(world, other).announcements}
        found = world.get(f"/anypop/v1/addresses/{kept}")
        assert (found["instance"], found["host"]) == ("w-eu-lhr-0", other) and f"lives on {other}" in found["says"]
        assert conditions(allocation(world, "front-eu-lhr-0"))["Usable"] == (
            True,
            f"an instance on {other} can have it",
        )
        assert conditions(allocation(world, "front-eu-lhr-0"))["Follows"][0]
        world.restart()
        assert externals(world, other) == {"w-eu-lhr-0": kept}
        # of the number where it lives it has one family alone
        there = next(h for _, h in world.state.network.hosts() if h.name == other)
        assert "nobody has it" in world.get(f"/anypop/v1/addresses/{there.external4[1]}")["says"]


def test_a_private_address_that_is_kept_stops_the_old_instance_first(world: World) -> None:
    """Two lives cannot have one private address: the new one is told only when the old one is gone."""
    own = {"template": {"spec": address(kind="private")}}
    spec = {"ipFamily": "IPv4", "reclaimPolicy": KEEP, "allocation": own}
    primary = {"slug": "p", "mode": "PRIMARY", "allocationClaimTemplate": {"slug": "inside", "spec": spec}}
    create(world, assigned("shop", primary))
    (first,) = order(world, "LHR").instances
    private = str(next(iter(first.addresses())).private)
    assert plain(claim(world, "inside-eu-lhr-0")["status"]["prefix"]) == private
    image = {"spec": {"containers": {"web": {"image": "registry.example/web:2"}}}}
    world.send("PATCH", f"{WORKLOADS}/shop", {"workload": image})
    for _ in range(20):
        world.settle()
        world.clock.now += 30
    (second,) = order(world, "LHR").instances
    waits = [n.detail for n in world.state.plan.whole().notes]  # type: ignore[union-attr]
    assert second.uid == first.uid and any("the private address that it claims" in w for w in waits)
    delete(world, "shop")
    create(world, a_body("other", cities=("LHR",), replicas=2, anycast=False))
    create(world, assigned("again", primary))
    told = {str(i.name): str(next(iter(i.addresses())).private) for i in order(world, "LHR").instances}
    assert told["again-eu-lhr-0"] == private and list(told.values()).count(private) == 1


def test_both_families_of_a_stack_share_a_place(world: World) -> None:
    """So that one instance can have an IPv4 and an IPv6 allocation."""
    four, six = allocate(world, "four"), allocate(world, "six", 6)
    create(world, assigned("w", external("a", name="four"), external("b", 6, name="six")))
    (instance,) = order(world, "LHR").instances
    assert [str(a.external) for a in instance.addresses()] == [plain(x["status"]["prefix"]) for x in (four, six)]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "additional and private": (
        {**external(template={"spec": address(kind="private")}), "mode": "ADDITIONAL"},
        "assignments[0].allocationClaimTemplate.spec.allocation.template.spec.allocationClass",
    ),
    "forward": ({"mode": "FORWARD"}, "assignments[0].mode"),
    "no template": ({"mode": "PRIMARY"}, "assignments[0].allocationClaimTemplate"),
    "another class": (
        external() | {"mode": "PRIMARY"},
        "assignments[0].allocationClaimTemplate.spec.allocation.template.spec.allocationClass",
    ),
    "another city": (
        external(template={"spec": address(selectors=[{"key": "cityCode", "operator": "in", "values": ["AMS"]}])}),
        "assignments[0].allocationClaimTemplate.spec.allocation.template.spec.selectors",
    ),
    "another length": (
        external(template={"spec": {**address(), "prefixLength": 24}}),
        "assignments[0].allocationClaimTemplate.spec.allocation.template.spec.prefixLength",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_done_is_refused_in_words(world: World, name: str) -> None:
    wrong, path = WRONG[name]
    found = violations(world.call("POST", WORKLOADS, json=assigned("w", wrong)))
    assert {*found} == {f"spec.networkInterfaces[0].{path}"}
    two = violations(world.call("POST", WORKLOADS, json=assigned("w", external("c", name="a"), replicas=2)))
    assert "names one allocation, and the workload asks for 2 instances" in str(two)


def test_an_additional_address_stands_beside_the_own_one_and_comes_back(world: World) -> None:
    """Of an instance with two of them: what its host is told, what is shown, who has it; the next workload gets both
    back. It is in no place of an instance: one that is made later gets another number.
    """
    wanted = [{**external(f"more{n}"), "mode": "ADDITIONAL", "slug": f"more{n}"} for n in range(2)]
    create(world, assigned("w", *wanted))
    (instance,) = order(world, "LHR").instances
    more = [plain(allocation(world, f"more{n}-eu-lhr-0")["status"]["prefix"]) for n in range(2)]
    assert sorted(map(str, instance.beside)) == sorted(more)
    assert externals(world)["w-eu-lhr-0"] not in more
    (shown,) = world.get(f"{WORKLOADS}/w/instances")["results"]
    assert sorted(shown["networkInterfaces"][0]["ipAddressAliases"]) == sorted(more)
    assert shown["externalIpAddress"] == externals(world)["w-eu-lhr-0"]
    for one in more:
        found = world.get(f"/anypop/v1/addresses/{one}")
        assert (found["instance"], found["host"]) == ("w-eu-lhr-0", "LHR")
    create(world, a_body("other", cities=("LHR",), replicas=1, anycast=False))
    assert externals(world)["other-eu-lhr-0"] not in more
    delete(world, "w")
    assert all(conditions(claim(world, f"more{n}-eu-lhr-0"))["InUse"][0] is False for n in range(2))
    create(world, assigned("next", *wanted))
    (again,) = (i for i in order(world, "LHR").instances if i.name == "next-eu-lhr-0")
    assert {*map(str, again.beside)} == {*more}
    world.restart()
    assert {i.name: len(i.beside) for i in order(world, "LHR").instances} == {"other-eu-lhr-0": 0, "next-eu-lhr-0": 2}


def test_assignments_of_a_workload_that_stands_do_not_change(world: World) -> None:
    """How an address is kept may change; which one may not. One may be added: the address that the slot has already."""
    create(world, a_body("shop", cities=("LHR",), replicas=1, anycast=False))
    before = externals(world)

    def put(*assignments: dict[str, Any]) -> Any:
        interface = [{"network": "default", "assignments": list(assignments)}]
        return world.call("PATCH", f"{WORKLOADS}/shop", json={"workload": {"spec": {"networkInterfaces": interface}}})

    uid = order(world, "LHR").instances[0].uid
    assert put(external()).status_code == 200
    world.settle()
    assert externals(world) == before and order(world, "LHR").instances[0].uid == uid
    assert plain(claim(world, "front-eu-lhr-0")["status"]["prefix"]) == before["shop-eu-lhr-0"]
    assert put(external(reclaim={"action": "DELETE"})).status_code == 200
    assert claim(world, "front-eu-lhr-0")["spec"]["reclaimPolicy"] == {"action": "DELETE"}
    for wrong in ([], [external("other")], [external(name="a")]):
        assert "cannot be changed or left out" in put(*wrong).json()["message"]
    beside = put(external(reclaim={"action": "DELETE"}), {**external("more"), "mode": "ADDITIONAL"})
    assert "names an address that instances do not have" in beside.json()["message"]


def test_a_claim_whose_workload_goes_is_deleted_with_it(world: World) -> None:
    """Terraform destroys a workload, then its claim, then the allocation, without waiting for the instances."""
    allocate(world, "a")
    create(world, assigned("w", external("c", name="a")))
    assert world.call("DELETE", f"{WORKLOADS}/w").status_code == 204
    done(world, world.send("DELETE", f"{CLAIMS}/c-eu-lhr-0"))
    done(world, world.send("DELETE", f"{ALLOCATIONS}/a"))
    assert claim(world, "c-eu-lhr-0")["metadata"]["deleteRequestedAt"]
    assert allocation(world, "a")["metadata"]["deleteRequestedAt"]
    world.settle()
    assert not world.state.claims and not world.state.allocations


def test_quotas_count_addresses_and_idle_ones_cost(world: World) -> None:
    world.send("PUT", "/anypop/v1/stacks/default/quota", {"quota": {"addresses": 1}})
    create(world, assigned("shop", external()))
    over = world.call("POST", ALLOCATIONS, json={"allocation": {"slug": "b", "spec": address()}})
    assert over.status_code == 429 and "addresses that last" in over.text
    assert world.get("/anypop/v1/stacks/default/quota")["used"]["addresses"] == 1
    delete(world, "shop")
    later(world, 7200)
    world.agents()[0].report()
    (idle,) = [r for r in world.get("/anypop/v1/stacks/default/usage")["results"] if r["slug"] == "front-eu-lhr-0"]
    assert idle["address_hours"] == pytest.approx(2, abs=0.01) and idle["costs"]["USD"] == pytest.approx(0.01, abs=1e-4)
    create(world, assigned("again", external()))
    later(world, 7200)
    (same,) = [r for r in world.get("/anypop/v1/stacks/default/usage")["results"] if r["slug"] == "front-eu-lhr-0"]
    assert same["address_hours"] == idle["address_hours"], "in use it costs nothing"


def test_another_account_sees_and_takes_nothing(world: World) -> None:
    allocate(world, "a")
    headers = tenant(world)
    for path in (ALLOCATIONS, f"{ALLOCATIONS}/a", CLAIMS):
        assert world.call("GET", path, headers=headers).status_code == 404


def test_of_two_instances_each_keeps_its_private_address_over_an_update(world: World) -> None:
    """One after the other: the old one is gone before the new one is told, with the same link."""
    own = {"template": {"spec": address(kind="private")}}
    spec = {"ipFamily": "IPv4", "reclaimPolicy": KEEP, "allocation": own}
    primary = {"slug": "p", "mode": "PRIMARY", "allocationClaimTemplate": {"slug": "inside", "spec": spec}}
    create(world, assigned("shop", primary, replicas=2))

    def privates() -> dict[str, tuple[str, str]]:
        return {str(i.name): (i.uid, str(next(iter(i.addresses())).private)) for i in order(world, "LHR").instances}

    before = privates()
    image = {"spec": {"containers": {"web": {"image": "registry.example/web:2"}}}}
    world.send("PATCH", f"{WORKLOADS}/shop", {"workload": image})
    agents = world.agents()
    for _ in range(40):
        world.settle(agents)
        world.clock.now += 15
        for agent in agents:
            agent.report()
        if (now := privates()).keys() == before.keys() and all(now[n][0] != before[n][0] for n in before):
            break
    assert {name: private for name, (_, private) in privates().items()} == {n: p for n, (_, p) in before.items()}
    assert all(privates()[name][0] != uid for name, (uid, _) in before.items())

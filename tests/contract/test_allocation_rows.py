"""What clients of the Workload API count on in allocations, claims and operations, asked one by one of one world; what
becomes of addresses is `test_allocations`'.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.test_allocations import ALLOCATIONS, CLAIMS, IPAM, KEEP, LHR, address
from tests.contract.test_network_policies import violations
from tests.control_world import World, a_network

OPERATION = re.compile(r"stacks/[0-9a-f-]{36}/operations/operation-[a-f0-9\-]+")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(Path(tmp_path_factory.mktemp("rows")), a_network({"LHR": (1299,), "AMS": (3356,)})) as made:
        yield made


def bodies(slug: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """By the list: the member of a body, and the body of a creation."""
    claim = {"ipFamily": "IPv4", "reclaimPolicy": KEEP, "allocation": {"template": {"spec": address(selectors=LHR)}}}
    return {
        ALLOCATIONS: ("allocation", {"name": slug, "slug": slug, "spec": address(selectors=LHR)}),
        CLAIMS: ("allocationClaim", {"name": slug, "slug": slug, "spec": claim}),
    }


@pytest.mark.parametrize("path", [ALLOCATIONS, CLAIMS])
def test_what_is_made_is_told_by_an_operation_that_is_done(world: World, path: str) -> None:
    """POST, PATCH and DELETE answer 200 with one, by a name in which clients look for `operation-` and digits; waiting
    for it answers at once; GET has the object by slug and by id, wrapped; a list has its page's data.
    """
    member, body = bodies("row-" + path.rpartition("/")[2].replace("_", "-"))[path]
    slug, where = body["slug"], f"{path}/{body['slug']}"
    told = [
        world.call("POST", path, json={member: body}),
        world.call("PATCH", where, json={member: {"metadata": {"labels": {"a": "b"}}}}),
        world.call("PATCH", where, json={member: {}}),
    ]
    for answer, verb in zip(told, ("create", "update", "update"), strict=True):
        assert answer.status_code == 200
        operation = answer.json()
        assert OPERATION.fullmatch(operation["name"]) and operation["done"] is True and "error" not in operation
        assert operation["metadata"]["verb"] == verb and operation["response"][member]["slug"] == slug
        name = f"{IPAM}/operations/{operation['name'].rpartition('/')[2]}"
        for asked in (name, f"{name}/wait", f"{name}/wait?timeout=10s"):
            assert world.get(asked)["name"] == operation["name"] and world.get(asked)["done"] is True
    found = world.get(where)[member]
    assert world.get(f"{path}/{found['id']}")[member] == found
    assert found["metadata"]["version"] == {ALLOCATIONS: "2", CLAIMS: "3"}[path], "grows by what changed alone"
    assert found["metadata"]["labels"] == {"a": "b"} and "annotations" not in found["metadata"]
    page = world.get(f"{path}?page_request.first=50")
    assert slug in [one["slug"] for one in page["results"]] and int(page["pageInfo"]["totalCount"]) >= 1
    gone = world.call("DELETE", where)
    assert gone.status_code == 200 and gone.json()["done"] is True and gone.json()["metadata"]["verb"] == "delete"
    assert (world.call("GET", where).status_code, world.call("GET", where).json()["code"]) == (404, 5)
    assert world.call("GET", f"{path}/").status_code != 200, "an empty id is no list"


def test_an_operation_nobody_knows_is_not_found_and_one_is_forgotten(world: World) -> None:
    """By GET, wait and DELETE, which answers 204."""
    member, body = bodies("forgotten")[ALLOCATIONS]
    name = world.send("POST", ALLOCATIONS, {member: body})["name"].rpartition("/")[2]
    assert world.call("DELETE", f"{IPAM}/operations/{name}").status_code == 204
    for verb, path in (("GET", name), ("GET", f"{name}/wait"), ("DELETE", name)):
        answer = world.call(verb, f"{IPAM}/operations/{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, 5)


WRONG: dict[str, tuple[str, dict[str, Any]]] = {
    "a class of its own": ("spec.allocationClass", {"allocationClass": "stackpath-edge/other"}),
    "no class": ("spec.allocationClass", {"allocationClass": None}),
    "no family": ("spec.ipFamily", {"ipFamily": None}),
    "a length of the other family": ("spec.prefixLength", {"prefixLength": 128}),
    "a period without idling": ("spec.reclaimPolicy", {"reclaimPolicy": {**KEEP, "idleRetentionPeriod": "9s"}}),
    "idling without a period": ("spec.reclaimPolicy", {"reclaimPolicy": {"action": "RETAIN_FOR_IDLE_PERIOD"}}),
    "a selector of something else": ("spec.selectors[0].key", {"selectors": [{"key": "x", "operator": "exists"}]}),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_allocation_is_refused_by_its_field(world: World, name: str) -> None:
    """And one that is not wrapped is told what is missing."""
    path, wrong = WRONG[name]
    spec = {key: value for key, value in {**address(), **wrong}.items() if value is not None}
    assert {*violations(world.call("POST", ALLOCATIONS, json={"allocation": {"name": "wrong", "spec": spec}}))} == {
        path
    }
    assert world.call("POST", ALLOCATIONS, json={"name": "wrong", "spec": spec}).status_code == 400

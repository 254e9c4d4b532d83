"""The Workload API: tokens, stacks, workloads and instances with the shapes, errors and rules that its public
clients rely on.
"""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.control_world import World, a_body

BASE = "/workload/v1/stacks/default/workloads"
TYPES = {"stackpath.rpc.RequestInfo", "stackpath.rpc.BadRequest"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        yield made


def _error(response: Any, status: int, code: int) -> dict[str, Any]:
    """The body of an error answer, after checking what every error must have."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["grpc-metadata-content-type"] == "application/grpc"
    body: dict[str, Any] = response.json()
    assert body["code"] == code
    assert body["message"]
    assert {d["@type"] for d in body["details"]} <= TYPES
    return body


def _fields(body: dict[str, Any]) -> set[str]:
    return {v["field"] for d in body["details"] for v in d.get("fieldViolations", ())}


def _has_empty(value: Any, path: str = "") -> list[str]:
    if value is None or value in ("", [], {}):
        return [path]
    if isinstance(value, dict):
        return [found for key, member in value.items() for found in _has_empty(member, f"{path}.{key}")]
    if isinstance(value, list):
        return [found for index, member in enumerate(value) for found in _has_empty(member, f"{path}[{index}]")]
    return []


# tokens


@pytest.mark.parametrize("form", [False, True])
def test_a_token_is_given_for_json_and_for_a_form(world: World, form: bool) -> None:
    """Both bodies that are in use get a bearer token for an hour, in snake case."""
    who = {
        "grant_type": "client_credentials",
        "client_id": world.credential.client_id,
        "client_secret": world.credential.secret,
    }
    response = world.call(
        "POST",
        "/identity/v1/oauth2/token",
        headers={},
        **({"data": {**who, "scope": "workloads"}} if form else {"json": who}),
    )
    assert response.status_code == 200
    given = response.json()
    assert (given["token_type"], given["expires_in"]) == ("bearer", 3600)
    for word in ("Bearer", "bearer"):
        assert world.call("GET", BASE, headers={"authorization": f"{word} {given['access_token']}"}).status_code == 200


def test_client_ids_and_secrets_have_the_lengths_that_clients_check(world: World) -> None:
    """32 and 64 hex digits."""
    assert len(bytes.fromhex(world.credential.client_id)) == 16
    assert len(bytes.fromhex(world.credential.secret)) == 32


def test_a_wrong_secret_and_an_unknown_client_are_told_apart(world: World) -> None:
    """401 for the secret, 404 for the client id."""
    who = {"grant_type": "client_credentials", "client_id": world.credential.client_id, "client_secret": "0" * 64}
    _error(world.call("POST", "/identity/v1/oauth2/token", json=who), 401, 16)
    _error(world.call("POST", "/identity/v1/oauth2/token", json={**who, "client_id": "0" * 32}), 404, 5)


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer "}, {"authorization": "Bearer nonsense"}, {"authorization": "Basic YTpi"}]
)
def test_without_a_good_token_every_door_answers_401(world: World, headers: dict[str, str]) -> None:
    """Missing, empty, unknown or of another kind: code 16."""
    for path in (BASE, "/stack/v1/stacks", "/anypop/v1/pops", "/anypop/v1/network", f"{BASE}/x/instances"):
        _error(world.call("GET", path, headers=headers), 401, 16)


def test_a_token_ends_after_its_hour_and_survives_a_restart_before(world: World) -> None:
    """A restart of control logs nobody out, time does."""
    world.restart()
    assert world.call("GET", BASE).status_code == 200
    world.clock.now += 3601
    _error(world.call("GET", BASE), 401, 16)


def test_rotating_a_credential_ends_its_tokens(world: World) -> None:
    """The old secret and every token made with it are worth nothing any more."""
    users = "/identity/v1/users/me/credentials"
    made = world.send("POST", users, {"name": "ci"})
    headers = world.login(made["clientId"], made["clientSecret"])
    rotated = world.send("POST", f"{users}/{made['id']}/rotate")
    assert rotated["clientSecret"] != made["clientSecret"]
    _error(world.call("GET", BASE, headers=headers), 401, 16)
    listed = world.get(users)["results"]
    assert {c["id"] for c in listed} > {made["id"]} and not any("clientSecret" in c for c in listed)
    assert world.call("DELETE", f"{users}/{made['id']}").status_code == 204
    _error(world.call("GET", f"{users}/{made['id']}"), 404, 5)


# stacks


def test_a_stack_is_found_by_id_and_by_slug_and_comes_bare(world: World) -> None:
    """GET gives the object itself; POST and PATCH wrap it; a slug is made from the name."""
    made = world.send("POST", "/stack/v1/stacks", {"name": "App production"})["stack"]
    assert made["slug"].startswith("app-production-") and made["status"] == "ACTIVE"
    assert world.get(f"/stack/v1/stacks/{made['id']}") == world.get(f"/stack/v1/stacks/{made['slug']}") == made
    renamed = world.send("PATCH", f"/stack/v1/stacks/{made['slug']}", {"name": "Other"})["stack"]
    assert renamed["name"] == "Other"
    listed = world.get('/stack/v1/stacks?page_request.filter=slug="default"')
    assert [s["slug"] for s in listed["results"]] == ["default"]


def test_what_cannot_be_changed_of_a_stack_and_what_nobody_knows_is_refused(world: World) -> None:
    """What was read may be sent back; a wish that nobody would hear is told, of lists as well."""
    one = world.get("/stack/v1/stacks/default")
    assert world.send("PATCH", "/stack/v1/stacks/default", one)["stack"]["slug"] == "default"
    for wish, path in (({"slug": "other"}, "slug"), ({"status": "SUSPENDED"}, "status"), ({"colour": "red"}, "colour")):
        refused = world.call("PATCH", "/stack/v1/stacks/default", json={"name": "Default", **wish})
        assert refused.status_code == 400 and f'"field":"{path}"' in refused.text.replace(" ", "")
    assert world.call("POST", "/stack/v1/stacks", json={"name": "n", "colour": "red"}).status_code == 400
    refused = world.call("GET", f"{BASE}?page_request.frist=5")
    assert refused.status_code == 400 and "page_request.first" in refused.text


def test_nobody_sees_the_stack_of_another_account(world: World) -> None:
    """A stranger's stack answers exactly like one that does not exist."""
    accounts = world.platform.accounts
    stranger = accounts.create_account("stranger")
    secret = accounts.create_credential(stranger.id, "theirs")
    headers = world.login(secret.client_id, secret.secret)
    _error(world.call("GET", "/stack/v1/stacks/default", headers=headers), 404, 5)
    _error(world.call("GET", BASE, headers=headers), 404, 5)
    _error(world.call("GET", "/anypop/v1/network", headers=headers), 403, 7)


def test_every_route_of_a_stack_is_closed_to_other_accounts(world: World) -> None:
    """404 for whatever is done to it, and it stays as it was; another's events and the inside of PoPs do not show
    either.
    """
    made = world.create()
    accounts = world.platform.accounts
    theirs = accounts.create_credential(accounts.create_account("stranger").id, "theirs")
    headers = world.login(theirs.client_id, theirs.secret)
    routes = {p: m for p, m in world.get("/anypop/v1/openapi.json")["paths"].items() if "{stack_id}" in p}
    assert len(routes) >= 6
    for path, methods in routes.items():
        real = path.replace("{stack_id}", "default").replace("{workload_id}", "fun").replace("{name}", "fun-eu-ams-0")
        for method in methods:
            body = {"json": {"workload": made, "rules": [], "name": "x"}} if method != "get" else {}
            _error(world.call(method.upper(), real, headers=headers, **body), 404, 5)
    assert world.get(f"{BASE}/fun")["workload"] == made
    assert world.call("GET", "/anypop/v1/events", headers=headers).json() == {"results": []}
    pops = world.call("GET", "/anypop/v1/pops", headers=headers).json()["results"]
    assert pops and not {"drift", "errors", "orphans"} & set().union(*pops)
    _error(world.call("POST", "/anypop/v1/probes", headers=headers, json={"workload": "fun"}), 400, 9)


# workloads


def test_a_creation_answers_with_the_anycast_address_already(world: World) -> None:
    """The subnets annotation is in the POST's own answer, version is text 1, and nothing was added to the labels."""
    made = world.create()
    assert made["metadata"]["annotations"]["anycast.platform.stackpath.net/subnets"].split("/")[0] == "185.85.196.1"
    assert (made["metadata"]["version"], made["status"], made["slug"]) == ("1", "ACTIVE", "fun")
    assert "labels" not in made["metadata"] and "updatedAt" not in made["metadata"]
    assert world.get(f"{BASE}/fun") == world.get(f"{BASE}/{made['id']}") == {"workload": made}


def test_what_was_sent_comes_back_unchanged(world: World) -> None:
    """A second plan of a client is empty: spec and targets are what it sent, with only what the API is known to add."""
    body = a_body()
    made = world.send("POST", BASE, body)["workload"]
    assert made["spec"] == body["workload"]["spec"]
    assert made["targets"] == body["workload"]["targets"]


def test_no_answer_has_null_or_empty_values(world: World) -> None:
    """Workloads and instances leave out what is not there."""
    made = world.create()
    assert _has_empty(made) == []
    world.settle()
    assert _has_empty(world.instances()) == []


def test_a_taken_slug_is_a_conflict(world: World) -> None:
    """409 with code 6, and still one workload."""
    world.create()
    _error(world.call("POST", BASE, json=a_body()), 409, 6)
    assert world.get(BASE)["pageInfo"]["totalCount"] == "1"


def test_a_wrong_workload_answers_with_every_problem_and_creates_nothing(world: World) -> None:
    """Unknown city, negative replicas, a port too high, no image and a field that does not exist: five problems in
    one answer.
    """
    body = a_body(cities=("AMS", "XXX"), replicas=-1, ports={"http": {"port": 70000}}, frobnicate=1)
    del body["workload"]["spec"]["containers"]["web"]["image"]
    fields = _fields(_error(world.call("POST", BASE, json=body), 400, 3))
    assert len(fields) >= 5, fields
    assert world.get(BASE)["results"] == []
    assert not any(o.order.instances for o in world.platform.core.state.orders.values())


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"workload": 7}', b"{}", b'{"workload": NaN}', b"[" * 100_000]
)
def test_a_body_that_is_no_workload_is_a_bad_request(world: World, content: bytes) -> None:
    """Broken JSON, other JSON, nothing at all: 400 in the usual shape."""
    _error(world.call("POST", BASE, content=content), 400, 3)


def test_a_body_without_end_is_refused(world: World) -> None:
    """More than any honest request sends is not even read to its end."""
    _error(world.call("POST", BASE, content=b" " * (5 << 20)), 400, 3)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing/here", 404, 5),
        ("GET", f"{BASE}/", 404, 5),
        ("GET", "/workload/v1/stacks//workloads", 404, 5),
        ("GET", "/workload/v1/stacks/nobody/workloads", 404, 5),
        ("GET", f"{BASE}/nothing", 404, 5),
        ("GET", f"{BASE}/nothing/instances", 404, 5),
        ("DELETE", f"{BASE}/nothing", 404, 5),
        ("DELETE", "/workload/v1/locations", 501, 12),
        ("GET", f"{BASE}?page_request.first=x", 400, 3),
        ("GET", f"{BASE}?page_request.filter===", 400, 3),
    ],
)
def test_every_error_has_the_shape_that_clients_decode(
    world: World, method: str, path: str, status: int, code: int
) -> None:
    """Unknown routes, methods, stacks, workloads and parameters all answer in the grpc-gateway shape."""
    _error(world.call(method, path), status, code)


def test_a_bug_of_ours_is_a_500_that_tells_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer has the usual shape and no word of the exception."""

    def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("anypop.api.shapes.workload", broken)
    world.call("POST", BASE, json=a_body())
    response = world.call("GET", f"{BASE}/fun")
    _error(response, 500, 13)
    assert "secret detail" not in response.text


def test_put_replaces_and_needs_the_version(world: World) -> None:
    """Without a version 400, with an old one 409, with the right one version 2 and the new replicas."""
    world.create(replicas=1)
    wanted = a_body(replicas=2)
    assert _fields(_error(world.call("PUT", f"{BASE}/fun", json=wanted), 400, 3)) == {"metadata.version"}
    wanted["workload"]["metadata"]["version"] = "7"
    _error(world.call("PUT", f"{BASE}/fun", json=wanted), 409, 10)
    wanted["workload"]["metadata"]["version"] = "1"
    changed = world.send("PUT", f"{BASE}/fun", wanted)["workload"]
    assert changed["metadata"]["version"] == "2" and "updatedAt" in changed["metadata"]
    assert len(world.instances()) == 4


def test_a_wrong_put_changes_nothing(world: World) -> None:
    """400, and the workload is what it was."""
    made = world.create()
    wanted = a_body(cities=("XXX",))
    wanted["workload"]["metadata"]["version"] = "1"
    _error(world.call("PUT", f"{BASE}/fun", json=wanted), 400, 3)
    assert world.get(f"{BASE}/fun")["workload"] == made


@pytest.mark.parametrize(
    "change", [{"slug": "other"}, {"metadata": {"annotations": {"anycast.platform.stackpath.net": None}}}]
)
def test_slug_and_anycast_last_for_the_workloads_life(world: World, change: dict[str, Any]) -> None:
    """Neither can be changed afterwards."""
    world.create()
    _error(world.call("PATCH", f"{BASE}/fun", json={"workload": change}), 400, 3)


def test_patch_merges(world: World) -> None:
    """Only what is sent changes."""
    world.create(replicas=1)
    patch = {"workload": {"targets": {"eu": {"spec": {"deployments": {"minReplicas": 3}}}}}}
    changed = world.send("PATCH", f"{BASE}/fun", patch)["workload"]
    assert changed["spec"] == a_body()["workload"]["spec"]
    assert len(world.instances()) == 6


def test_a_secret_is_never_shown_and_survives_changes_and_restarts(world: World) -> None:
    """No answer has its value, and a client that sends back what it read keeps it."""
    made = world.create(env={"TOKEN": {"secretValue": "hush-hush"}, "A": {"value": "1"}})
    for path in (f"{BASE}/fun", BASE, f"{BASE}/fun/instances", "/anypop/v1/events"):
        assert "hush-hush" not in world.call("GET", path).text
    world.send("PUT", f"{BASE}/fun", {"workload": made})
    world.restart()
    world.send("PATCH", f"{BASE}/fun", {"workload": {"name": "renamed"}})
    for agent in world.agents():
        order = agent.fetch()
        assert order is not None
        for instance in order.instances:
            assert dict(instance.containers[0].secrets) == {"TOKEN": "hush-hush"}


def test_a_deletion_answers_204_and_ends_in_404(world: World) -> None:
    """While it is taken down GET tells since when; when every PoP has reported it gone it is not there any more."""
    world.create()
    world.settle()
    assert world.call("DELETE", f"{BASE}/fun").status_code == 204
    assert "deleteRequestedAt" in world.get(f"{BASE}/fun")["workload"]["metadata"]
    assert {i["phase"] for i in world.instances()} == {"DELETING"}
    assert world.call("DELETE", f"{BASE}/fun").status_code == 204
    world.settle()
    _error(world.call("GET", f"{BASE}/fun"), 404, 5)
    _error(world.call("DELETE", f"{BASE}/fun"), 404, 5)
    assert world.get(BASE)["results"] == []


def test_a_released_anycast_address_rests_before_it_is_used_again(world: World) -> None:
    """The next workload gets another address, and much later the first is free."""
    addresses = []
    for wait_s in (0, 0, 3600):
        world.clock.now += wait_s
        world.headers = world.login(world.credential.client_id, world.credential.secret)
        made = world.create()
        addresses.append(made["metadata"]["annotations"]["anycast.platform.stackpath.net/subnets"])
        world.send("DELETE", f"{BASE}/fun")
        world.settle()
    assert addresses[0] != addresses[1] and addresses[2] == addresses[0]


# instances


def test_instances_have_what_clients_read(world: World) -> None:
    """Names, labels, addresses, phases and container states."""
    made = world.create()
    before = world.instances()
    assert {i["phase"] for i in before} == {"SCHEDULING"}
    world.settle()
    found = world.instances()
    assert [i["name"] for i in found] == ["fun-eu-ams-0", "fun-eu-ams-1", "fun-eu-lhr-0", "fun-eu-lhr-1"]
    one = world.get(f"{BASE}/fun/instances/fun-eu-lhr-1")["instance"]
    assert one == found[3]
    assert one["phase"] == "RUNNING" and one["location"]["cityCode"] == "LHR" and one["workloadId"] == made["id"]
    assert one["metadata"]["labels"]["workload.platform.stackpath.net/target-name"] == "eu"
    assert one["networkInterfaces"][0]["ipAddressAliases"] == ["185.85.196.1"]
    assert one["containerStatuses"][0]["ready"] is True and "resources" in one["containers"]["web"]
    assert len({i["externalIpAddress"] for i in found} | {i["ipAddress"] for i in found}) == 8
    _error(world.call("GET", f"{BASE}/fun/instances/fun-eu-lhr-9"), 404, 5)


def test_instances_of_a_silent_pop_are_unknown(world: World) -> None:
    """After 15 s without a report nothing is claimed to run there."""
    world.create()
    world.settle()
    world.clock.now += 16
    phases = {i["location"]["cityCode"]: i["phase"] for i in world.instances()}
    assert phases == {"AMS": "INSTANCE_PHASE_UNSPECIFIED", "LHR": "INSTANCE_PHASE_UNSPECIFIED"}


def test_locations_are_the_cities_of_our_pops(world: World) -> None:
    """With coordinates and countries, in pages."""
    found = world.get("/workload/v1/locations?page_request.first=2")
    assert [row["cityCode"] for row in found["results"]] == ["AMS", "JFK"]
    assert found["pageInfo"]["totalCount"] == "4" and found["pageInfo"]["hasNextPage"]
    assert found["results"][0]["countryCode"] == "NL" and 52 < found["results"][0]["latitude"] < 53


def test_client_credentials_may_stand_in_the_header(world: World) -> None:
    """RFC 6749, section 2.3.1, as Go's OAuth2 library sends them where it is told to; a wrong secret is 401 too."""
    who = f"{world.credential.client_id}:{world.credential.secret}"
    for text, status in ((who, 200), (who[:-1] + "x", 401), (who.partition(":")[0], 400)):
        header = {"authorization": "Basic " + base64.b64encode(text.encode()).decode()}
        answer = world.call(
            "POST", "/identity/v1/oauth2/token", data={"grant_type": "client_credentials"}, headers=header
        )
        assert answer.status_code == status, answer.text


def test_a_location_has_the_name_of_its_country(world: World) -> None:
    rows = world.get("/workload/v1/locations")["results"]
    assert {(row["countryCode"], row["country"]) for row in rows} >= {("US", "United States"), ("NL", "Netherlands")}


def test_a_call_of_the_storage_service_says_that_there_is_none(world: World) -> None:
    answer = world.call("GET", "/storage/v1/stacks/default/buckets")
    assert (answer.status_code, answer.json()["code"]) == (501, 12)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "images/debian", 404),
        ("GET", "images/debian/12", 404),
        ("DELETE", "images/debian/12", 404),
        ("PUT", "images/debian/12/deprecation", 404),
        ("GET", "workloads/fun/instances/fun-eu-ams-0/passwords/initial", 404),
    ],
)
def test_what_belongs_to_virtual_machines_is_answered_in_words(
    world: World, method: str, path: str, status: int
) -> None:
    """What is looked for is not there; the list of images is empty."""
    answer = world.call(method, f"/workload/v1/stacks/default/{path}", json={})
    assert answer.status_code == status
    assert "there is nothing at" not in answer.json()["message"]
    assert world.get("/workload/v1/stacks/default/images")["results"] == []


def test_a_slug_of_63_letters_works_from_end_to_end(world: World) -> None:
    """Its instances have whole names in the API and in orders, are found by them, and report by them; over a restart
    of control, drained, started anew and deleted like any other.
    """
    slug = "a" * 63
    name = f"{slug}-eu-lhr-0"
    world.create(slug, cities=("LHR",), replicas=1)
    world.settle()
    world.restart()
    assert [(i["name"], i["phase"]) for i in world.instances(slug)] == [(name, "RUNNING")]
    ordered = [i.name for issued in world.state.orders.values() for i in issued.order.instances]
    assert ordered == [name]
    path = f"{BASE}/{slug}/instances/{name}"
    assert world.get(path)["instance"]["metadata"]["labels"]["workload.platform.stackpath.net/workload-slug"] == slug
    assert world.call("POST", f"{path}/power/restart").status_code == 204
    assert world.call("POST", "/anypop/v1/drains", json={"drain": {"target": name}}).status_code == 200
    world.settle()
    world.send("DELETE", f"{BASE}/{slug}")
    world.settle()
    assert world.call("GET", f"{BASE}/{slug}").status_code == 404

"""The description of the API is true: what it limits is limited, and no answer is outside of it.

Every answer of these tests, as of all contract tests, is held to its model by `tests.documented`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from anypop.agent.identity import ask
from anypop.api import shapes
from anypop.api.bodies import JSON
from anypop.api.graphs import Graphs
from anypop.api.models.errors import Error
from anypop.api.openapi import content_of
from anypop.api.vantages import Answer, Probed, Vantage
from anypop.control.oidc_identity import challenge_of
from anypop.control.oidc_settings import Rule
from anypop.control.refusals import Exists
from anypop.control.roles import Role
from anypop.model import codec, limits
from anypop.model.announce import Address
from anypop.model.codec import to_json
from anypop.model.errors import WorldError
from anypop.model.names import CityCode, HostName
from anypop.model.sources import Sources
from anypop.routing.explain import explain
from tests import documented
from tests.contract.test_api_predictions import graph_in
from tests.contract.test_machine_images import DISK, IMAGES, Told, over, put, sent, with_machine
from tests.contract.test_volumes import with_volume
from tests.control_world import NOW, FakeAgent, World, a_body
from tests.fake_provider import Fake, signed
from tests.london_world import PASTED
from tests.people import PASSWORD, a_user, quick
from tests.unit.test_routing_explain import article

BASE = "/workload/v1/stacks/default/workloads"
USERS = "/identity/v1/users/me/credentials"
STACKS = "/stack/v1/stacks"
APPLY = "/anypop/v1/stacks/default/apply"
REAL = {
    "stack_id": "default",
    "workload_id": "fun",
    "name": "fun-eu-ams-0",
    "user_id": "me",
    "host": "LHR",
    "asn": "209",
    "policy_id": "unknown",
    "network_id": "unknown",
    "subnet_id": "unknown",
    "route_id": "unknown",
    "slug": "unknown",
    "operation": "operation-0",
    "address": "192.0.2.1",
    "family": "debian",
    "tag": "12",
    "part": "disk",
    "sha256": "0" * 64,
    "taker": "AMS",
    "catchment_id": "0" * 32,
}
LHR = HostName("LHR")
NUL = "holds a NUL or half a character"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("described")) as made:
        made.create()
        yield made


@pytest.fixture
def own(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        yield made


def violations(response: Any, status: int = 400) -> dict[str, str]:
    """What is complained about, by field."""
    assert response.status_code == status, response.text
    return {v["field"]: v["description"] for d in response.json()["details"] for v in d.get("fieldViolations", ())}


def operations() -> list[tuple[str, APIRoute]]:
    return [(method, route) for route in documented.routes() for method in sorted(route.methods or ())]


def path_of(world: World, route: APIRoute) -> str:
    unknown = "00000000-0000-0000-0000-000000000000"
    account = world.platform.accounts.first_account().id
    nobodys = dict.fromkeys(("credential_id", "rollout_id", "volume_id"), unknown)
    return route.path.format(**REAL, **nobodys, account_id=account)


def headers_for(world: World, route: APIRoute) -> Mapping[str, str]:
    return FakeAgent(world, LHR).headers if "/agents/" in route.path else world.headers


# They answer a question; and a report of a host is no act of anybody.
CHANGE_NOTHING = {
    "quote_workload", "preview_change", "plan_workload", "plan_workloads", "probe", "predict_landings",
    "propose_repairs", "plan_repair", "explain_routes", "predict_plan",
    "take_report", "take_sources", "measure_catchment",
}  # fmt: skip

# Who asks has not said yet who it is.
WITHOUT_TOKEN = {
    "issue_token", "sign_in", "accept_invitation", "request_account", "collect_oidc_sign_in", "use_sign_in_link",
}  # fmt: skip

with_json = [(m, r) for m, r in operations() if JSON in content_of(r)]
named = [f"{method} {route.path}" for method, route in with_json]

# bodies


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b"[" * 100_000,
        b'{"a":' * 70 + b"1" + b"}" * 70,
        b'{"a": "\\u0000"}',
        b'{"\\u0000": 1}',
        b'{"a": ["\\ud800"]}',
        b'{"a": "' + b"x" * 131_073 + b'"}',
        b'{"' + b"x" * 513 + b'": 1}',
        b" " * (5 << 20),
    ],
    ids=lambda content: content[:12].decode("latin-1"),
)
@pytest.mark.parametrize(("method", "route"), with_json, ids=named)
def test_no_operation_takes_a_body_that_breaks_the_limits(
    world: World, method: str, route: APIRoute, content: bytes
) -> None:
    """400 in the usual shape, whatever the operation; never 422, never an error of our own, and nothing changes."""
    before = world.platform.core.state.workloads, world.platform.core.state.rules
    headers = {**headers_for(world, route), "content-type": JSON}
    violations(world.call(method, path_of(world, route), content=content, headers=headers))
    assert (world.platform.core.state.workloads, world.platform.core.state.rules) == before


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", STACKS, {"name": ["x"], "slug": "Not A Slug", "accountId": 5}),
        ("PATCH", f"{STACKS}/default", {"name": {}}),
        ("POST", USERS, {"name": 7}),
        ("POST", "/identity/v1/oauth2/token", {"client_id": [], "client_secret": 1, "grant_type": "password"}),
        (
            "POST",
            "/anypop/v1/probes",
            {"requests": 0, "port": 70000, "family": 5, "vantages": "x", "address": "999.1.1.1"},
        ),
        ("POST", BASE, {"workload": {"spec": 1, "targets": {}, "colour": 1}}),
    ],
)
def test_everything_wrong_with_a_body_is_said_at_once(
    world: World, method: str, path: str, body: dict[str, Any]
) -> None:
    """Each wrong member by its name as it was sent."""
    wanted = body.get("workload", body)
    assert violations(world.call(method, path, json=body)).keys() >= wanted.keys()


def test_nobodys_body_is_read_before_it_is_known_who_it_is(world: World) -> None:
    """401, whatever the body: of who has no token nothing is kept here while it comes. Only who asks for a token sends
    one.
    """
    asked = [(method, route) for method, route in operations() if content_of(route) and route.name not in WITHOUT_TOKEN]
    assert len(asked) > 20
    for method, route in asked:
        answer = world.call(method, path_of(world, route), content=b"{", headers={"content-type": JSON})
        assert answer.status_code == 401, (route.name, answer.text)


def test_more_problems_than_anybody_reads_are_counted(world: World) -> None:
    """A hundred in words, and how many more there are: 20,000 unknown fields are no work of minutes."""
    body = a_body("many")
    body["workload"] |= {f"field{n}": n for n in range(20_000)}
    found = world.call("POST", BASE, json=body).json()["details"][1]["fieldViolations"]
    assert len(found) == 101 and found[-1]["description"] == "and 19900 more problems"


# texts


def test_a_name_has_1_to_255_characters(own: World) -> None:
    """Of stacks, credentials and workloads, in any script; more is refused in words, by the name of the field."""
    longest, longer = "東" * 255, "東" * 256
    says = {"name": "must have at most 255 characters"}
    assert own.send("POST", STACKS, {"name": longest})["stack"]["name"] == longest
    assert own.send("PATCH", f"{STACKS}/default", {"name": longest})["stack"]["name"] == longest
    assert own.send("POST", USERS, {"name": longest})["name"] == longest
    body = a_body("named")
    body["workload"]["name"] = longest
    assert own.send("POST", BASE, body)["workload"]["name"] == longest
    assert violations(own.call("POST", STACKS, json={"name": longer})) == says
    assert violations(own.call("PATCH", f"{STACKS}/default", json={"name": longer})) == says
    assert violations(own.call("POST", USERS, json={"name": longer})) == says
    body["workload"] |= {"name": longer, "slug": "other"}
    assert violations(own.call("POST", BASE, json=body)) == says
    for method, path in (("POST", STACKS), ("PATCH", f"{STACKS}/default")):
        for nothing in ({}, {"name": None}, {"name": ""}):
            assert violations(own.call(method, path, json=nothing)).keys() == {"name"}
    assert len(own.get(STACKS)["results"]) == 2


def test_a_note_of_a_rule_has_at_most_1000_characters(own: World) -> None:
    """The rule is refused, and the others with it."""
    own.create()
    path = "/anypop/v1/stacks/default/workloads/fun/announcements"
    rules = [{"pop": "LHR", "upstream": "as1299", "scope": {}, "note": "n" * length} for length in (1000, 1001)]
    assert own.send("PUT", path, {"rules": rules[:1]})["rules"][0]["note"] == "n" * 1000
    says = {"rules[0].note": "must have at most 1000 characters"}
    assert violations(own.call("PUT", path, json={"rules": rules[1:]})) == says


@pytest.mark.parametrize(
    "path", ["name", "spec.containers.web.image", "metadata.labels.a", "spec.containers.web.env.A.value"]
)
def test_a_text_that_nothing_can_hold_is_refused_where_it_stands(world: World, path: str) -> None:
    """By its path inside the workload, like every other problem of a workload."""
    body = a_body("held", env={"A": {"value": "1"}})
    body["workload"]["metadata"]["labels"] = {"a": "b"}
    *way, last = path.split(".")
    part = body["workload"]
    for step in way:
        part = part[step]
    for text in ("a\0b", "\ud800"):
        part[last] = text
        for method, to in (
            ("POST", BASE),
            ("PUT", f"{BASE}/fun"),
            ("PATCH", f"{BASE}/fun"),
            ("POST", "/anypop/v1/quote"),
        ):
            content = json.dumps(body).encode()
            assert violations(world.call(method, to, content=content)) == {path: NUL}
    part[last] = "x" * (limits.LONGEST_TEXT + 1)
    assert violations(world.call("POST", BASE, json=body)) == {
        path: f"has 131073 characters; a text may have {limits.LONGEST_TEXT}"
    }


def test_a_form_keeps_to_the_same_limits(world: World) -> None:
    """A NUL in a client id is refused before anybody looks for it."""
    form = {"content-type": "application/x-www-form-urlencoded"}
    for client_id in (b"a%00b", b"x" * 131_073):
        content = b"client_secret=c&client_id=" + client_id
        found = violations(world.call("POST", "/identity/v1/oauth2/token", content=content, headers=form))
        assert found.keys() == {"client_id"}


def test_a_price_book_keeps_to_the_same_limits(own: World) -> None:
    """YAML can spell a NUL too; the book that was there stays."""
    text = (
        'currency: "E\\0"\nhours_per_month: 730\nanycast_hourly: 1\nsizes: [{name: S, cpu: 4, memory: 8Gi, hourly: '
        "0.5}]\n"
    )
    assert violations(own.call("PUT", "/anypop/v1/prices", content=text)) == {"currency": NUL}
    assert own.get("/anypop/v1/prices")["currency"] == "USD"


def test_a_report_keeps_to_the_same_limits(own: World) -> None:
    """A NUL anywhere in it, or a text without end, and the whole report is refused: 400, and the PoP stays unknown."""
    agent = FakeAgent(own, LHR)
    agent.obey()
    before = own.platform.core.state.reports[LHR]
    assert violations(agent.report(errors=("fine", "a\0b"))) == {"errors[1]": NUL}
    assert violations(agent.report(drift=("x" * 131_073,))).keys() == {"drift[0]"}
    assert own.platform.core.state.reports[LHR] is before
    assert agent.report(errors=("a \\u0000 that is only spelt", "ü")).status_code == 204


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (f"{BASE}?page_request.filter=name%3D%22%00%22", "page_request.filter"),
        ("/anypop/v1/why?target=a%00b&workload=fun", "target"),
        ("/stack/v1/stacks/a%00b", "stack_id"),
        (f"{BASE}/%00/instances/x", "workload_id"),
        ("/anypop/v1/events?nobody-asks=%00", "nobody-asks"),
    ],
)
def test_paths_and_queries_keep_to_the_same_limits(world: World, path: str, field: str) -> None:
    """400 by the name of the parameter."""
    assert violations(world.call("GET", path)) == {field: NUL}


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/anypop/v1/events?limit=x&after=-1", {"limit", "after"}),
        ("/anypop/v1/agents/LHR/order?after=x&wait=1.5", {"after", "wait"}),
        ("/anypop/v1/why?target=x&port=0&family=5&address=a", {"port", "family", "address"}),
        (f"{BASE}?page_request.first=x&page_request.after=y&page_request.filter==", None),
    ],
)
def test_everything_wrong_with_a_query_is_said_at_once(world: World, path: str, fields: set[str] | None) -> None:
    """By the names that were sent; an empty value is as good as none."""
    headers = FakeAgent(world, LHR).headers if "/agents/" in path else world.headers
    wanted = fields or {"page_request.first", "page_request.after", "page_request.filter"}
    assert violations(world.call("GET", path, headers=headers)).keys() == wanted
    assert world.call("GET", "/anypop/v1/events?limit=&after=").status_code == 200


def test_a_quota_is_the_operators_to_set_and_tells_nobody_of_other_stacks(own: World) -> None:
    """A tenant gets 403 for its own stack and 404 for any other; the operator sets every stack's."""
    accounts = own.platform.accounts
    tenant = accounts.create_account("tenant")
    theirs = accounts.create_stack(tenant.id, "theirs", "theirs")
    secret = accounts.create_credential(tenant.id, "ci")
    headers = own.login(secret.client_id, secret.secret)
    path, wanted = "/anypop/v1/stacks/{}/quota", {"quota": {"workloads": 1}}
    assert own.call("PUT", path.format("theirs"), json=wanted, headers=headers).status_code == 403
    assert own.call("PUT", path.format("default"), json=wanted, headers=headers).status_code == 404
    assert own.send("PUT", path.format("theirs"), wanted)["stack"] == theirs.id
    assert own.call("GET", path.format("theirs"), headers=headers).json()["quota"] == {"workloads": 1}


# answers


class Glass:
    """A looking glass over the article's routers."""

    def why(self, target: str, address: Address, pops: Sequence[CityCode]) -> Mapping[str, Any]:
        found: Mapping[str, Any] = codec.to_data(explain(article(), target, vantage=target))
        return found

    def entered(self, vantages: Sequence[str], address: Address) -> Mapping[str, CityCode | None]:
        return {}


def test_an_explanation_is_what_is_documented(own: World) -> None:
    """The whole answer of the routers of the article, hop by hop."""
    own.create()
    own.platform.glass = Glass()
    found = own.get("/anypop/v1/why?target=london&workload=fun")
    assert found["landed"] == "JFK" and found["hops"] and found["sentences"]


def test_what_is_not_documented_would_be_noticed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member more, a number for a text, a null, a status or a code that no operation has: each fails the test that
    meets it.
    """

    def taken(*_: object) -> dict[str, Any]:
        raise Exists("a refusal that reading does not have")

    plain = shapes.workload
    for wrong in (
        lambda *a: {**plain(*a), "colour": "red"},
        lambda *a: {**plain(*a), "name": None},
        lambda *a: {**plain(*a), "metadata": {**plain(*a)["metadata"], "version": 1}},
        lambda *a: {key: value for key, value in plain(*a).items() if key != "slug"},
        taken,
    ):
        with monkeypatch.context() as patched:
            patched.setattr(shapes, "workload", wrong)
            with pytest.raises(AssertionError, match="documented"):
                world.call("GET", f"{BASE}/fun")
    with pytest.raises(AssertionError, match="documented"):
        documented.same(
            Error, b'{"code": 3, "message": "x", "details": [{"@type": "type.googleapis.com/google.rpc.Help"}]}', "here"
        )


class Vantages:
    """London lands where it is told."""

    def __init__(self, world: World) -> None:
        self.world = world

    def all(self) -> list[Vantage]:
        return [
            Vantage(name="london", city=CityCode("LHR"), asn=64511),
            Vantage(name="berlin", city=CityCode("BER"), asn=64512),
        ]

    def probe(self, vantage: str, address: Address, port: int, requests: int) -> Probed:
        if vantage == "berlin":
            raise WorldError("probe from berlin", "its namespace is gone")
        return Probed(answers=tuple(Answer(body="fun-eu-lhr-0\n", seconds=0.01) for _ in range(requests)), seconds=0.1)


ADA = {"name": "ada", "password": PASSWORD[::-1]}


def people(own: World, account: str) -> None:
    """The part of the story that is about users."""
    quick(own)
    a_user(own, account, "ada", Role.OWNER, PASSWORD)
    signed_in = own.send("POST", "/anypop/v1/sign-in", {"name": "ada", "password": PASSWORD})
    session = {"headers": {"authorization": f"Bearer {signed_in['access_token']}"}}
    assert own.get("/anypop/v1/who-am-i", **session)["user"]["name"] == "ada"
    made = own.send("POST", "/anypop/v1/sign-in/links", None)
    assert own.send("POST", "/anypop/v1/sign-in/links/use", {"code": made["code"]})["token_type"] == "bearer"
    changed = {"password": PASSWORD, "new": PASSWORD[::-1]}
    assert own.call("POST", "/anypop/v1/password", json=changed, **session).status_code == 204
    accounts = "/anypop/v1/accounts"
    made = own.send("POST", accounts, {"name": "Shop"})["account"]["id"]
    own.get(accounts)
    own.send("PATCH", f"{accounts}/{made}", {"name": "Store"})
    own.get(f"{accounts}/{made}")
    invited = own.send("POST", f"{accounts}/{made}/invitations", {"role": "owner", "note": "to Bob"})["invitation"]
    own.get(f"{accounts}/{made}/invitations")
    coming = {"token": invited["token"], "name": "bob", "password": PASSWORD}
    bob = own.send("POST", "/anypop/v1/invitations/accept", coming)["user"]["id"]
    again = own.send("POST", f"{accounts}/{made}/invitations", {"role": "viewer"})["invitation"]
    joining = {"authorization": f"Bearer {own.send('POST', '/anypop/v1/sign-in', ADA)['access_token']}"}
    body = {"token": again["token"]}
    assert own.call("POST", "/anypop/v1/invitations/join", json=body, headers=joining).status_code == 204
    own.get(f"{accounts}/{made}/users")
    own.get(f"{accounts}/{made}/users/bob")
    own.send("PATCH", f"{accounts}/{made}/users/ada", {"role": "owner"})
    own.send("DELETE", f"{accounts}/{made}/users/{bob}")
    open_one = own.send("POST", f"{accounts}/{made}/invitations", {"role": "viewer"})["invitation"]["id"]
    own.send("DELETE", f"{accounts}/{made}/invitations/{open_one}")
    own.send("POST", "/anypop/v1/users/bob/reset", None)
    own.send("POST", "/anypop/v1/invitations", {"account": "Third", "days": 1})
    asked = own.send("POST", "/anypop/v1/account-requests", {"account": "Fourth", "note": "me"})["invitation"]["id"]
    own.get("/anypop/v1/invitations")
    own.send("POST", f"/anypop/v1/invitations/{asked}/approve", None)
    own.send("DELETE", f"/anypop/v1/invitations/{asked}")
    by_a_provider(own, account)
    own.send("POST", f"{accounts}/{made}/suspend", None)
    own.send("POST", f"{accounts}/{made}/resume", None)
    own.send("DELETE", f"{accounts}/{made}?confirm=Store")
    own.send("POST", "/anypop/v1/sign-out", None)
    own.headers = own.login(own.credential.client_id, own.credential.secret)


def by_a_provider(own: World, account: str) -> None:
    """In a browser, and by the command line."""
    place, verifier = "/anypop/v1/sign-in/oidc", "v" * 43
    fake = Fake(Rule(claim="email", value="eve@example.net", account=account, role=Role.VIEWER))
    own.platform.provider = fake.provider
    for query in ({}, {"port": "49152", "challenge": challenge_of(verifier)}):
        led = own.call("GET", place, params=query)
        sent = httpx.URL(led.headers["location"]).params
        fake.token = signed(nonce=sent["nonce"], email="eve@example.net")
        back = own.call("GET", f"{place}/callback", params={"state": sent["state"], "code": "x"})
    code = httpx.URL(back.headers["location"]).params["code"]
    assert own.send("POST", f"{place}/token", {"code": code, "verifier": verifier})["role"] == "viewer"
    own.platform.provider = None


def images(own: World) -> None:
    """Of virtual machines; and a host that needs one gets it."""
    path = f"{IMAGES}/debian/1"
    own.send("POST", path, sent(description="a"))
    assert put(own, DISK, 0).status_code == 200
    assert over(own)["status"] == "READY"
    own.get(IMAGES)
    own.get(f"{IMAGES}/debian")
    own.send("PATCH", path, {"image": {"description": "b"}})
    found = own.platform.machine_images.resolve("default/debian", [(own.stack.id, "default")], "image")
    with_machine(own, found)
    power = "/anypop/v1/stacks/default/workloads/vm/instances/vm-eu-lhr-0/power"
    own.send("POST", f"{power}/off", {})
    own.send("POST", f"{power}/rescue", {"image": "default/debian"})
    own.send("POST", f"{power}/on", {})
    streams, own.platform.streams = own.platform.streams, Told(b"hush")  # type: ignore[assignment]
    own.get(f"{BASE}/vm/instances/vm-eu-lhr-0/passwords/initial")
    own.platform.streams = streams
    own.settle()
    own.send("POST", "/anypop/v1/stacks/default/images/golden/1/capture", {"capture": {"instance": "vm-eu-lhr-0"}})
    file = f"/anypop/v1/agents/LHR/machine-images/{found.parts[0].sha256}"
    headers = FakeAgent(own, LHR).headers
    assert own.call("GET", file, headers=headers).content == DISK
    assert own.call("GET", f"{file}/holders", headers=headers).json() == {"hosts": []}
    assert own.call("GET", f"{file}/takers/LHR", headers=headers).status_code == 204
    own.send("DELETE", f"{IMAGES}/golden")
    own.send("DELETE", f"{BASE}/vm")
    own.settle()
    own.send("PUT", f"{path}/deprecation", {"deprecation": {"reason": "old"}})
    own.send("DELETE", path)
    own.send("POST", path, sent())
    own.send("DELETE", f"{IMAGES}/debian")


def test_each_operation_answers_what_is_documented(own: World) -> None:
    """All of them, in one story: every answer that is right has been seen, and held to its model."""
    seen: set[str] = set()

    def noted(response: httpx.Response) -> None:
        documented.check_read(response)
        if response.status_code < 400:
            route = documented.route_of(response.request)
            assert route is not None
            seen.add(route.name)

    own.check = noted
    own.platform.vantages, own.platform.glass = Vantages(own), Glass()
    agents = own.agents()
    stack, account = own.get(f"{STACKS}/default"), own.platform.accounts.first_account().id
    anypop = "/anypop/v1/stacks/default/workloads/fun"

    own.send(
        "POST",
        "/identity/v1/oauth2/token",
        {"client_id": own.credential.client_id, "client_secret": own.credential.secret},
    )
    made = own.send("POST", USERS, {"name": "ci"})
    for method, path in (
        ("GET", ""),
        ("GET", f"/{made['id']}"),
        ("POST", f"/{made['id']}/rotate"),
        ("DELETE", f"/{made['id']}"),
    ):
        own.send(method, f"{USERS}{path}")
    own.send("POST", STACKS, {"name": "Other"})
    own.get(STACKS)
    own.send("PATCH", f"{STACKS}/default", {"name": "Default"})

    body = a_body(
        env={
            "A": {"value": "1"},
            "B": {"secretValue": "x"},
            "C": {"valueFrom": {"instanceFieldRef": {"fieldPath": ".name"}}},
        },
        readinessProbe={"httpGet": {"path": "/", "port": 80, "httpHeaders": {"a": ""}}, "periodSeconds": 5},
        securityContext={"runAsUser": "0", "capabilities": {"drop": ["ALL"]}},
        startupProbe={"tcpSocket": {"port": 80}},
        lifecycle={"preStop": {"exec": {"command": ["/bye"]}}},
    )
    body["workload"]["spec"]["runtime"] = {"containers": {"terminationGracePeriodSeconds": "30"}}
    body["workload"]["spec"]["initContainers"] = {"first": {"image": "registry.example/first:1"}}
    body["workload"]["metadata"]["labels"] = {"a": "b"}
    own.send("POST", "/anypop/v1/quote", body)
    own.send("POST", "/anypop/v1/stacks/default/plan", body)
    made = own.send("POST", BASE, body)["workload"]
    own.send("POST", f"{APPLY}/plan", {"workloads": [made]})
    own.send("POST", APPLY, {"workloads": [made]})
    own.settle(agents)
    for path in (
        BASE,
        f"{BASE}/fun",
        f"{BASE}/fun/instances",
        f"{BASE}/fun/instances/fun-eu-lhr-0",
        "/workload/v1/locations",
        "/workload/v1/stacks/default/metrics?end_date=2020-01-01T00:00:00Z",
    ):
        own.get(path)
    images(own)
    own.send(
        "POST",
        f"{anypop}/preview?merge=true",
        {"workload": {"spec": {"containers": {"web": {"image": "r.example/web:2"}}}}},
    )
    own.send("PUT", f"{BASE}/fun", {"workload": made})
    own.send("PATCH", f"{BASE}/fun", {"workload": {"spec": {"containers": {"web": {"image": "r.example/web:2"}}}}})
    own.settle(agents)
    own.get("/anypop/v1/stacks/default/summaries")
    for path in (
        "/revisions",
        "/revisions/2/changes",
        "/rollouts",
        "/strategy",
        "/announcements",
        "/timeline",
        "/scaling",
    ):
        own.get(f"{anypop}{path}")
    (rollout,) = own.get(f"{anypop}/rollouts")["results"]
    for method, path in (("GET", ""), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/abort")):
        own.send(method, f"{anypop}/rollouts/{rollout['id']}{path}", {} if method == "POST" else None)
    own.send("POST", f"{anypop}/rollback", {"revision": 1})
    own.send("POST", f"{anypop}/restart")
    own.send("PUT", f"{anypop}/strategy", {"strategy": {"bake_s": 1, "surge": 2}})
    rules = [{"pop": "LHR", "upstream": "as1299", "scope": {"prepend": 1, "communities": ["209:7100"]}, "note": "stay"}]
    own.send("PUT", f"{anypop}/announcements", {"rules": rules})
    own.send("PATCH", f"{anypop}/announcements", {"rules": rules})
    own.send("DELETE", f"{anypop}/announcements")
    own.send(
        "POST",
        f"{anypop}/rollouts",
        {"waves": [{"rules": rules, "expected": {"london": ["LHR"]}}], "strategy": {"surge": 1}},
    )

    own.platform.graphs = Graphs(folder=graph_in(own.folder / "graph"))
    own.send("POST", "/anypop/v1/predictions", {"workload": "fun", "what_if": ["withhold:LHR:1299"]})
    own.send("POST", "/anypop/v1/stacks/default/plan/landings", {"workload": made})
    own.send("POST", "/anypop/v1/proposals", {"workload": "fun"})
    own.send("POST", "/anypop/v1/probes", {"workload": "fun", "requests": 2})
    own.send("POST", "/anypop/v1/routes/explain", {"text": PASTED})
    own.send("POST", "/anypop/v1/routes/explain", {"text": PASTED, "at": "AS3356-LHR", "workload": "fun"})
    first, second = (own.send("POST", f"{anypop}/tests", {"requests": 2})["test"]["id"] for _ in range(2))
    own.get(f"{anypop}/tests")
    own.get(f"{anypop}/tests/{second}?against={first}")
    # by what it is: the clock stands, so which one is the last is a matter of their ids
    (scopes,) = (
        r["id"] for r in own.get(f"{anypop}/rollouts")["results"] if (r["kind"], r["phase"]) == ("scopes", "running")
    )
    own.send("POST", f"{anypop}/rollouts/{scopes}/abort")
    repair = {"rules": [{"pop": "LHR", "upstream": "as1299", "scope": {"prepend": 1}}]}
    own.send("POST", f"{anypop}/repairs/plan", repair)
    own.send("POST", f"{anypop}/repairs", {**repair, "title": "one more"})
    for path in (
        "vantages",
        "why?target=london&workload=fun",
        "communities",
        "communities/209",
        "pops",
        "backbone",
        "hosts",
        "events",
        "audit",
        "quota",
        "usage",
        "costs",
        "stacks/default/usage",
        f"accounts/{account}/usage",
    ):
        own.get(f"/anypop/v1/{path}")
    own.get("/anypop/v1/healthz", headers={})
    own.send("PUT", f"/anypop/v1/accounts/{account}/quota", {"stacks": 2, "instances": 100})
    own.send("PUT", f"/anypop/v1/stacks/{stack['id']}/quota", {"quota": {"instances": 100}})
    own.get(f"/anypop/v1/accounts/{account}/quota")
    own.get("/anypop/v1/stacks/default/quota")
    assert own.call("POST", STACKS, json={"name": "One too many"}).status_code == 429
    book = (
        "currency: EUR\nhours_per_month: 730\nanycast_hourly: 1\nsizes: [{name: S, cpu: 4, memory: 8Gi, hourly: 0.5}]\n"
    )
    assert own.call("PUT", "/anypop/v1/prices", content=book).status_code == 200
    own.get("/anypop/v1/prices")
    network = own.get("/anypop/v1/network")
    first = network["pops"][0]["hosts"][0]
    second = {
        **first,
        "name": f"{first['name']}-2",
        "router_id": "10.255.1.1",
        "upstreams": [],
        "external4": "198.18.99.0/24",
    }
    second |= {"private4": "10.99.0.0/20", "private6": "fd00:99::/64", "external6": "2001:db8:e99::/48"}
    network["pops"][0]["hosts"].append(second)
    own.send("PUT", "/anypop/v1/network", network)
    told, prefix = Sources(for_s=0), own.state.network.anycast4[0]
    path, asks = "/anypop/v1/agents/LHR/sources", FakeAgent(own, LHR).headers
    assert own.call("POST", path, content=to_json(told), headers=asks).status_code == 204
    own.platform.catchments.take(CityCode("LHR"), told, {prefix: "asn: 1"}, now=NOW, settle_s=0)
    own.get(f"/anypop/v1/catchments/{own.get('/anypop/v1/catchments')['results'][0]['id']}")
    own.send("POST", f"/anypop/v1/hosts/{second['name']}/evict", {})
    own.send("POST", f"/anypop/v1/hosts/{second['name']}/readmit", {})
    own.send("POST", f"/anypop/v1/hosts/{second['name']}/reset", {})
    drain = own.send("POST", "/anypop/v1/drains", {"drain": {"target": network["pops"][0]["city"]}})["drain"]["id"]
    own.send("PUT", "/anypop/v1/dials", {"dial": {"pop": network["pops"][0]["city"], "percent": 100}})
    own.get("/anypop/v1/dials")
    own.get("/anypop/v1/drains")
    own.get(f"/anypop/v1/drains/{drain}")
    own.send("POST", f"/anypop/v1/drains/{drain}/undrain", {})
    own.send("POST", f"{BASE}/fun/instances/fun-eu-ams-0/power/restart", {})
    policies, policy = "/ipam/v1/stacks/default/network_policies", {"priority": 7, "policyTypes": ["EGRESS"]}
    own.send("POST", policies, {"networkPolicy": {"name": "one", "spec": policy}})
    own.send("PUT", f"{policies}/one", {"networkPolicy": {"name": "one", "spec": {**policy, "priority": 8}}})
    own.get(f"{policies}/one")
    own.get(policies)
    own.send("DELETE", f"{policies}/one")
    own.send("POST", "/workload/v1/stacks/default/workloads", with_volume("kept", replicas=1))
    volume = own.get("/anypop/v1/stacks/default/volumes")["results"][0]["id"]
    path = f"/anypop/v1/stacks/default/volumes/{volume}"
    own.send("POST", f"{path}/snapshots", {"snapshot": {"name": "early"}})
    own.send("POST", f"{path}/restore", {"snapshot": "early"})
    own.send("DELETE", f"{path}/snapshots/early")
    own.send("PATCH", f"{BASE}/kept", {"workload": own.replicas(0)})
    own.send("DELETE", path)
    networks = "/ipam/v1/stacks/default/networks"
    own.send("POST", networks, {"name": "Blue"})
    own.send("PATCH", f"{networks}/blue", {"metadata": {"labels": {"a": "b"}}})
    own.get(f"{networks}/blue")
    own.get(networks)
    subnets = "/ipam/v1alpha/stacks/default/networks/blue/subnets"
    own.send("POST", subnets, {"subnet": {"name": "one", "prefix": "10.64.0.0/16"}})
    own.send("PUT", f"{subnets}/one", {"subnet": {"name": "other", "prefix": "10.64.0.0/16"}})
    own.get(f"{subnets}/one")
    own.get(subnets)
    routes, gateway = subnets.replace("/subnets", "/routes"), {"key": "role", "operator": "In", "values": ["gateway"]}
    route = {"gatewaySelectors": [{"interfaceSelectors": [gateway]}], "destinationPrefixes": ["192.0.2.0/24"]}
    own.send("POST", routes, {"route": {"name": "one", **route}})
    own.send("PUT", f"{routes}/one", {"route": {"name": "other", **route}})
    own.get(f"{routes}/one")
    own.get(routes)
    own.send("DELETE", f"{routes}/one")
    own.send("DELETE", f"{subnets}/one")
    own.send("DELETE", f"{networks}/blue")
    ipam = "/ipam/v1/stacks/default"
    wish = {"allocationClass": "stackpath-edge/unicast", "ipFamily": "IPv4"}
    claims = {"ipFamily": "IPv4", "allocation": {"name": "kept"}}
    for path, member, spec in (("allocations", "allocation", wish), ("allocation_claims", "allocationClaim", claims)):
        own.send("POST", f"{ipam}/{path}", {member: {"name": "kept", "spec": spec}})
        own.send("PATCH", f"{ipam}/{path}/kept", {member: {"metadata": {"labels": {"a": "b"}}}})
        own.get(f"{ipam}/{path}/kept")
        own.get(f"{ipam}/{path}")
    own.send("DELETE", f"{ipam}/allocation_claims/kept")
    told = own.send("DELETE", f"{ipam}/allocations/kept")["name"].rpartition("/")[2]
    own.get(f"{ipam}/operations/{told}")
    own.get(f"{ipam}/operations/{told}/wait")
    own.send("DELETE", f"{ipam}/operations/{told}")
    own.get("/anypop/v1/addresses/198.18.0.1")
    own.get("/anypop/v1/stacks/default/logs")
    sinks = {"sinks": [{"name": "a", "kind": "loki", "address": "https://logs.example.net/loki/api/v1/push"}]}
    for where in ("/anypop/v1", "/anypop/v1/stacks/default"):
        own.send("PUT", f"{where}/log-sinks", sinks)
        own.get(f"{where}/log-sinks")
    own.send("POST", "/anypop/v1/audit/prune", {"before": "2001-01-01T00:00:00Z"})
    given = own.send("POST", f"/anypop/v1/hosts/{second['name']}/token", {})
    asked = {"csr": ask(second["name"]).request}
    joins = f"/anypop/v1/agents/{second['name']}/certificate"
    bearer = {"authorization": f"Bearer {given['token']}"}
    assert own.call("POST", joins, json={"csr": "none"}, headers=bearer).status_code == 400
    assert own.call("POST", joins, json=asked, headers=bearer).status_code == 200
    assert own.call("POST", joins, json=asked, headers=bearer).status_code == 401
    own.send("POST", f"/anypop/v1/hosts/{second['name']}/revoke", {})
    own.send("DELETE", f"{BASE}/fun")
    own.get(f"{BASE}/fun/instances")
    assert own.call("GET", "/anypop/v1/metrics").status_code == 200
    own.get("/anypop/v1/metrics/targets")
    own.get("/anypop/v1/metrics/query?chart=cpu")
    own.get("/anypop/v1/metrics/slo")
    people(own, account)

    in_the_log = {entry["operation"] for entry in own.get("/anypop/v1/audit?limit=1000")["results"]}
    changing = {route.name for method, route in operations() if method != "GET"} - CHANGE_NOTHING
    assert changing <= in_the_log, "whatever changes something stands in the audit log"
    # streams: tests of the process read them
    streams = {
        "watch_instances", "watch_summaries", "watch_events", "watch_announcements", "watch_drain", "watch_dials",
        "watch_volumes", "read_logs", "watch_logs", "download_logs", "get_host_metrics",
        "look_at_routes", "measure_catchment",
    }  # fmt: skip
    assert {route.name for route in documented.routes()} - seen == streams

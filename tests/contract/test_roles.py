"""Who may do what, asked of every operation with every kind of caller, and compared with the table of `entitlements`.

Nothing is changed by it: where a caller may, the request is one that is refused for another reason, after that.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import httpx
import pytest
from fastapi.routing import APIRoute

from anypop.api import context
from anypop.api.bodies import JSON
from anypop.api.entitlements import OPERATIONS, Reach
from anypop.api.openapi import content_of, dependencies
from anypop.control.roles import Role, Scope
from tests import documented
from tests.control_world import World
from tests.people import somebody

NOBODYS = "00000000-0000-0000-0000-000000000000"
# where a request without a body, or a real id, would do something, or never end
QUERIES = {
    "watch_events": "?after=x",
    "watch_logs": "?since=x",
    "download_logs": "?since=x",
    "watch_dials": "?longest_s=x",
    "watch_volumes": "?longest_s=x",
    "get_metrics": "?end_date=2020-01-01T00:00:00Z",
}


@dataclass(frozen=True)
class Kind:
    """A kind of caller: its role, and whether it is the operator's, or for one stack."""

    name: str
    headers: Mapping[str, str]
    role: Role
    operator: bool = False
    one_stack: bool = False


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("roles")) as made:
        made.create()
        yield made


@pytest.fixture(scope="module")
def kinds(world: World) -> list[Kind]:
    """Users of a tenant's account and of the operator's, and credentials that may do less."""
    accounts = world.platform.accounts
    tenant, operator = accounts.create_account("theirs"), accounts.first_account()
    world.send("PUT", f"/anypop/v1/accounts/{tenant.id}/quota", {"requests_per_second": 10_000})
    stack = accounts.create_stack(tenant.id, "theirs", "theirs")
    accounts.create_stack(tenant.id, "second", "second")
    found = [
        Kind(
            f"{account.name} {role}",
            somebody(world, account.id, f"{account.name}-{role}", role),
            role,
            account is operator,
        )
        for account in (tenant, operator)
        for role in Role
    ]
    for name, role, scope, only in (
        ("reading credential", Role.VIEWER, Scope.READ, False),
        ("credential of a stack", Role.EDITOR, Scope.WRITE, True),
        ("reading credential of a stack", Role.VIEWER, Scope.READ, True),
    ):
        made = accounts.create_credential(tenant.id, name, scope=scope, stack_id=stack.id if only else None)
        found.append(Kind(name, world.login(made.client_id, made.secret), role, one_stack=only))
    return found


def asked(world: World, route: APIRoute, headers: Mapping[str, str], stack: str) -> httpx.Response:
    """The operation, with ids of nothing, and a body that is none."""
    ids = dict.fromkeys(re.findall(r"{(\w+)}", route.path), NOBODYS)
    ids |= {"host": "NOWHERE", "asn": "1", "stack_id": stack} | (
        {"user_id": "me"} if "credentials" in route.path else {}
    )
    path = route.path.format(**ids) + QUERIES.get(route.name, "")
    method = min(route.methods or ())
    body = {"content": b"[]"} if content_of(route) else {}
    return world.call(method, path, headers={**headers, "content-type": JSON}, **body)


def words(response: httpx.Response) -> str:
    return str(response.json().get("message", "")) if response.content and response.status_code >= 400 else ""


def refused_for_its_role(response: httpx.Response) -> bool:
    return response.status_code == 403 and words(response).startswith("this needs the role")


def refused_for_its_stack(response: httpx.Response) -> bool:
    return response.status_code == 403 and words(response).startswith("this credential is for one stack alone")


def test_every_operation_lets_in_whom_the_table_says_and_nobody_else(world: World, kinds: list[Kind]) -> None:
    """Operators' operations are refused to others on top of it. Two that need nothing are asked elsewhere."""
    before = world.platform.core.state
    rows = world.platform.core.store.audit_log(limit=100_000)
    routes = [r for r in documented.routes() if r.name not in ("sign_out", "make_sign_in_link")]
    assert len(routes) > 100
    for route in routes:
        rule = OPERATIONS[route.name]
        needed = set(dependencies(route.endpoint))
        only_operators = bool(needed & {context.operator_of, context.any_stack_of})
        for kind in (k for k in kinds if only_operators or not k.operator):
            stack = "default" if kind.operator else "theirs"
            response = asked(world, route, kind.headers, stack)
            where = f"{route.name} by {kind.name}: {response.status_code} {words(response)}"
            if rule.role is None:
                assert response.status_code != 403, where
                continue
            assert response.status_code != 401, where
            wrong_stack = kind.one_stack and rule.reach is Reach.NONE
            wrong_role = not kind.role.holds(rule.role)
            assert refused_for_its_stack(response) == wrong_stack, where
            assert refused_for_its_role(response) == (wrong_role and not wrong_stack), where
            if wrong_stack or wrong_role:
                continue
            assert ("for the operator" in words(response)) == (only_operators and not kind.operator), where
    assert world.platform.core.state is before
    assert world.platform.core.store.audit_log(limit=100_000) == rows, "nothing of it was a change"


def test_another_stack_is_not_there_for_a_credential_of_one(world: World, kinds: list[Kind]) -> None:
    """By id and slug, in every operation that names one: as if there were none. Lists have it alone."""
    (kind,) = [k for k in kinds if k.name == "credential of a stack"]
    other = next(s for s in world.platform.accounts._stacks.values() if s.slug == "second")
    for route in documented.routes():
        if "{stack_id}" not in route.path or OPERATIONS[route.name].role is Role.OWNER:
            continue
        for ref in ("second", other.id, "default", "nowhere"):
            response = asked(world, route, kind.headers, ref)
            assert response.status_code == 404 and words(response) == f"no stack {ref}", (route.name, response.text)
    shown = world.get("/stack/v1/stacks", headers=kind.headers)
    assert [s["slug"] for s in shown["results"]] == ["theirs"]
    assert world.get("/anypop/v1/events", headers=kind.headers)["results"] == []


def test_what_belongs_to_another_account_is_not_there_for_anybody(world: World, kinds: list[Kind]) -> None:
    """An owner elsewhere is nobody here: 404 for every stack, user and credential of others, also to read."""
    accounts = world.platform.accounts
    (kind,) = [k for k in kinds if k.name == "theirs owner"]
    other = accounts.users.named("operator-owner")
    assert other is not None
    theirs = f"/identity/v1/users/{other.id}/credentials"
    mine = f"/identity/v1/users/me/credentials/{world.credential.client_id}"
    for method, path in (
        ("GET", theirs), ("POST", theirs), ("GET", f"/identity/v1/users/{accounts.first_account().id}/credentials"),
        ("GET", mine), ("DELETE", mine), ("POST", f"{mine}/rotate"),
        *(("GET", f"/{part}/default{rest}") for part, rest in (
            ("stack/v1/stacks", ""), ("workload/v1/stacks", "/workloads"), ("workload/v1/stacks", "/workloads/fun"),
            ("ipam/v1/stacks", "/networks"), ("anypop/v1/stacks", "/quota"), ("anypop/v1/stacks", "/volumes"),
        )),
    ):  # fmt: skip
        body = {"json": {"name": "x"}} if method == "POST" and path == theirs else {}
        response = world.call(method, path, headers=kind.headers, **body)
        assert response.status_code == 404, (method, path, response.text)


def test_what_has_ended_opens_nothing(world: World) -> None:
    """A credential after its end: its token is 401 everywhere, a new one is refused; and so are a session after its
    hours and one of a user who has left.
    """
    accounts = world.platform.accounts
    account = accounts.create_account("ending")
    left = somebody(world, account.id, "left", Role.EDITOR)
    stays = somebody(world, account.id, "stays", Role.OWNER)
    made = accounts.create_credential(account.id, "ends", expires_at=world.clock.now + 60)
    headers = world.login(made.client_id, made.secret)
    for one in (headers, left, stays):
        assert world.call("GET", "/stack/v1/stacks", headers=one).status_code == 200
    user = accounts.users.named("left")
    assert user is not None
    accounts.users.leave(user.id, account.id)
    world.clock.now += 61
    for route in documented.routes():
        if OPERATIONS[route.name].role is not None:
            for one in (headers, left):
                assert asked(world, route, one, "theirs").status_code == 401, route.name
    who = {"client_id": made.client_id, "client_secret": made.secret}
    again = world.call("POST", "/identity/v1/oauth2/token", json=who)
    assert again.status_code == 401 and "has ended" in again.text
    assert world.call("GET", "/stack/v1/stacks", headers=stays).status_code == 200
    world.clock.now += 12 * 3600
    assert world.call("GET", "/stack/v1/stacks", headers=stays).status_code == 401

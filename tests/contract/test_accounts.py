"""How people come into accounts: by invitation, by request, with a new password; and what is told to whom."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from anypop.control.refusals import Exists, NotFound
from anypop.control.roles import Role
from tests.control_world import World
from tests.people import PASSWORD, a_user, quick, session, somebody

ACCOUNTS = "/anypop/v1/accounts"
INVITATIONS = "/anypop/v1/invitations"
ACCEPT = "/anypop/v1/invitations/accept"
WHO = "/anypop/v1/who-am-i"
DAY_S = 86_400
ANOTHER = "quite another long one"

Headers = dict[str, str]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        quick(made)
        yield made


def account(world: World, name: str = "shop") -> str:
    return str(world.send("POST", ACCOUNTS, {"name": name})["account"]["id"])


def invited(
    world: World, into: str, role: str = "editor", headers: Headers | None = None, **more: Any
) -> dict[str, Any]:
    answer = world.call(
        "POST", f"{ACCOUNTS}/{into}/invitations", json={"role": role, **more}, headers=headers or world.headers
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["invitation"]
    return found


def comes(world: World, token: str, name: str = "ada", password: str = PASSWORD) -> httpx.Response:
    world.platform.tokens._missing.clear()  # as if each came some seconds after the other
    return world.call("POST", ACCEPT, json={"token": token, "name": name, "password": password}, headers={})


def names(world: World, headers: Headers | None = None) -> list[str]:
    """Of the accounts that the caller sees."""
    return sorted(a["name"] for a in world.get(ACCOUNTS, headers=headers or world.headers)["results"])


def signed_in(answer: httpx.Response) -> Headers:
    assert answer.status_code == 200, answer.text
    return {"authorization": f"Bearer {answer.json()['access_token']}"}


def test_from_the_operator_to_a_viewer(world: World) -> None:
    """The operator makes an account and invites its owner, who invites a viewer; each comes with a name and a password
    of its own, and the log says who did what.
    """
    shop = account(world)
    owner = signed_in(comes(world, invited(world, shop, "owner", note="to Ada")["token"]))
    assert world.get(WHO, headers=owner)["role"] == "owner"
    viewers = invited(world, "mine", "viewer", owner)
    assert viewers["made_by"] == "shop ada" and viewers["account"] == shop
    viewer = signed_in(comes(world, viewers["token"], "bob@example.net"))
    assert world.call("POST", "/stack/v1/stacks", json={"name": "x"}, headers=viewer).status_code == 403
    shown = world.get(f"{ACCOUNTS}/mine/users", headers=viewer)["results"]
    assert [(u["name"], u["role"]) for u in shown] == [("ada", "owner"), ("bob@example.net", "viewer")]
    one = world.get(f"{ACCOUNTS}/mine", headers=viewer)["account"]
    assert (one["name"], one["role"], one["users"], one["used"]["workloads"]) == ("shop", "viewer", 2, 0)
    assert names(world, viewer) == ["shop"]
    assert names(world) == ["operator", "shop"]
    acts = {(e["operation"], e["actor"]) for e in world.get("/anypop/v1/audit?limit=1000")["results"]}
    assert {("invite_user", "shop ada"), ("accept_invitation", "bob@example.net")} <= acts


def test_a_token_counts_once_and_ends(world: World) -> None:
    """Not twice, not after its days, not when it was withdrawn, also not by two at once; it stands nowhere."""
    shop = account(world)
    used, late, withdrawn = (invited(world, shop, days=2) for _ in range(3))
    assert world.call("DELETE", f"{ACCOUNTS}/{shop}/invitations/{withdrawn['id']}").status_code == 204
    signed_in(comes(world, used["token"]))
    with world.platform.core.store.reading() as link:
        tables = [link.execute(text(f"SELECT * FROM {table}")).all() for table in ("invitations", "audit")]
    stored = str(tables)
    assert late["id"] in stored and not any(one["token"] in stored for one in (used, late, withdrawn))
    assert all("token" not in one for one in world.get(f"{ACCOUNTS}/{shop}/invitations")["results"])
    world.clock.now += 2 * DAY_S
    for one in (used, late, withdrawn, {"token": "made up"}):
        answer = comes(world, one["token"], "eve")
        assert answer.status_code == 404 and "unknown, has been used, or has ended" in answer.text
    assert world.platform.accounts.users.named("eve") is None
    users, invitations = world.platform.accounts.users, world.platform.invitations
    token = invitations.to_account(world.platform.accounts.account(shop), Role.VIEWER, note="", days=1, by="")[1]

    def let_in(name: str) -> bool:
        try:
            invitations.let_in(token, users.new(name), new=True)
        except NotFound:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(let_in, ("one", "two", "three", "four"))) == [False, False, False, True]
    assert len(users.members(shop)) == 2


def test_one_who_is_there_comes_with_the_password_or_signed_in(world: World) -> None:
    """Never with a name alone: it would be somebody else's; nor twice into the same account."""
    first, second, third = account(world, "first"), account(world, "second"), account(world, "third")
    ada = a_user(world, first, "ada", Role.OWNER, PASSWORD)
    into = invited(world, second, "viewer")["token"]
    wrong = comes(world, into, "ADA", "not the password of ada")
    assert wrong.status_code == 401 and "taken" in wrong.text
    world.platform.password_tries.succeeded("127.0.0.1", "ada")
    headers = signed_in(comes(world, into, "Ada"))
    who = world.get(WHO, headers=headers)
    assert (who["user"]["id"], who["account"]["name"], len(who["accounts"])) == (ada, "second", 2)
    more = invited(world, third)["token"]
    join = {"token": more}
    assert world.call("POST", f"{INVITATIONS}/join", json=join).status_code == 403, "a credential is no person"
    assert world.call("POST", f"{INVITATIONS}/join", json=join, headers=headers).status_code == 204
    assert names(world, headers) == ["first", "second", "third"]
    again = invited(world, third)["token"]
    assert world.call("POST", f"{INVITATIONS}/join", json={"token": again}, headers=headers).status_code == 409
    assert world.platform.accounts.users.role(ada, first) is Role.OWNER
    assert world.call("GET", f"{ACCOUNTS}/{third}", headers=headers).status_code == 404, "this session is for another"


def test_an_account_by_invitation_and_by_request(world: World) -> None:
    """The account is made when somebody comes; a request's token opens nothing before the operator has approved it."""
    assert names(world) == ["operator"]
    made = world.send("POST", INVITATIONS, {"account": "Shop"})["invitation"]
    owner = signed_in(comes(world, made["token"]))
    assert world.get(WHO, headers=owner) | {"user": 0, "accounts": 0} == {
        "account": {"id": world.get(WHO, headers=owner)["account"]["id"], "name": "Shop"},
        "operator": False, "role": "owner", "scope": "write", "user": 0, "accounts": 0,
    }  # fmt: skip
    ask = {"account": "Press", "note": "Bob, bob@example.net"}
    asked = world.call("POST", "/anypop/v1/account-requests", json=ask, headers={}).json()["invitation"]
    early = comes(world, asked["token"], "bob")
    assert early.status_code == 400 and "not approved" in early.text
    (waiting,) = [i for i in world.get(INVITATIONS)["results"] if i["kind"] == "request"]
    assert (waiting["account"], waiting["note"], waiting["approved"]) == ("Press", "Bob, bob@example.net", False)
    assert world.call("GET", INVITATIONS, headers=owner).status_code == 403
    approve = f"{INVITATIONS}/{waiting['id']}/approve"
    assert world.call("POST", approve, headers=owner).status_code == 403
    assert world.send("POST", approve)["invitation"]["approved"]
    assert world.call("POST", approve).status_code == 400
    assert world.get(WHO, headers=signed_in(comes(world, asked["token"], "bob")))["account"]["name"] == "Press"
    assert world.get(INVITATIONS)["results"] == []
    assert world.call("POST", ACCOUNTS, json={"name": "press "}).status_code == 409
    assert world.call("POST", INVITATIONS, json={"account": "OPERATOR"}).status_code == 409


def test_requests_are_few_and_tell_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in ten minutes from an address, so many altogether; the answer for a name that is taken is no other one."""
    path = "/anypop/v1/account-requests"
    first = world.call("POST", path, json={"account": "operator"}, headers={})
    assert first.status_code == 200 and first.json()["invitation"]["account"] == "operator"
    assert world.call("POST", path, json={"account": "x"}, headers={}).status_code == 429
    assert world.call("POST", f"{INVITATIONS}/{first.json()['invitation']['id']}/approve").status_code == 409
    monkeypatch.setattr("anypop.control.invitations.MOST_REQUESTS", 1)
    world.platform.tokens._missing.clear()
    assert world.call("POST", path, json={"account": "y"}, headers={}).status_code == 429
    world.clock.now += 15 * DAY_S
    world.headers = world.login(world.credential.client_id, world.credential.secret)
    world.platform.tokens._missing.clear()
    assert world.call("POST", path, json={"account": "y"}, headers={}).status_code == 200


def test_who_may_invite_whom(world: World) -> None:
    """Owners, into their own account; no credential that ends; and nobody sees what the operator is called."""
    ours, theirs = account(world, "ours"), account(world, "theirs")
    owner, editor = (somebody(world, ours, role, role) for role in (Role.OWNER, Role.EDITOR))
    body = {"role": "owner"}
    assert world.call("POST", f"{ACCOUNTS}/{ours}/invitations", json=body, headers=editor).status_code == 403
    for path in ("users", "invitations"):
        assert world.call("GET", f"{ACCOUNTS}/{theirs}/{path}", headers=owner).status_code == 404
    assert world.call("POST", f"{ACCOUNTS}/{theirs}/invitations", json=body, headers=owner).status_code == 404
    made = world.platform.accounts.create_credential(ours, "ends", expires_at=world.clock.now + 60)
    ending = world.login(made.client_id, made.secret)
    assert world.call("POST", f"{ACCOUNTS}/{ours}/invitations", json=body, headers=ending).status_code == 403
    assert world.call("PATCH", f"{ACCOUNTS}/{ours}/users/editor", json=body, headers=ending).status_code == 403
    invited(world, ours, "viewer")
    (seen,) = world.get(f"{ACCOUNTS}/mine/invitations", headers=owner)["results"]
    assert seen["made_by"] == "operator"
    foreign = invited(world, theirs)["id"]
    assert world.call("DELETE", f"{ACCOUNTS}/{ours}/invitations/{foreign}", headers=owner).status_code == 404


def test_an_owner_changes_roles_and_takes_users_out(world: World) -> None:
    """By name or id, in its own account; the last owner stays; the operator may do it anywhere."""
    shop = account(world)
    ada = a_user(world, shop, "ada", Role.OWNER)
    bob = a_user(world, shop, "bob", Role.VIEWER)
    owner, viewer = session(world, ada, shop), session(world, bob, shop)
    users = f"{ACCOUNTS}/mine/users"
    last = world.call("PATCH", f"{users}/ada", json={"role": "viewer"}, headers=owner)
    assert last.status_code == 400 and "last owner" in last.text
    assert world.call("DELETE", f"{users}/{ada}", headers=owner).status_code == 400
    assert world.call("PATCH", f"{users}/bob", json={"role": "owner"}, headers=viewer).status_code == 403
    assert world.call("PATCH", f"{users}/bob", json={"role": "king"}, headers=owner).status_code == 400
    assert world.call("PATCH", f"{users}/bob", json={"role": "owner"}, headers=owner).json()["user"]["role"] == "owner"
    assert world.call("DELETE", f"{users}/ada", headers=viewer).status_code == 204
    assert world.call("GET", WHO, headers=owner).status_code == 401
    assert world.call("GET", f"{users}/ada", headers=viewer).status_code == 404
    elsewhere = account(world, "elsewhere")
    a_user(world, elsewhere, "eve", Role.OWNER)
    assert world.call("DELETE", f"{users}/eve", headers=viewer).status_code == 404
    assert world.send("PATCH", f"{ACCOUNTS}/{shop}/users/bob", {"role": "owner"})["user"]["name"] == "bob"
    renamed = world.call("PATCH", f"{ACCOUNTS}/mine", json={"name": "Press"}, headers=viewer).json()["account"]
    assert renamed["name"] == "Press" and world.get(WHO, headers=viewer)["account"]["name"] == "Press"
    assert world.call("PATCH", f"{ACCOUNTS}/mine", json={"name": "operator"}, headers=viewer).status_code == 409


def test_a_forgotten_password_is_the_operators_to_open(world: World) -> None:
    """Once, within a day; all that was signed in ends, and an owner of one of the accounts cannot do it."""
    shop = account(world)
    ada = a_user(world, shop, "ada", Role.OWNER, PASSWORD)
    owner = session(world, ada, shop)
    assert world.call("POST", "/anypop/v1/users/ada/reset", headers=owner).status_code == 403
    assert world.call("POST", "/anypop/v1/users/nobody/reset").status_code == 404
    token = world.send("POST", "/anypop/v1/users/ada/reset")["invitation"]["token"]
    with pytest.raises(NotFound):
        world.platform.invitations.let_in(token, world.platform.accounts.users.user(ada))
    assert comes(world, token, "", "short").status_code == 400
    fresh = signed_in(comes(world, token, "", ANOTHER))
    assert world.get(WHO, headers=fresh)["user"]["id"] == ada
    assert world.call("GET", WHO, headers=owner).status_code == 401
    assert comes(world, token, "", PASSWORD).status_code == 404
    right = {"name": "ada", "password": ANOTHER}
    assert world.call("POST", "/anypop/v1/sign-in", json=right, headers={}).status_code == 200


def test_two_of_one_name_cannot_be(world: World) -> None:
    """What fails halfway leaves nothing: the invitation counts on, and no account was made."""
    world.platform.accounts.users.create("taken")
    made = world.send("POST", INVITATIONS, {"account": "Shop"})["invitation"]
    users = world.platform.accounts.users
    with pytest.raises(Exists):
        world.platform.invitations.let_in(made["token"], users.new("taken"), new=True)
    world.restart()
    quick(world)
    assert names(world) == ["operator"]
    assert signed_in(comes(world, made["token"], "free"))

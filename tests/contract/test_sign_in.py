"""People sign in: who gets in, what the others learn (nothing), and what ends when a password is changed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select, text

from anypop.control.passwords import Passwords
from anypop.control.rates import SignIns
from anypop.control.refusals import Exists, Forbidden, Precondition, Unauthenticated
from anypop.control.roles import Role, Scope
from anypop.control.schema_accounts import users as users_table
from tests.control_world import World
from tests.people import PASSWORD, a_user, quick, session, somebody

SIGN_IN = "/anypop/v1/sign-in"
WHO = "/anypop/v1/who-am-i"
USERS = "/identity/v1/users"
NEW = "quite another long one"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        quick(made)
        yield made


def sign_in(world: World, name: str, password: str = PASSWORD, **more: str) -> dict[str, str]:
    answer = world.send("POST", SIGN_IN, {"name": name, "password": password, **more})
    return {"authorization": f"Bearer {answer['access_token']}"}


def test_a_user_signs_in_and_is_somebody_in_each_of_its_accounts(world: World) -> None:
    """With another role in each; the longest one where nothing is said; the name in any case of letters."""
    accounts = world.platform.accounts
    first, second = accounts.create_account("first"), accounts.create_account("second")
    user = a_user(world, first.id, "ada@example.net", Role.OWNER, PASSWORD)
    world.clock.now += 1
    accounts.users.join(user, second.id, Role.VIEWER)
    answer = world.send("POST", SIGN_IN, {"name": " Ada@Example.net", "password": PASSWORD})
    assert answer["account"]["name"] == "first" and answer["role"] == "owner" and answer["expires_in"] == 12 * 3600
    assert [(p["account"]["name"], p["role"]) for p in answer["accounts"]] == [("first", "owner"), ("second", "viewer")]
    for wanted in ("second", second.id):
        who = world.get(WHO, headers=sign_in(world, "ada@example.net", account=wanted))
        assert (who["account"]["id"], who["role"], who["user"]["name"]) == (second.id, "viewer", "ada@example.net")
        assert not who["operator"] and "client_id" not in who
    refused = world.call("POST", SIGN_IN, json={"name": "ada@example.net", "password": PASSWORD, "account": "operator"})
    assert refused.status_code == 403
    assert world.get(WHO)["client_id"] == world.credential.client_id and world.get(WHO)["role"] == "owner"
    lost = a_user(world, first.id, "lost", Role.EDITOR, PASSWORD)
    accounts.users.leave(lost, first.id)
    assert world.call("POST", SIGN_IN, json={"name": "lost", "password": PASSWORD}).status_code == 403


def test_who_is_refused_learns_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same status, words and number of hashes for a wrong password, a name that nobody has, and a user without a
    password; the log has neither a password nor a name that may be one.
    """
    account = world.platform.accounts.create_account("theirs")
    a_user(world, account.id, "ada", Role.OWNER, PASSWORD)
    a_user(world, account.id, "oidc", Role.OWNER)
    world.platform.password_tries = SignIns(guessed=True)
    looked: list[str | None] = []
    fits = Passwords.fits

    def counted(self: Passwords, stored: str | None, password: str) -> bool:
        looked.append(stored)
        return fits(self, stored, password)

    monkeypatch.setattr(Passwords, "fits", counted)
    answers = [
        world.call("POST", SIGN_IN, json={"name": name, "password": "wrong horse staple"})
        for name in ("ada", "nobody", "oidc", "hunter2-in-the-wrong-field")
    ]
    shown = [{key: value for key, value in a.json().items() if key != "details"} for a in answers]
    assert {a.status_code for a in answers} == {401} and shown == [shown[0]] * 4
    assert len(looked) == 4 and looked[0] and looked[1:] == [None] * 3
    entries = world.get("/anypop/v1/audit?outcome=refused")["results"]
    assert [e["subject"] for e in entries] == ["ada", "(nobody)", "oidc", "(nobody)"]
    dump = _dump(world, "audit")
    assert "hunter2" not in dump and "wrong horse" not in dump and PASSWORD not in dump


def test_a_password_that_nobody_has_is_as_much_work_as_one(world: World) -> None:
    """Both are hashed, with the same parameters."""
    passwords = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    real, nobodys = passwords.hash("x" * 12), passwords._nobodys
    assert real.split("$")[:4] == nobodys.split("$")[:4]
    assert passwords.fits(real, "x" * 12) and not passwords.fits(None, "of nobody") and not passwords.fits("junk", "x")


def test_guesses_are_slowed_for_the_address_and_for_the_user(world: World) -> None:
    """429 before anything is looked up, also for the right password; a name that is none is slowed like one that is."""
    account = world.platform.accounts.create_account("theirs")
    a_user(world, account.id, "ada", Role.OWNER, PASSWORD)
    for name in ("ada", "nobody"):
        codes = [world.call("POST", SIGN_IN, json={"name": name, "password": "x" * 12}).status_code for _ in range(5)]
        assert codes == [401, 401, 401, 429, 429], name
    right = world.call("POST", SIGN_IN, json={"name": "ada", "password": PASSWORD})
    assert right.status_code == 429 and "RetryInfo" in right.text


def test_a_change_of_the_password_ends_all_that_was_signed_in(world: World) -> None:
    """Its sessions in all accounts and tokens of its credentials, also after a restart; others' go on. A sign-in that
    the change overtakes is refused.
    """
    accounts = world.platform.accounts
    one, two = accounts.create_account("one"), accounts.create_account("two")
    user = a_user(world, one.id, "ada", Role.OWNER, PASSWORD)
    world.clock.now += 1
    accounts.users.join(user, two.id, Role.EDITOR)
    other = somebody(world, one.id, "bob", Role.OWNER)
    here, there = sign_in(world, "ada"), sign_in(world, "ada", account="two")
    made = world.call("POST", f"{USERS}/me/credentials", json={"name": "laptop"}, headers=here).json()
    token = world.login(made["clientId"], made["clientSecret"])
    wrong = {"password": "not my password", "new": NEW}
    assert world.call("POST", "/anypop/v1/password", json=wrong, headers=here).status_code == 401
    for useless in ("short", "ada", "aaaaaaaaaaaaaaa"):
        answer = world.call("POST", "/anypop/v1/password", json={"password": PASSWORD, "new": useless}, headers=here)
        assert answer.status_code == 400 and "new" in answer.text
    by_token = world.call("POST", "/anypop/v1/password", json={"password": PASSWORD, "new": NEW}, headers=token)
    assert by_token.status_code == 403, "a credential is no person"
    old = accounts.users.password_hash(user)
    change = {"password": PASSWORD, "new": NEW}
    assert world.call("POST", "/anypop/v1/password", json=change, headers=here).status_code == 204
    for _ in range(2):
        for ended in (here, there, token):
            assert world.call("GET", WHO, headers=ended).status_code == 401
        assert world.call("GET", WHO, headers=other).status_code == 200
        world.restart()
        quick(world)
    with pytest.raises(Unauthenticated, match="changed meanwhile"):
        world.platform.accounts.tokens.begin_session(user, one.id, via="password", password_hash=old)
    with pytest.raises(Precondition):
        world.platform.accounts.users.set_password(user, "x", was=old)
    assert world.call("POST", SIGN_IN, json={"name": "ada", "password": PASSWORD}).status_code == 401
    assert world.get(WHO, headers=sign_in(world, "ada", NEW))["user"]["id"] == user
    (entry,) = world.get("/anypop/v1/audit?operation=change_password&outcome=done")["results"]
    assert (entry["actor"], entry["subject"]) == ("one ada", "ada")
    assert NEW not in _dump(world, "audit") and "argon2" not in _dump(world, "audit")


def test_a_session_ends_when_its_user_says_so(world: World) -> None:
    account = world.platform.accounts.create_account("one")
    a_user(world, account.id, "ada", Role.VIEWER, PASSWORD)
    one, two = sign_in(world, "ada"), sign_in(world, "ada")
    assert world.call("POST", "/anypop/v1/sign-out", headers=one).status_code == 204
    assert world.call("GET", WHO, headers=one).status_code == 401
    assert world.call("GET", WHO, headers=two).status_code == 200


def test_a_password_is_hashed_anew_when_hashing_has_become_slower(world: World) -> None:
    """With the password that the user just gave; nothing of the user's ends."""
    account = world.platform.accounts.create_account("one")
    user = a_user(world, account.id, "ada", Role.OWNER, PASSWORD)
    before = sign_in(world, "ada")
    world.platform.passwords = Passwords(PasswordHasher(time_cost=2, memory_cost=8, parallelism=1))
    after = sign_in(world, "ada")
    stored = world.platform.accounts.users.password_hash(user)
    assert stored is not None and "t=2" in stored
    for headers in (before, after, sign_in(world, "ada")):
        assert world.call("GET", WHO, headers=headers).status_code == 200


def test_roles_count_at_once_and_the_last_owner_stays(world: World) -> None:
    """A session goes on with the new role; nobody takes the last owner's role, nor does it leave; what it had of the
    account ends when a user leaves.
    """
    accounts = world.platform.accounts
    account = accounts.create_account("one")
    ada = a_user(world, account.id, "ada", Role.OWNER)
    bob = a_user(world, account.id, "bob", Role.VIEWER)
    bobs = session(world, bob, account.id)
    stack = {"name": "New", "slug": "new"}
    assert world.call("POST", "/stack/v1/stacks", json=stack, headers=bobs).status_code == 403
    accounts.users.set_role(bob, account.id, Role.EDITOR)
    assert world.call("POST", "/stack/v1/stacks", json=stack, headers=bobs).status_code == 200
    made = world.call("POST", f"{USERS}/me/credentials", json={"name": "ci"}, headers=bobs).json()
    token = world.login(made["clientId"], made["clientSecret"])
    accounts.users.set_role(bob, account.id, Role.VIEWER)
    assert world.call("POST", "/stack/v1/stacks", json={"name": "x"}, headers=token).status_code == 403
    for refused in (
        lambda: accounts.users.leave(ada, account.id),
        lambda: accounts.users.set_role(ada, account.id, Role.EDITOR),
    ):
        with pytest.raises(Precondition, match="last owner"):
            refused()
    accounts.users.leave(bob, account.id)
    assert world.call("GET", WHO, headers=bobs).status_code == world.call("GET", WHO, headers=token).status_code == 401
    assert not accounts.credentials(account.id)
    with pytest.raises(Forbidden):
        accounts.tokens.begin_session(bob, account.id, via="test")
    world.restart()
    assert world.platform.accounts.users.role(ada, account.id) is Role.OWNER


def test_credentials_of_users_and_of_the_account(world: World) -> None:
    """Each user has its own; an owner sees and deletes all, and makes none in another's name."""
    accounts = world.platform.accounts
    account = accounts.create_account("one")
    ada = a_user(world, account.id, "ada", Role.OWNER)
    bob = a_user(world, account.id, "bob", Role.EDITOR)
    owner, editor = session(world, ada, account.id), session(world, bob, account.id)

    def made(whose: str, headers: dict[str, str], status: int = 200, **body: Any) -> Any:
        answer = world.call("POST", f"{USERS}/{whose}/credentials", json={"name": "x", **body}, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json()

    bobs = made("me", editor)
    assert bobs["userId"] == bob and made(account.id, owner).get("userId") is None
    assert made(bob, editor)["userId"] == bob
    made(account.id, editor, 403)
    made(bob, owner, 403)
    made(ada, editor, 403)
    made("nobody", owner, 404)
    listed = {
        w: [c["clientId"] for c in world.get(f"{USERS}/{w}/credentials", headers=owner)["results"]]
        for w in ("me", bob, account.id)
    }
    assert (len(listed["me"]), len(listed[bob]), len(listed[account.id])) == (0, 2, 3)
    at = f"{USERS}/{bob}/credentials/{bobs['id']}"
    assert world.call("GET", f"{USERS}/me/credentials/{bobs['id']}", headers=owner).status_code == 404
    assert world.call("POST", f"{at}/rotate", headers=owner).status_code == 403
    assert world.call("POST", f"{at}/rotate", headers=editor).status_code == 200
    assert world.call("DELETE", at, headers=owner).status_code == 204
    made("me", owner, 400, expireAt="2099-01-01T00:00:00Z")


def test_a_credential_makes_none_that_may_more_or_lasts_longer(world: World) -> None:
    """Reading ones and those of a stack make none; one that ends makes none that ends later, nor takes another's
    secret.
    """
    accounts = world.platform.accounts
    account = accounts.create_account("one")
    accounts.create_stack(account.id, "Shop", "shop")
    lasting = accounts.create_credential(account.id, "lasting")
    until = "2023-11-14T23:13:20Z"  # an hour from now, by the clock of this control
    path = f"{USERS}/me/credentials"
    first = world.login(lasting.client_id, lasting.secret)
    ends = world.call("POST", path, json={"name": "ends", "expiresAt": until}, headers=first).json()
    assert ends["expiresAt"].startswith(until[:-1])
    headers = world.login(ends["clientId"], ends["clientSecret"])
    assert world.call("POST", path, json={"name": "same"}, headers=headers).json()["expiresAt"] == ends["expiresAt"]
    later = {"name": "later", "expiresAt": "2024-01-01T00:00:00Z"}
    assert world.call("POST", path, json=later, headers=headers).status_code == 400
    past = {"name": "past", "expiresAt": "2020-01-01T00:00:00Z"}
    assert world.call("POST", path, json=past, headers=first).status_code == 400
    assert world.call("POST", f"{path}/{lasting.client_id}/rotate", headers=headers).status_code == 403
    for less in ({"scope": "read"}, {"stack": "shop"}):
        made = world.call("POST", path, json={"name": "less", **less}, headers=first).json()
        assert made["scope"] == less.get("scope", "write") and ("stackId" in made) == ("stack" in less)
        narrow = world.login(made["clientId"], made["clientSecret"])
        assert world.call("POST", path, json={"name": "more"}, headers=narrow).status_code == 403
    assert world.call("POST", path, json={"stack": "default"}, headers=first).status_code == 404


def test_an_identity_of_a_provider_is_one_user(world: World) -> None:
    users = world.platform.accounts.users
    ada, bob = users.create("ada"), users.create("bob")
    users.link_identity(ada.id, "https://issuer.example", "subject")
    assert users.of_identity("https://issuer.example", "subject") == ada
    assert users.of_identity("https://other.example", "subject") is None
    with pytest.raises(Exists):
        users.link_identity(bob.id, "https://issuer.example", "subject")
    with pytest.raises(Exists):
        users.create("Ada")
    world.restart()
    assert world.platform.accounts.users.of_identity("https://issuer.example", "subject") == ada


def test_the_operators_users_have_roles_too(world: World) -> None:
    """A viewer of the operator's account sees the platform and changes nothing; a credential of it for one stack sees
    that stack alone.
    """
    accounts = world.platform.accounts
    operator = accounts.first_account()
    viewer = somebody(world, operator.id, "viewer", Role.VIEWER)
    assert world.call("GET", "/anypop/v1/hosts", headers=viewer).status_code == 200
    assert world.call("POST", "/anypop/v1/hosts/LHR/evict", headers=viewer).status_code == 403
    assert world.call("PUT", "/anypop/v1/network", json={}, headers=viewer).status_code == 403
    made = accounts.create_credential(operator.id, "one", stack_id=world.stack.id, scope=Scope.WRITE)
    headers = world.login(made.client_id, made.secret)
    assert world.call("GET", "/anypop/v1/hosts", headers=headers).status_code == 403
    assert world.call("GET", "/stack/v1/stacks/default", headers=headers).status_code == 200
    assert not world.get(WHO, headers=headers)["operator"]


def test_what_is_stored_opens_nothing(world: World) -> None:
    """Neither passwords nor tokens stand in the database."""
    account = world.platform.accounts.create_account("one")
    a_user(world, account.id, "ada", Role.OWNER, PASSWORD)
    token = sign_in(world, "ada")["authorization"].removeprefix("Bearer ")
    dump = _dump(world, "users") + _dump(world, "sessions")
    assert token not in dump and PASSWORD not in dump
    with world.platform.core.store.reading() as link:
        assert link.execute(select(users_table.c.password_hash)).scalar_one().startswith("$argon2id$")


def _dump(world: World, table: str) -> str:
    with world.platform.core.store.reading() as link:
        return "\n".join(str(tuple(row)) for row in link.execute(text(f"SELECT * FROM {table}")))

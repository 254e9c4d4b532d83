"""The portal's pages of users, credentials, invitations, limits and accounts, over the real API: what is shown once,
what must be typed, and that nobody gets further by a page than by the API.
"""

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from anypop.control.roles import Role, Scope
from anypop.portal.cookies import SESSION
from tests.contract.test_portal import NASTY, Visitor
from tests.control_world import World
from tests.people import OWN, PASSWORD, THEIRS, a_user, account_of, quick, two_accounts, user_id

USERS, CREDENTIALS, INVITATIONS = (f"/portal/access{part}" for part in ("", "/credentials", "/invitations"))
ACCOUNT, ACCOUNTS = "/portal/access/account", "/portal/access/accounts"
INVITED = "/portal/sign-in/invitation"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    theirs = {**THEIRS, "sam": Role.EDITOR, "lou": Role.VIEWER}
    with two_accounts(tmp_path_factory.mktemp("access"), own={**OWN, "max": Role.EDITOR}, theirs=theirs) as made:
        yield made


@pytest.fixture(scope="module")
def ada(world: World) -> Visitor:
    return Visitor(world).sign_in("ada")


@pytest.fixture(scope="module")
def eve(world: World) -> Visitor:
    return Visitor(world).sign_in("eve")


def role_of(world: World, name: str) -> Role:
    (place,) = world.platform.accounts.users.places(user_id(world, name))
    return place.role


def told(answer: httpx.Response) -> str:
    return html.unescape(answer.text)


def linked(answer: httpx.Response) -> httpx.URL:
    """The link that an answer shows."""
    return httpx.URL(re.findall(r'data-copy="(https://[^"]+)"', answer.text)[0])


def test_who_is_invited_comes_in_by_a_link_that_is_shown_once(world: World, eve: Visitor) -> None:
    """Into her account, with the role that was said, and with that name no second one."""
    eve.get(INVITATIONS)
    made = eve.ask("POST", INVITATIONS, role="editor", note="Bo of the night shift", days="3")
    link = linked(made)
    assert made.status_code == 200 and link.path == INVITED
    shown = eve.get(INVITATIONS)
    assert link.params["token"] not in shown and "Bo of the night shift" in shown
    bo = Visitor(world)
    for _ in range(2):
        assert link.params["token"] in bo.get(str(link.raw_path.decode())), "a look does not use it up"
    weak = bo.ask("POST", INVITED, token=link.params["token"], name="bo", password="short")
    assert weak.status_code == 400 and "12" in weak.text and SESSION not in bo.cookies
    came = bo.ask("POST", INVITED, token=link.params["token"], name="bo", password="a long new password")
    assert (came.status_code, came.headers["location"]) == (303, "/portal/") and SESSION in bo.cookies
    assert account_of(world, "bo") == account_of(world, "eve") and role_of(world, "bo") is Role.EDITOR
    assert "bo" in bo.get(USERS)
    again = Visitor(world)
    again.get(INVITED)
    other = again.ask("POST", INVITED, token=link.params["token"], name="ben", password="a long new password")
    assert other.status_code == 404 and SESSION not in again.cookies and "a long new" not in other.text


def test_an_invitation_that_is_withdrawn_opens_nothing(world: World, eve: Visitor) -> None:
    eve.get(INVITATIONS)
    token = linked(eve.ask("POST", INVITATIONS, role="viewer", note="for nobody")).params["token"]
    (one,) = re.findall(r'name="invitation" value="([^"]+)"', eve.get(INVITATIONS))
    assert eve.ask("POST", f"{INVITATIONS}/withdraw", invitation=one).status_code == 303
    late = Visitor(world)
    late.get(INVITED)
    assert late.ask("POST", INVITED, token=token, name="late", password=PASSWORD).status_code == 404


def test_an_account_is_asked_for_approved_and_opened(world: World, ada: Visitor, eve: Visitor) -> None:
    """The operator alone sees requests; the token of the asker opens nothing before, and its own account after."""
    zoe = Visitor(world)
    zoe.get("/portal/sign-in/ask")
    asked = zoe.ask("POST", "/portal/sign-in/ask", account="newcomer", note="Zoe, of the harbour")
    token = linked(asked).params["token"]
    assert asked.status_code == 200 and token not in zoe.get("/portal/sign-in/ask")
    zoe.get(INVITED)
    early = zoe.ask("POST", INVITED, token=token, name="zoe", password=PASSWORD)
    assert early.status_code in (400, 404) and SESSION not in zoe.cookies
    assert "harbour" not in eve.get(INVITATIONS)
    shown = ada.get(INVITATIONS)
    assert "Zoe, of the harbour" in shown and "newcomer" in shown and "Approve" in shown
    (request,) = re.findall(r'name="invitation" value="([^"]+)"', shown.partition("Into this account")[0])[:1]
    tried = eve.ask("POST", f"{INVITATIONS}/approve", invitation=request)
    assert tried.status_code == 403 and "operator" in tried.text
    assert ada.ask("POST", f"{INVITATIONS}/approve", invitation=request).status_code == 303
    zoe.get(INVITED)
    assert zoe.ask("POST", INVITED, token=token, name="zoe", password=PASSWORD).status_code == 303
    assert world.platform.accounts.account(account_of(world, "zoe")).name == "newcomer"
    assert role_of(world, "zoe") is Role.OWNER and "No stack yet" in zoe.get("/portal/")


def test_a_role_counts_at_once(world: World, eve: Visitor) -> None:
    lou = Visitor(world).sign_in("lou")
    assert "/create" not in lou.get("/portal/stacks/theirs/workloads")
    eve.get(USERS)
    assert eve.ask("POST", f"{USERS}/users/role", user=user_id(world, "lou"), role="editor").status_code == 303
    assert "/create" in lou.get("/portal/stacks/theirs/workloads")
    wrong = eve.ask("POST", f"{USERS}/users/role", user=user_id(world, "lou"), role="king")
    assert wrong.status_code == 400 and role_of(world, "lou") is Role.EDITOR
    eve.ask("POST", f"{USERS}/users/role", user=user_id(world, "lou"), role="viewer")


def test_nobody_is_removed_without_the_name_and_nobody_of_another_account(world: World, eve: Visitor) -> None:
    a_user(world, account_of(world, "eve"), "gone", Role.VIEWER, PASSWORD)
    gone = user_id(world, "gone")
    eve.get(USERS)
    for typed in ("", "GONE", "eve"):
        answer = eve.ask("POST", f"{USERS}/users/remove", user=gone, confirm=typed)
        assert answer.status_code == 400 and "type gone" in told(answer)
    other = eve.ask("POST", f"{USERS}/users/remove", user=user_id(world, "max"), confirm="max")
    assert other.status_code == 404 and role_of(world, "max") is Role.EDITOR
    assert eve.ask("POST", f"{USERS}/users/remove", user=gone, confirm="gone").status_code == 303
    assert not world.platform.accounts.users.places(gone)


def test_an_owner_does_not_lock_himself_out_unawares(world: World) -> None:
    """The last one not at all: the page says so and has no form, and what is sent all the same is refused. Of two, one
    goes with his own name typed.
    """
    accounts = world.platform.accounts
    account = accounts.create_account("pair").id
    accounts.create_stack(account, "pair", "pair")
    first = a_user(world, account, "one", Role.OWNER, PASSWORD)
    one = Visitor(world).sign_in("one")
    shown = one.get(USERS)
    assert "the only owner" in shown and f'value="{first}"' not in shown
    acts: tuple[tuple[str, dict[str, Any]], ...] = (("role", {"role": "viewer"}), ("remove", {}))
    for act, form in acts:
        answer = one.ask("POST", f"{USERS}/users/{act}", user=first, confirm="one", **form)
        assert answer.status_code == 400 and "last owner" in answer.text, answer.text
    a_user(world, account, "two", Role.OWNER, PASSWORD)
    assert "another owner has to give it back" in one.get(USERS)
    for act, form in acts:
        answer = one.ask("POST", f"{USERS}/users/{act}", user=first, **form)
        assert answer.status_code == 400 and "type one" in told(answer)
    assert role_of(world, "one") is Role.OWNER
    assert one.ask("POST", f"{USERS}/users/role", user=first, role="editor", confirm="one").status_code == 303
    assert role_of(world, "one") is Role.EDITOR and "data-dialog" not in one.get(USERS)


def test_a_password_is_changed_by_its_owner_and_ends_all_sessions(world: World) -> None:
    a_user(world, account_of(world, "eve"), "pat", Role.VIEWER, PASSWORD)
    pat, elsewhere = Visitor(world).sign_in("pat"), Visitor(world).sign_in("pat")
    pat.get(USERS)
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"password": PASSWORD, "new": "another good one", "again": "another good two"}, "not the same"),
        ({"password": PASSWORD, "new": "short", "again": "short"}, "12"),
        ({"password": "not this one", "new": "another good one", "again": "another good one"}, "password"),
    )
    for form, says in wrong:
        answer = pat.ask("POST", "/portal/access/password", **form)
        assert answer.status_code >= 400 or "sign-in" in answer.headers["location"], answer.text
        assert answer.status_code == 303 or (says in answer.text and "another good" not in answer.text)
    pat = Visitor(world).sign_in("pat")
    pat.get(USERS)
    done = pat.ask(
        "POST", "/portal/access/password", password=PASSWORD, new="another good one", again="another good one"
    )
    assert done.status_code == 303 and SESSION not in pat.cookies
    assert "Your password is changed" in pat.get(done.headers["location"])
    assert elsewhere.ask("GET", USERS).status_code == 303
    again = Visitor(world)
    again.get("/portal/sign-in")
    assert again.ask("POST", "/portal/sign-in", name="pat", password="another good one").status_code == 303


def test_the_operator_gives_a_token_for_a_new_password_once(world: World, ada: Visitor, eve: Visitor) -> None:
    ada.get(USERS)
    made = ada.ask("POST", f"{USERS}/users/reset", user=user_id(world, "vic"))
    token = re.findall(r'data-copy="([^"]+)"', made.text)[0]
    assert made.status_code == 200 and token not in ada.get(USERS)
    vic = Visitor(world)
    vic.get(INVITED)
    assert vic.ask("POST", INVITED, token=token, name="", password="quite another one").status_code == 303
    assert "/users/reset" not in eve.get(USERS)
    refused = eve.ask("POST", f"{USERS}/users/reset", user=user_id(world, "sam"))
    assert refused.status_code == 403 and "operator" in refused.text


def test_a_secret_is_shown_once_and_opens_what_was_asked_for(world: World, eve: Visitor) -> None:
    eve.get(CREDENTIALS)
    made = eve.ask("POST", CREDENTIALS, name="grafana", scope="read", stack="theirs", of="account", days="90")
    client, secret = re.findall(r'data-copy="([0-9a-f]+)"', made.text)
    assert (made.status_code, len(client), len(secret)) == (200, 32, 64)
    shown = eve.get(CREDENTIALS)
    assert client in shown and secret not in shown and "in theirs alone" in shown and "the account" in shown
    (found,) = [c for c in world.platform.accounts.credentials(account_of(world, "eve")) if c.client_id == client]
    assert (found.scope, found.user_id, found.name) == (Scope.READ, None, "grafana")
    assert found.expires_at is not None
    assert world.login(client, secret)
    for days in ("0", "-1", "x", "1e3", "99999999"):
        wrong = eve.ask("POST", CREDENTIALS, name="kept", days=days)
        assert wrong.status_code == 400 and "whole number" in wrong.text and 'value="kept"' in wrong.text
    for typed in ("", "other"):
        for act in ("rotate", "delete"):
            answer = eve.ask("POST", f"{CREDENTIALS}/{act}", credential=found.id, confirm=typed)
            assert answer.status_code == 400 and "type grafana" in told(answer)
    renewed = eve.ask("POST", f"{CREDENTIALS}/rotate", credential=found.id, confirm="grafana")
    assert secret not in renewed.text
    _, new = re.findall(r'data-copy="([0-9a-f]+)"', renewed.text)
    assert world.login(client, new)
    assert eve.ask("POST", f"{CREDENTIALS}/delete", credential=found.id, confirm="grafana").status_code == 303
    assert client not in eve.get(CREDENTIALS)


def test_an_editor_has_credentials_of_its_own_and_sees_no_others(world: World, ada: Visitor) -> None:
    account = account_of(world, "max")
    world.platform.accounts.create_credential(account, "of the account")
    theirs = Visitor(world).sign_in("max")
    assert "of the account" not in theirs.get(CREDENTIALS) and "of the account" in ada.get(CREDENTIALS)
    made = theirs.ask("POST", CREDENTIALS, name="mine", of="account")
    assert made.status_code == 403 and "owners" in made.text
    made = theirs.ask("POST", CREDENTIALS, name="mine")
    client, secret = re.findall(r'data-copy="([0-9a-f]+)"', made.text)
    shown = ada.get(CREDENTIALS)
    (found,) = [c for c in world.platform.accounts.credentials(account) if c.client_id == client]
    assert client in shown and secret not in shown
    refused = ada.ask("POST", f"{CREDENTIALS}/rotate", credential=found.id, confirm="mine")
    assert refused.status_code == 403 and secret not in refused.text, "whoever has it acts in that name"


def test_who_renews_the_credential_that_let_him_in_still_reads_the_secret(world: World) -> None:
    """The session ends with it, so no other page could show it."""
    made = world.platform.accounts.create_credential(world.platform.accounts.first_account().id, "by link")
    link = world.call("POST", "/anypop/v1/sign-in/links", headers=world.login(made.client_id, made.secret)).json()
    visitor = Visitor(world)
    visitor.get(link["path"])
    visitor.ask("POST", "/portal/sign-in/link", code=httpx.URL(link["path"]).params["code"])
    assert "you are here by it" in visitor.get(CREDENTIALS) and "ends your session here" in visitor.get(CREDENTIALS)
    renewed = visitor.ask("POST", f"{CREDENTIALS}/rotate", credential=made.id, confirm="by link")
    _, secret = re.findall(r'data-copy="([0-9a-f]+)"', renewed.text)
    assert renewed.status_code == 200 and world.login(made.client_id, secret)
    assert visitor.ask("GET", CREDENTIALS).status_code == 303


def test_limits_are_the_operators_to_set_and_everybodys_to_see(world: World, ada: Visitor, eve: Visitor) -> None:
    account = account_of(world, "eve")
    fields: dict[str, Any] = {
        "instances": "8",
        "cpu_millis": "2.5",
        "memory_bytes": "0.5",
        "requests_per_second": "500",
        "image_bytes": "1",
    }
    ada.get(f"{ACCOUNT}?account={account}")
    done = ada.ask("POST", f"{ACCOUNT}/limits", account=account, **fields)
    assert done.status_code == 303 and account in done.headers["location"]
    quota = world.get(f"/anypop/v1/accounts/{account}/quota")["quota"]
    assert quota == {
        "instances": 8, "cpu_millis": 2500, "memory_bytes": 1 << 29, "local_only": 1, "requests_per_second": 500,
        "image_bytes": 1 << 30,
    }  # fmt: skip
    shown = eve.get(ACCOUNT)
    assert ">2.5<" in shown and ">0.5<" in shown and 'name="cpu_millis"' not in shown and "/limits" not in shown
    wrong = ada.ask("POST", f"{ACCOUNT}/limits", account=account, instances="1.5", cpu_millis="many")
    assert wrong.status_code == 400 and "Instances: a whole number" in wrong.text
    assert "Processor, requested: a number of vCPU" in wrong.text
    refused = eve.ask("POST", f"{ACCOUNT}/limits", instances="1000")
    assert refused.status_code == 403
    stack = world.platform.accounts.stacks(account)[0].id
    assert ada.ask("POST", f"{ACCOUNT}/limits", account=account, of_stack=stack, workloads="3").status_code == 303
    assert world.get(f"/anypop/v1/accounts/{account}/quota")["stacks"][0]["quota"] == {"workloads": 3}
    again = world.get(f"/anypop/v1/accounts/{account}/quota")["quota"]
    assert again == quota, "a stack's are not the account's"
    assert eve.ask("GET", f"{ACCOUNT}?account={account_of(world, 'ada')}").status_code == 404
    assert eve.ask("GET", ACCOUNTS).status_code == 403


def test_an_account_is_suspended_resumed_and_deleted_by_its_name(world: World, ada: Visitor) -> None:
    accounts = world.platform.accounts
    account = accounts.create_account("short-lived").id
    accounts.create_stack(account, "short", "short")
    a_user(world, account, "kim", Role.OWNER, PASSWORD)
    kim = Visitor(world).sign_in("kim")
    ada.get(ACCOUNTS)
    assert ada.ask("POST", f"{ACCOUNTS}/suspend", account=account).status_code == 303
    assert kim.ask("GET", USERS).status_code in (303, 403) and "suspended" in ada.get(ACCOUNTS)
    assert ada.ask("POST", f"{ACCOUNTS}/resume", account=account).status_code == 303
    kim = Visitor(world).sign_in("kim")
    kim.get(ACCOUNT)
    assert kim.ask("POST", f"{ACCOUNT}/rename", name="brief").status_code == 303
    for typed in ("", "short-lived"):
        answer = kim.ask("POST", f"{ACCOUNT}/delete", confirm=typed)
        assert answer.status_code == 400 and "type brief" in told(answer)
    refused = kim.ask("POST", f"{ACCOUNT}/delete", account=account_of(world, "ada"), confirm="operator")
    assert refused.status_code == 404
    done = kim.ask("POST", f"{ACCOUNT}/delete", confirm="brief")
    assert done.status_code == 303 and SESSION not in kim.cookies and not accounts.has_account(account)
    assert "The account is deleted" in kim.get(done.headers["location"])


def test_no_text_of_anybody_becomes_markup_here(tmp_path: Path) -> None:
    """Names of users, accounts, credentials and stacks; notes of those who are let in, and of strangers who ask."""
    with World(tmp_path) as world:
        quick(world)
        accounts = world.platform.accounts
        own = accounts.first_account().id
        a_user(world, own, "ada", Role.OWNER, PASSWORD)
        accounts.create_credential(own, NASTY)
        accounts.create_account(NASTY)
        world.send("PATCH", "/stack/v1/stacks/default", {"name": NASTY})
        for path, body in (
            ("/anypop/v1/account-requests", {"account": f"x{NASTY}", "note": NASTY}),
            ("/anypop/v1/accounts/mine/invitations", {"role": "viewer", "note": NASTY}),
            ("/anypop/v1/invitations", {"account": f"y{NASTY}", "note": NASTY}),
        ):
            assert world.call("POST", path, json=body, headers=world.headers).status_code == 200
        ada = Visitor(world).sign_in("ada")
        for path in (USERS, CREDENTIALS, INVITATIONS, ACCOUNT, ACCOUNTS, "/portal/activity", "/portal/activity/audit"):
            shown = ada.get(path)
            assert "<script>alert" not in shown and "<img" not in shown, path
        forms: tuple[tuple[str, dict[str, Any]], ...] = (
            (CREDENTIALS, {"name": NASTY, "days": NASTY, "stack": NASTY, "scope": NASTY}),
            (INVITATIONS, {"note": NASTY, "role": NASTY, "days": NASTY}),
            (f"{INVITATIONS}/new-account", {"account": NASTY, "note": NASTY}),
            (f"{ACCOUNT}/limits", {"instances": NASTY}), (f"{ACCOUNT}/rename", {"name": NASTY}),
            (f"{USERS}/users/remove", {"user": NASTY}), (f"{ACCOUNT}/delete", {"account": NASTY, "confirm": NASTY}),
        )  # fmt: skip
        for path, form in forms:
            shown = ada.ask("POST", path, **form).text
            assert "<script>alert" not in shown and "<img" not in shown, path
        stranger = Visitor(world)
        forms = (
            (INVITED, {"token": NASTY, "name": NASTY, "password": NASTY}),
            ("/portal/sign-in/ask", {"account": NASTY, "note": NASTY}),
        )
        for path, form in forms:
            stranger.get(path)
            shown = stranger.ask("POST", path, **form).text
            assert "<script>alert" not in shown and "<img" not in shown, path

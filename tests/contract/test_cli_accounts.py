"""The command line for people: it signs in, invites, comes by invitation, and makes credentials, with the real API
behind it.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from anypop.control.roles import Role
from tests.cli_calls import Caller, Ran
from tests.control_world import World
from tests.people import PASSWORD, a_user, quick

URL = "https://control"
ANOTHER = "quite another long one"


class Wire(httpx.BaseTransport):
    """Requests of the command line, asked of a `World`."""

    def __init__(self, world: World) -> None:
        self.world = world

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.world.platform.tokens._missing.clear()  # as if some seconds lay between two commands
        path = request.url.raw_path.decode()
        found = self.world.call(request.method, path, content=request.read(), headers=dict(request.headers))
        return httpx.Response(found.status_code, content=found.content, headers={"content-type": "application/json"})


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("world")) as made:
        quick(made)
        yield made


@pytest.fixture
def call(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Caller:
    for name in ("PASSWORD", "NEW_PASSWORD", "INVITATION", "CONTEXT", "TOKEN"):
        monkeypatch.delenv(f"ANYPOP_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    made = Caller(tmp_path, Wire(world), monkeypatch)
    who = world.credential
    platform = {"url": URL, "client_id": who.client_id, "client_secret": who.secret, "stack": "default"}
    (tmp_path / "client.json").write_text(json.dumps(platform))
    return made


def done(ran: Ran) -> str:
    assert ran.code == 0, ran.err
    return ran.out


def token_in(out: str) -> str:
    return str(json.loads(out)["token"])


def test_an_account_is_suspended_let_in_again_and_deleted_and_what_it_used_is_known(call: Caller, world: World) -> None:
    """By its name, and not while anything stands there."""
    shop = json.loads(done(call("account", "create", "shop", "-o", "json")))["id"]
    assert "nobody gets in" in done(call("account", "suspend", shop, "--yes"))
    assert "SUSPENDED" in done(call("account", "list"))
    assert "get in again" in done(call("account", "resume", shop))
    wrong = call("account", "delete", "press", "--account", shop, "--yes")
    assert wrong.code == 2 and "must be the name of the account, shop" in wrong.err
    assert "account shop is deleted" in done(call("account", "delete", "shop", "--account", shop, "--yes"))
    assert call("account", "show", "--account", shop).code == 5
    world.create()
    own = world.platform.accounts.first_account().id
    world.clock.now += 60
    assert json.loads(done(call("usage", "--account", own, "-o", "json")))["results"][0]["slug"] == "fun"
    assert call("usage", "--account", shop).code == 5


def test_stacks_are_made_and_renamed(call: Caller) -> None:
    assert done(call("stack", "create", "Web shop", "--slug", "shop")).startswith("stack shop: ")
    assert "is called Shop" in done(call("stack", "rename", "shop", "Shop"))
    # made in one second of a clock that stands: which is older is a matter of a random id
    assert {s["slug"] for s in json.loads(done(call("stack", "list", "-o", "json")))} == {"default", "shop"}


def test_who_signs_out_has_no_session_any_more_here_or_there(
    call: Caller, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is over already; a program's credentials are no session."""
    a_user(world, world.platform.accounts.first_account().id, "ada", Role.EDITOR, PASSWORD)
    (tmp_path / "password").write_text(PASSWORD)
    monkeypatch.delenv("ANYPOP_STATE")
    sign_in = ("login", URL, "--user", "ada", "--name", "ada", "--password-file", str(tmp_path / "password"))
    done(call(*sign_in))
    token = json.loads((tmp_path / "config" / "anypop" / "contexts.json").read_text())["contexts"]["ada"]["token"]
    assert world.call("GET", "/anypop/v1/who-am-i", headers={"authorization": f"Bearer {token}"}).status_code == 200
    assert "signed out of ada" in done(call("logout"))
    assert world.call("GET", "/anypop/v1/who-am-i", headers={"authorization": f"Bearer {token}"}).status_code == 401
    assert "ada" not in done(call("context", "list"))
    assert call("logout").code == 2
    done(call(*sign_in))
    world.clock.now += 13 * 3600
    assert "signed out of ada" in done(call("logout", "--name", "ada"))


def test_from_an_account_to_a_viewer_who_is_refused(
    call: Caller, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator makes an account and invites its owner; she comes, invites a viewer; he reads, and is told with
    which role he may not. No password or token is in the file of contexts' listing, nor on a command line.
    """
    shop = json.loads(done(call("account", "create", "shop", "-o", "json")))["id"]
    owners = token_in(done(call("invitation", "create", "--account", shop, "--role", "owner", "-o", "json")))
    (tmp_path / "password").write_text(PASSWORD + "\n")
    accept = ("invitation", "accept", URL, "--token-file", "-", "--password-file", str(tmp_path / "password"))
    assert "signed in as ada in account shop" in done(call(*accept, "--user", "ada", "--name", "ada", stdin=owners))
    monkeypatch.delenv("ANYPOP_STATE")
    assert done(call("user", "whoami")).strip() == "ada: owner in account shop"
    viewers = token_in(done(call("invitation", "create", "--role", "viewer", "--note", "to Bob", "-o", "json")))
    assert "to Bob" in done(call("invitation", "list"))
    done(call(*accept, "--user", "bob", "--name", "bob", stdin=viewers))
    listed = done(call("context", "list"))
    assert "ada" in listed and "bob" in listed and PASSWORD not in listed
    assert "bob" in done(call("user", "list")) and "shop" in done(call("account", "list"))
    refused = call("user", "role", "bob", "owner")
    assert refused.code == 4 and "needs the role owner, and here you have viewer" in refused.err
    done(call("context", "use", "ada"))
    assert done(call("user", "role", "bob", "editor")).strip() == "bob is editor"
    assert call("user", "remove", "ada", "--yes").code != 0
    done(call("user", "remove", "bob", "--yes"))
    gone = call("--context", "bob", "user", "whoami")
    assert gone.code == 4 and "your session is over" in gone.err and "anypop login" in gone.err
    kept = tmp_path / "config" / "anypop" / "contexts.json"
    assert kept.stat().st_mode & 0o777 == 0o600 and PASSWORD not in kept.read_text()


def test_passwords_are_changed_and_reset(
    call: Caller, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each ends what was signed in; a wrong one keeps nothing; nobody is asked where nobody is."""
    made = token_in(done(call("invitation", "create", "--new-account", "shop", "-o", "json")))
    monkeypatch.setenv("ANYPOP_PASSWORD", PASSWORD)
    monkeypatch.setenv("ANYPOP_INVITATION", made)
    done(call("invitation", "accept", URL, "--user", "ada", "--name", "ada"))
    monkeypatch.setenv("ANYPOP_NEW_PASSWORD", ANOTHER)
    done(call("--context", "ada", "user", "password"))
    assert call("--context", "ada", "user", "whoami").code == 4
    wrong = call("login", URL, "--user", "ada")
    assert wrong.code == 4 and "the name or the password is wrong" in wrong.err and PASSWORD not in wrong.err
    monkeypatch.setenv("ANYPOP_PASSWORD", ANOTHER)
    done(call("login", URL, "--user", "ada", "--name", "ada", "--account", "shop"))
    assert done(call("--context", "ada", "user", "whoami")).strip() == "ada: owner in account shop"
    reset = token_in(done(call("user", "reset", "ada", "-o", "json")))
    monkeypatch.setenv("ANYPOP_INVITATION", reset)
    monkeypatch.setenv("ANYPOP_PASSWORD", PASSWORD)
    done(call("invitation", "accept", URL, "--name", "ada"))
    monkeypatch.delenv("ANYPOP_PASSWORD")
    nobody = call("login", URL, "--user", "ada")
    assert nobody.code == 2 and "--password-file" in nobody.err


def test_credentials_and_requests(call: Caller, world: World) -> None:
    """A secret is shown once; what is narrower says so; a request waits for the operator."""
    made = json.loads(done(call("credential", "create", "ci", "--of-stack", "default", "--read", "-o", "json")))
    assert len(made["clientSecret"]) == 64 and made["scope"] == "read"
    listed = done(call("credential", "list", "--of", "account"))
    assert made["clientId"] in listed and made["clientSecret"] not in listed
    again = json.loads(done(call("credential", "rotate", made["id"], "--yes", "-o", "json")))
    assert again["clientSecret"] != made["clientSecret"]
    done(call("credential", "delete", made["clientId"], "--yes"))
    asked = json.loads(done(call("account", "request", URL, "press", "--note", "Bob", "-o", "json")))
    assert "press" in done(call("account", "requests")) and "waits" in done(call("account", "requests"))
    done(call("account", "approve", asked["id"]))
    done(call("account", "refuse", asked["id"], "--yes"))
    assert "nothing is open" in done(call("account", "requests"))
    done(call("account", "rename", "Operator"))
    assert "Operator" in done(call("account", "show"))

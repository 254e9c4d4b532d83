"""People sign in by a real provider of OpenID Connect (Glewlwyd): who gets in, as whom, and what does not get in."""

import base64
import hashlib
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import yaml

from anypop.control.oidc_provider import Provider
from anypop.control.oidc_settings import OidcSettings, Rule
from anypop.control.roles import Role
from tests import glewlwyd
from tests.contract.test_api_process import Process
from tests.control_world import World
from tests.people import a_user

BEGIN = "/anypop/v1/sign-in/oidc"
BACK = BEGIN + "/callback"
COLLECT = BEGIN + "/token"
WHO = "/anypop/v1/who-am-i"
URL = "https://control"


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[glewlwyd.Glewlwyd]:
    with glewlwyd.running(tmp_path_factory.mktemp("oidc") / "glewlwyd", callback=URL + BACK) as made:
        for name in ("ada", "bob", "eve"):
            made.add_user(name, email=f"{name}@example.net")
        yield made


class Place:
    """A control that knows the provider, and people at it."""

    def __init__(self, world: World, provider: glewlwyd.Glewlwyd) -> None:
        self.world = world
        self.provider = provider
        self.account = world.platform.accounts.create_account("edge").id
        self.let_in()

    def let_in(self, *rules: Rule) -> None:
        """From now on these rules count."""
        self.close()
        self.world.platform.provider = Provider(
            OidcSettings(
                issuer=self.provider.issuer, client_id=glewlwyd.CLIENT, client_secret=glewlwyd.SECRET, url=URL,
                scopes=("openid",), names=("email",), ca=self.provider.ca, rules=rules,
            ),
            now=time.time,
        )  # fmt: skip

    def close(self) -> None:
        if self.world.platform.provider is not None:
            self.world.platform.provider.close()

    def rule(self, value: str, role: Role = Role.EDITOR, account: str = "") -> Rule:
        return Rule(claim="group", value=value, account=account or self.account, role=role)

    def call(self, method: str, path: str, **request: Any) -> httpx.Response:
        """By somebody who has shown nothing yet; no cookie stays."""
        answer = self.world.call(method, path, headers=request.pop("headers", {}), **request)
        self.world._http.cookies.clear()
        return answer

    def begin(self, **query: Any) -> tuple[str, str]:
        """Where the browser is led, and its secret."""
        answer = self.call("GET", BEGIN, params=query)
        assert answer.status_code == 302, answer.text
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-anypop-sign-in=")
        assert all(part in cookie for part in ("; HttpOnly", "; Secure", "; Path=/", "; SameSite=lax"))
        return answer.headers["location"], cookie.partition(";")[0].partition("=")[2]

    def back(self, answer: dict[str, str], browser: str) -> httpx.Response:
        headers = {"cookie": f"__Host-anypop-sign-in={browser}"} if browser else {}
        return self.call("GET", BACK, params=answer, headers=headers)

    def sign_in(self, name: str, **query: Any) -> httpx.Response:
        where, browser = self.begin(**query)
        return self.back(self.provider.sign_in(name, where), browser)

    def who(self, answer: httpx.Response) -> dict[str, Any]:
        assert answer.status_code == 200, answer.text
        headers = {"authorization": f"Bearer {answer.json()['access_token']}"}
        found: dict[str, Any] = self.world.get(WHO, headers=headers)
        return found

    def audit(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.world.get("/anypop/v1/audit?limit=50")["results"]
        return found


@pytest.fixture
def place(tmp_path: Path, provider: glewlwyd.Glewlwyd) -> Iterator[Place]:
    with World(tmp_path) as world:
        made = Place(world, provider)
        yield made
        made.close()


def test_somebody_new_gets_in_by_a_rule_alone_and_is_the_same_user_ever_after(place: Place) -> None:
    """With the highest role that a rule gives. A session like any other; both steps stand in the audit log."""
    refused = place.sign_in("ada")
    assert refused.status_code == 403 and "invitation" in refused.json()["message"]
    place.let_in(place.rule("ada@example.net", Role.VIEWER), place.rule("ada@example.net", Role.EDITOR))
    answer = place.sign_in("ada")
    assert answer.headers["cache-control"] == "no-store" and answer.json()["expires_in"] == 12 * 3600
    first = place.who(answer)
    assert (first["account"]["name"], first["role"], first["user"]["name"]) == ("edge", "editor", "ada@example.net")
    again = place.who(place.sign_in("ada"))
    assert again["user"] == first["user"] and again["role"] == "editor"
    assert place.sign_in("bob").status_code == 403
    place.let_in(place.rule("ada@example.net"), place.rule("ada@example.net", Role.OWNER, "operator"))
    both = place.who(place.sign_in("ada", account=place.world.platform.accounts.first_account().id))
    assert both["user"] == first["user"] and both["operator"] and len(both["accounts"]) == 2
    acts = [(entry["operation"], entry["outcome"]) for entry in place.audit()]
    assert ("finish_oidc_sign_in", "done") in acts and ("finish_oidc_sign_in", "refused") in acts
    place.let_in()
    refused = place.sign_in("ada")
    assert refused.status_code == 403 and "in no account" in refused.json()["message"]
    assert place.world.platform.accounts.users.places(first["user"]["id"]) == []


def test_a_name_or_an_address_makes_nobody_somebody_who_is_here(place: Place) -> None:
    """The provider's eve has the e-mail address that is another user's name: eve is a new user with another name."""
    users = place.world.platform.accounts.users
    other = place.world.platform.accounts.create_account("others").id
    victim = a_user(place.world, other, "eve@example.net", Role.OWNER)
    place.let_in(place.rule("eve@example.net"))
    found = place.who(place.sign_in("eve"))
    assert found["user"]["id"] != victim and found["user"]["name"].startswith("eve@example.net-")
    assert [p["account"]["id"] for p in found["accounts"]] == [place.account]
    assert place.sign_in("eve", account=other).status_code == 403
    assert users.role(victim, other) is Role.OWNER


def test_a_user_who_is_linked_gets_in_without_a_rule(place: Place) -> None:
    """By issuer and subject. Who has left the account is in none."""
    users = place.world.platform.accounts.users
    place.let_in(place.rule("bob@example.net", Role.VIEWER))
    subject_of = place.who(place.sign_in("bob"))["user"]["id"]
    place.let_in()
    users.leave(subject_of, place.account)
    assert place.sign_in("bob").status_code == 403
    users.join(subject_of, place.account, Role.OWNER)
    assert place.who(place.sign_in("bob"))["role"] == "owner"


def test_an_invitation_lets_somebody_in_once(place: Place) -> None:
    """A new one, and one who is here already; what is unknown or used up lets in nobody, and makes no user."""
    world, accounts = place.world, place.world.platform.accounts
    account = place.account

    def token(role: Role) -> str:
        made = accounts.create_account(f"of {role}").id if role is Role.OWNER else account
        stood = world.platform.invitations.to_account(accounts.account(made), role, note="", days=1, by="test")
        return stood[1]

    assert place.sign_in("ada", invitation="unknown").status_code == 404
    first = token(Role.VIEWER)
    found = place.who(place.sign_in("ada", invitation=first))
    assert (found["account"]["id"], found["role"]) == (account, "viewer")
    assert place.sign_in("bob", invitation=first).status_code == 404
    assert accounts.users.named("bob@example.net") is None
    world.clock.now += 1  # without a name an account is the one that somebody has been in for longest
    other = place.who(place.sign_in("ada", invitation=token(Role.OWNER)))
    assert (other["account"]["name"], other["user"]) == ("of owner", found["user"])
    again = place.sign_in("ada", invitation=token(Role.EDITOR))
    assert again.status_code == 409 and place.who(place.sign_in("ada"))["role"] == "viewer"


def test_an_answer_that_is_not_this_sign_ins_opens_nothing(place: Place) -> None:
    """Another state or none, another browser or none, a second time, too late, from another provider, with a code of
    another sign-in, and an error in place of a code. What was tried with is over.
    """
    place.let_in(place.rule("ada@example.net"))

    def attempt(*, browser: str | None = None, later: float = 0.0, **other: str) -> httpx.Response:
        where, own = place.begin()
        answer = {k: v for k, v in (place.provider.sign_in("ada", where) | other).items() if v}
        place.world.clock.now += later
        return place.back(answer, own if browser is None else browser)

    assert attempt().status_code == 200
    foreign, _ = place.begin()
    stolen = place.provider.sign_in("ada", foreign)["code"]
    other_browser = place.begin()[1]
    for why, refused in {
        "another state": attempt(state="x" * 43),
        "no state": attempt(state=""),
        "another browser": attempt(browser=other_browser),
        "no browser": attempt(browser=""),
        "too late": attempt(later=601),
        "another provider": attempt(iss="https://evil.example"),
        "a code of another sign-in": attempt(code=stolen),
        "an invented code": attempt(code="invented"),
        "no code": attempt(code=""),
        "an error": attempt(error="access_denied"),
    }.items():
        assert refused.status_code == 401, (why, refused.text)
        assert "access_token" not in refused.text and "nonce" not in refused.text

    where, browser = place.begin()
    answer = place.provider.sign_in("ada", where)
    assert place.back(answer, browser).status_code == 200
    assert place.back(answer, browser).status_code == 401, "a second time"

    where, browser = place.begin()
    answer = place.provider.sign_in("ada", where)
    assert place.back(answer, other_browser).status_code == 401
    assert place.back(answer, browser).status_code == 401, "what was tried with is over"


def test_a_code_of_another_client_opens_nothing(place: Place, provider: glewlwyd.Glewlwyd) -> None:
    """The same person signs in to another program at the same provider, whose owner brings us what came back."""
    place.let_in(place.rule("ada@example.net"))
    provider.add_client("another-program")
    provider.grant("ada", "another-program")
    where, browser = place.begin()
    answer = provider.sign_in("ada", where.replace(f"client_id={glewlwyd.CLIENT}", "client_id=another-program"))
    assert place.back(answer, browser).status_code == 401


def test_a_command_line_collects_what_it_began_and_nobody_else_does(place: Place) -> None:
    """At its own address alone, once, soon, with what it alone knows; a refusal comes there in words."""
    place.let_in(place.rule("ada@example.net"))
    verifier = "v" * 43
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()

    def code_for(name: str = "ada") -> str:
        led = place.sign_in(name, port=49152, challenge=challenge)
        assert led.status_code == 302 and led.headers["referrer-policy"] == "no-referrer", led.text
        parts = urlsplit(led.headers["location"])
        assert (parts.scheme, parts.netloc, parts.path) == ("http", "127.0.0.1:49152", "/")
        found = {key: values[0] for key, values in parse_qs(parts.query).items()}
        return found.get("code") or found["error"]

    def collect(code: str, shown: str = verifier) -> httpx.Response:
        return place.call("POST", COLLECT, json={"code": code, "verifier": shown})

    code = code_for()
    assert place.who(collect(code))["user"]["name"] == "ada@example.net"
    assert collect(code).status_code == 401, "a second time"
    code = code_for()
    assert collect(code, "w" * 43).status_code == 401 and collect(code).status_code == 401, "another program"
    code = code_for()
    place.world.clock.now += 61
    assert collect(code).status_code == 401, "too late"
    assert "invitation" in code_for("bob")


def test_a_browser_is_led_to_the_provider_or_to_its_own_machine_whatever_is_asked(place: Place) -> None:
    """No parameter names another place."""
    challenge = "c" * 43
    for query in (
        {"port": "80@evil.example", "challenge": challenge}, {"port": "65536", "challenge": challenge},
        {"port": "-1", "challenge": challenge}, {"port": "8080"}, {"challenge": challenge},
        {"port": "8080", "challenge": "short"},
    ):  # fmt: skip
        assert place.call("GET", BEGIN, params=query).status_code == 400, query
    for more in (
        {},
        {"redirect_uri": "https://evil.example"},
        {"next": "//evil.example"},
        {"account": "//evil.example"},
    ):
        answer = place.call(
            "GET", BEGIN, params=more, headers={"host": "evil.example", "x-forwarded-host": "evil.example"}
        )
        where = urlsplit(answer.headers["location"])
        assert f"{where.scheme}://{where.netloc}" == place.provider.issuer.removesuffix("/api/oidc")
        assert parse_qs(where.query)["redirect_uri"] == [URL + BACK]


def test_too_many_beginnings_of_one_address_are_told_to_wait(place: Place) -> None:
    statuses = [place.call("GET", BEGIN).status_code for _ in range(40)]
    assert statuses[0] == 302 and statuses[-1] == 429


def test_a_platform_without_a_provider_says_so(place: Place) -> None:
    place.close()
    place.world.platform.provider = None
    for method, path in (("GET", BEGIN), ("GET", BACK), ("POST", COLLECT)):
        body = {"json": {"code": "x", "verifier": "y"}} if method == "POST" else {}
        assert place.call(method, path, **body).status_code == 404


class Known(Process):
    """A control process that knows the provider; its file is written when its port is known."""

    def argv(self) -> list[str]:
        return [*super().argv(), "--oidc", str(self.folder / "oidc.yaml")]


def test_the_command_line_signs_in_by_a_browser_on_its_machine(tmp_path: Path, provider: glewlwyd.Glewlwyd) -> None:
    """The real program, the real process, the real provider; the browser is the test. The session does what a client's
    credentials do, no secret is printed, and it can be kept by its owner alone.
    """
    control = Known(tmp_path)
    url = f"https://localhost:{control.port}"
    provider.add_client("by-the-process", f"{url}{BACK}")
    provider.grant("ada", "by-the-process")
    (tmp_path / "secret").write_text(glewlwyd.SECRET)
    (tmp_path / "secret").chmod(0o600)
    rule = {"claim": "group", "value": "ada@example.net", "account": "operator", "role": "viewer"}
    told = {
        "issuer": provider.issuer, "client_id": "by-the-process", "client_secret_file": str(tmp_path / "secret"),
        "url": url, "ca": str(provider.ca), "scopes": ["openid"], "names": ["email"], "rules": [rule],
    }  # fmt: skip
    (tmp_path / "oidc.yaml").write_text(yaml.safe_dump(told))
    home = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    program = [sys.executable, "-m", "anypop.cli.entry"]
    try:
        control.start()
        ca = tmp_path / "control" / "ca.pem"
        trust = ssl.create_default_context(cafile=str(ca))
        asking = subprocess.Popen(
            [*program, "login", url, "--oidc", "--no-browser", "--ca", str(ca)],
            env=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert asking.stderr is not None and "open this address" in asking.stderr.readline()
            where = asking.stderr.readline().strip()
            with httpx.Client(verify=trust, trust_env=False, timeout=20) as browser:
                led = browser.get(where)
                cookie = {"cookie": led.headers["set-cookie"].partition(";")[0]}
                answer = provider.sign_in("ada", led.headers["location"])
                back = browser.get(url + BACK, params=answer, headers=cookie)
                shown = browser.get(back.headers["location"])
            assert "You are signed in" in shown.text, shown.text
            out, err = asking.communicate(timeout=60)
        finally:
            asking.kill()
            asking.wait(20)
        assert asking.returncode == 0 and "signed in: context localhost" in out, err
        kept = tmp_path / "config" / "anypop" / "contexts.json"
        assert kept.stat().st_mode & 0o777 == 0o600
        (context,) = json.loads(kept.read_text())["contexts"].values()
        assert context["token"] and context["token"] not in out + err
        done = subprocess.run([*program, "pops"], env=home, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0 and "LHR" in done.stdout, done.stderr
        assert context["token"] not in control.log() and glewlwyd.SECRET not in control.log()
    finally:
        control.child.kill()
        control.child.wait(20)
        control.client.close()


def test_a_new_key_of_the_provider_counts_at_once(place: Place, provider: glewlwyd.Glewlwyd) -> None:
    """Last of all, since it ends what was given before."""
    place.let_in(place.rule("ada@example.net"))
    assert place.sign_in("ada").status_code == 200
    provider.rotate()
    assert place.sign_in("ada").status_code == 200

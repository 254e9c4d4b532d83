"""The command line while it waits for a browser: what it takes, what it does not, and what it does with a session."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from anypop.cli import provider
from anypop.control.oidc_identity import challenge_of
from tests.cli_calls import Caller
from tests.fake_control import FakeControl

URL = "https://control.test"
COLLECT = "/anypop/v1/sign-in/oidc/token"


@pytest.fixture
def control() -> FakeControl:
    made = Signing()
    made.answers["GET", "/stack/v1/stacks"] = (200, {"pageInfo": {}, "results": [{"slug": "default"}]})
    made.answers["GET", "/anypop/v1/pops"] = (200, {"results": []})
    return made


class Signing(FakeControl):
    """A control that gives a session to whoever has a code."""

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == COLLECT:
            self.requests.append((request.method, COLLECT, json.loads(request.content)))
            self.valid_token = "the-session"
            return httpx.Response(200, json={"access_token": self.valid_token})
        return super().answer(request)


@pytest.fixture
def call(control: FakeControl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Caller:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("ANYPOP_CONTEXT", raising=False)
    caller = Caller(tmp_path, control.transport, monkeypatch)
    monkeypatch.delenv("ANYPOP_STATE")
    return caller


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[int, str]]]:
    """Lets a browser come back with these queries, one after the other, once the address is shown."""

    def comes(*paths: str) -> list[tuple[int, str]]:
        seen: list[tuple[int, str]] = []

        def shown(text: str) -> None:
            where = urlsplit(text.splitlines()[-1])
            asked = {key: values[0] for key, values in parse_qs(where.query).items()}
            seen.append((0, asked["challenge"]))

            def go() -> None:
                with httpx.Client(base_url=f"http://127.0.0.1:{asked['port']}", trust_env=False) as client:
                    for path in paths:
                        answer = client.get(path)
                        seen.append((answer.status_code, answer.text))

            threading.Thread(target=go, daemon=True).start()

        monkeypatch.setattr("anypop.cli.contexts._said", shown)
        return seen

    return comes


def test_a_session_is_collected_with_what_this_process_alone_knows(
    call: Caller, control: FakeControl, browser: Callable[..., list[tuple[int, str]]]
) -> None:
    """And kept; whatever else comes to the port is nothing."""
    seen = browser("/favicon.ico", "/?code=a&error=b", "/?other=1", "/other?code=x", "/?code=the-code")
    ran = call("login", URL, "--oidc", "--no-browser")
    assert ran.code == 0 and "the-session" not in ran.out + ran.err, ran.err
    (body,) = [body for _, path, body in control.requests if path == COLLECT]
    assert body["code"] == "the-code" and challenge_of(body["verifier"]) == seen[0][1]
    assert [status for status, _ in seen[1:5]] == [404] * 4
    assert call("pops").code == 0
    assert not control.tokens_given


def test_what_control_refuses_is_said(call: Caller, browser: Callable[..., list[tuple[int, str]]]) -> None:
    browser("/?error=ask+for+an+invitation")
    ran = call("login", URL, "--oidc", "--no-browser")
    assert ran.code == 4 and "ask for an invitation" in ran.err


def test_nobody_comes(
    call: Caller, browser: Callable[..., list[tuple[int, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    browser()
    monkeypatch.setattr(provider, "PATIENCE_S", 0.01)
    ran = call("login", URL, "--oidc", "--no-browser")
    assert ran.code == 4 and "nobody has signed in" in ran.err


def test_a_session_that_is_over_is_told_and_credentials_of_the_environment_come_first(
    call: Caller, control: FakeControl, browser: Callable[..., list[tuple[int, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    browser("/?code=the-code")
    assert call("login", URL, "--oidc", "--no-browser").code == 0
    control.answers["GET", "/anypop/v1/pops"] = (401, {"code": 16, "message": "expired", "details": []})
    ran = call("pops")
    assert ran.code == 4 and "your session is over" in ran.err and f"anypop login {URL}" in ran.err
    monkeypatch.setenv("ANYPOP_CLIENT_ID", "0" * 32)
    monkeypatch.setenv("ANYPOP_CLIENT_SECRET", "1" * 64)
    del control.answers["GET", "/anypop/v1/pops"]
    call("pops")
    assert control.tokens_given == 1

"""Contexts: platforms kept by name, which one is meant, and that no secret is shown or left readable."""

import json
import os
from pathlib import Path

import pytest

from anypop.cli import settings
from anypop.cli.failure import Failure
from tests.cli_calls import Caller
from tests.fake_control import CLIENT_ID, SECRET, FakeControl

URL = "https://control.test"


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Caller:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("ANYPOP_CONTEXT", raising=False)
    control = FakeControl()
    page = {"pageInfo": {}, "results": [{"slug": "shop"}, {"slug": "default"}]}
    control.answers["GET", "/stack/v1/stacks"] = (200, page)
    caller = Caller(tmp_path, control.transport, monkeypatch)
    monkeypatch.delenv("ANYPOP_STATE")
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    return caller


def login(call: Caller, tmp_path: Path, *more: str, url: str = URL) -> None:
    words = ("login", url, "--client-id", CLIENT_ID, "--secret-file", str(tmp_path / "secret"))
    ran = call(*words, *more)
    assert ran.code == 0, ran.err


def test_who_signs_in_is_known_from_then_on(call: Caller, tmp_path: Path) -> None:
    """Without any other setting; the file is its owner's alone, and no command shows the secret."""
    login(call, tmp_path)
    assert call("pops").code == 0
    file = tmp_path / "config" / "anypop" / "contexts.json"
    assert file.stat().st_mode & 0o777 == 0o600
    rows = json.loads(call("context", "list", "-o", "json").out)
    assert rows == [
        {"context": "control.test", "current": True, "url": URL, "stack": "default", "client_id": CLIENT_ID}
    ]
    for words in (["context", "list"], ["context", "use", "control.test"], ["context", "set", "control.test"]):
        ran = call(*words)
        assert ran.code == 0 and SECRET not in ran.out + ran.err


def test_a_secret_that_is_wrong_keeps_nothing(call: Caller, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("2" * 64)
    ran = call("login", URL, "--client-id", CLIENT_ID, "--secret-file", str(tmp_path / "secret"))
    assert ran.code == 4 and "2" * 64 not in ran.err
    assert json.loads(call("context", "list", "-o", "json").out) == []


def test_nobody_is_asked_where_nobody_is(call: Caller) -> None:
    ran = call("login", URL, "--client-id", CLIENT_ID)
    assert ran.code == 2 and "--secret-file" in ran.err


def test_one_of_several_is_meant(call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one in use; for a call the one that is named, by option or environment; a folder that is named wins."""
    login(call, tmp_path, "--name", "lab")
    assert call("context", "set", "away", "--url", "https://away.test", "--client-id", "a",
                "--secret-file", str(tmp_path / "secret")).code == 0  # fmt: skip

    def url(**more: str) -> str:
        return settings.load(None, {**os.environ, **more}).url

    assert url() == URL
    assert call("context", "use", "away").code == 0
    assert url() == "https://away.test"
    assert url(ANYPOP_CONTEXT="lab") == URL
    assert settings.load(None, os.environ, context="lab").url == URL
    third = {"URL": "https://third.test", "CLIENT_ID": "i", "CLIENT_SECRET": "s", "STACK": "t"}
    assert url(**{f"ANYPOP_{key}": value for key, value in third.items()}) == "https://third.test"
    monkeypatch.setenv("ANYPOP_STATE", str(tmp_path))
    assert url() == URL  # of the folder's client.json
    assert settings.load(tmp_path, {**os.environ, "ANYPOP_CONTEXT": "away"}).url == URL
    with pytest.raises(Failure) as refused:
        settings.load(None, os.environ, context="lba")
    assert "away, lab" in refused.value.advice


def test_a_context_is_changed_and_forgotten(call: Caller, tmp_path: Path) -> None:
    login(call, tmp_path, "--name", "lab")
    assert call("context", "set", "lab", "--of-stack", "shop").code == 0
    assert json.loads(call("context", "list", "-o", "json").out)[0]["stack"] == "shop"
    new = call("context", "set", "new", "--url", URL)
    assert new.code == 2 and "--client-id, --secret-file" in new.err
    assert call("context", "use", "nobody").code == 5
    assert call("context", "set", "../x", "--url", URL).code == 2
    assert call("context", "delete", "lab", "--yes").code == 0
    assert call("context", "list").out.startswith("no contexts")


def test_certificates_are_kept_themselves(call: Caller, tmp_path: Path) -> None:
    """The file that they came from may go."""
    (tmp_path / "ca.pem").write_text("some words\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    (tmp_path / "none.pem").write_text("nothing")
    words = ["context", "set", "lab", "--url", URL, "--client-id", "a", "--secret-file", str(tmp_path / "secret")]
    assert call(*words, "--ca", str(tmp_path / "none.pem")).code == 2
    assert call(*words, "--ca", str(tmp_path / "ca.pem")).code == 0
    assert settings.load(None, os.environ, context="lab").ca.startswith("-----BEGIN CERTIFICATE-----\nAAAA")

"""Whom alerts are told, and how: each change once, signed, to no address but a webhook's; and the operator's file."""

import asyncio
import json
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from anypop.control.metrics import prometheus
from anypop.control.metrics.alerts import MOMENT, SIGNATURE, Alerts, signature, why_not
from anypop.control.metrics.settings import StoreSettings, WebhookSettings, read, settings_from
from anypop.control.metrics.store import MetricsStore
from anypop.model.errors import Invalid, WorldError

HOOK = WebhookSettings(url="http://127.0.0.1:1/hook", secret="s3cret")


def at(hook: "Hook") -> str:
    return f"http://127.0.0.1:{hook.port}/hook"


def an_alert(name: str, state: str = "firing") -> dict[str, Any]:
    return {
        "labels": {"alertname": name, "host": "AMS"}, "annotations": {"summary": "x"}, "state": state,
        "activeAt": "2026-01-01T00:00:00Z", "value": "1",
    }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    path: str
    headers: Mapping[str, str]
    content: bytes


class Hook:
    """A webhook that answers with these codes in turn; the last one for good. `heard`: what it was told."""

    def __init__(self, *codes: int) -> None:
        hook, self.heard, left = self, list[Heard](), list(codes)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                hook.heard.append(Heard(path=self.path, headers=headers, content=content))
                self.send_response(left.pop(0) if len(left) > 1 else left[0])
                self.send_header("location", "/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> "Hook":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def told(looks: list[list[dict[str, Any]]], url: str) -> list[str]:
    """Tell the webhook what the store says, a look every ten seconds; what was wrong. A look that fails is one more of
    the same.
    """
    now: list[dict[str, Any]] = []
    wrong: list[str] = []
    at = [1_700_000_000.0]

    def store(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"status": "success", "data": {"alerts": now}})

    async def run() -> None:
        asked = MetricsStore(StoreSettings(url="http://127.0.0.1:1"), httpx.MockTransport(store))
        alerts = Alerts(asked, replace(HOOK, url=url), lambda: at[0])
        for look in looks:
            now[:] = look
            at[0] += 10.0
            try:
                await alerts.look()
            except WorldError as error:
                wrong.append(str(error))
        await alerts.close()

    asyncio.run(run())
    assert HOOK.secret not in str(wrong)
    return wrong


def test_each_change_is_told_once_and_signed() -> None:
    """What is only pending is not told; what ends is, once the store has not known it for two of its rounds."""
    one, two = an_alert("HostAway"), an_alert("SessionDown")
    with Hook(204) as hook:
        assert told([[one, an_alert("Later", "pending")], [one], [one, two], *[[two]] * 6], at(hook)) == []
    sent = hook.heard
    bodies = [json.loads(request.content) for request in sent]
    assert [[(a["status"], a["labels"]["alertname"]) for a in body["alerts"]] for body in bodies] == [
        [("firing", "HostAway")],
        [("firing", "SessionDown")],
        [("resolved", "HostAway")],
    ]
    for request in sent:
        moment = request.headers[MOMENT]
        assert request.headers[SIGNATURE] == signature(HOOK.secret, moment, request.content)
        assert request.headers[SIGNATURE] != signature("other", moment, request.content)
        assert HOOK.secret not in str(request.headers)


def test_a_store_that_starts_anew_ends_no_alert() -> None:
    """It knows of none for a round, then tells what lasts as pending: nobody is told that all is well."""
    fires, waits = an_alert("HostAway"), an_alert("HostAway", "pending")
    with Hook(204) as hook:
        assert told([[fires], [fires], [], [waits], *[[waits]] * 6, [fires], [fires]], at(hook)) == []
    assert [json.loads(one.content)["status"] for one in hook.heard] == ["firing"]


def test_what_reads_an_alertmanagers_webhook_reads_it() -> None:
    """All fields of version 4 are there; a thousand alerts are in one request, what is beyond in the next, and none is
    told twice however the store sorts them.
    """
    many = [an_alert(f"A{n}") for n in range(1500)]
    with Hook(204) as hook:
        assert told([many, many[::-1], many, *[[]] * 7], at(hook)) == []
    bodies = [json.loads(one.content) for one in hook.heard]
    assert [(b["status"], len(b["alerts"])) for b in bodies] == [
        ("firing", 1000), ("firing", 500), ("resolved", 1000), ("resolved", 500),
    ]  # fmt: skip
    assert bodies[0].keys() == {
        "version", "groupKey", "truncatedAlerts", "status", "receiver", "groupLabels", "commonLabels",
        "commonAnnotations", "externalURL", "alerts",
    }  # fmt: skip
    assert (bodies[0]["commonLabels"], bodies[0]["commonAnnotations"]) == ({"host": "AMS"}, {"summary": "x"})
    first, last = bodies[0]["alerts"][0], bodies[2]["alerts"][0]
    assert first.keys() == {"status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint"}
    assert first["endsAt"] == "0001-01-01T00:00:00Z" and last["endsAt"] == "2023-11-14T22:14:30Z"
    told_of = [a["fingerprint"] for b in bodies[:2] for a in b["alerts"]]
    assert len(set(told_of)) == 1500 and set(told_of) == {a["fingerprint"] for b in bodies[2:] for a in b["alerts"]}


@pytest.mark.parametrize("code", [500, 302])
def test_what_is_not_taken_is_told_again_and_no_redirect_is_followed(code: int) -> None:
    """Until it is."""
    with Hook(code, 200) as hook:
        wrong = told([[an_alert("HostAway")]] * 3, at(hook))
    assert [one.path for one in hook.heard] == ["/hook", "/hook"]
    assert hook.heard[0].content == hook.heard[1].content
    assert [str(code) in one for one in wrong] == [True]


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fe80::1%eth0", "::ffff:169.254.169.254", "0.0.0.0", "224.0.0.1"]
)
def test_no_name_leads_to_where_clouds_keep_secrets(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the name said before; it is looked up once, and what was looked at is where the request goes."""
    answers = [["127.0.0.1"], [address]]
    asked: list[str] = []

    def names(host: str, port: int, *_: object, **__: object) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (one, port)) for one in answers.pop(0)]

    monkeypatch.setattr(socket, "getaddrinfo", names)
    with Hook(204) as hook:
        url = f"http://hook.example:{hook.port}/hook"
        assert told([[an_alert("HostAway")]], url) == []
        (wrong,) = told([[an_alert("HostAway")]], url)
    assert [one.headers["host"] for one in hook.heard] == [f"hook.example:{hook.port}"]
    assert "no address of a webhook" in wrong
    assert asked == ["hook.example"] * 2, "once for each request: a second answer could be another address"
    assert not any(why_not(own) for own in ("10.0.0.1", "127.0.0.1", "2001:db8::1")), "the operator's own network"


def test_the_operators_file_is_read_or_refused_with_all_that_is_wrong(tmp_path: Path) -> None:
    """Secrets stand in files of their own, which others cannot read, and in no message."""
    secret = tmp_path / "secret"
    secret.write_text("hush-hush\n")
    secret.chmod(0o600)
    store = {"url": "http://127.0.0.1:9090/", "user": "anypop", "password_file": str(secret)}
    file = tmp_path / "metrics.yaml"
    file.write_text(
        yaml.safe_dump({"store": store, "webhook": {"url": "https://x.example/y", "secret_file": str(secret)}})
    )
    found = read(file)
    assert (found.store.url, found.store.password, found.store.interval) == ("http://127.0.0.1:9090", "hush-hush", 15)
    assert found.webhook is not None and "hush-hush" not in repr(found)
    secret.chmod(0o644)
    with pytest.raises(Invalid) as wrong:
        settings_from(
            {"store": store | {"url": "ftp://x"}, "webhook": {"url": "file:///etc/passwd", "secret_file": str(secret)}}
        )
    paths = {problem.path for problem in wrong.value.problems}
    assert paths == {
        "metrics.store.url", "metrics.store.password_file", "metrics.webhook.url", "metrics.webhook.secret_file",
    }  # fmt: skip
    assert "hush-hush" not in str(wrong.value)
    with pytest.raises(Invalid, match=r"metrics\.shop"):
        settings_from({"store": {"url": "http://127.0.0.1:9090"}, "shop": 1})
    with pytest.raises(WorldError, match="not YAML"):
        file.write_text("{")
        read(file)


def test_the_store_listens_on_loopback_alone_and_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is written or started."""
    (tmp_path / "password").write_text("x")
    (tmp_path / "password").chmod(0o600)
    argv = [f"--config.file={tmp_path}/p.yml", "--client-file", str(tmp_path / "none"), "--password-file"]
    for listen in ("0.0.0.0:9090", "10.0.0.1:9090", "[::]:9090", "localhost:9090", "127.0.0.1"):
        assert prometheus.main([*argv, str(tmp_path / "password"), "--listen", listen]) == 1
        assert "loopback" in capsys.readouterr().err
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert prometheus.main([*argv, str(tmp_path / "password")]) == 1
    assert "apt-get install prometheus" in capsys.readouterr().err
    monkeypatch.setattr("shutil.which", lambda _: "/bin/true")
    assert prometheus.main([*argv, str(tmp_path / "password")]) == 1
    assert "--scrape-file" in capsys.readouterr().err
    assert not (tmp_path / "p.yml").exists()

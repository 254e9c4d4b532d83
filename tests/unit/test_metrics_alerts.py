"""Whom alerts are told, and how: each change once, signed, to no address but a webhook's; and the operator's file."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from anypop.control.metrics import prometheus
from anypop.control.metrics.alerts import MOMENT, SIGNATURE, Alerts, check_address, signature
from anypop.control.metrics.settings import StoreSettings, WebhookSettings, read, settings_from
from anypop.control.metrics.store import MetricsStore
from anypop.model.errors import Invalid, WorldError

HOOK = WebhookSettings(url="http://127.0.0.1:1/hook", secret="s3cret")


def an_alert(name: str, state: str = "firing") -> dict[str, Any]:
    return {
        "labels": {"alertname": name, "host": "AMS"}, "annotations": {"summary": "x"}, "state": state,
        "activeAt": "2026-01-01T00:00:00Z", "value": "1",
    }  # fmt: skip


def told(looks: list[list[dict[str, Any]]], answer: Callable[[httpx.Request], httpx.Response]) -> list[httpx.Request]:
    """What the webhook gets when the store says this, look by look; a look that fails is one more of the same."""
    sent: list[httpx.Request] = []
    now: list[dict[str, Any]] = []

    def store(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"status": "success", "data": {"alerts": now}})

    def hook(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return answer(request)

    async def run() -> None:
        asked = MetricsStore(StoreSettings(url="http://127.0.0.1:1"), httpx.MockTransport(store))
        alerts = Alerts(asked, HOOK, lambda: 1_700_000_000.0, transport=httpx.MockTransport(hook))
        for look in looks:
            now[:] = look
            try:
                await alerts.look()
            except WorldError as error:
                assert HOOK.secret not in str(error)

    asyncio.run(run())
    return sent


def test_each_change_is_told_once_and_signed() -> None:
    """What is only pending is not told; what ends is."""
    one, two = an_alert("HostAway"), an_alert("SessionDown")
    sent = told([[one, an_alert("Later", "pending")], [one], [one, two], [two], [two]], lambda _: httpx.Response(204))
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


@pytest.mark.parametrize(
    "answer", [httpx.Response(500), httpx.Response(302, headers={"location": "http://169.254.169.254"})]
)
def test_what_is_not_taken_is_told_again_and_no_redirect_is_followed(answer: httpx.Response) -> None:
    """Until it is."""
    answers = iter([answer, httpx.Response(200)])
    sent = told([[an_alert("HostAway")]] * 3, lambda _: next(answers))
    assert [str(request.url) for request in sent] == [HOOK.url, HOOK.url]
    assert sent[0].content == sent[1].content


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fe80::1%eth0", "::ffff:169.254.169.254", "0.0.0.0", "224.0.0.1"]
)
def test_no_name_leads_to_where_clouds_keep_secrets(address: str) -> None:
    """Looked at each time, whatever the name said before; the operator's own network may have the webhook."""
    with pytest.raises(WorldError, match="no address of a webhook"):
        check_address("http://hook.example/x", lambda *_: ["192.0.2.1", address])
    check_address("https://hook.example/x", lambda *_: ["10.0.0.1", "127.0.0.1", "2001:db8::1"])
    asked: list[tuple[str, int]] = []

    def nowhere(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return []

    check_address("https://hook.example/x", nowhere)
    assert asked == [("hook.example", 443)]


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

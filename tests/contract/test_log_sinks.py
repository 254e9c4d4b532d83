"""Receivers of logs by the API: who sets them, what is never answered, which hosts are told; and Debian's rsyslog,
which takes what is sent by UDP, TCP and TLS.

A control behind a socket; a host's agent is played by a thread with the agent's own keeper of receivers.
"""

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import WebSocketException

from anypop.agent.log_shipping import LogShipping
from anypop.agent.shipping import files
from anypop.agent.shipping.formats import Sent, Source
from anypop.agent.shipping.sending import NotNow, Sender
from anypop.control import ca
from anypop.control.log_sinks import SETTING
from anypop.model.codec import to_json
from anypop.model.log_sinks import LogSink
from anypop.model.streams import Opened, ShippingRequest, ShippingTold, StreamRequest
from tests.control_world import World
from tests.served import PATIENCE_S, PlayedAgent, Served, served
from tests.unit.test_log_search import at
from tests.wait import wait_until

PLATFORM, STACK = "/anypop/v1/log-sinks", "/anypop/v1/stacks/default/log-sinks"
LOKI = {"name": "loki", "kind": "loki", "address": "https://logs.example.net/loki/api/v1/push"}


class Host(PlayedAgent):
    def __init__(self, there: Served, host: str, folder: Path) -> None:
        self.keeper = LogShipping(folder, lambda _: None)
        self.folder = folder
        super().__init__(there, host)

    def _answer(self, asked: StreamRequest) -> None:
        assert isinstance(asked.wanted, ShippingRequest)
        with (
            contextlib.suppress(WebSocketException, OSError),
            self._there.socket(f"{self._path}/{asked.id}", self._headers) as stream,
        ):
            stream.send(to_json(Opened()), text=True)
            stream.send(to_json(ShippingTold(sinks=self.keeper.asked(asked.wanted))))

    def knows(self) -> list[tuple[str, str, str]]:
        found = files.read(self.folder, files.Receivers)
        return [] if found is None else sorted((s.name, s.stack, s.authorization) for s in found.sinks)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("sinks")) as made:
        made.create()
        yield made


def test_hosts_are_told_and_a_secret_is_told_to_nobody_else(world: World, tmp_path: Path) -> None:
    """Those with something of the stack; when it is set, and when they come. What is left out stays."""
    stack = world.platform.accounts.stacks(world.platform.accounts.first_account().id)[0].id
    with served(world) as there:
        host = Host(there, "AMS", tmp_path / "ams")
        secret = {**LOKI, "authorization": "Bearer hush", "level": "warning"}
        wait_until(lambda: "AMS" in world.platform.streams._channels, timeout_s=PATIENCE_S, reason="it is here")
        answer = world.send("PUT", STACK, {"sinks": [secret]})
        assert host.knows() == [("loki", stack, "Bearer hush")]
        (shown,) = answer["sinks"]
        assert (shown["authorized"], shown["level"], "hush" in str(answer)) == (True, "warning", False)
        of = {row["host"]: row["message"] for row in shown["hosts"]}
        assert "does not answer" in of["LHR"] and "has not begun" in of["AMS"]
        world.send("PUT", STACK, {"sinks": [LOKI]})
        assert host.knows() == [("loki", stack, "Bearer hush")]
        elsewhere = {**LOKI, "address": "https://other.example.net/loki/api/v1/push"}
        world.send("PUT", STACK, {"sinks": [elsewhere]})
        assert host.knows() == [("loki", stack, "")], "a secret never goes along to another address"
        world.send("PUT", PLATFORM, {"sinks": [{**LOKI, "address": "http://10.1.2.3:3100/loki/api/v1/push"}]})
        late = Host(there, "LHR", tmp_path / "lhr")
        wait_until(lambda: len(late.knows()) == 2, timeout_s=PATIENCE_S, reason="who comes later is told")
        other = Host(there, "JFK", tmp_path / "jfk")
        wait_until(lambda: len(other.knows()) == 1, timeout_s=PATIENCE_S, reason="the platform's alone")
        for path in (PLATFORM, STACK):
            world.send("PUT", path, {"sinks": []})
        assert host.knows() == []
        assert world.platform.core.store.setting(SETTING) is not None
        for one in (host, late, other):
            one.close()
    assert "hush" not in str(world.platform.core.store.audit_log(limit=10_000))
    assert "hush" not in str(world.platform.core.store.setting(SETTING))


@pytest.mark.parametrize(
    "address",
    ["http://10.0.0.1/", "http://localhost/", "http://[::1]/", "http://169.254.169.254/", "http://[::ffff:127.0.0.1]/",
     "tcp://logs.example.net", "https://user:pass@logs.example.net/"],
)  # fmt: skip
def test_a_stacks_receiver_is_never_inside(world: World, address: str) -> None:
    answer = world.call("PUT", STACK, json={"sinks": [{**LOKI, "address": address}]}, headers=world.headers)
    assert answer.status_code == 400
    fields = [v["field"] for d in answer.json()["details"] for v in d.get("fieldViolations", ())]
    assert fields == ["sinks[0].address"]
    assert world.get(STACK) == {"sinks": []}


def test_what_is_the_platforms_own_is_not_for_tenants(world: World) -> None:
    external = next(host.external4 for _, host in world.state.network.hosts())
    inside = {**LOKI, "address": f"https://{external[1]}/"}
    assert world.call("PUT", STACK, json={"sinks": [inside]}, headers=world.headers).status_code == 400
    accounts = world.platform.accounts
    theirs = accounts.create_credential(accounts.create_account("tenant").id, "theirs")
    headers = world.login(theirs.client_id, theirs.secret)
    for path, status in ((PLATFORM, 403), (STACK, 404)):
        assert world.call("GET", path, headers=headers).status_code == status
        assert world.call("PUT", path, headers=headers, json={"sinks": []}).status_code == status
    twice = world.call("PUT", PLATFORM, json={"sinks": [LOKI, LOKI]}, headers=world.headers)
    assert "is there twice" in twice.text


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Rsyslog:
    """Debian's, on loopback, writing what it understood."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "out"
        made = ca.ensure(folder, ["localhost", "127.0.0.1"], now=datetime.now(UTC))
        self.ca = made.ca.read_text()
        self.ports = {way: free_port(socket.SOCK_STREAM) for way in ("tcp", "tls")}
        self.ports["udp"] = free_port(socket.SOCK_DGRAM)
        form = "%syslogfacility%.%syslogseverity% %timestamp:::date-rfc3339% %hostname% %app-name% "
        form += "%structured-data% %msg%\\n"
        config = folder / "rsyslog.conf"
        config.write_text(
            f"""
global(workDirectory="{folder}" defaultNetstreamDriverCAFile="{made.ca}"
       defaultNetstreamDriverCertFile="{made.certificate}" defaultNetstreamDriverKeyFile="{made.key}"
       maxMessageSize="64k")
module(load="imudp") module(load="imptcp")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
template(name="t" type="string" string="{form}")
ruleset(name="r") {{ action(type="omfile" file="{self.out}" template="t" asyncWriting="off" flushOnTXEnd="on") }}
input(type="imudp" address="127.0.0.1" port="{self.ports["udp"]}" ruleset="r")
input(type="imptcp" address="127.0.0.1" port="{self.ports["tcp"]}" ruleset="r")
input(type="imtcp" address="127.0.0.1" port="{self.ports["tls"]}" ruleset="r")
"""
        )
        argv = ["/usr/sbin/rsyslogd", "-n", "-f", str(config), "-i", str(folder / "pid")]
        self._log = (folder / "log").open("w")
        self._process = subprocess.Popen(argv, stdout=self._log, stderr=self._log)

    def said(self) -> list[str]:
        return self.out.read_text().splitlines() if self.out.exists() else []

    def close(self) -> None:
        self._process.kill()
        self._process.wait(20)
        self._log.close()


def a_line(text: str, number: int) -> Sent:
    source = Source(
        uid="u", container="web", folder="/x", instance="fun-eu-ams-0", workload="fun", stack="s", pop="AMS", host="AMS"
    )
    return Sent(source=source, at=at(number), errors=False, text=text)


def test_rsyslog_takes_what_is_sent_by_each_way(tmp_path: Path) -> None:
    """Level, moment, names, structured data and text as they were meant; long lines and other letters whole; a receiver
    whose certificate nobody signed whom we know gets nothing.
    """
    there = Rsyslog(tmp_path)
    long = "x" * 9000 + " größer"

    async def send(way: str, *texts: str, **more: Any) -> None:
        address = f"{way}://localhost:{there.ports[way]}"
        given = {"ca": there.ca} if way == "tls" else {}
        sender = Sender(LogSink(id="a", name="a", kind="syslog", address=address, **(given | more)), ())
        try:
            await sender.send([a_line(text, n) for n, text in enumerate(texts)])
        finally:
            await sender.close()

    def arrives(way: str, *texts: str) -> list[str]:
        def tried() -> list[str]:
            with contextlib.suppress(NotNow):  # it does not listen yet
                asyncio.run(send(way, *texts))
            return [line for line in there.said() if texts[0] in line]

        return wait_until(tried, timeout_s=30, reason=f"it came by {way}", every_s=0.2)

    try:
        for way in ("tcp", "udp", "tls"):
            line = arrives(way, f"by {way} of größe")[0]
            assert line.startswith("local0.info 2026-01-31T10:00:00.000000Z fun-eu-ams-0 web [anypop@32473 pop=") or (
                line.startswith("16.6 2026-01-31T10:00:00.000000Z fun-eu-ams-0 web [anypop@32473 pop=")
            ), line
            assert line.endswith(f"by {way} of größe") and 'workload="fun"' in line
        arrives("tcp", "before the long one", long)
        wait_until(lambda: any(line.endswith(long) for line in there.said()), timeout_s=20, reason="it came whole")
        arrives("tls", '{"level":"error","msg":"by tls"}')
        assert any(line.split()[0] in ("16.3", "local0.err") for line in there.said())
        with pytest.raises(NotNow, match="certificate"):
            asyncio.run(send("tls", "to nobody we know", ca=""))
        assert not any("to nobody" in line for line in there.said())
    finally:
        there.close()

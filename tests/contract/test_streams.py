"""Logs and commands by way of control: what an agent is asked, what comes back, and who may ask at all.

A real control process; the agent is played by a thread that speaks the agents' side of it.
"""

import contextlib
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from anypop.control.accounts import Accounts, Credential
from anypop.control.store import open_store
from anypop.model.codec import from_json, to_json
from anypop.model.streams import (
    CommandRequest,
    ConsoleRequest,
    Frame,
    LogRequest,
    Opened,
    PortRequest,
    Refusal,
    StreamRequest,
)
from tests.contract.test_api_process import BASE, Process, running
from tests.control_world import a_body
from tests.wait import wait_until

INSTANCE = "fun-eu-ams-0"
Serve = Callable[[Connection, Any], None]


class Agent:
    """Of one host: keeps what it is asked, and answers with `serve`."""

    def __init__(self, process: Process, host: str, serve: Serve) -> None:
        self.asked: list[Any] = []
        self._process, self._host, self._serve = process, host, serve
        self.ended = threading.Event()
        self._left = contextlib.ExitStack()
        self._channel = self._left.enter_context(self.dial("streams"))
        threading.Thread(target=self._listen, daemon=True).start()

    def dial(self, what: str, *, host: str = "") -> AbstractContextManager[Connection]:
        return dial(self._process, f"/anypop/v1/agents/{host or self._host}/{what}", self._process.agent(self._host))

    def _listen(self) -> None:
        try:
            for message in self._channel:
                asked = from_json(StreamRequest, message)
                self.asked.append(asked.wanted)
                threading.Thread(target=self._answer, args=(asked,), daemon=True).start()
        except WebSocketException:
            pass

    def _answer(self, asked: StreamRequest) -> None:
        try:
            with self.dial(f"streams/{asked.id}") as stream:
                self._serve(stream, asked.wanted)
        except (WebSocketException, OSError, EOFError):
            pass
        self.ended.set()

    def close(self) -> None:
        self._left.close()


@contextmanager
def dial(process: Process, path: str, headers: Any) -> Iterator[Connection]:
    client = json.loads((process.folder / "client.json").read_text())
    context = ssl.create_default_context(cafile=client["ca"])
    address = client["url"].replace("http", "ws", 1) + path
    with connect(
        address, ssl=context, additional_headers={"authorization": headers.get("authorization", "")}, proxy=None
    ) as there:
        yield there


def to_bytes(message: bytes | str) -> bytes:
    return message.encode() if isinstance(message, str) else message


def opened(stream: Connection, **more: Any) -> None:
    stream.send(to_json(Opened(**more)), text=True)


def says(*pieces: bytes) -> Serve:
    def serve(stream: Connection, _: Any) -> None:
        opened(stream)
        for piece in pieces:
            stream.send(piece)

    return serve


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Credential:
    """Of another account, made before control begins."""
    store = open_store(tmp_path_factory.getbasetemp() / "streams" / "control")
    try:
        accounts = Accounts(store, time.time)
        accounts.first_account()
        return accounts.create_credential(accounts.create_account("stranger").id, "theirs")
    finally:
        store.close()


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory, stranger: Credential) -> Iterator[Process]:
    assert stranger.client_id
    with running(tmp_path_factory.getbasetemp() / "streams") as made:
        assert made.client.post(BASE, json=a_body()).status_code == 200
        yield made


@contextmanager
def agent(process: Process, serve: Serve, host: str = "AMS") -> Iterator[Agent]:
    made = Agent(process, host, serve)
    try:
        yield made
    finally:
        made.close()


def logs(process: Process, **query: Any) -> Any:
    return process.client.get(f"{BASE}/fun/instances/{INSTANCE}/logs", params=query)


def port_path(port: str, instance: str = INSTANCE) -> str:
    return f"/anypop/v1/stacks/default/workloads/fun/instances/{instance}/port-forward?port={port}"


def exec_path(command: str, instance: str = INSTANCE) -> str:
    return f"/anypop/v1/stacks/default/workloads/fun/instances/{instance}/exec?{command}"


def test_a_log_comes_as_its_host_sends_it(process: Process) -> None:
    with agent(process, says(b"one\n", b"\xff two\n")) as there:
        answer = logs(process, tail_lines="7", since_seconds="60", timestamps="true", limit_bytes="9")
        assert (answer.status_code, answer.content) == (200, b"one\n\xff two\n")
        assert answer.headers["content-type"].startswith("text/plain")
        asked = there.asked[0]
        assert isinstance(asked, LogRequest)
        assert (asked.container, asked.tail, asked.timestamps, asked.most_bytes) == ("web", 7, True, 9)
        assert asked.since is not None
        assert not asked.follow


def test_a_client_of_go_may_send_a_time_that_it_was_not_given(process: Process) -> None:
    with agent(process, says(b"x\n")) as there:
        assert logs(process, since_time="0001-01-01T00:00:00Z", since_seconds="5").status_code == 200
        assert logs(process, since_time="2026-01-31T10:00:00Z").status_code == 200
        assert there.asked[1].since == 1769853600.0


def test_every_wrong_parameter_is_told_at_once(process: Process) -> None:
    answer = logs(process, follow="perhaps", tail_lines="-1", limit_bytes="many", since_time="noon")
    assert answer.status_code == 400
    fields = {v["field"] for d in answer.json()["details"] for v in d.get("fieldViolations", ())}
    assert fields == {"follow", "tail_lines", "limit_bytes", "since_time"}
    assert logs(process, container_name="db").json()["message"] == f"no container db in {INSTANCE}; it has web"


@pytest.mark.parametrize(
    ("refusal", "status"), [(Refusal.NOT_YET, 400), (Refusal.NOT_THERE, 404), (Refusal.BROKEN, 503)]
)
def test_what_a_host_refuses_is_the_answer(process: Process, refusal: Refusal, status: int) -> None:
    def refuses(stream: Connection, _: Any) -> None:
        opened(stream, refusal=refusal, message="it has its reason")

    with agent(process, refuses):
        answer = logs(process)
        assert answer.status_code == status
        assert "it has its reason" in answer.json()["message"]


def test_a_host_that_is_away_is_told_within_seconds(process: Process) -> None:
    answer = logs(process)
    assert answer.status_code == 503
    assert "its agent does not answer" in answer.json()["message"]


def test_what_was_asked_over_a_connection_that_is_dead_is_asked_again(process: Process) -> None:
    """An agent that comes back (its host was cut off, say) is asked what its former connection never answered."""
    answers: list[Any] = []
    with dial(process, "/anypop/v1/agents/AMS/streams", process.agent("AMS")) as dead:
        asker = threading.Thread(target=lambda: answers.append(logs(process)))
        asker.start()
        assert b"log" in to_bytes(dead.recv(10))
        with agent(process, says(b"here\n")):
            asker.join(20)
    assert [(answer.status_code, answer.content) for answer in answers] == [(200, b"here\n")]


def test_whoever_leaves_a_followed_log_ends_it_at_its_host(process: Process) -> None:
    def for_ever(stream: Connection, _: Any) -> None:
        opened(stream)
        stream.send(b"begun\n")
        for _message in stream:  # until it is closed
            pass

    with agent(process, for_ever) as there:
        path = f"{BASE}/fun/instances/{INSTANCE}/logs"
        with process.client.stream("GET", path, params={"follow": "true"}) as answer:
            assert next(answer.iter_raw()) == b"begun\n"
        wait_until(there.ended.is_set, timeout_s=10, reason="the host's end of the stream is closed")


def test_a_command_has_its_input_its_output_and_its_code(process: Process) -> None:
    def cat(stream: Connection, wanted: CommandRequest) -> None:
        opened(stream)
        for frame in stream:
            assert isinstance(frame, bytes)
            if frame[0] == Frame.END:
                break
            stream.send(bytes([Frame.OUTPUT]) + frame[1:])
        stream.send(bytes([Frame.EXIT]) + b'{"code": 3}')

    with agent(process, cat) as there:
        query = "command=cat&command=-&tty=true&rows=9&columns=11"
        with dial(process, exec_path(query), process.client.headers) as stream:
            stream.send(bytes([Frame.INPUT]) + b"hello")
            assert stream.recv(10) == bytes([Frame.OUTPUT]) + b"hello"
            stream.send(bytes([Frame.END]))
            assert stream.recv(10) == bytes([Frame.EXIT]) + b'{"code": 3}'
        asked = there.asked[0]
        assert (asked.command, asked.terminal, asked.rows, asked.columns) == (("cat", "-"), True, 9, 11)
    rows = process.client.get("/anypop/v1/audit", params={"operation": "run_command"}).json()["results"]
    assert (rows[-1]["subject"], rows[-1]["after"]["command"]) == (INSTANCE, ["cat", "-"])


def test_a_connection_to_a_port_is_carried_both_ways_and_is_in_the_audit_log(process: Process) -> None:
    def echo(stream: Connection, wanted: PortRequest) -> None:
        opened(stream)
        for frame in stream:
            assert isinstance(frame, bytes)
            if frame[0] == Frame.END:
                break
            stream.send(bytes([Frame.OUTPUT]) + frame[1:].upper())
        stream.send(bytes([Frame.END]))

    with agent(process, echo) as there:
        with dial(process, port_path("8080"), process.client.headers) as stream:
            stream.send(bytes([Frame.INPUT]) + b"hello")
            assert stream.recv(10) == bytes([Frame.OUTPUT]) + b"HELLO"
            stream.send(bytes([Frame.END]))
            assert stream.recv(10) == bytes([Frame.END])
        assert there.asked[0].port == 8080
    rows = process.client.get("/anypop/v1/audit", params={"operation": "forward_port"}).json()["results"]
    assert (rows[-1]["subject"], rows[-1]["after"]) == (INSTANCE, {"port": 8080})


def test_a_console_is_carried_both_ways_unless_its_workload_wants_none(process: Process) -> None:
    """It is in the audit log before it begins; whoever may run commands may have it."""

    def echo(stream: Connection, _: ConsoleRequest) -> None:
        opened(stream)
        for frame in stream:
            assert isinstance(frame, bytes)
            stream.send(bytes([Frame.OUTPUT]) + frame[1:].upper())

    path = f"/anypop/v1/stacks/default/workloads/fun/instances/{INSTANCE}/console"
    with agent(process, echo) as there:
        with dial(process, path, process.client.headers) as stream:
            stream.send(bytes([Frame.INPUT]) + b"root\r")
            assert stream.recv(10) == bytes([Frame.OUTPUT]) + b"ROOT\r"
        assert there.asked == [ConsoleRequest(uid=there.asked[0].uid, container="web")]
    rows = process.client.get("/anypop/v1/audit", params={"operation": "open_console"}).json()["results"]
    assert (rows[-1]["subject"], rows[-1]["after"]) == (INSTANCE, {"container": "web"})
    for value in ("false", "true"):
        change = {"metadata": {"annotations": {"workload.platform.stackpath.net/remote-management": value}}}
        assert process.client.patch(f"{BASE}/fun", json={"workload": change}).status_code == 200
        with agent(process, echo), contextlib.ExitStack() as left:
            if value == "false":
                refused = left.enter_context(pytest.raises(InvalidStatus, match="400"))
            left.enter_context(dial(process, path, process.client.headers))
    assert b"remote-management" in refused.value.response.body


@pytest.mark.parametrize("port", ["", "0", "65536", "x", "-1", "99999999999"])
def test_a_port_that_is_none_is_refused(process: Process, port: str) -> None:
    with agent(process, says()) as there:
        with pytest.raises(InvalidStatus) as refused, dial(process, port_path(port), process.client.headers):
            pass
        assert refused.value.response.status_code == 400
        assert there.asked == []


def test_a_command_that_may_not_be_is_refused_before_any_stream(process: Process) -> None:
    """As a request is: with a status, and every problem. No host is asked."""
    with agent(process, says()) as there:
        cases = [
            (exec_path("command=id"), {}, 401),
            (exec_path("command=id", "other-0"), process.client.headers, 404),
            (exec_path("command=&rows=0&columns=x&tty=maybe"), process.client.headers, 400),
            (exec_path("command=id&container_name=db"), process.client.headers, 404),
            (exec_path("command=id"), process.agent("AMS"), 401),
            (port_path("80"), {}, 401),
            (port_path("80", "other-0"), process.client.headers, 404),
            (port_path("80"), process.agent("AMS"), 401),
        ]
        for path, headers, status in cases:
            with pytest.raises(InvalidStatus) as refused, dial(process, path, headers):
                pass
            assert refused.value.response.status_code == status, path
        assert there.asked == []


def test_another_account_reaches_no_instance_of_this_one(process: Process, stranger: Credential) -> None:
    who = {"client_id": stranger.client_id, "client_secret": stranger.secret}
    token = process.client.post("/identity/v1/oauth2/token", json=who).json()["access_token"]
    other = {"authorization": f"Bearer {token}"}
    with agent(process, says(b"secret\n")) as there:
        path = f"{BASE}/fun/instances/{INSTANCE}/logs"
        assert process.client.get(path, headers=other).status_code == 404
        for way in (exec_path("command=id"), port_path("80")):
            with pytest.raises(InvalidStatus) as refused, dial(process, way, other):
                pass
            assert refused.value.response.status_code == 404
        assert there.asked == []


def test_an_agent_answers_for_its_own_host_alone(process: Process) -> None:
    """Neither the channel nor a stream of another host is its."""
    with agent(process, says(b"x\n")) as there:
        for what in ("streams", "streams/00000000000000000000000000000000"):
            with pytest.raises(InvalidStatus) as refused, there.dial(what, host="LHR"):
                pass
            assert refused.value.response.status_code == 403
        unknown = there.dial("streams/00000000000000000000000000000000")
        with pytest.raises(InvalidStatus) as refused, unknown:
            pass
        assert refused.value.response.status_code == 404
        ours = dial(process, "/anypop/v1/agents/AMS/streams", process.client.headers)
        with pytest.raises(InvalidStatus) as refused, ours:
            pass
        assert refused.value.response.status_code == 401

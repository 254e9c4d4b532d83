"""Sending logs: the forms of receivers, how far each log has been sent, what is lost and counted, and where nothing of
a tenant's is ever sent.
"""

import asyncio
import contextlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from anypop.agent.decide.log_choice import Choice
from anypop.agent.log_names import BEFORE, LOG
from anypop.agent.shipping import files, formats, shipper
from anypop.agent.shipping.formats import Sent, Source
from anypop.agent.shipping.reading import Position, Reader
from anypop.agent.shipping.sending import NotNow, Sender
from anypop.agent.shipping.shipper import Shipper
from anypop.model.codec import to_json
from anypop.model.log_sinks import LogSink, problems
from anypop.model.log_text import Level
from anypop.outgoing.address import why_not
from tests.otlp_receiver import OtlpReceiver
from tests.unit.test_log_search import at, entry
from tests.wait import until

ERROR = '{"level":"error","msg":"disk full","disk":"sda","n":5}'


def source(folder: Path, uid: str = "u1", stack: str = "s1") -> Source:
    return Source(
        uid=uid, container="web", folder=str(folder), instance="fun-eu-ams-0", workload="fun", stack=stack, pop="AMS",
        host="AMS",
    )  # fmt: skip


def sink(**more: Any) -> LogSink:
    given: dict[str, Any] = {"id": "a", "name": "a", "kind": "loki", "address": "http://127.0.0.1:9/loki/api/v1/push"}
    return LogSink(**(given | more))


def sent(text: str, number: int = 1, *, errors: bool = False) -> Sent:
    return Sent(source=source(Path("/x")), at=at(number), errors=errors, text=text)


# forms


def test_a_message_of_syslog_has_the_parts_that_the_standard_says() -> None:
    """RFC 5424, section 6: PRI of local0 and the level, version, moment with microseconds, names, structured data."""
    found = re.fullmatch(
        rb"<(\d+)>1 (\S+) (\S+) (\S+) - - \[anypop@32473 ((?:\S+=\"(?:[^\"\\\]]|\\.)*\" ?)+)\] (.*)",
        formats.syslog(sent(ERROR)),
    )
    assert found is not None
    assert found.groups()[:4] == (b"131", b"2026-01-31T10:00:00.001000Z", b"fun-eu-ams-0", b"web")
    assert b'workload="fun"' in found[5] and found[6].decode() == ERROR
    odd = formats.syslog(Sent(source=source(Path("/x"), stack='a"]\\'), at=at(1), errors=False, text="x"))
    assert rb'stack="a\"\]\\"' in odd
    assert formats.counted(b"abc") == b"3 abc"


def test_a_push_of_loki_and_an_export_of_otlp_have_the_parts_that_are_documented() -> None:
    lines = [sent("one"), sent(ERROR, 2, errors=True), sent("two", 3)]
    push = json.loads(formats.loki(lines))
    assert [(s["stream"]["stream"], s["values"]) for s in push["streams"]] == [
        ("stdout", [[str(at(1)), "one"], [str(at(3)), "two"]]), ("stderr", [[str(at(2)), ERROR]]),
    ]  # fmt: skip
    assert push["streams"][0]["stream"].items() >= {"workload": "fun", "pop": "AMS", "container": "web"}.items()
    (resource,) = json.loads(formats.otlp(lines))["resourceLogs"]
    named = {a["key"]: a["value"]["stringValue"] for a in resource["resource"]["attributes"]}
    assert (named["service.name"], named["anypop.instance"]) == ("fun", "fun-eu-ams-0")
    records = resource["scopeLogs"][0]["logRecords"]
    assert [r["timeUnixNano"] for r in records] == [str(at(n)) for n in (1, 2, 3)], "numbers of 64 bits are text"
    assert (records[1]["severityNumber"], records[1]["body"]) == (17, {"stringValue": "disk full"})
    assert {"key": "n", "value": {"stringValue": "5"}} in records[1]["attributes"]
    assert "severityNumber" not in records[0]


def test_the_time_that_a_line_has_of_its_own_is_not_lost() -> None:
    """It stands beside the moment at which the host kept the line, whatever its field was called."""
    (resource,) = json.loads(formats.otlp([sent('{"ts": "2026-01-31T10:00:00Z", "msg": "late"}'), sent("plain")]))[
        "resourceLogs"
    ]
    own = [
        [a["value"]["stringValue"] for a in record["attributes"] if a["key"] == "time"]
        for record in resource["scopeLogs"][0]["logRecords"]
    ]
    assert own == [["2026-01-31T10:00:00Z"], []]


def test_opentelemetrys_own_library_reads_what_is_sent() -> None:
    """By a receiver that has it: resource, level, body and attributes of each line, and numbers of 64 bits."""
    receiver = OtlpReceiver()

    async def send() -> int:
        sender = Sender(sink(kind="otlp", address=f"{receiver.address}/v1/logs"), ())
        try:
            return await sender.send([sent("one"), sent(ERROR, 2, errors=True)])
        finally:
            await sender.close()

    try:
        assert asyncio.run(send()) == 0
    finally:
        receiver.close()
    (resource,) = receiver.messages[0].resource_logs
    named = {a.key: a.value.string_value for a in resource.resource.attributes}
    assert (named["service.name"], named["anypop.host"]) == ("fun", "AMS")
    one, two = resource.scope_logs[0].log_records
    assert (one.body.string_value, one.time_unix_nano, one.severity_number) == ("one", at(1), 0)
    assert (two.body.string_value, two.severity_number, two.severity_text) == ("disk full", 17, "error")


# positions


def read(reader: Reader) -> list[str]:
    """All that is there, taken."""
    found: list[str] = []
    reader.follow()
    while True:
        lines, position = reader.next(Choice())
        if position is None:
            return found
        reader.position = position
        found += [line.text for line in lines]


def test_lines_come_once_in_order_over_full_logs_and_again_where_they_were_not_taken(tmp_path: Path) -> None:
    log = tmp_path / LOG
    log.write_bytes(entry("one", at(1)) + entry("half ", at(2), kind="P"))
    reader = Reader(source(tmp_path), None)
    assert read(reader) == ["one"], "a line that is not whole waits"
    with log.open("ab") as file:
        file.write(entry("line", at(2)))
    reader.follow()
    before = reader.next(Choice())
    assert reader.next(Choice()) == before, "what was not taken comes again"
    assert read(reader) == ["half line"]
    with log.open("ab") as file:
        file.write(entry("last of the full one", at(3)))
    log.rename(tmp_path / BEFORE)
    log.write_bytes(entry("next", at(4)))
    assert read(reader) == ["last of the full one", "next"]
    again = Reader(source(tmp_path), reader.position)
    assert (read(again), again.lost) == ([], 0), "another process goes on there"
    for one in (reader, again):
        one.close()


def test_what_was_thrown_away_unsent_is_counted(tmp_path: Path) -> None:
    log = tmp_path / LOG
    log.write_bytes(entry("sent", at(0)))
    reader = Reader(source(tmp_path), None)
    assert read(reader) == ["sent"]
    for turn in range(3):  # full three times while the receiver is away
        with log.open("ab") as file:
            file.write(b"".join(entry(f"{turn} {n}", at(n)) for n in range(10)))
        log.replace(tmp_path / BEFORE)
        log.write_bytes(b"")
        reader.follow()
    assert reader.lost == 20
    assert read(reader) == [f"2 {n}" for n in range(10)]
    assert reader.behind() == 0
    reader.close()


def test_last_words_of_a_container_that_is_gone_are_still_there(tmp_path: Path) -> None:
    log = tmp_path / LOG
    log.write_bytes(entry("one", at(1)))
    reader = Reader(source(tmp_path), None)
    reader.follow()
    with log.open("ab") as file:
        file.write(entry("farewell", at(2)))
    log.unlink()
    assert read(reader) == ["one", "farewell"]
    reader.close()


# a receiver


class Receiver:
    """HTTP on loopback; `answer`: its status."""

    def __init__(self) -> None:
        self.answer, self.bodies, self.headers = 204, list[Any](), list[Any]()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if receiver.answer < 300:
                    receiver.bodies.append(json.loads(body))
                    receiver.headers.append(dict(self.headers))
                self.send_response(receiver.answer)
                if receiver.answer == 302:
                    self.send_header("location", "http://127.0.0.1:1/")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/loki/api/v1/push"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def lines(self) -> list[str]:
        return [v[1] for body in self.bodies for stream in body["streams"] for v in stream["values"]]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    for name in ("RESTED_S", "KEPT_EVERY_S", "FIRST_WAIT_S", "LONGEST_WAIT_S"):
        monkeypatch.setattr(shipper, name, 0.02)
    made = Receiver()
    yield made
    made.close()


@contextlib.asynccontextmanager
async def shipping(folder: Path, news: asyncio.Event | None = None) -> Any:
    working = asyncio.create_task(Shipper(folder).run(news or asyncio.Event()))
    try:
        yield
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


def told(folder: Path) -> Any:
    found = files.read(folder, files.Told)
    assert found is not None
    return found.sinks[0]


def test_lines_wait_in_their_files_until_the_receiver_is_there_and_go_on_after_a_restart(
    tmp_path: Path, receiver: Receiver
) -> None:
    state, log = tmp_path / "state", tmp_path / LOG
    log.write_bytes(entry("before there was a receiver", at(0)))
    files.write(state, files.Sources(containers=(source(tmp_path),)))
    files.write(
        state,
        files.Receivers(
            sinks=(sink(address=receiver.address, tenant="t", authorization="Bearer hush", level=Level.INFO),)
        ),
    )
    receiver.answer = 503

    def write(*texts: str) -> None:
        with log.open("ab") as file:
            file.write(b"".join(entry(text, at(n)) for n, text in enumerate(texts, 1)))

    def begun() -> bool:
        kept = files.read(state, files.Positions)
        return kept is not None and bool(kept.of.get("a"))

    async def run() -> None:
        async with shipping(state):
            await until(begun, "it has begun")
            write("one", '{"level":"debug","msg":"too little"}', "two")
            await until(lambda: told(state).error, "the absence is told")
            assert "503" in told(state).error and told(state).behind > 0
            receiver.answer = 204
            await until(lambda: receiver.lines() == ["one", "two"], "they came when it was there")
            await until(lambda: told(state).sent == 2 and not told(state).error, "they are counted")
        write("three")
        async with shipping(state):
            await until(
                lambda: receiver.lines() == ["one", "two", "three"], "another process goes on, and repeats nothing"
            )
            receiver.answer = 400
            write("nobody takes this")
            await until(lambda: told(state).lost == 1, "what is refused for good is counted")
            receiver.answer = 204
            write("four")
            await until(lambda: receiver.lines()[-1] == "four", "and holds nothing up")

    asyncio.run(run())
    assert receiver.headers[0]["x-scope-orgid"] == "t" and receiver.headers[0]["authorization"] == "Bearer hush"
    assert (state / "receivers.json").stat().st_mode & 0o077 == 0


def test_a_line_that_is_written_goes_out_by_the_kernels_word(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody looks at files of those who say nothing: a look comes later than this test lasts."""
    for name in ("LOOK_S", "RESTED_S"):
        monkeypatch.setattr(shipper, name, 600.0)
    state, log = tmp_path / "state", tmp_path / LOG
    log.write_bytes(entry("before", at(0)))
    files.write(state, files.Sources(containers=(source(tmp_path),)))
    files.write(state, files.Receivers(sinks=(sink(address=receiver.address),)))
    receiver.answer = 204

    async def run() -> None:
        news = asyncio.Event()
        async with shipping(state, news):
            news.set()
            await until(lambda: files.read(state, files.Positions) is not None, "it has begun")
            with log.open("ab") as file:
                file.write(entry("one", at(1)))
            await until(lambda: receiver.lines() == ["one"], "it came")
            log.rename(tmp_path / BEFORE)
            log.write_bytes(entry("two", at(2)))
            await until(lambda: receiver.lines() == ["one", "two"], "the next log's came")
            await until(lambda: told(state).sent == 2, "and is counted")

    asyncio.run(run())


class Unread:
    """A receiver of syslog that takes bytes and reads none, until it is told to; how it ends a connection is said."""

    def __init__(self) -> None:
        self.reads, self.text = False, b""
        self._open: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._open.append(self._server.accept()[0])
                if self.reads:
                    threading.Thread(target=self._read, args=(self._open[-1],), daemon=True).start()

    def _read(self, one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := one.recv(1 << 16):
                self.text += piece

    def breaks(self, *, in_order: bool = False) -> None:
        """Closing with unread bytes is a break (RST); having read them, a goodbye."""
        one = self._open.pop()
        if in_order:
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while one.recv(1 << 16):
                    pass
        one.close()

    def close(self) -> None:
        self._server.close()
        for one in self._open:
            one.close()


def test_what_a_receiver_of_syslog_had_not_read_when_it_broke_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nothing new is written; what was sent before a goodbye does not."""
    for name in ("RESTED_S", "KEPT_EVERY_S", "FIRST_WAIT_S", "LONGEST_WAIT_S"):
        monkeypatch.setattr(shipper, name, 0.02)
    receiver, state, log = Unread(), tmp_path / "state", tmp_path / LOG
    log.write_bytes(b"")
    files.write(state, files.Sources(containers=(source(tmp_path),)))
    files.write(state, files.Receivers(sinks=(sink(kind="syslog", address=receiver.address),)))

    def write(text: str) -> None:
        with log.open("ab") as file:
            file.write(entry(text, at(1)))

    async def sent_are(count: int) -> None:
        await until(lambda: told(state).sent == count, f"{count} are counted as sent")

    async def run() -> None:
        async with shipping(state):
            await until(lambda: (found := files.read(state, files.Positions)) and found.of.get("a"), "it has begun")
            for count, text in enumerate(("one", "two"), 1):
                write(text)
                await sent_are(count)
            receiver.breaks(in_order=True)
            write("three")
            await sent_are(3)
            receiver.reads = True
            receiver.breaks()
            await until(lambda: b"three" in receiver.text, "it comes again, though nothing new was written")
            await sent_are(3)
            write("four")
            await until(lambda: b"four" in receiver.text, "and it goes on")
            assert told(state).lost == 0

    try:
        asyncio.run(run())
    finally:
        receiver.close()
    assert receiver.text.count(b"] three") == 1 and b"] one" not in receiver.text


def test_a_stack_gets_its_own_lines_alone(tmp_path: Path, receiver: Receiver) -> None:
    state = tmp_path / "state"
    for name in ("mine", "theirs"):
        (tmp_path / name).mkdir()
    files.write(state, files.Receivers(sinks=(sink(address=receiver.address, stack="mine"),)))

    async def run() -> None:
        ships = Shipper(state)
        allowed = Sender(sink(address=receiver.address, stack="mine"), (), refused=lambda *_: "")
        await ships._look()
        ships._works["a"].sender = allowed
        both = [source(tmp_path / name, uid=name, stack=name) for name in ("mine", "theirs")]
        files.write(state, files.Sources(containers=tuple(both)))
        for one in both:
            (Path(one.folder) / LOG).write_bytes(entry(f"of {one.uid}", at(1)))
        await ships._look()
        await until(receiver.lines, "its lines came")
        await ships._end(ships._works["a"])

    asyncio.run(run())
    assert receiver.lines() == ["of mine"]


# where nothing is sent


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "::1", "fe80::1",
     "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "8.8.4.1"],
)  # fmt: skip
def test_no_tenants_lines_go_inside(address: str) -> None:
    assert why_not(address, (IPv4Network("8.8.4.0/24"),))


def test_a_tenants_name_that_leads_inside_is_refused_in_words_and_no_redirect_is_followed(receiver: Receiver) -> None:
    async def run() -> None:
        theirs = Sender(sink(address=receiver.address.replace("127.0.0.1", "localhost"), stack="s1"), ())
        with pytest.raises(NotNow, match="loopback address: nothing is sent there"):
            await theirs.send([sent("x")])
        for address in ("tcp://localhost:1", "udp://localhost:1"):
            with pytest.raises(NotNow, match="nothing is sent there"):
                await Sender(sink(kind="syslog", address=address, stack="s1"), ()).send([sent("x")])
        receiver.answer = 302
        operators = Sender(sink(address=receiver.address), ())
        with pytest.raises(NotNow, match="302"):
            await operators.send([sent("x")])
        await operators.close()

    asyncio.run(run())
    assert receiver.bodies == []
    assert why_not("8.8.8.8", ()) == ""


def test_a_secret_is_in_no_word_about_a_receiver() -> None:
    one = sink(authorization="Bearer hush")
    assert "hush" not in repr(one) and "hush" not in str(files.Receivers(sinks=(one,)))
    assert b"hush" in to_json(one), "but in the file of the host that needs it"


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"name": "A"}, "s.name"), ({"address": "ftp://x"}, "s.address"), ({"address": "http://"}, "s.address"),
        ({"address": "http://u:p@x/"}, "s.address"), ({"kind": "syslog", "address": "tcp://x/path"}, "s.address"),
        ({"authorization": "a\r\nb"}, "s.authorization"), ({"ca": "x"}, "s.ca"),
        ({"address": "http://[x/"}, "s.address"), ({"authorization": "x", "stack": "s"}, "s.address"),
    ],
)  # fmt: skip
def test_every_wrong_word_is_told(more: dict[str, Any], path: str) -> None:
    assert path in {problem.path for problem in problems(sink(**more), "s")}


def test_positions_and_counters_are_read_back(tmp_path: Path) -> None:
    kept = files.Positions(of={"a": {"u/web": Position(inode=1, at=2)}})
    assert files.write(tmp_path, kept) and not files.write(tmp_path, kept)
    assert files.read(tmp_path, files.Positions) == kept
    (tmp_path / "positions.json").write_text("{")
    assert files.read(tmp_path, files.Positions) is None

"""The real control process against those who send half of something: memory, deadlines, bounds, and what honest clients
see of it.
"""

import contextlib
import json
import socket
import ssl
import time
from pathlib import Path

from tests.contract.test_api_process import Process, running
from tests.contract.test_streams import dial
from tests.half_open import CUT_BODY, CUT_HEADERS, HURRIED, WITHOUT, half_open
from tests.wait import wait_until

HEALTH = b"GET /anypop/v1/healthz HTTP/1.1\r\nhost: control\r\n"


def connected(process: Process, source: str = "127.0.0.1") -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(socket.create_connection(("127.0.0.1", process.port), 10, (source, 0)))


def answer(link: ssl.SSLSocket) -> bytes:
    """All that comes until the other side closes, at most for ten seconds."""
    link.settimeout(10)
    found = b""
    try:
        while part := link.recv(65536):
            found += part
    except (ConnectionError, ssl.SSLError):
        pass
    return found


def reply(link: ssl.SSLSocket) -> bytes:
    """One whole answer of healthz."""
    link.settimeout(10)
    found = b""
    while not found.endswith(b"}"):
        found += link.recv(4096)
    return found


def test_half_requests_cost_little_and_honest_clients_see_nothing_of_them(tmp_path: Path) -> None:
    """1,200 half requests of one address cost less than half of what 200 do when nothing is done against them (each a
    quarter of a MiB then); others are answered meanwhile; few lines in the log and no traceback.
    """
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
    with running(tmp_path / "without", program=("-c", WITHOUT)) as process:
        bare = half_open(("127.0.0.1", process.port), pid=process.child.pid, count=200)
        assert bare.inside == 200 and bare.grown_mb > 50, bare
    with running(tmp_path / "with") as process:
        found = half_open(("127.0.0.1", process.port), pid=process.child.pid, count=1200)
        assert found.grown_mb < bare.grown_mb / 2, (found, bare)
        assert process.client.get("/stack/v1/stacks").status_code == 200
        with connected(process, "127.0.0.9") as other:
            other.sendall(HEALTH + b"connection: close\r\n\r\n")
            assert answer(other).startswith(b"HTTP/1.1 200")
        wait_until(lambda: "ended before its body" in process.log(), timeout_s=10, reason="half bodies are told")
        log = process.log()
        # two kinds are told each ten seconds, for as long as it takes: no line for each of 1,200
        assert "Traceback" not in log and len(log.splitlines()) < 100, log
        # a slow machine opens them so slowly that the oldest goes before there are too many of one address
        assert "was refused: it has" in log or "had not come after 1 s" in log


def test_headers_and_bodies_have_deadlines_and_nothing_else_has(tmp_path: Path) -> None:
    """408 in the usual shape, in time; who idles between two requests, waits for an order, or is slow within the time
    is not hurried, nor is a stream, which is no request any more.
    """
    with running(tmp_path, program=("-c", HURRIED)) as process, contextlib.ExitStack() as links:
        stream = links.enter_context(dial(process, "/anypop/v1/agents/AMS/streams", process.agent("AMS")))
        idle = links.enter_context(connected(process))
        idle.sendall(HEALTH + b"\r\n")  # before the others come: a handshake takes its time, and it has a second
        assert reply(idle).startswith(b"HTTP/1.1 200")
        silent, head, body, slow = (links.enter_context(connected(process)) for _ in range(4))
        slow.sendall(HEALTH[:20])
        halves = [(head, CUT_HEADERS, "headers"), (body, CUT_BODY, "body")]
        began = time.monotonic()
        for link, half, _ in halves:
            link.sendall(half)
        slow.sendall(HEALTH[20:] + b"connection: close\r\n\r\n")
        assert answer(slow).startswith(b"HTTP/1.1 200")
        order = process.order("JFK")
        path = f"/anypop/v1/agents/JFK/order?after={order['generation']}&wait=3"
        assert process.client.get(path, headers=process.agent("JFK")).status_code == 204, "a long poll goes on"
        assert time.monotonic() - began > 2.9
        for link, _, part in halves:
            status, _, said = answer(link).partition(b"\r\n\r\n")
            assert status.startswith(b"HTTP/1.1 408"), status
            assert json.loads(said)["code"] == 4 and part in json.loads(said)["message"]
        assert answer(silent).startswith(b"HTTP/1.1 408"), "who says nothing at all is too late as well"
        idle.sendall(HEALTH + b"\r\n")
        assert reply(idle).startswith(b"HTTP/1.1 200"), "between two requests there is no deadline but uvicorn's"
        idle.sendall(HEALTH)
        assert answer(idle).startswith(b"HTTP/1.1 408"), "the second request on a connection has one again"
        assert stream.ping().wait(60), "an agent's channel was silent for all that time, and works on"
        assert "Traceback" not in process.log()


def test_a_client_that_leaves_in_the_middle_is_one_line_and_one_who_makes_no_sense_is_answered(tmp_path: Path) -> None:
    """Not a traceback of thirty. What is no HTTP, and what is far too long, is answered as all that is wrong with a
    request: 400 with code 3, the gateway's header and an id; also to whoever sends on meanwhile.
    """
    with running(tmp_path) as process:
        before = process.log().splitlines()
        with connected(process) as link:
            link.sendall(CUT_BODY)
        wait_until(lambda: "ended before its body did" in process.log(), timeout_s=20, reason="it is told")
        assert "Traceback" not in process.log() and len(process.log().splitlines()) == len(before) + 1
        for head in (b"NONSENSE\r\n\r\n", b"GET /" + b"x" * (256 << 10)):
            with connected(process) as link:
                link.sendall(head)
                told = answer(link)
            lines, _, body = told.partition(b"\r\n\r\n")
            assert lines.startswith(b"HTTP/1.1 400") and b"grpc-metadata-content-type: application/grpc" in lines
            assert json.loads(body)["code"] == 3 and json.loads(body)["details"]

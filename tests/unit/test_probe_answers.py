"""What probes take for an answer, and what one by HTTP sends: redirects, headers, TLS, and answers that are none."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from anypop.agent.observe.ask import ask
from anypop.control import ca
from anypop.model.workload import Probe, ProbeKind

HERE = IPv4Address("127.0.0.1")


async def _nobody(_: tuple[str, ...], __: float) -> int:
    raise AssertionError("nothing is run inside")


def _asked(
    answer: bytes, probe: Callable[[int], Probe], secure: ssl.SSLContext | None = None
) -> tuple[str | None, list[bytes]]:
    """What came of one question to a server that gives `answer`, and the heads of the requests that it got."""
    heads: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.transport.set_write_buffer_limits(0)
        try:
            await writer.drain()
        except OSError:  # who asked has heard enough
            return
        writer.close()

    async def whole() -> str | None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=secure)
        async with server:
            return await ask(probe(server.sockets[0].getsockname()[1]), HERE, _nobody)

    return asyncio.run(whole()), heads


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    """Wherever it leads."""
    answer = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/elsewhere\r\n\r\n"
    told, heads = _asked(answer, lambda port: Probe(kind=ProbeKind.HTTP, port=port, path="/here"))
    assert told is None
    assert [head.split(b"\r\n")[0] for head in heads] == [b"GET /here HTTP/1.1"]


@pytest.mark.parametrize(("status", "good"), [(199, False), (200, True), (302, True), (399, True), (400, False)])
def test_http_is_good_from_200_to_399(status: int, good: bool) -> None:
    told, _ = _asked(f"HTTP/1.1 {status} X\r\n\r\n".encode(), lambda port: Probe(kind=ProbeKind.HTTP, port=port))
    assert told == (None if good else f"HTTP status {status}")


def test_tcp_is_good_where_somebody_listens_and_nothing_need_be_said() -> None:
    told, heads = _asked(b"", lambda port: Probe(kind=ProbeKind.TCP, port=port))
    assert (told, heads) == (None, [])
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    assert asyncio.run(ask(Probe(kind=ProbeKind.TCP, port=port), HERE, _nobody)) is not None


@pytest.mark.parametrize("code", [0, 1, 126])
def test_a_command_is_good_where_it_ends_with_zero(code: int) -> None:
    async def run(words: tuple[str, ...], timeout_s: float) -> int:
        assert (words, timeout_s) == (("up",), 1)
        return code

    told = asyncio.run(ask(Probe(kind=ProbeKind.EXEC, command=("up",)), HERE, run))
    assert told == (None if code == 0 else f"exit code {code}")


def test_declared_headers_replace_ours_whatever_their_case() -> None:
    """One `Host` in a request; further ones beside it."""
    headers = (("host", "app.example"), ("X-Probe", "yes"))
    told, (head,) = _asked(
        b"HTTP/1.1 204 No Content\r\n\r\n", lambda port: Probe(kind=ProbeKind.HTTP, port=port, headers=headers)
    )  # fmt: skip
    assert told is None
    lines = head.decode().split("\r\n")
    assert [line for line in lines if line.lower().startswith("host:")] == ["host: app.example"]
    assert "X-Probe: yes" in lines


@pytest.mark.parametrize("answer", [b"x" * 200_000, b"HTTP/1.1 " + b"2" * 200_000])
def test_an_answer_without_end_is_none(answer: bytes) -> None:
    """It is told as such, and the next question is asked all the same."""
    told, _ = _asked(answer, lambda port: Probe(kind=ProbeKind.HTTP, port=port, timeout_s=5))
    assert told is not None
    assert "nobody can read" in told


def test_https_asks_whether_it_answers_not_who_it_is(tmp_path: Path) -> None:
    """A certificate of an authority that nobody knows, for another name; without TLS behind the port it is none."""
    made = ca.ensure(tmp_path, ["other.example"], now=datetime.now(UTC))
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secure.load_cert_chain(made.certificate, made.key)
    told, heads = _asked(
        b"HTTP/1.1 200 OK\r\n\r\n",
        lambda port: Probe(kind=ProbeKind.HTTP, port=port, scheme="HTTPS", timeout_s=5),
        secure,
    )
    assert (told, len(heads)) == (None, 1)

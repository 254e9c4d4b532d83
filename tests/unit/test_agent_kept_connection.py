"""The connection over which reports go: kept from post to post, opened anew when it has to be, never left half used."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from anypop.agent.kept_connection import KeptConnection

TAKEN = b"HTTP/1.1 204 No Content\r\n\r\n"
SILENCE_S = 60.0  # of a machine that is full; a test that waits for it sets less
Asks = Callable[[str, KeptConnection], Awaitable[None]]
Answer = Callable[[int, bytes], bytes | None]


def asked(answer: Answer, asks: Asks, *, silence_s: float = SILENCE_S, kept_s: float = 60.0) -> list[list[bytes]]:
    """The requests of each connection, one after the other, of a server that gives these answers (by the number of the
    request; None: it closes without one).
    """
    seen: list[list[bytes]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mine: list[bytes] = []
        seen.append(mine)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.startswith(b"Content-Length"))
                mine.append(head + await reader.readexactly(length))
                said = answer(sum(map(len, seen)), mine[-1])
                if said is None:
                    break
                writer.write(said)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        connection = KeptConnection(ssl.create_default_context(), silence_s=silence_s, kept_s=kept_s)
        try:
            await asks(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/report", connection)
        finally:
            connection.close()
            server.close()
            await server.wait_closed()

    asyncio.run(run())
    return seen


def test_posts_go_over_one_connection_and_arrive_whole() -> None:
    """Three posts, one of them larger than any buffer on the way: one connection, each octet of them."""
    large = b"0123456789" * 300_000

    async def asks(url: str, connection: KeptConnection) -> None:
        assert await connection.ask("POST", url, {"A": "1"}, b"one") == (204, b"")
        assert await connection.ask("POST", url, {"A": "2"}, large) == (204, b"")
        assert await connection.ask("POST", url, {"A": "3"}, b"") == (204, b"")

    (one,) = asked(lambda *_: TAKEN, asks)
    assert [request.partition(b"\r\n\r\n")[2] for request in one] == [b"one", large, b""]
    assert all(b"\r\nA: " in request and b"\r\nHost: 127.0.0.1:" in request for request in one)


def test_what_a_refusal_says_is_given_back_and_the_connection_stays() -> None:
    """Also in chunks, and after a word that is no answer yet."""
    refusal = (
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"6\r\nstands\r\n3\r\n by\r\n0\r\n\r\n"
    )

    async def asks(url: str, connection: KeptConnection) -> None:
        assert await connection.ask("POST", url, {}, b"x") == (503, b"stands by")
        assert await connection.ask("POST", url, {}, b"x") == (204, b"")

    assert [len(each) for each in asked(lambda n, _: refusal if n == 1 else TAKEN, asks)] == [2]


def test_a_connection_that_control_gives_up_is_opened_anew() -> None:
    """With the answer, or without one: the next post goes over another connection."""
    last = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"

    async def asks(url: str, connection: KeptConnection) -> None:
        assert await connection.ask("POST", url, {}, b"x") == (200, b"ok")
        with pytest.raises(ConnectionError):
            await connection.ask("POST", url, {}, b"x")
        assert await connection.ask("POST", url, {}, b"x") == (204, b"")

    answers = {1: last, 2: None, 3: TAKEN}
    assert [len(each) for each in asked(lambda n, _: answers[n], asks)] == [1, 1, 1]


def test_a_new_certificate_or_a_long_pause_opens_it_anew() -> None:
    """What was shown when it was opened holds for the whole of a connection."""

    async def asks(url: str, connection: KeptConnection) -> None:
        await connection.ask("POST", url, {}, b"x")
        connection.renew(ssl.create_default_context())
        await connection.ask("POST", url, {}, b"x")

    assert [len(each) for each in asked(lambda *_: TAKEN, asks)] == [1, 1]

    async def twice(url: str, connection: KeptConnection) -> None:
        await connection.ask("POST", url, {}, b"x")
        await connection.ask("POST", url, {}, b"x")

    assert [len(each) for each in asked(lambda *_: TAKEN, twice, kept_s=0.0)] == [1, 1]


@pytest.mark.parametrize(
    "said", [b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n"]
)
def test_what_is_no_answer_is_an_error_and_not_kept(said: bytes) -> None:
    """Another protocol's words, or more bytes than any answer has; what comes after is not taken for an answer."""
    said = said + b"x" * 9_999_999 if said.startswith(b"HTTP") else said

    async def asks(url: str, connection: KeptConnection) -> None:
        with pytest.raises(OSError, match="answer"):
            await connection.ask("POST", url, {}, b"x")
        assert await connection.ask("POST", url, {}, b"x") == (204, b"")

    assert [len(each) for each in asked(lambda n, _: said if n == 1 else TAKEN, asks)] == [1, 1]


def test_silence_ends_a_post_and_its_connection() -> None:
    """An answer that comes after its time would be taken for that of the next post."""

    async def asks(url: str, connection: KeptConnection) -> None:
        with pytest.raises(TimeoutError):
            await connection.ask("POST", url, {}, b"first")
        connection._silence_s = SILENCE_S
        assert await connection.ask("POST", url, {}, b"second") == (204, b"")

    *_, last = asked(lambda _, request: TAKEN if request.endswith(b"second") else b"", asks, silence_s=0.2)
    assert len(last) == 1


def test_nobody_there_is_an_error_of_the_system() -> None:
    """So that whoever posts asks the next control."""

    async def run(port: int) -> None:
        connection = KeptConnection(ssl.create_default_context(), silence_s=SILENCE_S, kept_s=60)
        with pytest.raises(ConnectionRefusedError):
            await connection.ask("POST", f"http://127.0.0.1:{port}/report", {}, b"x")

    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        asyncio.run(run(deaf.getsockname()[1]))


def test_a_unix_socket_leads_there_whatever_the_address_says(tmp_path: Path) -> None:
    """Podman is asked so; two questions go over one connection, and an answer may be as long as it is allowed to."""
    seen, place, over = list[bytes](), tmp_path / "there", asyncio.Event()
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 2_000_000

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                seen.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(said)
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        over.set()

    async def run() -> None:
        server = await asyncio.start_unix_server(serve, place)
        connection = KeptConnection(None, silence_s=SILENCE_S, kept_s=60, socket=place, longest=2_000_000)
        for _ in range(2):
            status, told = await connection.ask("GET", "http://podman/list?all=true")
            assert (status, len(told)) == (200, 2_000_000)
        connection.close()
        await asyncio.wait_for(over.wait(), 60)
        server.close()
        await server.wait_closed()

    asyncio.run(run())
    assert [request.split(b"\r\n")[0] for request in seen] == [b"GET /list?all=true HTTP/1.1"] * 2

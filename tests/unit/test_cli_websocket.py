"""A WebSocket of the command line between threads: both directions at once, and its end for who still waits."""

import socket
import threading
from collections.abc import Iterator

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from anypop.cli.websocket import WebSocket

PIECE, PIECES = b"x" * 30_000, 100


def _answered(there: ServerConnection) -> None:
    """Sends back what comes; `silent` gets nothing."""
    for message in there:
        if message == b"end":
            return
        if there.request is not None and there.request.path != "/silent":
            there.send(message)


def _refused(_: ServerConnection, request: Request) -> Response | None:
    return Response(403, "Forbidden", Headers(), b"no") if request.path == "/refused" else None


@pytest.fixture
def server() -> Iterator[str]:
    with serve(_answered, "127.0.0.1", 0, process_request=_refused) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield _address(found)
        found.shutdown()
        thread.join()


def _address(server: Server) -> str:
    return f"ws://127.0.0.1:{server.socket.getsockname()[1]}"


def opened(address: str) -> WebSocket:
    return WebSocket(address, None, {}, patience_s=10)


def test_one_thread_sends_while_another_reads(server: str) -> None:
    with opened(server) as there:

        def give() -> None:
            for _ in range(PIECES):
                there.send(PIECE)
            there.send(b"end")

        giving = threading.Thread(target=give)
        giving.start()
        assert list(there) == [PIECE] * PIECES
        giving.join()


def test_who_still_reads_when_it_ends_is_told(server: str) -> None:
    told: list[BaseException] = []
    begun = threading.Event()

    def read(there: WebSocket) -> None:
        begun.set()
        try:
            there.recv()
        except ConnectionClosed as error:
            told.append(error)

    with opened(f"{server}/silent") as there:
        reading = threading.Thread(target=read, args=(there,))
        reading.start()
        begun.wait()
    reading.join(10)
    assert len(told) == 1
    with pytest.raises(ConnectionClosed):
        there.send(b"late")


def test_a_refusal_and_a_port_without_a_listener_are_told(server: str) -> None:
    with pytest.raises(InvalidStatus) as refused, opened(f"{server}/refused"):
        pass
    assert refused.value.response.status_code == 403
    with pytest.raises(OSError), opened("ws://127.0.0.1:1"):
        pass


def test_a_server_that_goes_before_it_has_answered_is_told_like_one_that_is_not_there() -> None:
    """As control does that is started anew at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def take_and_go() -> None:
            there, _ = listener.accept()
            with there:
                there.recv(1 << 16)

        going = threading.Thread(target=take_and_go)
        going.start()
        with pytest.raises(OSError), opened(f"ws://127.0.0.1:{listener.getsockname()[1]}"):
            pass
        going.join()

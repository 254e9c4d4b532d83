"""A `World` behind a socket on loopback, for what goes on: WebSockets and answers that have no end.

In: a world. Out: its address, and connections to it; and a host's agent that plays what people ask of its instances:
commands and ports say in capitals what they are told, logs say what a test says. No TLS: that is tested elsewhere.
"""

import asyncio
import contextlib
import queue
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from anypop.api.serve import server_config
from anypop.control.ends import End
from anypop.model.codec import from_json, to_json
from anypop.model.streams import CommandRequest, Frame, LogRequest, Opened, StreamRequest
from tests.control_world import World
from tests.wait import wait_until

PATIENCE_S = 20.0
Headers = Mapping[str, str]


class Served:
    """`http`: a client without a credential."""

    def __init__(self, world: World, server: uvicorn.Server) -> None:
        port = server.servers[0].sockets[0].getsockname()[1]
        self.world, self._server = world, server
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S, trust_env=False)
        self.address = f"127.0.0.1:{port}"
        self._address = f"ws://{self.address}"

    @contextmanager
    def socket(self, path: str, headers: Headers) -> Iterator[Connection]:
        more = {"authorization": headers["authorization"]}
        with connect(self._address + path, additional_headers=more, proxy=None, open_timeout=PATIENCE_S) as there:
            yield there

    def is_lost(self) -> None:
        """As if its machine were: nobody listens, and what is open breaks."""

        async def lose() -> None:
            for one in self._server.servers:
                one.close()
            for connection in [*self._server.server_state.connections]:
                connection.transport.abort()

        self.world.run(lose())


@contextmanager
def served(world: World) -> Iterator[Served]:
    """Until the end of the block."""
    config = server_config(world.platform)
    config.host, config.port, config.log_level = "127.0.0.1", 0, "critical"
    server = uvicorn.Server(config)
    serving = asyncio.run_coroutine_threadsafe(server.serve(), world._loop)
    wait_until(lambda: server.started or serving.done(), timeout_s=PATIENCE_S, reason="the server has begun")
    made = Served(world, server)
    try:
        yield made
    finally:
        accounts, held = world.platform.accounts, world.platform.held_open
        for account in accounts.accounts():
            accounts.ends.tell(End(why="the test is over", account_id=account.id))
        wait_until(lambda: not len(held), timeout_s=PATIENCE_S, reason="nobody has anything open any more")
        made.http.close()
        server.should_exit = server.force_exit = True
        serving.result(PATIENCE_S)


class PlayedAgent:
    """Of one host. `say`: to every log that is followed."""

    def __init__(self, there: Served, host: str) -> None:
        token = (there.world.folder / "agents" / f"{host}.token").read_text().strip()
        self._there, self._headers = there, {"authorization": f"Bearer {token}"}
        self._path = f"/anypop/v1/agents/{host}/streams"
        self._left = contextlib.ExitStack()
        self._channel = self._left.enter_context(there.socket(self._path, self._headers))
        self._logs: list[Connection] = []
        self.asked: list[Any] = []
        self._streams: list[Connection] = []
        self.commands: list[Connection] = []
        self.over: queue.Queue[Any] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def say(self, text: bytes) -> None:
        for one in self._logs:
            with contextlib.suppress(ConnectionClosed):
                one.send(text)

    def ends_logs(self) -> None:
        """As their containers do."""
        for one in self._logs:
            with contextlib.suppress(ConnectionClosed):
                one.close()

    def dies(self) -> None:
        """In the middle of all that it answers."""
        for one in self._streams:
            with contextlib.suppress(OSError):
                one.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._left.close()

    def _listen(self) -> None:
        with contextlib.suppress(WebSocketException):
            for message in self._channel:
                asked = from_json(StreamRequest, message)
                threading.Thread(target=self._answer, args=(asked,), daemon=True).start()

    def _answer(self, asked: StreamRequest) -> None:
        with (
            contextlib.suppress(WebSocketException, OSError),
            self._there.socket(f"{self._path}/{asked.id}", self._headers) as stream,
        ):
            stream.send(to_json(Opened()), text=True)
            self._streams.append(stream)
            if isinstance(asked.wanted, CommandRequest):
                self.commands.append(stream)
            self.asked.append(asked.wanted)
            if isinstance(asked.wanted, LogRequest):
                self._logs.append(stream)
                stream.send(b"begun\n")
            for frame in stream:
                assert isinstance(frame, bytes)
                stream.send(bytes([Frame.OUTPUT]) + frame[1:].upper())
        self.over.put(asked.wanted)

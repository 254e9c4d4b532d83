"""uvicorn as control runs it: deadlines for TLS, and an end within a second that answers those who wait first.

In: a configuration, bound sockets, the core whose waiters must be woken. Out: a server until SIGTERM or SIGINT.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
from collections.abc import Iterator, Sequence
from functools import partial

import uvicorn

from anypop.api.connection import Connection
from anypop.control.core import Core

log = logging.getLogger("anypop.api")

# Those who wait are answered within milliseconds of the signal; this is for the slowest of them.
FAREWELL_S = 0.4
# Two round trips around the world take half a second; asyncio would give a minute.
HANDSHAKE_S = 10.0
# A client that is asked to say goodbye and does not is no reason to keep its connection.
GOODBYE_S = 2.0


class Server(uvicorn.Server):
    """uvicorn, but a signal first wakes everyone who waits for news, and ends the process with code 0. `contexts`: of
    TLS, one for each socket that it will be given.
    """

    def __init__(self, config: uvicorn.Config, core: Core, contexts: Sequence[ssl.SSLContext]) -> None:
        super().__init__(config)
        self._core = core
        self._contexts = contexts
        self.deposed = False

    def depose(self) -> None:
        """End as a signal does, since another control is the active one."""
        self.deposed = True
        self._core.bell.close()
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's own, with deadlines for the beginning and the end of TLS, which it cannot be told."""
        await self.lifespan.startup()
        made = partial(
            Connection,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(
                made,
                sock=place,
                ssl=context,
                backlog=self.config.backlog,
                ssl_handshake_timeout=HANDSHAKE_S,
                ssl_shutdown_timeout=GOODBYE_S,
            )
            for place, context in zip(sockets or [], self._contexts, strict=True)
        ]
        self.started = True
        for place in sockets or []:
            log.info("listening on %s", place.getsockname()[:2])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        cut = asyncio.get_running_loop().call_later(FAREWELL_S, self._cut)
        try:
            await super().shutdown(sockets)
        finally:
            cut.cancel()

    def _cut(self) -> None:
        """End what is still open. TLS's farewell needs the other side, and a client between two requests does not
        listen for it.
        """
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()

        def leave() -> None:
            self._core.bell.close()
            self.should_exit = True

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, leave)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

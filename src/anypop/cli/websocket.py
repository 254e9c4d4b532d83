"""A WebSocket that several threads may use: one reads while another writes.

In: an address, how to trust it, headers. Out: whole messages. All of TLS happens in one thread of its own: OpenSSL
allows no two at a time in one connection, and what they do to each other there is lost data or an error out of nothing.
"""

import asyncio
import ssl
import threading
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import CancelledError
from typing import Any, Self, TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidMessage

_LARGEST = 1 << 20  # bytes of a message
_NOT_ALLOWED = 1008  # RFC 6455, section 7.4.1
Answer = TypeVar("Answer")


class WebSocket:
    """Open from `with` to its end. Raises what `websockets` raises: InvalidStatus where it is refused, OSError where
    nobody answers within `patience_s`, ConnectionClosed in `send` and `recv` when it is over.
    """

    def __init__(
        self, address: str, context: ssl.SSLContext | None, headers: Mapping[str, str], *, patience_s: float
    ) -> None:
        self._address, self._context, self._headers, self._patience_s = address, context, headers, patience_s
        self._loop, self._lock, self._is_open = asyncio.new_event_loop(), threading.Lock(), True
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._there = self._run(self._opened())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._run(self._there.close())
        finally:
            self._end()

    def send(self, message: bytes) -> None:
        """Returns when there is room for more."""
        self._run(self._there.send(message))

    def recv(self) -> bytes | str:
        """The next message."""
        return self._run(self._there.recv())

    def __iter__(self) -> Iterator[bytes | str]:
        """Each message, until it is closed as it should be."""
        while True:
            try:
                yield self.recv()
            except ConnectionClosedOK:
                return

    def close(self) -> None:
        """Whoever reads in another thread comes to the end."""
        self._run(self._there.close())

    @property
    def why_ended(self) -> str | None:
        """In control's words, where it ended this since whoever asked may go on no longer."""
        return self._there.close_reason or "" if self._there.close_code == _NOT_ALLOWED else None

    async def _opened(self) -> ClientConnection:
        try:
            return await connect(
                self._address, ssl=self._context, additional_headers=self._headers, compression=None,
                open_timeout=self._patience_s, max_size=_LARGEST, proxy=None,
            )  # fmt: skip
        except InvalidMessage as error:  # whoever took the connection was gone before it had answered
            raise ConnectionResetError(str(error)) from error

    def _run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        with self._lock:
            if not self._is_open:
                work.close()
                raise ConnectionClosedError(None, None)
            waited = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return waited.result()
        except CancelledError:  # `_end` came before its turn
            raise ConnectionClosedError(None, None) from None

    def _end(self) -> None:
        """Whoever still waits in another thread is told that it is over."""
        with self._lock:
            self._is_open = False
        asyncio.run_coroutine_threadsafe(_cancelled(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancelled() -> None:
    """All other tasks of this loop, to their end."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for one in others:
        one.cancel()
    await asyncio.gather(*others, return_exceptions=True)

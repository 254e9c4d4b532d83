"""To one receiver: a connection of syslog, or requests of HTTP, and whether what was sent was taken.

In: lines. Out: how many were refused for good; `NotNow` where it is to be tried again. A tenant's receiver is reached
at an address that is nobody's inside (`anypop.outgoing`).
"""

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from anypop.agent.shipping import formats
from anypop.agent.shipping.formats import Sent
from anypop.model.log_sinks import LogSink, Places
from anypop.outgoing.address import looked_up, why_not
from anypop.outgoing.posting import Poster, again_after_s, context_of

PATIENCE_S = 15.0


class NotNow(Exception):  # noqa: N818 - it reads as a verdict where it is raised
    """`wait_s`: what the receiver asks for; 0: nothing. `unread`: a stream broke, and what was sent by it before may
    not have been read.
    """

    def __init__(self, why: str, wait_s: float = 0, *, unread: bool = False) -> None:
        super().__init__(why)
        self.wait_s, self.unread = wait_s, unread


class Sender:
    """Of one sink."""

    def __init__(self, sink: LogSink, forbidden: Places, *, refused: Callable[[str, Places], str] = why_not) -> None:
        self._sink, self._forbidden, self._refused = sink, forbidden, refused
        self._scheme, self._host, self._port = sink.place
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._http: Poster | None = None

    async def close(self) -> None:
        if self._stream is not None:
            self._stream[1].close()
            self._stream = None
        if self._http is not None:
            await self._http.close()
            self._http = None

    def said_goodbye(self) -> bool:
        """Whether the receiver has ended the stream in order, so that there is none any more. Raises `NotNow` where it
        broke.
        """
        if self._stream is None or (self._stream[0].exception() is None and not self._stream[0].at_eof()):
            return False
        error, stream = self._stream[0].exception(), self._stream
        self._stream = None
        stream[1].close()
        if error is not None:
            raise NotNow(str(error) or "the connection broke", unread=True)
        return True

    async def send(self, lines: Sequence[Sent]) -> int:
        """How many were refused for good. Raises `NotNow`."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                match self._scheme:
                    case "udp":
                        return await self._datagrams(lines)
                    case "tcp" | "tls":
                        return await self._streamed(lines)
                    case _:
                        return await self._posted(lines)
        except (OSError, ssl.SSLError, TimeoutError, httpx.HTTPError, UnicodeError) as error:
            # who closes having read everything says goodbye (FIN); what breaks in any other way may hold unread bytes
            unread = self._stream is not None and not self._stream[0].at_eof()
            await self.close()
            raise NotNow(str(error) or f"no answer within {PATIENCE_S:g} s", unread=unread) from error

    async def _address(self) -> str:
        kind = socket.SOCK_DGRAM if self._scheme == "udp" else socket.SOCK_STREAM
        return await looked_up(self._host, self._port, kind, self._why_not)

    def _why_not(self, address: str) -> str:
        return self._refused(address, self._forbidden) if self._sink.stack else ""

    async def _datagrams(self, lines: Sequence[Sent]) -> int:
        address = await self._address()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as one:
            one.connect((address, self._port))
            for line in lines:
                message = formats.syslog(line)[: formats.LONGEST_DATAGRAM]
                await asyncio.get_running_loop().sock_sendall(one, message)
        return 0

    async def _streamed(self, lines: Sequence[Sent]) -> int:
        if self._stream is None:
            context = context_of(self._sink.ca) if self._scheme == "tls" else None
            self._stream = await asyncio.open_connection(
                await self._address(), self._port, ssl=context, server_hostname=self._host if context else None
            )
            _keep_asking(self._stream[1].get_extra_info("socket"))
        reader, writer = self._stream
        if reader.at_eof():
            raise ConnectionResetError("the receiver ended the connection")
        writer.write(b"".join(formats.counted(formats.syslog(line)) for line in lines))
        await writer.drain()
        # syslog has no word of thanks: what is heard at all soon after is that the connection is over
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.02):
                await reader.read(1)
        if reader.at_eof() or writer.is_closing():
            raise ConnectionResetError("the receiver ended the connection")
        return 0

    async def _posted(self, lines: Sequence[Sent]) -> int:
        if self._http is None:
            self._http = Poster(self._sink.address, self._port, self._why_not, ca=self._sink.ca, patience_s=PATIENCE_S)
        headers = {}
        if self._sink.authorization:
            headers["authorization"] = self._sink.authorization
        if self._sink.tenant:
            headers["x-scope-orgid"] = self._sink.tenant
        content = formats.loki(lines) if self._sink.kind == "loki" else formats.otlp(lines)
        answer = await self._http.post(content, headers)
        if answer.status_code < 300:
            return _rejected(answer) if self._sink.kind == "otlp" else 0
        if (wait_s := again_after_s(answer)) is not None:
            raise NotNow(f"it answers {answer.status_code}", wait_s)
        return len(lines)


def _keep_asking(connection: socket.socket) -> None:
    """A receiver whose machine is dead is known within 40 s, though nothing is sent (tcp(7))."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3)):
        connection.setsockopt(socket.IPPROTO_TCP, option, value)


def _rejected(answer: httpx.Response) -> int:
    """Of an ExportLogsServiceResponse."""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        told: Any = json.loads(answer.content)
        return int(told.get("partialSuccess", {}).get("rejectedLogRecords", 0))
    return 0

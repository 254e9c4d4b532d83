"""To one receiver: a connection of syslog, or requests of HTTP, and whether what was sent was taken.

In: lines. Out: how many were refused for good; `NotNow` where it is to be tried again. A tenant's receiver is asked for
at addresses that are nobody's inside: its name is looked up here, the address is checked, and the connection goes to
that very address (no second look-up, no redirect, no proxy).
"""

import asyncio
import contextlib
import errno
import json
import socket
import ssl
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx

from anypop.agent.shipping import formats
from anypop.agent.shipping.formats import Sent
from anypop.model.log_sinks import LogSink, Places
from anypop.model.registries import refusal

PATIENCE_S = 15.0
# Those ask for another try, or for somebody who mends what the operator set; anything else will never be taken.
_AGAIN = {401, 403, 404, 408, 425, 429}


class NotNow(Exception):  # noqa: N818 - it reads as a verdict where it is raised
    """`wait_s`: what the receiver asks for; 0: nothing."""

    def __init__(self, why: str, wait_s: float = 0) -> None:
        super().__init__(why)
        self.wait_s = wait_s


def why_not(host: str, forbidden: Places) -> str:
    """Why no tenant's lines go to this address, in words; empty where they may."""
    address = ip_address(host)
    if why := refusal(address):
        return why
    inside = any(address in network for network in forbidden if network.version == address.version)
    return "an address of this platform" if inside or _is_own(host, address.version) else ""


def _is_own(host: str, version: int) -> bool:
    with socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as one:
        try:
            one.bind((host, 0))
        except OSError as error:
            return error.errno != errno.EADDRNOTAVAIL
    return True


class Sender:
    """Of one sink."""

    def __init__(self, sink: LogSink, forbidden: Places, *, refused: Callable[[str, Places], str] = why_not) -> None:
        self._sink, self._forbidden, self._refused = sink, forbidden, refused
        self._scheme, self._host, self._port = sink.place
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._http: httpx.AsyncClient | None = None

    async def close(self) -> None:
        if self._stream is not None:
            self._stream[1].close()
            self._stream = None
        if self._http is not None:
            await self._http.aclose()
            self._http = None

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
            await self.close()
            raise NotNow(str(error) or f"no answer within {PATIENCE_S:g} s") from error

    async def _address(self) -> str:
        kind = socket.SOCK_DGRAM if self._scheme == "udp" else socket.SOCK_STREAM
        rows = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=kind)
        why = ""
        for row in rows:
            address = str(row[4][0]).partition("%")[0]
            if not self._sink.stack or not (why := self._refused(address, self._forbidden)):
                return address
        raise OSError(f"{self._host} is {why}: nothing is sent there")

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
            context = _context(self._sink) if self._scheme == "tls" else None
            self._stream = await asyncio.open_connection(
                await self._address(), self._port, ssl=context, server_hostname=self._host if context else None
            )
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
            self._http = httpx.AsyncClient(
                verify=_context(self._sink), trust_env=False, follow_redirects=False, timeout=PATIENCE_S
            )
        parts = urlsplit(self._sink.address)
        address = await self._address()
        place = f"[{address}]" if ":" in address else address
        url = urlunsplit((parts.scheme, f"{place}:{self._port}", parts.path or "/", parts.query, ""))
        headers = {"content-type": "application/json", "host": parts.netloc, "user-agent": "anypop"}
        if self._sink.authorization:
            headers["authorization"] = self._sink.authorization
        if self._sink.tenant:
            headers["x-scope-orgid"] = self._sink.tenant
        content = formats.loki(lines) if self._sink.kind == "loki" else formats.otlp(lines)
        answer = await self._http.post(url, content=content, headers=headers, extensions={"sni_hostname": self._host})
        if answer.status_code < 300:
            return _rejected(answer) if self._sink.kind == "otlp" else 0
        if answer.status_code in _AGAIN or not 400 <= answer.status_code < 500:
            wait = answer.headers.get("retry-after", "0")
            raise NotNow(f"it answers {answer.status_code}", float(wait) if wait.isdigit() and len(wait) < 5 else 0)
        return len(lines)


def _rejected(answer: httpx.Response) -> int:
    """Of an ExportLogsServiceResponse."""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        told: Any = json.loads(answer.content)
        return int(told.get("partialSuccess", {}).get("rejectedLogRecords", 0))
    return 0


def _context(sink: LogSink) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if sink.ca:
        context.load_verify_locations(cadata=sink.ca)
    return context

"""One HTTP/1.1 connection that lives from request to request: for what an agent asks every few seconds for ever.

In: an address, headers, bytes. Out: the answer's status and body. A client for everything (redirects, cookies, pools)
takes four times the processor time of such a request. It asks once and decides nothing: who calls it tries again. One
request at a time; after anything but a whole answer the connection is closed, and the next one opens another.
"""

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import h11

_PIECE = 1 << 16
_LONGEST_ANSWER = 1 << 20
_NONE: Mapping[str, str] = MappingProxyType({})
_SECURE_PORT, _PLAIN_PORT = 443, 80
_NEXT_ADDRESS_S = 0.25  # RFC 8305, section 5: of a name with several addresses the next one is tried beside the first


class KeptConnection:
    """`context`: for addresses with https. `silence_s`: how long nothing may move; `kept_s`: after so long without a
    request it is opened anew. `socket`: a UNIX socket that leads there, whatever the address. `longest`: of an answer.
    """

    def __init__(
        self, context: ssl.SSLContext | None, *, silence_s: float, kept_s: float, socket: Path | None = None,
        longest: int = _LONGEST_ANSWER,
    ) -> None:  # fmt: skip
        self._context, self._silence_s, self._kept_s = context, silence_s, kept_s
        self._socket, self._longest = socket, longest
        self._place = ("", "")
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._http = h11.Connection(h11.CLIENT)
        self._used_at = 0.0

    async def ask(
        self, method: str, url: str, headers: Mapping[str, str] = _NONE, content: bytes = b""
    ) -> tuple[int, bytes]:
        """Raises `OSError`: not reached, no answer in time, or none that can be read."""
        scheme, netloc, path, query, _ = urlsplit(url)
        try:
            async with asyncio.timeout(self._silence_s) as limit:
                reader, writer = await self._open(scheme, netloc)
                head = h11.Request(
                    method=method, target=f"{path}?{query}" if query else path or "/",
                    headers=[("Host", netloc), ("Content-Length", str(len(content))), *headers.items()],
                )  # fmt: skip
                octets = b"".join(self._http.send(e) or b"" for e in (head, h11.Data(content), h11.EndOfMessage()))
                for first in range(0, len(octets), _PIECE):
                    writer.write(octets[first : first + _PIECE])
                    await writer.drain()
                    limit.reschedule(asyncio.get_running_loop().time() + self._silence_s)
                return await self._answer(reader, limit)
        except h11.ProtocolError as error:
            self.close()
            raise ConnectionError(f"an answer that is not HTTP: {error}") from error
        except BaseException:
            self.close()
            raise

    async def _open(self, scheme: str, netloc: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The connection that is there, where it still stands and leads to this place; else a new one."""
        now = asyncio.get_running_loop().time()
        if self._streams is not None:
            reader, writer = self._streams
            stands = not (reader.at_eof() or reader.exception() or writer.is_closing())
            if stands and self._place == (scheme, netloc) and now - self._used_at < self._kept_s:
                return self._streams
            self.close()
        place, secure = urlsplit(f"//{netloc}"), scheme == "https"
        self._streams = await (asyncio.open_unix_connection(self._socket) if self._socket else asyncio.open_connection(
            place.hostname, place.port or (_SECURE_PORT if secure else _PLAIN_PORT),
            ssl=self._context if secure else None, happy_eyeballs_delay=_NEXT_ADDRESS_S,
        ))  # fmt: skip
        self._place, self._http = (scheme, netloc), h11.Connection(h11.CLIENT)
        return self._streams

    async def _answer(self, reader: asyncio.StreamReader, limit: asyncio.Timeout) -> tuple[int, bytes]:
        status, body = 0, bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await reader.read(_PIECE))
                limit.reschedule(asyncio.get_running_loop().time() + self._silence_s)
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > self._longest:
                    raise ConnectionError(f"an answer of more than {self._longest} bytes")
            elif isinstance(event, h11.EndOfMessage):
                break
            elif event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                raise ConnectionError("the connection ended before the answer")
        self._used_at = asyncio.get_running_loop().time()
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        else:
            self.close()  # the other side said that it closes it
        return status, bytes(body)

    def renew(self, context: ssl.SSLContext) -> None:
        """The next request goes over a new connection with this; one that is on its way comes to its end."""
        self._context, self._place = context, ("", "")

    def close(self) -> None:
        """Harmless where there is none."""
        if self._streams is not None:
            with suppress(OSError, RuntimeError):  # of a loop that has ended
                self._streams[1].transport.abort()
            self._streams = None

"""The gate: the only way out for a pull. An HTTP proxy that resolves each name itself, and connects to the very address
that it has checked.

In: connections of one pull (Podman, in a network namespace that has nothing else), the operator's list of registries.
Out: bytes of registries. Every request comes here: the registry's, of a token's realm, after each redirect; so no name
that changes its address between two looks (DNS rebinding) and no redirect leads to an address that may not be reached.
What was refused is kept for the log; it is never told to a tenant apart from what just does not answer.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Awaitable, Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from anypop.host import netns
from anypop.model.registries import Address, host_and_port, is_listed, refusal

_HEAD = 65_536  # tokens of registries are some kilobytes long
_HEAD_S, _CONNECT_S = 30.0, 10.0
_PIECE = 1 << 18
_PORTS = {"http": 80, "https": 443}


class Outside:
    """The network that pulls go out by: that of Podman's service. `path` names its namespace."""

    def __init__(self, path: Path, forbidden: Collection[Address] = ()) -> None:
        self._path, self._forbidden = path, frozenset(forbidden)
        self._resolvers = ThreadPoolExecutor(4, "resolve", initializer=lambda: netns.enter_path(path))

    def close(self) -> None:
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    async def addresses(self, host: str, port: int) -> list[Address]:
        """What a name stands for now."""
        look = asyncio.get_running_loop().run_in_executor(self._resolvers, _look_up, host, port)
        return await asyncio.wait_for(look, _CONNECT_S)

    def why_not(self, address: Address) -> str:
        """Why nobody may be led there, in words: by its kind, or since it is this host's or control's own."""
        why = refusal(address)
        if not why and (address in self._forbidden or self._is_own(address)):
            return "an address of this platform"
        return why

    async def connect(self, address: Address, port: int) -> socket.socket:
        """A connection to exactly this address. Raises `OSError`."""
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        with netns.inside_path(self._path):
            one = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            async with asyncio.timeout(_CONNECT_S):
                await asyncio.get_running_loop().sock_connect(one, (str(address), port))
        except BaseException:
            one.close()
            raise
        return one

    def _is_own(self, address: Address) -> bool:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        for path in (self._path, None):
            with netns.inside_path(path), socket.socket(family, socket.SOCK_DGRAM) as one:
                try:
                    one.bind((str(address), 0))
                except OSError as error:
                    if error.errno != errno.EADDRNOTAVAIL:
                        return True
                else:
                    return True
        return False


def written_addresses(*urls: str) -> list[Address]:
    """The addresses in URLs that are written with one: control's own."""
    found = []
    for url in urls:
        with contextlib.suppress(ValueError):
            found.append(ip_address(urlsplit(url).hostname or ""))
    return found


def _look_up(host: str, port: int) -> list[Address]:
    rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(str(row[4][0]).partition("%")[0]) for row in rows))


@dataclass(slots=True)
class Gate:
    """One pull's. `failures`: one line for each place that could not be reached, for the operator alone. `heard`:
    when the last byte came from outside.
    """

    outside: Outside
    registries: Collection[str]
    clock: Callable[[], float]
    failures: list[str] = field(default_factory=list)
    heard: float = 0.0
    _servers: list[asyncio.Server] = field(default_factory=list)
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def open(self, inside: Callable[[str, int], socket.socket]) -> str:
        """Listen. `inside` makes a listening socket in the pull's namespace. Gives the proxy's URL. What the operator
        lists on loopback is reached there as well, since no HTTP client asks a proxy for that.
        """
        self.heard = self.clock()
        proxy = inside("127.0.0.1", 0)
        self._servers.append(await asyncio.start_server(self._serve, sock=proxy, limit=_HEAD))
        for host, port in _on_loopback(self.registries):
            with contextlib.suppress(OSError):  # no IPv6 there
                relay = inside(host, port)
                self._servers.append(await asyncio.start_server(self._relay(host, port), sock=relay))
        return f"http://127.0.0.1:{proxy.getsockname()[1]}"

    def close(self) -> None:
        for server in self._servers:
            server.close()
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of the pull: CONNECT, or GET and HEAD of a registry without TLS."""
        with self._kept(writer):
            try:
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_S)
                verb, target, _ = head.partition(b"\r\n")[0].decode("ascii").split(" ", 2)
            except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, TimeoutError, OSError):
                return
            if verb == "CONNECT":
                host, port = host_and_port(target)
                far = await self._reach(host, port or 443)
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n" if far else b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
                if far:
                    await self._carry(reader, writer, far)
                return
            scheme, _, rest = target.partition("://")
            where, slash, path = rest.partition("/")
            host, port = host_and_port(where.rpartition("@")[2])
            far = await self._reach(host, port or _PORTS["http"]) if (scheme, verb) in _PLAIN else None
            if far is None:
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            far[1].write(_as_origin(head, verb, slash + path))
            await self._carry(None, writer, far)

    def _relay(self, host: str, port: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with self._kept(writer):
                far = await self._reach(host, port)
                if far is not None:
                    await self._carry(reader, writer, far)

        return serve

    @contextlib.contextmanager
    def _kept(self, writer: asyncio.StreamWriter) -> Iterator[None]:
        self._open.add(writer)
        try:
            yield
        finally:
            self._open.discard(writer)
            writer.close()

    async def _reach(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to one of the addresses of a host that may be reached; None, and a line for the operator."""
        listed = is_listed(host, port, self.registries)
        try:
            found = await self.outside.addresses(host, port)
        except (OSError, UnicodeError, TimeoutError) as error:
            self._failed(host, port, f"no address: {error or 'no answer'}")
            return None
        for address in found:
            why = "" if listed else self.outside.why_not(address)
            if why:
                self._failed(host, port, f"{address} is {why}")
                continue
            try:
                return await asyncio.open_connection(sock=await self.outside.connect(address, port), limit=_PIECE)
            except (OSError, TimeoutError) as error:
                self._failed(host, port, f"{address}: {error or 'no answer'}")
        return None

    def _failed(self, host: str, port: int, why: str) -> None:
        self.failures.append(f"{host}:{port}: {why}")

    async def _carry(
        self,
        reader: asyncio.StreamReader | None,
        writer: asyncio.StreamWriter,
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Bytes both ways until one side ends; one way where the request is through."""
        incoming, outgoing = far
        with self._kept(outgoing):
            ways = [self._copy(incoming, writer, count=True)]
            if reader is not None:
                ways.append(self._copy(reader, outgoing))
            tasks = [asyncio.ensure_future(way) for way in ways]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, count: bool = False) -> None:
        with contextlib.suppress(OSError):
            while piece := await source.read(_PIECE):
                if count:
                    self.heard = self.clock()
                sink.write(piece)
                await sink.drain()


_PLAIN = frozenset({("http", "GET"), ("http", "HEAD")})
_HOP = (b"proxy-", b"connection:", b"keep-alive:")


def _as_origin(head: bytes, verb: str, path: str) -> bytes:
    """A request to a proxy as one to the server itself, for this one answer."""
    lines = [line for line in head.split(b"\r\n")[1:] if line and not line.lower().startswith(_HOP)]
    return b"\r\n".join([f"{verb} {path or '/'} HTTP/1.1".encode(), *lines, b"Connection: close", b"", b""])


def _on_loopback(registries: Collection[str]) -> list[tuple[str, int]]:
    """The listed registries that a client would ask without its proxy, with all ports that they may have."""
    found = []
    for host, port in map(host_and_port, registries):
        with contextlib.suppress(ValueError):
            if host == "localhost" or ip_address(host).is_loopback:
                ports = (port,) if port else tuple(_PORTS.values())
                found += [
                    (told, p) for told in (("127.0.0.1", "::1") if host == "localhost" else (host,)) for p in ports
                ]
    return found

"""One question to an instance over the local data path, and its answer.

In: a probe, the address that clients ask, the link that leads to the instance, a way to run a command inside. Out: None
when it answered well, else why not. The question leaves by that link whatever any routing table says: nobody else can
answer in its place. Asks once; when to ask is the business of `probes`. HTTP is good from 200 to 399, TCP on a
connection, exec on exit code 0, UDP on any answer or the expected one, DNS on one without an error, a ping on its
echo.
"""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from functools import cache, lru_cache

from anypop.agent.naming import PROBE_MARK
from anypop.agent.observe import dns
from anypop.agent.observe.ping import ping
from anypop.model.announce import Address
from anypop.model.errors import WorldError
from anypop.model.workload import Probe, ProbeKind

SILENT = "no answer within"
_LONGEST_ANSWER = 65_535
_NO_LINGER = struct.pack("ii", 1, 0)  # the end is a reset: what the application still has to say does not matter
RunInside = Callable[[tuple[str, ...], float], Awaitable[int]]


async def ask(probe: Probe, address: Address, run_inside: RunInside, link: str = "") -> str | None:
    """None: healthy. Otherwise the reason in a few words. Never takes longer than the probe's timeout by more than a
    moment. `link`: the interface that it leaves by; empty: any.
    """
    try:
        if probe.kind is ProbeKind.TCP:  # hundreds of these a second must cost next to nothing
            return await _connect(probe, address, link)
        if probe.kind is ProbeKind.EXEC:  # who runs it ends it when its time is over
            code = await run_inside(probe.command, probe.timeout_s)
            return None if code == 0 else f"exit code {code}"
        async with asyncio.timeout(probe.timeout_s):
            match probe.kind:
                case ProbeKind.HTTP:
                    return await _get(probe, address, link)
                case ProbeKind.UDP:
                    return await _exchange(probe, address, link)
                case ProbeKind.DNS:
                    return await _resolve(probe, address, link)
                case ProbeKind.PING:
                    return await _echo(address, link)
    except TimeoutError:
        return f"{SILENT} {probe.timeout_s:g} s"
    except (OSError, asyncio.IncompleteReadError) as error:
        number = getattr(error, "errno", None)
        where = f"port {probe.port}: " if probe.port else ""
        return f"{where}{os.strerror(number) if number else error}"
    except ValueError:  # a line without end
        return f"port {probe.port}: an answer that nobody can read"
    except WorldError as error:
        return str(error)
    raise AssertionError(probe.kind)


def _socket(address: Address, kind: socket.SocketKind, link: str, protocol: int = 0) -> socket.socket:
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
    try:
        if link:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, PROBE_MARK)
    except BaseException:
        sock.close()
        raise
    return sock


async def _open(
    address: Address, port: int, link: str, secure: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    sock = _socket(address, socket.SOCK_STREAM, link)
    try:
        await asyncio.get_running_loop().sock_connect(sock, (str(address), port))
        name = str(address) if secure is not None else None
        return await asyncio.open_connection(sock=sock, ssl=secure, server_hostname=name)
    except BaseException:
        sock.close()
        raise


async def _told(probe: Probe, address: Address, request: bytes, link: str) -> bytes:
    """What a server of UDP says to this; only an answer from the address that was asked arrives here."""
    loop = asyncio.get_running_loop()
    with _socket(address, socket.SOCK_DGRAM, link) as sock:
        await loop.sock_connect(sock, (str(address), probe.port))
        await loop.sock_sendall(sock, request)
        return await loop.sock_recv(sock, _LONGEST_ANSWER)


async def _exchange(probe: Probe, address: Address, link: str) -> str | None:
    answer = await _told(probe, address, bytes.fromhex(probe.request), link)
    return None if probe.expect.encode() in answer else f"port {probe.port}: the answer is not the expected one"


async def _echo(address: Address, link: str) -> str | None:
    protocol = socket.IPPROTO_ICMPV6 if address.version == 6 else socket.IPPROTO_ICMP
    with _socket(address, socket.SOCK_RAW, link, protocol) as sock:
        await ping(sock, address)
    return None


async def _resolve(probe: Probe, address: Address, link: str) -> str | None:
    number = int.from_bytes(os.urandom(2), "big")
    answer = await _told(probe, address, dns.question(probe.request, probe.record, number), link)
    return dns.trouble_of(answer, number)


@lru_cache(maxsize=1 << 12)
def _text(address: Address) -> str:
    """The same address is asked twice a second; to write it down takes longer than to look it up."""
    return str(address)


def _begun(address: Address, port: int, link: str) -> socket.socket | None:
    """A connection that is under way; None: it stood, and is gone again. The kernel answers for a server that listens,
    and for an instance on this machine it has done so when the call returns, so mostly nothing has to be waited for.
    """
    sock = _socket(address, socket.SOCK_STREAM, link)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        number = sock.connect_ex((_text(address), port))
        if number == errno.EINPROGRESS and not _is_connected(sock):
            return sock
        if number not in (0, errno.EINPROGRESS):
            raise OSError(number, os.strerror(number))
    except BaseException:
        sock.close()
        raise
    sock.close()
    return None


async def _connect(probe: Probe, address: Address, link: str) -> str | None:
    sock = _begun(address, probe.port, link)
    if sock is not None:
        with sock:
            async with asyncio.timeout(probe.timeout_s):
                await _until_connected(sock, (str(address), probe.port))
    return None


async def _until_connected(sock: socket.socket, place: tuple[str, int]) -> None:
    try:
        await asyncio.get_running_loop().sock_connect(sock, place)
    except OSError as error:
        if error.errno != errno.EISCONN:  # it came in between
            raise


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


async def _get(probe: Probe, address: Address, link: str) -> str | None:
    secure = _any_certificate() if probe.scheme.upper() == "HTTPS" else None
    reader, writer = await _open(address, probe.port, link, secure)
    try:
        host = f"[{address}]" if address.version == 6 else str(address)
        own, told = {"Host": host, "User-Agent": "anypop-probe", "Connection": "close"}, dict(probe.headers)
        declared = {name.lower() for name in told}  # names of headers have no case
        headers = {name: value for name, value in own.items() if name.lower() not in declared} | told
        lines = [f"GET {probe.path or '/'} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        writer.write("\r\n".join(lines).encode())
        await writer.drain()
        words = (await reader.readline()).split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
            return "the answer is not HTTP"
        status = int(words[1])
        return None if 200 <= status < 400 else f"HTTP status {status}"
    finally:
        await _end(writer)


async def _end(writer: asyncio.StreamWriter) -> None:
    """Without lingering: what the application still has to say does not matter."""
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@cache
def _any_certificate() -> ssl.SSLContext:
    """A probe asks whether it answers, not who it is: the certificate names the service, not the private address."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context

"""Connections between two hosts for what moves from one to the other: TLS, each with the certificate that control has
signed for it.

In: the agent's folder, the authority's certificate, addresses. Out: streams, each with the host at its other end. What
is said by them is not known here. Nobody without a certificate of a host's gets as far as a first byte; nor does one
that names another host than was meant.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from anypop.agent import identity
from anypop.agent.act.instances.machines.move_words import Stream
from anypop.model.certificate import host_named_by
from anypop.model.errors import WorldError
from anypop.model.names import HostName

CONNECT_S = 10.0
_BUFFER = 1 << 20
Take = Callable[[Stream, HostName], Awaitable[None]]


class Door:
    """Where other hosts reach this one. `state`: the agent's folder; `ca`: the authority's file."""

    def __init__(self, state: Path, ca: Path, take: Take) -> None:
        self._state, self._ca, self._take = state, ca, take
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def open(self, address: str, port: int) -> int:
        """Listen there; at which port, where it was 0. Raises `WorldError`."""
        try:
            self._server = await asyncio.start_server(
                self._met, address, port, ssl=_context(self._state, self._ca, serves=True), limit=_BUFFER,
                ssl_handshake_timeout=CONNECT_S,
            )  # fmt: skip
        except OSError as error:
            raise WorldError(f"listen for other hosts at {address}:{port}", error.strerror or str(error)) from error
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Nobody comes any more, and who is here is cut off."""
        if self._server is not None:
            self._server.close()
        for task in self._open:
            task.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_S):
                await asyncio.gather(*self._open, return_exceptions=True)

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = _host(writer)
        stream, task = Stream(reader, writer), asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            if host is not None:
                await self._take(stream, host)
        except asyncio.CancelledError:
            pass  # the door is closed
        finally:
            await stream.end()
            self._open.discard(task)


async def reach(state: Path, ca: Path, host: HostName, address: str, port: int) -> Stream:
    """A connection to that very host. Raises `WorldError`."""
    what = f"reach the host {host} at {address}:{port}"
    try:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(
                address, port, ssl=_context(state, ca, serves=False), server_hostname="", limit=_BUFFER
            )  # fmt: skip
    except TimeoutError as error:
        raise WorldError(what, f"no answer within {CONNECT_S:g} s") from error
    except OSError as error:
        raise WorldError(what, str(error)) from error
    stream = Stream(reader, writer)
    if (found := _host(writer)) != host:
        await stream.end()
        raise WorldError(what, f"{found or 'nobody that control knows'} answers there")
    return stream


def _host(writer: asyncio.StreamWriter) -> HostName | None:
    return host_named_by(writer.get_extra_info("peercert") or {})


def _context(state: Path, ca: Path, *, serves: bool) -> ssl.SSLContext:
    """Both ends have to show a certificate of the authority's. No address stands in one: the name of the host is looked
    at instead.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if serves else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(ca)
    identity.show(context, state)
    return context

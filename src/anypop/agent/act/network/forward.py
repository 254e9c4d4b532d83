"""A TCP connection to a port of an instance, opened inside its network namespace.

In: the namespace's name, a port. Out: what comes from there as frames, and the way there. It reaches what the instance
itself reaches at its loopback addresses, and nothing else: no packet leaves the namespace. Nothing of what goes by is
logged.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator

from anypop.host import netns
from anypop.model.errors import WorldError
from anypop.model.streams import LARGEST_FRAME, Frame

CONNECT_S = 5.0
_HERE = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


class PortConnection:
    """One that is open, until both sides have ended it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._told_all = asyncio.Event()

    @classmethod
    async def begin(cls, namespace: str, port: int) -> "PortConnection":
        """Raises `WorldError` where nothing takes it."""
        why = "nothing listens there"
        for family, address in _HERE:
            try:
                with netns.inside(namespace):  # a socket stays where it was made
                    made = socket.socket(family, socket.SOCK_STREAM)
            except OSError as error:
                raise WorldError(f"connect to port {port}", f"{error.strerror or error}") from error
            made.setblocking(False)
            try:
                async with asyncio.timeout(CONNECT_S):
                    await asyncio.get_running_loop().sock_connect(made, (address, port))
                return cls(*await asyncio.open_connection(sock=made))
            except (OSError, TimeoutError) as error:
                made.close()
                if isinstance(error, TimeoutError):
                    why = "no answer"
        raise WorldError(f"connect to port {port}", why)

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """What comes, its end, and then nothing until the other side has ended, too."""
        try:
            while piece := await self._reader.read(LARGEST_FRAME):
                yield bytes([Frame.OUTPUT]) + piece
        except OSError:
            self._told_all.set()  # it was reset: there is nobody to tell more
        yield bytes([Frame.END])
        await self._told_all.wait()

    async def take(self, frame: bytes) -> None:
        """One frame of whoever has asked; what is none of those is left out."""
        with contextlib.suppress(OSError):
            match frame[:1]:
                case b"\x00":
                    self._writer.write(frame[1:])
                    await self._writer.drain()
                case b"\x05":
                    self._told_all.set()
                    self._writer.write_eof()

    async def close(self) -> None:
        self._writer.close()

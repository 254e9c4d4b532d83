"""A console of a virtual machine, attached at the process that stays with it (`anypop.agent.guests`).

In: the socket at which it is attached. Out: what the guest says as frames, and the way there. The machine may end and
begin anew meanwhile: the console stays. Nothing of what goes by is logged here.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator
from pathlib import Path

from anypop.model.errors import WorldError
from anypop.model.streams import LARGEST_FRAME, Frame

CONNECT_S = 5.0


class ConsoleConnection:
    """One that is attached, until either side ends it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def begin(cls, path: Path) -> "ConsoleConnection":
        """Raises `WorldError` where nobody attaches it."""
        try:
            # by a handle of its folder: an address holds 108 bytes
            folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                async with asyncio.timeout(CONNECT_S):
                    return cls(*await asyncio.open_unix_connection(f"/proc/self/fd/{folder}/{path.name}"))
            finally:
                os.close(folder)
        except (OSError, TimeoutError) as error:
            raise WorldError("attach a console", "the process that has the consoles is not there yet") from error

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """What the guest says, and that the console is over: its machine is gone, or too many are attached, or this
        one has not kept up.
        """
        with contextlib.suppress(OSError):
            while piece := await self._reader.read(LARGEST_FRAME):
                yield bytes([Frame.OUTPUT]) + piece
        yield bytes([Frame.END])

    async def take(self, frame: bytes) -> None:
        """One frame of whoever has asked; what is none of those is left out."""
        if frame[:1] == bytes([Frame.INPUT]):
            with contextlib.suppress(OSError):
                self._writer.write(frame[1:])
                await self._writer.drain()

    async def close(self) -> None:
        self._writer.close()

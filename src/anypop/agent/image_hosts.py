"""Files of images of virtual machines between hosts, so that not every host gets them from control.

In: the checksum of a file that this host's order names; connections of other hosts that want one. Out: the bytes, from
where they are missing. Control says which hosts have it, and a host that is asked for one asks control whether the
other may have it: nobody gets a file that his own order does not name. What is on its way here is given while it comes:
of hosts that begin at the same moment one gets it from control. It verifies nothing: who fetches does, by the checksum
(`image_cache`), and control has it where no host gives it.
"""

import asyncio
import contextlib
import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import IO, Protocol

from anypop.agent.act.instances.image_cache import Source
from anypop.agent.act.instances.machines.machines import Ways
from anypop.agent.act.instances.machines.move_words import Given, Opening, Part, Stream
from anypop.model.backbone import Backbone
from anypop.model.errors import WorldError
from anypop.model.names import HostName

MOST_PER_S = 64 << 20
"""Bytes that this host gives in a second, to all others together: what it serves goes before."""
MOST_AT_ONCE = 4
SILENCE_S = 15.0
BEGINS_S = 3.0
"""So long one that is asked for a file may take to begin with it: both have their orders at about the same moment."""
GROWS_S = 10.0
"""So long what comes here may be silent: less than who takes it waits, so that he hears of the end."""
_LOOK_S = 0.05  # a file that grows tells nobody
_PIECE = 1 << 18
_SHA256 = re.compile("[0-9a-f]{64}")


class Control(Protocol):
    """What control is asked; see `ControlClient`."""

    async def image_holders(self, sha256: str) -> list[HostName]: ...
    async def may_take(self, sha256: str, taker: HostName) -> bool: ...


class ImageHosts:
    """One host's. `folder`: of its image cache; `ways`: how others are reached; `moved`: bytes by the way that they
    went. `backbone`: as the order has it now.
    """

    def __init__(self, folder: Path, control: Control, ways: Ways, moved: Counter[str]) -> None:
        self._folder, self._control, self._ways, self._moved = folder, control, ways, moved
        self.backbone: Backbone | None = None
        self.coming: Callable[[str], tuple[Path, int] | None] = lambda _: None
        """A file that is on its way here, and how large it will be."""
        self._giving = 0
        self._free_at = 0.0

    async def sources(self, sha256: str) -> list[Source]:
        """The hosts that have it, the best first; none where hosts do not reach each other, or control does not say."""
        backbone = self.backbone
        if backbone is None or not backbone.peers:
            return []
        try:
            names = await self._control.image_holders(sha256)
        except WorldError:
            return []
        places = {peer.host: str(peer.address) for peer in backbone.peers}
        return [partial(self._from, name, places[name], backbone.rules.port) for name in names if name in places]

    @asynccontextmanager
    async def _from(
        self, host: HostName, address: str, port: int, sha256: str, offset: int
    ) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        what = f"get a file of an image from {host}"
        stream = await self._ways(host, address, port)
        try:
            await stream.say(Opening(uid="", part=Part.IMAGE, sha256=sha256, offset=offset))
            given = await stream.hear(Given)
            if given is None or given.why:
                raise WorldError(what, given.why if given is not None else "it does not give any")
            yield offset, _pieces(stream, given.left, what)
        except OSError as error:
            raise WorldError(what, str(error)) from error
        finally:
            await stream.end()

    async def give(self, stream: Stream, taker: HostName, opening: Opening) -> None:
        """Answer one connection of another host, until it is over."""
        try:
            why = await self._refusal(taker, opening)
            if why or self._giving >= MOST_AT_ONCE:
                await stream.say(Given(why=why or "it gives to others now"))
                return
            self._giving += 1
            try:
                await self._give(stream, opening)
            finally:
                self._giving -= 1
        except (WorldError, OSError):
            return  # the other side sees the end of it, and asks somebody else

    async def _refusal(self, taker: HostName, opening: Opening) -> str:
        if not _SHA256.fullmatch(opening.sha256) or opening.offset < 0:
            return "this names no file"
        if not await self._control.may_take(opening.sha256, taker):
            return "control does not say that it is for you"
        return ""

    async def _give(self, stream: Stream, opening: Opening) -> None:
        found = await self._found(opening.sha256)
        if found is None:
            await stream.say(Given(why="it is not here"))
            return
        file, size = found
        with file:
            at = min(opening.offset, size)
            await stream.say(Given(left=size - at))
            async for piece in _read(file, at, size):
                await self._turn(len(piece))
                stream.writer.write(piece)
                async with asyncio.timeout(SILENCE_S):
                    await stream.writer.drain()
                self._moved["to_hosts"] += len(piece)

    async def _found(self, sha256: str) -> tuple[IO[bytes], int] | None:
        """The file, open, and how large it is or will be; one that has been asked for too may begin in a moment."""
        loop = asyncio.get_running_loop()
        until = loop.time() + BEGINS_S
        while True:
            with contextlib.suppress(OSError):
                file = (self._folder / sha256).open("rb", buffering=0)
                return file, os.fstat(file.fileno()).st_size
            if (coming := self.coming(sha256)) is not None:
                with contextlib.suppress(OSError):
                    return coming[0].open("rb", buffering=0), coming[1]
            if loop.time() > until:
                return None
            await asyncio.sleep(_LOOK_S)

    async def _turn(self, size: int) -> None:
        """Waits until so much may go."""
        now = asyncio.get_running_loop().time()
        begins = max(now, self._free_at)
        self._free_at = begins + size / MOST_PER_S
        await asyncio.sleep(begins - now)


async def _read(file: IO[bytes], at: int, size: int) -> AsyncIterator[bytes]:
    """From an offset on, as it comes. What is begun anew meanwhile is awaited; who takes it checks what he has."""
    loop, heard = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    while at < size and loop.time() - heard < GROWS_S:
        file.seek(at)
        if piece := await asyncio.to_thread(file.read, min(_PIECE, size - at)):
            at, heard = at + len(piece), loop.time()
            yield piece
        else:
            await asyncio.sleep(_LOOK_S)


async def _pieces(stream: Stream, left: int, what: str) -> AsyncIterator[bytes]:
    while left > 0:
        try:
            async with asyncio.timeout(SILENCE_S):
                piece = await stream.reader.read(min(left, _PIECE))
        except (TimeoutError, OSError) as error:
            raise WorldError(what, str(error) or f"no byte within {SILENCE_S:g} s") from error
        if not piece:
            raise WorldError(what, "it was cut off")
        left -= len(piece)
        yield piece

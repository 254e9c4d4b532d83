"""What two hosts say to each other about a machine that moves from one to the other.

In: nothing. Out: the words, each a line of JSON. A connection begins with an `Opening` by the side that sends; the
one of part `TALK` goes on with words of both sides, the others are the bare streams of QEMU. Who is at the other end is
known before the first line (by its certificate), and not from here.
"""

import asyncio
import contextlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from anypop.agent.act.network.adopted import Identity
from anypop.model.codec import from_json, to_json
from anypop.model.errors import Invalid, WorldError

ANSWER_S, _ENDS_S = 15.0, 1.0
LONGEST = 4 << 10
"""Bytes of a line."""
T = TypeVar("T")


class Part(StrEnum):
    TALK = "talk"
    DISK = "disk"
    MEMORY = "memory"
    IMAGE = "image"  # of no machine: a file of an image, which the side that begins wants


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """`uid`: of the instance that the machine is to be, on the host that takes it in. `sha256`, `offset`: of a file of
    an image, and from where on.
    """

    uid: str
    part: Part
    sha256: str = ""
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The answer to an opening of part IMAGE; where there is no `why`, `left` bytes follow."""

    left: int = 0
    why: str = ""


class Word(StrEnum):
    BEGIN = "begin"  # get ready for it
    TAKE = "take"  # files of one that is off follow, so many bytes each, one after the other
    FORGET = "forget"  # it goes on here, nothing of it is wanted there
    RUN = "run"  # it is yours: the only word after which it may run there
    READY = "ready"
    RUNS = "runs"  # it is ours, and has run here
    ABSENT = "absent"  # it is not here, and never ran here
    CANNOT = "cannot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """`guest`: who comes; `processor`: what its instructions are made for; `ready`: that it has told that all of it has
    started, and answers no echo; `why`: what is in the way, in words. `rests`: it is off, and comes as files; `sizes`:
    theirs, by their names.
    """

    word: Word
    guest: Identity | None = None
    processor: str = ""
    ready: bool = False
    why: str = ""
    rests: bool = False
    sizes: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class Stream:
    """One connection to the other host."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, what: Opening | Said | Given) -> None:
        self.writer.write(to_json(what) + b"\n")
        await self.writer.drain()

    async def hear(self, kind: type[T], within_s: float | None = ANSWER_S) -> T | None:
        """The next line; None: the other side has ended it. Raises `WorldError`."""
        what = "hear of a machine that moves"
        try:
            async with asyncio.timeout(within_s):
                line = await self.reader.readline()
        except (TimeoutError, ValueError, OSError) as error:
            raise WorldError(what, str(error) or f"no word within {within_s:g} s") from error
        if not line:
            return None
        if len(line) > LONGEST:
            raise WorldError(what, "the line is too long")
        try:
            return from_json(kind, line)
        except Invalid as error:
            raise WorldError(what, str(error)) from error

    async def end(self) -> None:
        """Closed, and nothing of it left. One at whose other end nobody is any more is not waited for."""
        self.writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_ENDS_S):
                await self.writer.wait_closed()
                return
        self.writer.transport.abort()

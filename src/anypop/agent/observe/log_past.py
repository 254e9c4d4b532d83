"""Logs of containers read from their ends: the newest lines that fit, of many containers in the order of time.

In: files, the newest first, and what is searched for. Out: lines, the newest first, and now and then the word how far
back all has been looked at. It reads no more than is asked for, in small pieces between which the agent goes on: a
search slows nothing here. It writes nothing.
"""

import asyncio
import contextlib
import heapq
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from pathlib import Path

from anypop.agent.decide.log_choice import Backward, Choice, Line, first_moment
from anypop.agent.log_names import BEFORE, LOG

PIECE = 16 << 10
TELL_EVERY = 32  # pieces without a hit
WINDOW = 24 << 10  # holds a whole entry wherever it begins: conmon parts lines at 8 KiB


def files_of(folders: Sequence[Path]) -> list[Path]:
    """The logs in these folders; the newest first, as the folders are."""
    return [folder / name for folder in folders for name in (LOG, BEFORE)]


async def past(files: Sequence[Path], choice: Choice) -> AsyncGenerator[Line, None]:
    """The hits of one container, the newest first. A file that is not there has none."""
    reader = Backward(choice)
    with contextlib.ExitStack() as opened:
        for file in list(_opened(files, opened)):
            async for line in _of_file(file, reader):
                yield line
            if reader.over:
                return
    for line in reader.end():
        yield line


def _opened(files: Sequence[Path], stack: contextlib.ExitStack) -> Iterator[int]:
    """All at once, so that a log which is full in between is neither missed nor read twice."""
    seen: list[os.stat_result] = []
    for path in files:
        with contextlib.suppress(OSError):
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, file)
            state = os.fstat(file)
            if not any(os.path.samestat(state, other) for other in seen):
                seen.append(state)
                yield file


async def _of_file(file: int, reader: Backward) -> AsyncIterator[Line]:
    at = begin_of(file, reader.choice.until)
    rest, quiet, last = b"", 0, True
    while at > 0 and not reader.over:
        size = min(PIECE, at)
        at -= size
        piece = os.pread(file, size, at) + rest
        if last:  # behind the last end of line something may be on its way
            piece, _, unfinished = piece.rpartition(b"\n")
            last = not piece
            if last:
                rest = b"" if at + size == os.fstat(file).st_size else unfinished
                continue
        if at > 0:
            rest, _, piece = piece.partition(b"\n")
            if not piece:  # one entry is longer than a piece
                continue
        found = reader.take(piece)
        for line in found:
            yield line
        quiet = 0 if found else quiet + 1
        if quiet % TELL_EVERY == TELL_EVERY - 1:
            yield Line(at=reader.at)
        await asyncio.sleep(0)


def begin_of(file: int, moment: int | None) -> int:
    """Where the first entry of that moment or later begins, or a little after it; the end where there is none, or no
    moment is given.
    """
    size = os.fstat(file).st_size
    if moment is None:
        return size
    low, high = 0, size
    while high - low > WINDOW:
        middle = (low + high) // 2
        at = first_moment(os.pread(file, WINDOW, middle))
        if at is not None and at < moment:
            low = middle
        else:
            high = middle
    return min(size, high + WINDOW)


async def newest(sources: Sequence[AsyncGenerator[Line, None]]) -> AsyncGenerator[tuple[int, Line], None]:
    """Of all of them together, the newest first; each with the place of its source."""
    heads: list[tuple[int, int, Line]] = []
    async with contextlib.AsyncExitStack() as stack:
        for source in sources:
            await stack.enter_async_context(contextlib.aclosing(source))
        if len(sources) == 1:  # nothing to put in order
            async for only in sources[0]:
                yield 0, only
            return
        for number, source in enumerate(sources):
            if (line := await anext(source, None)) is not None:
                heads.append((-line.at, number, line))
        heapq.heapify(heads)
        while heads:
            _, number, line = heads[0]
            yield number, line
            following = await anext(sources[number], None)
            if following is None:
                heapq.heappop(heads)
            else:
                heapq.heapreplace(heads, (-following.at, number, following))

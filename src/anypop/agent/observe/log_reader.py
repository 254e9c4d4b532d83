"""One container's log, read from where Podman keeps it, to its end or as it grows.

In: the container's folder, what is wanted, and, to follow it, a process that has not ended. Out: pieces to show. The
kernel tells of what is written (inotify(7)) and of the end of the process (pidfd_open(2)). It writes nothing.
"""

import asyncio
import contextlib
import ctypes
import mmap
import os
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path

from anypop.agent.decide.log_lines import LogLines, last_lines
from anypop.agent.log_names import BEFORE, LOG
from anypop.model.streams import LARGEST_FRAME, LogRequest

_MODIFIED, _CLOSED, _MOVED_TO, _DELETED, _GONE = 0x2, 0x8, 0x80, 0x200, 0x400
_LAST = _CLOSED | _GONE
_NONBLOCK, _CLOEXEC = 0o4000, 0o2000000
_EVENT = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)
LAST_WORDS_S = 2.0  # conmon writes down what a process said before its end, and then closes the log


async def read_log(folder: Path, wanted: LogRequest, pid: int) -> AsyncGenerator[bytes, None]:
    """The pieces. `pid`: of the process whose log is followed; 0: none runs, so nothing more comes. Raises
    `FileNotFoundError` where there is no log.
    """
    lines = LogLines(wanted)
    with contextlib.ExitStack() as stack:
        news = stack.enter_context(_News(folder, pid)) if wanted.follow and pid else None
        current = os.open(folder / LOG, os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(lambda: os.close(current))
        for file, at in _beginnings(folder, current, wanted.tail):
            if file != current:
                stack.callback(os.close, file)
            os.lseek(file, at, os.SEEK_SET)
            async for piece in _rest_of(file, lines):
                yield piece
        while news is not None and not lines.over:
            over = news.over
            async for piece in _rest_of(current, lines):
                yield piece
            if (newer := _newer(folder, current)) is not None:
                os.close(current)
                current = newer
            elif over:
                break
            else:
                await news.wait()
        if not lines.over and (last := lines.end()):
            yield last


async def _rest_of(file: int, lines: LogLines) -> AsyncIterator[bytes]:
    while not lines.over and (piece := os.read(file, LARGEST_FRAME)):
        if shown := lines.take(piece):
            yield shown
        await asyncio.sleep(0)  # a file is always ready to be read, and others have their turn too


def _beginnings(folder: Path, current: int, tail: int | None) -> Iterator[tuple[int, int]]:
    """The files to read and from where: the full log before this one, and this one."""
    at, lacking = (0, 1) if tail is None else _last_of(current, tail)
    if lacking:
        with contextlib.suppress(FileNotFoundError):
            before = os.open(folder / BEFORE, os.O_RDONLY | os.O_CLOEXEC)
            # where it was full a moment ago both names lead to one
            if not os.path.samestat(os.fstat(before), os.fstat(current)):
                yield before, 0 if tail is None else _last_of(before, lacking)[0]
            else:
                os.close(before)
    yield current, at


def _last_of(file: int, lines: int) -> tuple[int, int]:
    if not os.fstat(file).st_size:
        return 0, lines
    with mmap.mmap(file, 0, prot=mmap.PROT_READ) as content:
        return last_lines(content, lines)


def _newer(folder: Path, current: int) -> int | None:
    """The log that has been begun since, opened; None: `current` is the one that is written."""
    with contextlib.suppress(FileNotFoundError):
        found = os.open(folder / LOG, os.O_RDONLY | os.O_CLOEXEC)
        if not os.path.samestat(os.fstat(found), os.fstat(current)):
            return found
        os.close(found)
    return None


class _News:
    """Wakes its reader when something was written, until process and log have ended (`over`)."""

    def __init__(self, folder: Path, pid: int) -> None:
        self._folder, self._pid = folder, pid
        self._changed = asyncio.Event()
        self._fds: list[int] = []
        self._ended = False
        self._closed = False

    @property
    def over(self) -> bool:
        return self._ended and self._closed

    def __enter__(self) -> "_News":
        loop = asyncio.get_running_loop()
        events = int(_libc.inotify_init1(_NONBLOCK | _CLOEXEC))
        if events < 0:
            raise OSError(ctypes.get_errno(), "no more watches of files are allowed here")
        self._fds.append(events)
        mask = _MODIFIED | _CLOSED | _MOVED_TO | _DELETED | _GONE
        _libc.inotify_add_watch(events, bytes(self._folder), mask)
        loop.add_reader(events, self._told, events)
        try:
            process = os.pidfd_open(self._pid)
        except ProcessLookupError:
            self._ended = self._closed = True
        else:
            self._fds.append(process)
            loop.add_reader(process, self._process_ended, process)
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._fds:
            asyncio.get_running_loop().remove_reader(fd)
            os.close(fd)

    async def wait(self) -> None:
        await self._changed.wait()
        self._changed.clear()

    def _told(self, events: int) -> None:
        with contextlib.suppress(OSError):
            content, at = os.read(events, 1 << 16), 0
            while at < len(content):
                _, mask, _, length = _EVENT.unpack_from(content, at)
                at += _EVENT.size + length
                # after the process only conmon's own end closes anything here
                self._closed = self._closed or (self._ended and bool(mask & _LAST))
        self._changed.set()

    def _process_ended(self, process: int) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(process)
        self._ended = True
        loop.call_later(LAST_WORDS_S, self._close)

    def _close(self) -> None:
        self._closed = True
        self._changed.set()

"""Logs of several containers as they grow, containers that start meanwhile included.

In: where the logs are, asked again and again, and what is searched for. Out: lines, and how many bytes were passed over
where more is written than anybody can read. The kernel tells of what is written (inotify(7)); a log that is full
is read to its end before the one after it. It writes nothing.
"""

import asyncio
import contextlib
import ctypes
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from anypop.agent.decide.log_choice import Choice, Forward, Line
from anypop.agent.log_names import BEFORE, LOG
from anypop.agent.observe.log_past import begin_of

Key = tuple[str, str]  # uid and container
PACE_S = 0.1  # a reader sees no sooner, and what comes in between is one piece
NEW_ONES_S = 1.0  # containers that were started since are looked for so often
MOST_AT_ONCE = 128 << 10  # bytes of one container in one turn: more than a megabyte a second
MOST_BEHIND = 1 << 20  # who is further behind goes on with what is new
PIECE = 32 << 10
_MODIFIED, _MOVED_TO, _NONBLOCK, _CLOEXEC = 0x2, 0x80, 0o4000, 0o2000000
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Of one container. `skipped`: bytes of its log that nobody has looked at."""

    key: Key
    lines: tuple[Line, ...] = ()
    skipped: int = 0


@dataclass(slots=True)
class _Tail:
    folder: Path
    file: int
    reader: Forward
    at: int
    watch: int = -1
    before: list[int] = field(default_factory=list)  # full ones that are not read to their end


class Present:
    """Follows logs. `folders`: of the containers that are meant, now."""

    def __init__(self, folders: Callable[[], Mapping[Key, Path]], choice: Choice) -> None:
        self._folders, self._choice = folders, choice
        self._tails: dict[Key, _Tail] = {}
        self._changed = asyncio.Event()
        self._events = -1

    async def run(self) -> AsyncGenerator[News, None]:
        """For ever."""
        loop = asyncio.get_running_loop()
        self._events = int(_libc.inotify_init1(_NONBLOCK | _CLOEXEC))
        if self._events < 0:
            raise OSError(ctypes.get_errno(), "no more watches of files are allowed here")
        loop.add_reader(self._events, self._told)
        first = True
        try:
            while True:
                self._look(first=first)
                first = False
                more = False
                for key, tail in list(self._tails.items()):
                    news = self._read(key, tail)
                    more = more or bool(tail.before) or tail.at < _size(tail.file)
                    if news.lines or news.skipped:
                        yield news
                    await asyncio.sleep(0)
                await asyncio.sleep(PACE_S)
                if not more:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(NEW_ONES_S):
                            await self._changed.wait()
                self._changed.clear()
        finally:
            loop.remove_reader(self._events)
            os.close(self._events)
            for tail in self._tails.values():
                _close(tail)

    def _told(self) -> None:
        with contextlib.suppress(OSError):
            os.read(self._events, 1 << 16)
        self._changed.set()

    def _look(self, *, first: bool) -> None:
        """Logs that are new are read from their beginning, but those that are there at the start."""
        folders = self._folders()
        for key in [k for k, tail in self._tails.items() if folders.get(k) != tail.folder]:
            tail = self._tails[key]
            if tail.at >= _size(tail.file):  # its last words have been read
                _close(self._tails.pop(key))
                _libc.inotify_rm_watch(self._events, tail.watch)
        for key, folder in folders.items():
            if key not in self._tails and (begun := self._begun(folder, first=first)) is not None:
                begun.watch = _libc.inotify_add_watch(self._events, bytes(folder), _MODIFIED | _MOVED_TO)
                self._tails[key] = begun

    def _begun(self, folder: Path, *, first: bool) -> _Tail | None:
        try:
            file = os.open(folder / LOG, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        at = 0
        if self._choice.since is not None:
            at = max(0, begin_of(file, self._choice.since) - (64 << 10))  # `begin_of` may be a little after it
            at = _next_line(file, at)
        elif first:
            at = _next_line(file, _size(file), end=True)
        tail = _Tail(folder=folder, file=file, reader=Forward(self._choice), at=at)
        if at == 0 and self._choice.since is not None:
            with contextlib.suppress(OSError):
                before = os.open(folder / BEFORE, os.O_RDONLY | os.O_CLOEXEC)
                tail.before.append(before)
                os.lseek(before, _next_line(before, max(0, begin_of(before, self._choice.since) - (64 << 10))), 0)
        return tail

    def _read(self, key: Key, tail: _Tail) -> News:
        lines: list[Line] = []
        left = MOST_AT_ONCE
        while tail.before and left > 0:
            left -= self._some(tail.before[0], None, tail, lines, left)
            if left > 0:
                os.close(tail.before.pop(0))
        skipped = 0
        if not tail.before:
            if _size(tail.file) - tail.at > MOST_BEHIND:
                to = _next_line(tail.file, _size(tail.file) - MOST_AT_ONCE)
                skipped, tail.at = to - tail.at, to
                tail.reader.forget()
            left -= self._some(tail.file, tail.at, tail, lines, left)
            if left > 0:
                self._turn(tail)
        return News(key=key, lines=tuple(lines), skipped=skipped)

    def _some(self, file: int, at: int | None, tail: _Tail, lines: list[Line], most: int) -> int:
        """How many bytes were read."""
        read = 0
        while read < most:
            size = min(PIECE, most - read)
            piece = os.read(file, size) if at is None else os.pread(file, size, at + read)
            if not piece:
                break
            read += len(piece)
            lines += tail.reader.take(piece)
        if at is not None:
            tail.at += read
        return read

    def _turn(self, tail: _Tail) -> None:
        """To the log that has been begun since, if there is one; the one before is read to its end first."""
        with contextlib.suppress(OSError):
            newer = os.open(tail.folder / LOG, os.O_RDONLY | os.O_CLOEXEC)
            if os.path.samestat(os.fstat(newer), os.fstat(tail.file)):
                os.close(newer)
                return
            os.lseek(tail.file, tail.at, os.SEEK_SET)
            tail.before.append(tail.file)
            tail.file, tail.at = newer, 0
            self._changed.set()


def _size(file: int) -> int:
    return os.fstat(file).st_size


def _next_line(file: int, at: int, *, end: bool = False) -> int:
    """Where the line after `at` begins; with `end`: the last one that begins at or before it."""
    if at == 0:
        return 0
    window = 16 << 10
    if end:
        begin = max(0, at - window)
        found = os.pread(file, at - begin, begin).rfind(b"\n")
        return begin + found + 1 if found >= 0 else at
    found = os.pread(file, window, at).find(b"\n")
    return at + found + 1 if found >= 0 else at


def _close(tail: _Tail) -> None:
    for file in (tail.file, *tail.before):
        os.close(file)

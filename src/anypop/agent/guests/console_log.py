"""What the console of a guest says, written as conmon writes what a container says.

In: bytes as they come. Out: `ctr.log`, lines with their moments (`decide/log_lines.py` says the form), begun anew when
it is full; the full one before it is `ctr.log.1`. Nothing is changed in the text; CR LF ends a line as LF does. A line
that is not whole stands in a file of its own, so the death of this process loses nothing that it has read; one that
stays so is written as a part. What the disk does not take is lost: nobody waits for it.
"""

import contextlib
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

from anypop.agent.log_names import BEFORE, LOG

_UNFINISHED, _NEW = "unfinished", ".new"
_HEAD = struct.Struct("<QQI")  # inode and size of the log behind which it stands, and its own length
# Head and text are in one page: a process that is killed while it writes has written all of a page or nothing.
LONGEST_PART = 4096 - _HEAD.size


class ConsoleLog:
    """In `folder`. `most`: bytes of one file. `clock`: seconds since the epoch."""

    def __init__(self, folder: Path, most: int, clock: Callable[[], float]) -> None:
        self._folder, self._most, self._clock = folder, most, clock
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._log = _opened(folder / LOG)
        self._held = os.open(folder / _UNFINISHED, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._rest = self._left_behind()
        self._within = False  # the last entry is a part

    @property
    def unfinished(self) -> bool:
        """Whether it has read something that is not in the log."""
        return bool(self._rest)

    def close(self) -> None:
        os.close(self._log)
        os.close(self._held)

    def take(self, said: bytes) -> None:
        """The next bytes."""
        before = self._rest
        *lines, rest = (before + said).split(b"\n")
        entries = []
        for line in lines:
            parts = _cut(line.removesuffix(b"\r"))
            entries += [(b"P", part) for part in parts[:-1]] + [(b"F", parts[-1])]
        while len(rest) > LONGEST_PART:
            entries.append((b"P", rest[:LONGEST_PART]))
            rest = rest[LONGEST_PART:]
        self._write(entries)
        if rest != before or entries:
            self._hold(rest)

    def settle(self, *, over: bool = False) -> None:
        """Write what has been begun: nothing has followed for a while. `over`: nothing will."""
        part = self._rest.removesuffix(b"\r")  # half of an end of line, it may be
        if over and (self._rest or self._within):
            self._write([(b"F", part)])
            self._hold(b"")
        elif part and not over:
            self._write([(b"P", part)])
            self._hold(self._rest[len(part) :])

    def _write(self, entries: list[tuple[bytes, bytes]]) -> None:
        if not entries:
            return
        second, fraction = divmod(round(self._clock() * 1_000_000), 1_000_000)
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)) + f".{fraction:06}000+00:00"
        head = moment.encode() + b" stdout "
        content = b"".join(b"%s%s %s\n" % (head, kind, text) for kind, text in entries)
        with contextlib.suppress(OSError):  # a full disk
            size = os.fstat(self._log).st_size
            if size and size + len(content) > self._most:
                self._turn()
            while content:
                content = content[os.write(self._log, content) :]
            self._within = entries[-1][0] == b"P"

    def _turn(self) -> None:
        """The log becomes the one before, and a new one takes its name; both names lead to a log at every moment."""
        new, before = self._folder / f"{LOG}{_NEW}", self._folder / f"{BEFORE}{_NEW}"
        new.unlink(missing_ok=True)
        opened = _opened(new)
        try:
            before.unlink(missing_ok=True)
            before.hardlink_to(self._folder / LOG)
            before.rename(self._folder / BEFORE)
            new.rename(self._folder / LOG)
        except OSError:
            os.close(opened)
            raise
        os.close(self._log)
        self._log = opened

    def _hold(self, rest: bytes) -> None:
        self._rest = rest
        with contextlib.suppress(OSError):
            seen = os.fstat(self._log)
            os.pwrite(self._held, _HEAD.pack(seen.st_ino, seen.st_size, len(rest)) + rest, 0)

    def _left_behind(self) -> bytes:
        """What the process before this one has read of a line; nothing where it is in the log by now."""
        held = os.pread(self._held, _HEAD.size + LONGEST_PART, 0)
        if len(held) < _HEAD.size:
            return b""
        inode, size, length = _HEAD.unpack_from(held)
        seen = os.fstat(self._log)
        rest = held[_HEAD.size : _HEAD.size + length]
        return rest if (inode, size, length) == (seen.st_ino, seen.st_size, len(rest)) else b""


def _opened(file: Path) -> int:
    return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _cut(line: bytes) -> list[bytes]:
    return [line[at : at + LONGEST_PART] for at in range(0, len(line), LONGEST_PART)] or [b""]

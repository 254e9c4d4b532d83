"""A program that a pid file names, asked about again and again: whether it runs, and whether a signal has stopped it.

In: the pid file, as `process.spawn` writes it. Out: what `process.alive` and `process.is_stopped` say, for a tenth of
their cost: the file is read again only when it is another one, and the process's own line in /proc stays open, which is
that process's for good, whoever gets its number next. Any thread may ask.
"""

import os
import threading
from pathlib import Path

from anypop.host import process

_LONGEST_STAT = 1024


class Recorded:
    """See the module."""

    def __init__(self, pid_file: Path) -> None:
        self._path, self._name = pid_file, str(pid_file)
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._pid: int | None = None
        self._stat = -1

    def pid(self) -> int | None:
        """The pid while the very process that was recorded runs, else None."""
        with self._lock:
            return self._pid if self._state() not in (b"", b"Z") else None

    def stopped_pid(self) -> int | None:
        """The same while it is stopped by a signal; of one that was started since `pid` was last asked for not yet."""
        with self._lock:
            return self._pid if (self._letter() if self._stat >= 0 else self._state()) == b"T" else None

    def _state(self) -> bytes:
        """The kernel's letter; empty: it is gone."""
        try:
            found = os.stat(self._name)  # noqa: PTH116 - asked some times a second, and half as dear
        except OSError:
            self._let_go()
            return b""
        seen = found.st_ino, found.st_mtime_ns, found.st_size
        if seen != self._seen:
            self._let_go()
            self._open(seen)
        return self._letter() if self._stat >= 0 else b""

    def _letter(self) -> bytes:
        try:
            return os.pread(self._stat, _LONGEST_STAT, 0).rpartition(b") ")[2][:1]
        except ProcessLookupError:
            return b""

    def _open(self, seen: tuple[int, int, int]) -> None:
        pid = process.alive(self._path)
        if pid is None:
            return  # looked at again: it may be written at this moment
        try:
            self._stat = os.open(process.line_of(pid), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        if process.alive(self._path) != pid:  # what was opened may be somebody else's
            self._let_go()
            return
        self._seen, self._pid = seen, pid

    def _let_go(self) -> None:
        if self._stat >= 0:
            os.close(self._stat)
        self._seen, self._pid, self._stat = None, None, -1

    def __del__(self) -> None:
        self._let_go()

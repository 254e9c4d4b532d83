"""Logs that stay small: a file to which a program appends is copied to `NAME.old` and emptied when it has grown long.

In: files. Out: the same files, each at most so long, with the older part beside it. For programs that write to standard
error into a file and cannot be told to open it anew; they append, so they go on at its new beginning. What is written
in the moment between the copy and the cut is lost. A journal or a terminal is left alone.
"""

import contextlib
import fcntl
import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

MOST_BYTES = 10 << 20
LOOKED_AT_EVERY_S = 30.0  # a program that writes 1 MB a second is a few times over by then, and not more


def own() -> list[Path]:
    """The file behind this process's standard error, if it is one."""
    with contextlib.suppress(OSError):
        if stat.S_ISREG(os.fstat(2).st_mode):
            return [Path("/proc/self/fd/2").readlink()]
    return []


def cut(files: Iterable[Path], *, most: int = MOST_BYTES) -> list[Path]:
    """Those that were longer than `most` bytes and are empty now. What cannot be read or written is left as it is."""
    found = []
    for path in files:
        with contextlib.suppress(OSError):
            if path.stat().st_size > most and _cut(path, most):
                found.append(path)
    return found


def _cut(path: Path, most: int) -> bool:
    with path.open("r+b") as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False  # another of our programs is at it
        if os.fstat(log.fileno()).st_size <= most:
            return False
        old = path.with_name(f"{path.name}.old")
        unfinished = path.with_name(f"{path.name}.cut")
        handle = os.open(
            unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, stat.S_IMODE(os.fstat(log.fileno()).st_mode)
        )
        with os.fdopen(handle, "wb") as copy:
            log.seek(max(0, os.fstat(log.fileno()).st_size - most))  # the newest part of one that ran away
            shutil.copyfileobj(log, copy)
        unfinished.rename(old)
        log.truncate(0)
    return True

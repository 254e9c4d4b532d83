"""The UNIX socket of a program that runs in a folder of its own, reached by a handle: an address holds 108 bytes, and a
path may be longer.

In: where it is. Out: a path that is short enough, and leads nowhere else: not by a link, not to a socket of another
user than the folder's. It connects to nothing.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def reachable(path: Path) -> Iterator[str]:
    """Raises OSError."""
    handle = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        told = os.fstat(handle)
        if not stat.S_ISSOCK(told.st_mode) or told.st_uid != path.parent.stat().st_uid:
            raise OSError(f"{path.name} is not its socket")
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)

"""One at a time: a lock on a folder that the kernel frees when its holder dies, however it dies."""

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

from anypop.model.errors import WorldError


@contextlib.contextmanager
def alone(folder: Path, what: str, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold `folder`'s lock for a block. Raises `WorldError(what, ...)` when somebody else holds it, after `wait_s`."""
    deadline = time.monotonic() + wait_s
    with (folder / ".lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise WorldError(what, f"another process is at work on {folder}; wait for it to end") from error
                time.sleep(0.02)
        yield

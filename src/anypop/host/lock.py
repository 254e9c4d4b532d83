"""One at a time: a lock on a folder that the kernel frees when its holder dies, however it dies."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from anypop.model.errors import WorldError


@contextlib.contextmanager
def alone(folder: Path, what: str) -> Iterator[None]:
    """Hold `folder`'s lock for a block. Raises `WorldError(what, ...)` at once when somebody else holds it."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WorldError(what, f"another process is at work on {folder}; wait for it to end") from error
        yield

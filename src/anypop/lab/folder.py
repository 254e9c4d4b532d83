"""The state folder: whose it is, who may read it, and how it is removed.

Comes in: the folder that an operator names. Goes out: a folder that is marked as a platform's and lets nobody else in,
or a refusal. It removes nothing that it did not mark: `--state /home/me` together with `--purge` must not cost anybody
a home.
"""

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from anypop.model.errors import Invalid, WorldError

MARK = ".anypop"
LEAST_BYTES = 1 << 20  # with less a program can write neither its record nor its log
PATIENCE_S = 5.0  # for what is still being written into a folder that is removed
# What may stand in a folder before a platform is put into it: our lock, and what `anypop catchment observe` collects.
_EARLIER = frozenset({MARK, ".lock", "observations.csv"})


@contextlib.contextmanager
def unwritable() -> Iterator[None]:
    """What this process and the programs that it starts make can be written by its owner alone, whatever umask the
    operator's shell has.

    It may be read: the state folder lets nobody in, and outside of it stand things of the whole host (/run/netns).
    """
    before = os.umask(0o022)
    os.umask(before | 0o022)
    try:
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def roomy(state: Path) -> Iterator[None]:
    """What fails in the block for want of room on the folder's disk is told as that, in one sentence (`WorldError`)."""
    try:
        yield
    except (OSError, WorldError) as error:
        asked = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        free = _free(state)
        if not asked and (free is None or free >= LEAST_BYTES):
            raise
        left = "nothing" if not free else f"{free >> 10} KiB"
        why = f"its disk is full ({left} left): make room there, then run the same command again"
        raise WorldError(f"write to {state}", why) from error


def _free(state: Path) -> int | None:
    try:
        found = os.statvfs(state)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def enter(state: Path) -> None:
    """Make the folder, or take an empty one. Raises `Invalid` for a folder that holds something else, and changes
    nothing there.
    """
    if state.exists() and not state.is_dir():
        raise Invalid.one("state", f"{state} is not a folder; name another with --state")
    if not _is_ours(state):
        first = (
            next((path.name for path in sorted(state.iterdir()) if path.name not in _EARLIER), None)
            if state.exists()
            else None
        )
        if first is not None:
            raise Invalid.one(
                "state", f"{state} holds other things ({first}); name an empty or a new folder with --state"
            )
        try:
            state.mkdir(parents=True, exist_ok=True, mode=0o700)
            state.chmod(0o700)
            (state / MARK).touch(mode=0o600)
        except OSError as error:
            raise WorldError(f"use the folder {state}", error.strerror or str(error)) from error


def purge(state: Path) -> None:
    """Remove the folder and all that is in it, its mark last: one that cannot be removed whole is still ours, and can
    be asked for again. Raises `WorldError` then, and when no platform was ever put into it; one that is not there is
    gone.
    """
    if not state.exists():
        return
    must_be_ours(state)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        left = _emptied(state)
        if not left:
            (state / MARK).unlink()
            try:
                state.rmdir()
            except OSError as error:
                if error.errno in (errno.EBUSY, errno.EROFS):  # an operator has mounted it: it stays, empty
                    return
                (state / MARK).touch(mode=0o600)  # something was written into it at this very moment
                left = {error.strerror or str(error)}
            else:
                return
        if time.monotonic() >= deadline:
            why = f"{'; '.join(sorted(left))}; what is left is still marked as a platform's: ask again"
            raise WorldError(f"remove {state}", why)
        time.sleep(0.05)


def must_be_ours(state: Path) -> None:
    """Raises `WorldError` when no platform was ever put into the folder."""
    if not _is_ours(state):
        raise WorldError(f"remove {state}", "no platform ever lived there: it is left as it is")


def _emptied(state: Path) -> set[str]:
    """What of the folder, beside its mark, could not be removed, in the system's words."""
    left: set[str] = set()

    def tell(_: object, path: str, error: tuple[type[BaseException], BaseException, object]) -> None:
        if not isinstance(error[1], FileNotFoundError):
            left.add(f"{path}: {getattr(error[1], 'strerror', None) or error[1]}")

    for entry in state.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, onerror=tell)
        elif entry.name != MARK:
            entry.unlink(missing_ok=True)
    return left | {f"{entry.name} has come back" for entry in state.iterdir() if entry.name != MARK}


def _is_ours(state: Path) -> bool:
    return (state / MARK).exists()

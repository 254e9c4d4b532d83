"""The state folder: whose it is, who may read it, and how it is removed.

Comes in: the folder that an operator names. Goes out: a folder that is marked as a platform's and lets nobody else in,
or a refusal. It removes nothing that it did not mark: `--state /home/me` together with `--purge` must not cost anybody
a home.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from anypop.model.errors import Invalid, WorldError

MARK = ".anypop"
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
    """Remove the folder and all that is in it. Raises `WorldError` when no platform was ever put into it; one that
    is not there is gone.
    """
    if not state.exists():
        return
    if not _is_ours(state):
        raise WorldError(f"remove {state}", "no platform ever lived there: it is left as it is")
    shutil.rmtree(state, ignore_errors=True)


def _is_ours(state: Path) -> bool:
    return (state / MARK).exists()

"""The log of a container's life before this one, kept beside the agent's state until its instance is gone.

In: the folder where Podman has a log that is about to go with its container. Out: the same files under names of ours,
one life for each container; a link where both are on one file system, else a copy. It never reads what they say.
"""

import contextlib
import shutil
from pathlib import Path

from anypop.agent.log_names import BEFORE, LOG


def place_of(kept: Path, uid: str, container: str) -> Path:
    """Where the log of the life before is, if there is one."""
    return kept / uid / container


def keep(kept: Path, source: Path, uid: str, container: str) -> None:
    """In place of what was kept before. What cannot be kept (a full disk, a log that is gone) is lost, and no error."""
    keep_at(place_of(kept, uid, container), source)


def keep_at(place: Path, source: Path) -> None:
    """The same, where the place is known."""
    with contextlib.suppress(OSError):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True, mode=0o700)
        for name in (LOG, BEFORE):
            if (source / name).exists():
                _same(source / name, place / name)


def forget(kept: Path, uid: str) -> None:
    """Its instance is gone."""
    shutil.rmtree(kept / uid, ignore_errors=True)


def _same(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)

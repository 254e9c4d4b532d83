"""Folders for what is worked out once and read again: compiled kernels, graphs as arrays.

In: a name. Out: a folder of the user's own cache, or None where there is none. What is read from such a folder is run,
or taken for checked, so one counts only where nobody else can write. Never a folder that all may write, such as /tmp.
"""

import os
import stat
from pathlib import Path


def own_folder(name: str) -> Path | None:
    """`name` below the user's cache (XDG_CACHE_HOME, or ~/.cache), made where it is missing."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = base / "anypop" / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # a system user without a home folder, or one that is read-only
        return None
    return folder if base.is_absolute() and trusted(folder) and os.access(folder, os.W_OK) else None


def trusted(path: Path, owners: frozenset[int] = frozenset()) -> bool:
    """Whether only root, this user and `owners` can have written here."""
    try:
        found = path.lstat()
    except OSError:
        return False
    known = found.st_uid in {0, os.geteuid(), *owners}
    return known and not stat.S_ISLNK(found.st_mode) and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)

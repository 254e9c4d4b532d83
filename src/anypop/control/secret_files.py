"""Secrets that the operator keeps in files of their own.

In: a file's path, and where its name was said. Out: what stands in it; where it cannot be read, is empty, or is open to
others, a problem that says what to do. The secret itself is in no message.
"""

import stat
from pathlib import Path

from anypop.model.errors import Problem


def secret_in(path: Path, where: str, problems: list[Problem]) -> str:
    """What stands in the file, without the space around it; empty where there is a problem."""
    try:
        found = path.read_text(encoding="utf-8").strip()
        mode = stat.S_IMODE(path.stat().st_mode)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        problems.append(Problem(path=where, message=f"{path} cannot be read: {why}"))
        return ""
    if mode & 0o077:
        problems.append(Problem(path=where, message=f"others can use {path} (mode {mode:04o}): chmod 600 {path}"))
    if not found:
        problems.append(Problem(path=where, message=f"{path} is empty"))
    return found

"""Files by which the agent and processes that outlive it tell each other something: JSON objects, one in each file.

In: a path, and an object. Out: the object, or nothing where it cannot be read. A file is replaced as a whole, so a
reader never meets half of one, and only where it says something else.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_object(file: Path) -> dict[str, Any]:
    """Empty where there is none, or nobody can read it."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def sign_of(file: Path) -> tuple[int, int, int] | None:
    """While it is the same, so is the file: one that takes its place is another one. None: there is none."""
    try:
        found = os.stat(file)  # noqa: PTH116 - asked some times a second, and half as dear
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def replace_object(file: Path, content: Mapping[str, Any]) -> bool:
    """Whether it said something else before. For its owner's eyes alone. Raises OSError."""
    text = json.dumps(content, indent=1) + "\n"
    try:
        if file.read_text() == text:
            return False
    except (OSError, ValueError):
        pass
    temporary = file.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.chmod(0o600)
    temporary.rename(file)
    return True

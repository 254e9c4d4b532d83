"""Platforms that are kept by name ("contexts"), and which of them is meant where nothing else is said.

In: `contexts.json` in the user's configuration folder (XDG_CONFIG_HOME, else ~/.config). Out: the values of one
context, by the names of `settings`; the file with a change, written whole or not at all, readable by its owner alone.
It knows credentials of a client; another way to sign in is another member of a context.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anypop.cli.failure import Exit, Failure


@dataclass(slots=True)
class Kept:
    """`contexts`: their values by name."""

    current: str = ""
    contexts: dict[str, dict[str, str]] = field(default_factory=dict)


def path(environment: Mapping[str, str]) -> Path:
    base = environment.get("XDG_CONFIG_HOME") or str(Path(environment.get("HOME") or "~").expanduser() / ".config")
    return Path(base) / "anypop" / "contexts.json"


def read(environment: Mapping[str, str]) -> Kept:
    """What is kept; nothing where there is no file."""
    file = path(environment)
    try:
        found: Any = json.loads(file.read_text())
        contexts = {str(n): {str(k): str(v) for k, v in c.items()} for n, c in found["contexts"].items()}
        return Kept(current=str(found.get("current") or ""), contexts=contexts)
    except FileNotFoundError:
        return Kept()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure(
            f"{file} cannot be used: {error}",
            code=Exit.USAGE,
            advice="Mend or remove it; 'anypop login' makes it anew.",
        ) from error


def write(kept: Kept, environment: Mapping[str, str]) -> None:
    file = path(environment)
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=".contexts-")  # 0600
        with os.fdopen(handle, "w") as made:
            json.dump({"current": kept.current, "contexts": kept.contexts}, made, indent=2)
            made.write("\n")
            made.flush()
            os.fsync(made.fileno())
        Path(name).replace(file)
    except OSError as error:
        raise Failure(
            f"{file} cannot be written: {error.strerror or error}", advice="XDG_CONFIG_HOME=DIR names another place."
        ) from error


def current(environment: Mapping[str, str]) -> str:
    """The name of the context that is meant; nothing where there is none."""
    return read(environment).current


def one(name: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The values of a context. `Failure` where there is none of that name."""
    found = read(environment)
    if name not in found.contexts:
        known = ", ".join(sorted(found.contexts)) or "none"
        raise Failure(
            f"there is no context '{name}'", code=Exit.NOT_FOUND,
            advice=f"There are: {known}. 'anypop login URL --name {name}' makes one.",
        )  # fmt: skip
    return dict(found.contexts[name])

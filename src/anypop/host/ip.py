"""`ip` as a library: many commands at once, answers as data.

One process for any number of changes (`ip -batch -`). `netns`: run in that namespace; None: in the caller's own.
"""

import json
from collections.abc import Iterable
from typing import Any

from anypop.host.process import run
from anypop.model.errors import WorldError


def batch(lines: Iterable[str], *, netns: str | None = None, force: bool = False) -> None:
    """Run `ip` command lines in order. Raises `WorldError` at the first that fails, or with `force` goes on and
    raises nothing.
    """
    text = "\n".join(lines)
    if not text:
        return
    where = ["-n", netns] if netns else []
    try:
        run(["ip", *where, *(["-force"] if force else []), "-batch", "-"], stdin=text + "\n")
    except WorldError as error:
        if not force:
            raise WorldError("ip -batch" + (f" in {netns}" if netns else ""), f"{error.why}\n{text}") from error


def query(*words: str, netns: str | None = None) -> list[dict[str, Any]]:
    """What `ip -json WORDS` lists. Empty where it prints nothing."""
    where = ["-n", netns] if netns else []
    text = run(["ip", *where, "-json", "-details", *words]).strip()
    return [row for row in json.loads(text) if row] if text else []

"""Waiting for the world: on a predicate, with a time limit and the name of what is waited for. Never a bare sleep."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from anypop.model.errors import WorldError

T = TypeVar("T")


def until(
    predicate: Callable[[], T], *, timeout_s: float, what: str, log: Path | None = None, every_s: float = 0.02
) -> T:
    """The first truthy value. Raises `WorldError` after `timeout_s`, with the last line of `log` when there is one."""
    deadline = time.monotonic() + timeout_s
    while not (value := predicate()):
        if time.monotonic() > deadline:
            raise WorldError(what, f"not ready within {timeout_s:g} s{_last_line(log)}")
        time.sleep(every_s)
    return value


def _last_line(log: Path | None) -> str:
    if log is None or not log.exists():
        return ""
    lines = log.read_text(errors="replace").strip().splitlines()
    return f"; {log} ends with: {lines[-1]}" if lines else f"; {log} is empty"

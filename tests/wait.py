"""Waiting in tests: on a predicate, with a timeout and a stated reason; never a bare sleep."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(predicate: Callable[[], T | None], *, timeout_s: float, reason: str, every_s: float = 0.02) -> T:
    """The first truthy value of `predicate`. AssertionError with `reason` and the last value after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {reason}; last seen: {value!r}")
        time.sleep(every_s)

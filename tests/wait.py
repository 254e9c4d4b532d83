"""Waiting in tests: on a predicate, with a timeout and a stated reason; never a bare sleep."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

# A wait of so many seconds or more says that something comes at all, and no test claims by it how fast. On a machine
# that runs all rows of tests at once it may take a few times as long.
PATIENT_FROM_S, PATIENCE = 10.0, 3.0
LONGEST_REST_S = 1.0


def wait_until(
    predicate: Callable[[], T | None], *, timeout_s: float, reason: str | Callable[[], str], every_s: float = 0.02
) -> T:
    """The first truthy value of `predicate`. AssertionError with `reason` and the last value after `timeout_s`, or
    `PATIENCE` times as long where that is patience and no claim. A `reason` that tells what is missing is asked then.
    """
    patient = timeout_s >= PATIENT_FROM_S
    timeout_s *= PATIENCE if patient else 1
    deadline = time.monotonic() + timeout_s
    while True:
        asked = time.monotonic()
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            why = reason if isinstance(reason, str) else reason()
            raise AssertionError(f"not within {timeout_s:g} s: {why}; last seen: {value!r}")
        time.sleep(_rest(every_s, time.monotonic() - asked) if patient else every_s)


def _rest(every_s: float, took_s: float) -> float:
    """Until it is asked again. A question that is a command or a request takes a processor from what it waits for: it
    is asked half of the time at most.
    """
    return max(every_s, min(took_s, LONGEST_REST_S))


async def until(predicate: Callable[[], object], reason: str, *, timeout_s: float = 30) -> None:
    """The same on the loop, which goes on meanwhile. `predicate` may have to be awaited itself."""
    patient = timeout_s >= PATIENT_FROM_S
    timeout_s *= PATIENCE if patient else 1
    deadline = time.monotonic() + timeout_s
    while True:
        asked = time.monotonic()
        value = predicate()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {reason}; last seen: {value!r}"
        await asyncio.sleep(_rest(0.005, time.monotonic() - asked) if patient else 0.005)

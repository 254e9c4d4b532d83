"""Seconds since the epoch that never jump: the clock by which control and agents measure every age and every deadline.

In: the machine's wall clock and its monotonic one, as callables. Out: the wall's time at the start, moved on by the
monotonic clock, and led slowly towards the wall where that was set meanwhile. So a wall clock that is set back makes no
report young, and one that is set forward makes none old. It reads no clock of its own.
"""

import threading
from collections.abc import Callable

# A second of difference is made up for in twenty seconds: every age is right within 5 %, and what people read follows.
LED_PART = 0.05


class SteadyClock:
    """Call it for the time. It may be called from any thread, and never gives less than it gave before."""

    def __init__(self, wall: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._told = wall()
        self._asked_at = monotonic()
        self._lock = threading.Lock()

    def __call__(self) -> float:
        with self._lock:
            asked_at, wall = self._monotonic(), self._wall()
            passed = max(0.0, asked_at - self._asked_at)
            off = wall - (self._told + passed)
            self._told += passed + max(-LED_PART * passed, min(LED_PART * passed, off))
            self._asked_at = asked_at
            return self._told

"""What is kept for somebody to collect once, within a time: sign-ins under way, links that sign in.

In: a secret, and what it stands for. Out: that, to the first who shows the secret in time. Secrets are kept as hashes,
in memory alone: a restart forgets all of it. It has an end, so that nobody fills it.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from anypop.control.tokens import hash_of

MOST = 10_000


class Mortal(Protocol):
    @property
    def until(self) -> float: ...


T = TypeVar("T", bound=Mortal)


class Once(Generic[T]):
    """What is kept under a secret until it is taken, once, or its time is over; of too many the oldest go."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, T] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, secret: str, kept: T) -> None:
        with self._lock:
            while self._kept and (len(self._kept) >= MOST or next(iter(self._kept.values())).until <= self._clock()):
                self._kept.popitem(last=False)
            self._kept[hash_of(secret)] = kept

    def take(self, secret: str) -> T | None:
        with self._lock:
            found = self._kept.pop(hash_of(secret), None)
        return found if found is not None and found.until > self._clock() else None

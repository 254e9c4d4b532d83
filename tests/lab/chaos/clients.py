"""Clients at every vantage that never stop asking, and what they saw between two moments.

In: vantages and addresses. Out: which requests failed, and for how long nobody was answered. One that takes longer
than a second has failed. Beside them a pulse tells how late the machine itself was: a program that wants to run each
20 ms and is not let is no fault of the platform's.
"""

import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise

from anypop.lab.address import VantageHost
from anypop.lab.vantage import Answer, Stream
from tests.lab.chaos.bounds import Loss, longest_gap

TIMEOUT_S = 1.0
FOR_EVER = 10**9
_BEAT_S = 0.02
_JUST_NOW_S = 0.5


class Clients:
    """Ask each address from each vantage every `interval_s`, while the block runs (`asking`)."""

    def __init__(self, vantages: Sequence[VantageHost], addresses: Sequence[str], *, interval_s: float = 0.05) -> None:
        self._streams = [
            (vantage.name, Stream(vantage, address, interval_s=interval_s, timeout_s=TIMEOUT_S, most=FOR_EVER))
            for vantage in vantages
            for address in addresses
        ]
        self._beats: list[float] = []
        self._over = threading.Event()

    @contextmanager
    def asking(self) -> Iterator["Clients"]:
        pulse = threading.Thread(target=self._beat, name="pulse", daemon=True)
        with ExitStack() as stack:
            for _, stream in self._streams:
                stack.enter_context(stream)
            pulse.start()
            try:
                yield self
            finally:
                self._over.set()
                pulse.join()

    def losses(self, since: float, until: float) -> list[Loss]:
        """Requests that failed, of those that were begun in between (seconds since the epoch)."""
        return [
            Loss(
                vantage=name,
                address=stream.address,
                begun=a.at,
                ended=a.at + a.seconds,
                error=a.error or f"status {a.status}",
            )
            for name, stream in self._streams
            for a in _between(stream, since, until)
            if not a.ok
        ]

    def asked(self, since: float, until: float) -> int:
        return sum(len(_between(stream, since, until)) for _, stream in self._streams)

    def gaps(self, since: float, until: float) -> Mapping[str, float]:
        """By vantage the longest time without an answer of one address, seconds; vantages without a failure are left
        out.
        """
        found: dict[str, float] = {}
        for name, stream in self._streams:
            gap = longest_gap([(a.at, a.ok) for a in _between(stream, since, until)])
            if gap:
                found[name] = max(found.get(name, 0.0), gap)
        return found

    def are_served(self, since: float) -> bool:
        """Whether nobody has failed since then, and every address has answered every vantage just now: a request that
        hangs has not failed yet.
        """
        now = time.time()
        for _, stream in self._streams:
            answers = stream.since(since)
            if not all(a.ok for a in answers) or not any(a.at >= now - _JUST_NOW_S for a in answers):
                return False
        return True

    def late(self, since: float, until: float) -> float:
        """For how long in between the pulse was late, seconds."""
        first, last = bisect_left(self._beats, since), bisect_right(self._beats, until) + 1
        return sum(max(0.0, b - a - 2 * _BEAT_S) for a, b in pairwise(self._beats[max(0, first - 1) : last]))

    def _beat(self) -> None:
        while not self._over.wait(_BEAT_S):
            self._beats.append(time.time())


def _between(stream: Stream, since: float, until: float) -> list[Answer]:
    return [answer for answer in stream.since(since) if answer.at < until]

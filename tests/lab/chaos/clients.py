"""Clients at every vantage that never stop asking, and what they saw between two moments.

In: vantages and addresses. Out: counts of failed requests by vantage, and for how long nobody was answered. A request
that takes longer than a second has failed.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from anypop.lab.address import VantageHost
from anypop.lab.vantage import Answer, Stream

TIMEOUT_S = 1.0
FOR_EVER = 10**9


class Clients:
    """Ask each address from each vantage every `interval_s`, while the block runs (`asking`)."""

    def __init__(self, vantages: Sequence[VantageHost], addresses: Sequence[str], *, interval_s: float = 0.05) -> None:
        self._streams = [
            (vantage.name, Stream(vantage, address, interval_s=interval_s, timeout_s=TIMEOUT_S, most=FOR_EVER))
            for vantage in vantages
            for address in addresses
        ]

    @contextmanager
    def asking(self) -> Iterator["Clients"]:
        with ExitStack() as stack:
            for _, stream in self._streams:
                stack.enter_context(stream)
            yield self

    def failed(self, since: float, until: float) -> Mapping[str, int]:
        """Failed requests by vantage, of those that were begun in between (seconds since the epoch)."""
        found: dict[str, int] = {}
        for name, stream in self._streams:
            bad = sum(not a.ok for a in _between(stream, since, until))
            found[name] = found.get(name, 0) + bad
        return found

    def why(self, since: float, until: float) -> Mapping[str, int]:
        """The same by what each of them met."""
        bad = [a.error or f"status {a.status}" for _, s in self._streams for a in _between(s, since, until) if not a.ok]
        return dict(Counter(bad))

    def asked(self, since: float, until: float) -> int:
        return sum(len(_between(stream, since, until)) for _, stream in self._streams)

    def last_failure(self, since: float) -> float | None:
        """When the last failed request since then was begun."""
        return max((a.at for _, s in self._streams for a in _between(s, since, time.time()) if not a.ok), default=None)


def _between(stream: Stream, since: float, until: float) -> list[Answer]:
    return [answer for answer in stream.answers if since <= answer.at < until]

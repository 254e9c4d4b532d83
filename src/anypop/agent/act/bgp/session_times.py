"""Since when BIRD's sessions are in their state, kept as it was first told. Pure: the clocks' difference is given.

In: the answer to `show protocols all`, the wall clock's seconds less those of the monotonic one. Out: the same answer,
with the time of each session as an earlier answer gave it, where the session has not changed since. BIRD knows these
times by its monotonic clock and works out the wall's anew for each answer: they differ by a millisecond, and by hours
where somebody has set the clock. Neither is a session that was lost.
"""

import re
import time
from functools import lru_cache

_HEAD = re.compile(r"^(\S+\s+\S+\s+\S+\s+\S+\s+)(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(\.\d+)?", re.MULTILINE)
SAME_S = 0.5  # BIRD connects a second after a loss at the earliest: what stands again is newer by more


class SessionTimes:
    """Of one daemon; asked by one thread at a time."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, str]] = {}

    def kept(self, told: str, ahead: float) -> str:
        """`ahead`: the wall clock's seconds less the monotonic clock's when `told` was said."""
        found = dict[str, tuple[float, str]]()

        def same(head: re.Match[str]) -> str:
            session = head[1]  # with its kind, table and state: each state has a time of its own
            at = seconds(head[2]) + float(head[3] or 0) - ahead
            before = self._known.get(session)
            found[session] = before if before is not None and abs(before[0] - at) < SAME_S else (at, head[0])
            return found[session][1]

        kept = _HEAD.sub(same, told)
        self._known = found
        return kept


@lru_cache(maxsize=1 << 10)  # the same ones are told in each answer
def seconds(local: str) -> float:
    """Of the epoch, of a time as BIRD tells it, without fractions."""
    return time.mktime(time.strptime(local, "%Y-%m-%d %H:%M:%S"))

"""How much processor time single instances use, for control that scales by it: those that the order names, and no more.

In: the order, and the main processes of the containers that run. Out: `millis`, by uid, each the mean of one span, and
a wake-up where one is told otherwise; beside it `flows`, the connections that each has open (the kernel's own count of
the namespace's TCP sockets, so that thousands cost what one does). What is told changes only where the use does by
more than a little, so that a host under steady load says nothing new. An instance whose container was started anew, or
that is not counted here, tells nothing until a whole span of it is known.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from anypop.agent.observe.processor import used_s
from anypop.model.order import Order

GOOD_FOR_SPANS = 3
ALMOST = 0.9  # of a span: a timer may ring a little early
LITTLE, FEW_MILLIS = 0.03, 3  # changes of so much, or of so few thousandths of a core, are none
SOME, FEW_FLOWS = 0.2, 4  # the same of connections, which come and go

Pids = frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """At one moment, of one incarnation: its processes, the seconds that their groups have used, and its connections
    (None: not known).
    """

    at: float
    pids: Pids
    used_s: float
    flows: int | None = None


class Measured:
    """See the module. `processes`: pids of the containers that run, by uid; `monotonic`: seconds that only grow."""

    def __init__(
        self,
        processes: Callable[[], Mapping[str, Collection[int]]],
        monotonic: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        self._processes, self._monotonic, self._wake = processes, monotonic, wake
        self._ordered = asyncio.Event()
        self._last: dict[str, Counted] = {}
        self._told: dict[str, int] = {}
        self._flows: dict[str, int] = {}
        self._good_until = 0.0

    @property
    def millis(self) -> tuple[tuple[str, int], ...]:
        """As a report has it. What nobody has measured for some spans is told no longer."""
        return tuple(sorted(self._told.items())) if self._monotonic() < self._good_until else ()

    @property
    def flows(self) -> tuple[tuple[str, int], ...]:
        """The same of connections. They go with a report and are no reason for one."""
        return tuple(sorted(self._flows.items())) if self._monotonic() < self._good_until else ()

    def order_changed(self) -> None:
        self._ordered.set()

    async def follow(self, order: Callable[[], Order | None]) -> None:
        """Measure for ever what the order says."""
        while True:
            self._ordered.clear()
            standing = order()
            wanted = wanted_by(standing) if standing is not None else frozenset()
            span = standing.measure_s if standing is not None else 0.0
            if wanted or self._told:
                running = {uid: frozenset(pids) for uid, pids in self._processes().items() if uid in wanted}
                counted = await asyncio.to_thread(read, running, self._monotonic)
                self.take(counted, span)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(span if wanted else None):
                    await self._ordered.wait()

    def take(self, counted: Mapping[str, Counted], span_s: float) -> None:
        """What was just counted of all that are measured."""
        self._good_until = self._monotonic() + GOOD_FOR_SPANS * span_s
        told = {uid: millis for uid, millis in self._told.items() if uid in counted}
        last = {}
        for uid, now in counted.items():
            before = self._last.get(uid)
            if before is None or before.pids != now.pids or now.used_s < before.used_s:
                told.pop(uid, None)
                last[uid] = now
            elif now.at - before.at < ALMOST * span_s:
                last[uid] = before  # an order came in between: the span goes on
            else:
                told[uid] = _steady(
                    told.get(uid), 1000 * (now.used_s - before.used_s) / (now.at - before.at), LITTLE, FEW_MILLIS
                )  # fmt: skip
                last[uid] = now
        self._last = last
        self._flows = {
            uid: _steady(self._flows.get(uid), now.flows, SOME, FEW_FLOWS)
            for uid, now in counted.items()
            if now.flows is not None
        }
        if told != self._told:
            self._told = told
            self._wake()


def wanted_by(order: Order) -> frozenset[str]:
    """The uids of the incarnations that are to be measured."""
    workloads = frozenset(order.measured)
    return frozenset(i.uid for i in order.instances if i.workload_id in workloads)


def read(running: Mapping[str, Pids], monotonic: Callable[[], float]) -> dict[str, Counted]:
    """Of those whose every group is counted here. Blocking."""
    found = {}
    for uid, pids in running.items():
        spent = [used_s(pid) for pid in pids]
        known = [used for used in spent if used is not None]
        if spent and len(known) == len(spent):
            found[uid] = Counted(at=monotonic(), pids=pids, used_s=sum(known), flows=open_sockets(min(pids)))
    return found


def open_sockets(pid: int) -> int | None:
    """How many TCP sockets the network namespace of a process has in use, those that listen among them, which siblings
    have alike (/proc/net/sockstat, sockstat6); None where that is not told.
    """
    total = 0
    try:
        for file, word in (("sockstat", "TCP:"), ("sockstat6", "TCP6:")):
            for line in Path(f"/proc/{pid}/net/{file}").read_text().splitlines():
                words = line.split()
                if words[:2] == [word, "inuse"]:
                    total += int(words[2])
    except (OSError, ValueError, IndexError):
        return None
    return total


def _steady(told: int | None, now: float, part: float, few: int) -> int:
    """What is told: what was told before, where that is still about right."""
    if told is not None and abs(now - told) <= max(few, part * told):
        return told
    return round(now)

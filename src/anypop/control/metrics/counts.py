"""What this control has done, counted as it happens: steps, orders and how long they took, requests.

In: the core's and the API's news, on the event loop. Out: numbers in memory, which `exposition` writes as OpenMetrics
when somebody asks. Nothing here is stored or decided by; a restart begins at nought, as counters may. It needs no
library, so that a control that nobody scrapes pays for none.
"""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from anypop.control.state import State
from anypop.model.names import HostName
from anypop.model.table import differing

# Seconds. A step takes milliseconds, an order a round trip and what the host does for it.
STEP_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
ORDER_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
REQUEST_BOUNDS = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0)  # few: there is a histogram for each operation in use
MOST_AWAITED = 64  # orders of one host that are remembered until it obeys; of more the oldest ones count


class Histogram:
    """How many values were at most each bound, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += max(0.0, value)

    @property
    def count(self) -> int:
        return sum(self.counts)


@dataclass(slots=True)
class Counts:
    """Of one control. `awaited`: of each host the orders that it has not obeyed yet, with when they were made."""

    steps: Counter[str] = field(default_factory=Counter)
    step_seconds: Histogram = field(default_factory=lambda: Histogram(STEP_BOUNDS))
    step_waits: Histogram = field(default_factory=lambda: Histogram(STEP_BOUNDS))
    waiting: deque[float] = field(default_factory=deque)
    orders: int = 0
    order_seconds: Histogram = field(default_factory=lambda: Histogram(ORDER_BOUNDS))
    awaited: dict[HostName, deque[tuple[int, float]]] = field(default_factory=dict)
    reports: int = 0
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    request_seconds: dict[str, Histogram] = field(default_factory=dict)

    def asked_for(self, at: float) -> None:
        """A step waits for the writer from now on. Steps are made in the order in which they were asked for."""
        self.waiting.append(at)

    def stepped(self, result: str, *, waited_s: float, took_s: float) -> None:
        """The step that waited longest is over: `done`, or `refused` by what it would have led to."""
        self.waiting.popleft()
        self.steps[result] += 1
        self.step_waits.observe(waited_s)
        self.step_seconds.observe(took_s)

    def published(self, before: State, after: State) -> None:
        """What the step between these two told: new orders, and which are obeyed."""
        for host in differing(before.orders, after.orders):
            issued, was = after.orders.get(host), before.orders.get(host)
            if issued is None:
                self.awaited.pop(host, None)
            elif was is None or was.order.generation != issued.order.generation:
                self.orders += 1
                orders = self.awaited.setdefault(host, deque())
                if len(orders) < MOST_AWAITED:
                    orders.append((issued.order.generation, issued.at))
        for host in differing(before.reports, after.reports):
            if (received := after.reports.get(host)) is None:
                continue
            self.reports += 1
            awaited = self.awaited.get(host, deque())
            while awaited and awaited[0][0] <= received.report.generation:
                self.order_seconds.observe(received.at - awaited.popleft()[1])
            if not awaited:
                self.awaited.pop(host, None)

    def requested(self, operation: str, status: int, took_s: float | None) -> None:
        """`took_s`: None where a request waits on purpose."""
        self.requests[operation, f"{status // 100}xx"] += 1
        if took_s is not None:
            self.request_seconds.setdefault(operation, Histogram(REQUEST_BOUNDS)).observe(took_s)

    def oldest_order_s(self, hosts: Iterable[HostName], now: float) -> dict[HostName, float]:
        """For how long each host has not obeyed; 0 where it has."""
        return {
            host: max(0.0, now - orders[0][1]) if (orders := self.awaited.get(host)) else 0.0 for host in hosts
        }  # fmt: skip

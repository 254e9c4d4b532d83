"""What comes in for the prefixes that are drained here, looked at every second for as long as some are.

In: the order. Out: `seen`, by prefix and upstream, and a wake-up with each look, so that whoever waits for the traffic
to go is told. Upstreams on one interface cannot be told apart, and are told together.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Mapping

from anypop.agent.act.network import arrivals
from anypop.agent.act.network.arrivals import Door
from anypop.agent.naming import arrivals_table
from anypop.model.announce import Prefix
from anypop.model.errors import WorldError
from anypop.model.order import Order
from anypop.model.report import Arrived

LOOK_S = 1.0


class Arrivals:
    """See the module. `seen` is None while nothing is counted."""

    def __init__(self, prefix: str, wake: Callable[[], None], clock: Callable[[], float]) -> None:
        self._table, self._wake, self._clock = arrivals_table(prefix), wake, clock
        self._counted: frozenset[Door] | None = None  # unknown: an agent before this one may have counted
        self._ordered = asyncio.Event()
        self.seen: Mapping[Prefix, tuple[Arrived, ...]] | None = None

    def order_changed(self) -> None:
        self._ordered.set()

    async def follow(self, order: Callable[[], Order | None]) -> None:
        """Count for ever what the order says."""
        while True:
            self._ordered.clear()
            standing = order()
            if standing is not None:
                await self._look(standing)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S if self._counted else None):
                    await self._ordered.wait()

    async def _look(self, order: Order) -> None:
        """A kernel that cannot count is no reason for anything but to say nothing."""
        doors, before, at = doors_of(order), self.seen, self._clock()
        try:
            counts = await arrivals.read(self._table, doors) if doors else None
            if counts is None and (doors or self._counted != frozenset()):
                await arrivals.count(self._table, doors)
                counts = await arrivals.read(self._table, doors) if doors else None
            self._counted = doors
        except WorldError:
            counts, self._counted = None, doors or None
        self.seen = _told(order, counts, at) if counts is not None else None
        if self.seen != before:
            self._wake()


def doors_of(order: Order) -> frozenset[Door]:
    """Where prefixes that are drained come in; those of single addresses are part of one that is counted."""
    drained = {a.prefix for a in order.announcements if a.drains and a.prefix.prefixlen < a.prefix.max_prefixlen}
    return frozenset(Door(interface, prefix) for interface in _names(order) for prefix in drained)


def _names(order: Order) -> dict[str, str]:
    """The upstreams at each interface, as they are told."""
    found: dict[str, list[str]] = defaultdict(list)
    for upstream in order.upstreams:
        found[upstream.interface].append(upstream.name)
    return {interface: ",".join(sorted(names)) for interface, names in found.items()}


def _told(order: Order, counts: arrivals.Counts, at: float) -> dict[Prefix, tuple[Arrived, ...]]:
    names = _names(order)
    told: dict[Prefix, list[Arrived]] = defaultdict(list)
    for door, (packets, octets) in sorted(counts.items(), key=lambda item: (item[0].interface, str(item[0].prefix))):
        told[door.prefix].append(Arrived(upstream=names.get(door.interface, ""), packets=packets, octets=octets, at=at))
    return {prefix: tuple(found) for prefix, found in told.items()}

"""Whose connections come in by this host's upstreams, told to control now and then, as long as the order wants it.

In: the order (one connection of how many, and how often). Out: `Sources` for control, with each look and with each
order that announces otherwise. What was told is forgotten here; what control did not take stays in the kernel and is
told again. Where nothing is wanted the kernel has no rule and no set for it.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator

from anypop.agent.act.network import sources
from anypop.agent.act.network.netlink import NETFILTER, Netlink
from anypop.agent.act.network.sources import Sample, Seen
from anypop.agent.naming import sources_table
from anypop.model.errors import WorldError
from anypop.model.order import Order
from anypop.model.sources import MOST_SOURCES, SeenFrom, Sources

_UNKNOWN = Sample(0, frozenset(), frozenset())  # an agent before this one may have looked


class SourceSample:
    """See the module. `tell` gives control a message, and raises `WorldError` where that is not taken."""

    def __init__(self, prefix: str, tell: Callable[[Sources], Awaitable[None]], clock: Callable[[], float]) -> None:
        self._table, self._tell, self._clock = sources_table(prefix), tell, clock
        self._ordered = asyncio.Event()
        self._kept: Sample | None = _UNKNOWN
        self._since = clock()

    def order_changed(self) -> None:
        self._ordered.set()

    async def follow(self, order: Callable[[], Order | None]) -> None:
        """Look for ever, as the order says."""
        last, due = None, self._clock()
        while True:
            self._ordered.clear()
            standing = order()
            wanted = sample_of(standing) if standing is not None else None
            if standing is not None:
                now = wanted, standing.announcements  # others: at once, so that control knows since when
                if now != last or self._clock() >= due:
                    due = self._clock() + standing.sampled_look_s
                    await self.look(wanted)
                last = now
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(due - self._clock(), 0) if wanted is not None else None):
                    await self._ordered.wait()

    async def look(self, wanted: Sample | None) -> None:
        """A kernel that cannot say, or control that does not hear, is asked again with the next look."""
        try:
            if wanted is None:
                if self._kept is not None:
                    sources.end(self._table)
                    self._kept = None
                return
            with Netlink(NETFILTER) as net:
                if wanted != self._kept or not sources.is_kept(net, self._table, wanted):
                    await sources.keep(self._table, wanted)
                    self._kept, self._since = wanted, self._clock()
                seen, read_at = sources.read(net, self._table, wanted), self._clock()
                for message in messages(seen, read_at - self._since):
                    await self._tell(message)
                sources.forget(net, self._table, seen)
                self._since = read_at
        except WorldError:
            return


def sample_of(order: Order) -> Sample | None:
    """What the order wants to be looked at; None: nothing. A prefix of a single address is part of one that counts; to
    instances' own addresses there is one way alone.
    """
    every = {a.prefix for a in order.announcements if a.prefix.prefixlen < a.prefix.max_prefixlen}
    prefixes = frozenset(every - {order.external4, order.external6})
    interfaces = frozenset(upstream.interface for upstream in order.upstreams)
    if not (order.sampled_flows and prefixes and interfaces):
        return None
    return Sample(order.sampled_flows, interfaces, prefixes)


def messages(seen: Seen, for_s: float) -> Iterator[Sources]:
    """As many as it takes, at least one."""
    every = [(ours, s) for ours in sorted(seen, key=str) for s in sorted(seen[ours], key=str)]
    for first in range(0, max(len(every), 1), MOST_SOURCES):
        part = every[first : first + MOST_SOURCES]
        ours = dict.fromkeys(prefix for prefix, _ in part)
        yield Sources(
            for_s=max(for_s, 0.0),
            seen=tuple(SeenFrom(prefix=p, sources=tuple(s for prefix, s in part if prefix == p)) for p in ours),
        )

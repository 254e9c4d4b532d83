"""The host's metrics, counted once each second, for all who want them: the text, people's figures, the tiers on disk.

In: what the agent knows, asked anew each time, and the kernel's counters. Out: `latest`, the newest row with its
series. Counting runs beside the event loop, in a thread, since the kernel may take its time; nobody waits for it, and
what cannot be counted is left out.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from itertools import chain
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Histogram

from anypop.agent.act.network import traffic
from anypop.agent.observe import exposition
from anypop.agent.observe.metering import Known, Parts, Series
from anypop.agent.samples.rows import Layout, Row
from anypop.model.errors import WorldError
from anypop.model.metrics import AGENT_PASS

log = logging.getLogger("anypop.agent")
PERIOD_S = 1.0
TABLE_S = 30.0  # whether the table that counts is there still
STALE_S = 10.0
_PASSES = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)


class Latest(NamedTuple):
    """A row, and its series."""

    layout: Layout
    row: Row


class Meter:
    """See the module. `known`: called in the event loop; `clock`: seconds since the epoch."""

    def __init__(
        self, *, pop: str, host: str, prefix: str, known: Callable[[], Known], clock: Callable[[], float]
    ) -> None:
        self._prefix, self._known, self._clock = prefix, known, clock
        self.parts = Parts.of(pop=pop, host=host, prefix=prefix)
        self.latest: Latest | None = None
        self._series: list[Series] = []
        self._layout: Layout = ()
        self.registry = CollectorRegistry(auto_describe=False)
        self._passes = Histogram(
            AGENT_PASS, "How long a pass took", ("pop", "host"), buckets=_PASSES, registry=self.registry
        ).labels(pop, host)

    def passed(self, seconds: float) -> None:
        """A pass took so long."""
        self._passes.observe(seconds)

    async def run(self) -> None:
        """Count for ever."""
        table_at, failed = 0.0, ""
        while True:
            now = self._clock()
            await asyncio.sleep(PERIOD_S - now % PERIOD_S)
            if self._clock() >= table_at:
                table_at = self._clock() + TABLE_S
                with contextlib.suppress(WorldError, OSError):  # a kernel that does not count: nothing is told of it
                    await traffic.keep(self._prefix)
            try:
                await asyncio.to_thread(self.count, self._known())
                failed = ""
            except Exception as error:
                if failed != (failed := repr(error)):  # once, not each second
                    log.exception("the metrics of this second are missing")

    def count(self, known: Known) -> Latest:
        """Now. Blocking."""
        at_ms = int(self._clock() * 1000)
        read = self.parts.read(known)
        series = [part for part, _ in read]
        if len(series) != len(self._series) or any(a is not b for a, b in zip(series, self._series, strict=True)):
            self._series, self._layout = series, tuple(chain.from_iterable(series))
        values = list(chain.from_iterable(values for _, values in read))
        self.latest = Latest(self._layout, Row(at_ms, values))
        return self.latest

    async def text(self) -> bytes:
        """As OpenMetrics text; of what nobody could count for some seconds it says nothing."""
        latest = self.latest
        if latest is not None and latest.row.at_ms < 1000 * (self._clock() - STALE_S):
            latest = None
        return await asyncio.to_thread(exposition.text, latest, self.registry)

    def close(self) -> None:
        self.parts.close()

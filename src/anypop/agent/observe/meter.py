"""The host's metrics, counted once each second, for all who want them: the text, people's figures, the tiers on disk.

In: what the agent knows, asked anew each time, and the kernel's counters. Out: `latest`, the newest row with its
series; and of the rows before it what the tiers have kept. Counting runs beside the event loop, in a thread, since the
kernel and the disk may take their time; nobody waits for it, and what cannot be counted is left out. Where little is to
be counted and nothing to be written the loop does it by itself: to have a thread do it costs as much as that.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Histogram

from anypop.agent.act.network import traffic
from anypop.agent.observe import exposition
from anypop.agent.observe.metering import Known, Parts, Series
from anypop.agent.samples.rows import Layout, Row, Wanted
from anypop.agent.samples.tiers import Points, Tiers
from anypop.agent.whole_file import read_object, replace_object
from anypop.model.errors import WorldError
from anypop.model.metrics import AGENT_PASS
from anypop.model.streams import SamplesRequest

log = logging.getLogger("anypop.agent")
PERIOD_S = 1.0
STALE_S = 10.0
FEW = 8  # instances: a reading of some hundred microseconds
TABLE_S = 30.0  # whether the table that counts is there still; and how large the tiers are
_PASSES = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)
_LIVES = "lives.json"


class Latest(NamedTuple):
    """A row, and its series."""

    layout: Layout
    row: Row


class Meter:
    """See the module. `known`: called in the event loop; `clock`: seconds since the epoch; `folder`: for what is
    kept.
    """

    def __init__(
        self, *, pop: str, host: str, prefix: str, known: Callable[[], Known], clock: Callable[[], float], folder: Path
    ) -> None:
        self._prefix, self._known, self._clock, self._folder = prefix, known, clock, folder
        self.parts = Parts.of(pop=pop, host=host, prefix=prefix)
        self.latest: Latest | None = None
        self.tiers: Tiers | None = None
        self._sizes: dict[str, int] = {}
        self._series: list[Series] = []
        self._layout: Layout = ()
        self._said = ""
        self._kept_at = 0.0
        self.registry = CollectorRegistry(auto_describe=False)
        self._passes = Histogram(
            AGENT_PASS, "How long a pass took", ("pop", "host"), buckets=_PASSES, registry=self.registry
        ).labels(pop, host)
        self._of = pop, host

    def tell_images(self, moved: Mapping[str, int]) -> None:
        """`moved`: bytes of files of images, by the way that they went, counted elsewhere."""
        self.registry.register(exposition.ImageBytes(*self._of, moved))

    def passed(self, seconds: float) -> None:
        """A pass took so long."""
        self._passes.observe(seconds)

    def doubt(self) -> None:
        """Somebody may have taken away the table that counts."""
        self._kept_at = 0.0

    async def run(self) -> None:
        """Count for ever."""
        while True:
            await asyncio.sleep(PERIOD_S - self._clock() % PERIOD_S)  # a beat's moment too
            if self._clock() >= self._kept_at:
                self._kept_at = self._clock() + TABLE_S
                with contextlib.suppress(WorldError, OSError):  # a kernel that does not count: nothing is told of it
                    await traffic.keep(self._prefix)
                await self._beside(self._look_at_disk)
            known = self._known()
            if len(known.instances) > FEW or self.tiers is None:
                await self._beside(self._count_and_keep, known)
                continue
            with self._telling():
                latest = self._counted(known, self.tiers)
                if self.tiers.writes(*latest):
                    await asyncio.sleep(0)  # what else this beat has to do comes first: two at once wait for each other
                    await asyncio.to_thread(self._keep, latest, self.tiers)
                else:
                    self._keep(latest, self.tiers)

    async def _beside(self, what: Callable[..., None], *given: Known) -> None:
        """In a thread."""
        with self._telling():
            await asyncio.to_thread(what, *given)

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """What goes wrong is told once, not each second."""
        try:
            yield
        except Exception as error:
            if self._said != (said := repr(error)):
                self._said = said
                log.exception("metrics are missing")

    def _look_at_disk(self) -> None:
        if self.tiers is None:
            self.tiers = tiers = Tiers(self._folder)
            self.parts.instances.restore(read_object(self._folder / _LIVES), tiers.last())
        self._sizes = self.tiers.bytes()

    def _count_and_keep(self, known: Known) -> None:
        if self.tiers is None:
            self.count(known)
        else:
            self._keep(self._counted(known, self.tiers), self.tiers)

    def _counted(self, known: Known, tiers: Tiers) -> Latest:
        return self.count(replace(known, lost=tiers.lost, tiers=self._sizes))

    def _keep(self, latest: Latest, tiers: Tiers) -> None:
        tiers.add(*latest)
        if (lives := self.parts.instances.news()) is not None:
            replace_object(self._folder / _LIVES, lives)

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

    async def samples(self, wanted: SamplesRequest) -> list[Points]:
        """Those that are kept. Raises `TooMuch`, and `WorldError` where none are."""
        if self.tiers is None:
            raise WorldError("read samples", "this host keeps none now; its log says why")
        since_ms, until_ms, step_ms = (
            int(1000 * max(0.0, min(s, _END_OF_TIME_S))) for s in (wanted.since, wanted.until, wanted.step_s)
        )
        which = Wanted(frozenset(wanted.names), frozenset(wanted.uids))
        return await asyncio.to_thread(self.tiers.ask, since_ms, until_ms, step_ms, which)

    def close(self) -> None:
        self.parts.close()
        if self.tiers is not None:
            self.tiers.close()


_END_OF_TIME_S = 1e12

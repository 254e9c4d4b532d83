"""Fills holes of the store with what hosts kept themselves, when they can be asked again.

In: a host that came back, or was scraped again after a pause (its PoP was cut off, control or the store was away). Out:
its samples of that time in the store, by remote write. Where the holes are is read from the store's own samples, so it
does not matter who was away, nor whether this was tried before: what is there already is not written twice. A host that
has nothing to tell of a time leaves its hole, and no value is made up.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from anypop.control.metrics.charts import quoted
from anypop.control.metrics.hosts import MeasuredHosts
from anypop.control.metrics.remote_write import Series as Written
from anypop.control.metrics.store import MetricsStore
from anypop.control.refusals import Refused
from anypop.model.errors import Invalid, WorldError
from anypop.model.names import HostName
from anypop.model.streams import SamplesRequest, Series

log = logging.getLogger("anypop.control")

PULSE = "anypop_agent_cpu_seconds_total"  # every host has it at every scrape
DAY_S, HOUR_S = 86_400.0, 3600.0
LATE = 1.9  # times the interval: one scrape that came late is no hole, one that failed is
ROWS = 360  # of each series in one question: an hour at 10 s
NOTHING_FOR_S = (
    6 * HOUR_S
)  # of a hole, from its end backwards, of which a host kept nothing: then it kept nothing before
SPARE_S = 600.0  # the store refuses all of a write of which one sample is too old
IN_WRITE = 5000  # samples
AT_ONCE = 4  # hosts
SWEPT = 20  # intervals: so often each host is looked at though nothing happened
AGAIN_S = 5.0  # after the store did not answer
AGAIN_AT_MOST_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """Between two samples, or a sample and now."""

    start: float
    end: float


def kept_step(age_s: float, interval: float) -> float:
    """How far apart samples are that hosts have of a time so long ago, and that a store needs."""
    return 60.0 if age_s >= DAY_S else 10.0 if age_s >= HOUR_S or interval >= 10 else 1.0


def holes_in(times: Sequence[float], *, since: float, until: float, now: float, interval: float) -> list[Hole]:
    """Where samples are missing that hosts could have; `times`: of those that are there, ascending."""
    marks = [since, *(at for at in times if since < at < until), until]
    return [
        Hole(start=a, end=b)
        for a, b in pairwise(marks)
        if b - a > LATE * interval and b - a > LATE * kept_step(now - a, interval)
    ]


def pieces(hole: Hole, *, now: float, interval: float) -> Iterator[tuple[Hole, float]]:
    """The hole in parts that are asked for one by one, the newest first, each with its step: as fine as the store
    scrapes, and no finer than hosts keep what is so old.
    """
    end = hole.end
    while end > hole.start:
        age = now - end
        step = kept_step(age, interval)
        limit = now - (DAY_S if step == 10.0 else HOUR_S) if step < 60 else hole.start
        start = max(hole.start, end - ROWS * step, limit if limit < end else hole.start)
        yield Hole(start=start, end=end), step
        end = start


class Filling:
    """Of one control; only from its event loop."""

    def __init__(self, hosts: MeasuredHosts, store: MetricsStore, clock: Callable[[], float]) -> None:
        self._hosts, self._store, self._clock = hosts, store, clock
        self._due: set[HostName] = set()
        self._rung = asyncio.Event()
        self._scraped: dict[HostName, float] = {}
        self._whole_until: dict[HostName, float] = {}
        self.samples = 0

    def arrived(self, host: HostName) -> None:
        """It can be asked now; it may have been away."""
        self._due.add(host)
        self._rung.set()

    def scraped(self, host: HostName) -> None:
        """The store has a sample of this moment; and if the one before is long ago, a hole."""
        now = self._clock()
        if now - self._scraped.get(host, 0.0) > LATE * self._store.interval:
            self.arrived(host)
        self._scraped[host] = now

    async def run(self) -> None:
        """For ever."""
        wait_s = AGAIN_S
        while True:
            try:
                async with asyncio.timeout(SWEPT * self._store.interval):
                    await self._rung.wait()
            except TimeoutError:
                # a scrape that was answered too late is lost, and nothing tells
                self._due |= self._hosts.streams.connected
            self._rung.clear()
            due, self._due = self._due, set()
            failed = await self._fill_all(due)
            if failed:
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, AGAIN_AT_MOST_S)
                self._due |= failed
                self._rung.set()
            else:
                wait_s = AGAIN_S

    async def _fill_all(self, due: set[HostName]) -> set[HostName]:
        """Those for which the store did not answer."""
        places, failed = asyncio.Semaphore(AT_ONCE), set[HostName]()

        async def one(host: HostName) -> None:
            async with places:
                try:
                    await self.fill(host)
                except WorldError as error:
                    log.warning("the holes of %s are not filled yet: %s", host, error)
                    failed.add(host)
                except Exception:
                    log.exception("the holes of %s are not filled", host)

        await asyncio.gather(*(one(host) for host in due))
        return failed

    async def fill(self, host: HostName) -> int:
        """All holes of one host; how many samples were written. Raises `WorldError` where the store fails; a host that
        cannot be asked will arrive again.
        """
        now, written = self._clock(), 0
        for hole in await self._holes(host, now):
            nothing_for = 0.0
            for piece, step in pieces(hole, now=now, interval=self._store.interval):
                try:
                    found = await self._fill(host, piece, step)
                except _Away as away:
                    log.info("host %s was asked for what is missing: %s", host, away)
                    return written
                written += found
                nothing_for = 0.0 if found else nothing_for + piece.end - piece.start
                if nothing_for >= NOTHING_FOR_S:
                    break
        self._whole_until[host] = now - LATE * self._store.interval
        self.samples += written
        if written:
            log.info("%d samples of host %s were missing and are there now", written, host)
        return written

    async def _holes(self, host: HostName, now: float) -> list[Hole]:
        """The newest first. Further back than a day only where the day before begins with a hole."""
        floor = max(self._whole_until.get(host, 0.0), now - self._store.window + SPARE_S)
        interval, end = self._store.interval, now
        found: list[Hole] = []
        while end > floor:
            start = max(floor, end - DAY_S)
            times = await self._times(host, until=end, span_s=end - start)
            found += reversed(holes_in(times, since=start, until=end, now=now, interval=interval))
            if times and times[0] - start <= LATE * interval:
                break
            end = start
        return _joined(found)

    async def _times(self, host: HostName, *, until: float, span_s: float) -> list[float]:
        pulse = f"{PULSE}{{host={quoted(str(host))}}}"
        curves = await self._store.samples(pulse, until=until, span_s=span_s)
        return sorted({at for curve in curves for at, _ in curve.points})

    async def _fill(self, host: HostName, hole: Hole, step: float) -> int:
        """How many samples were written. Raises `_Away` and `WorldError`."""
        batch: list[Written] = []
        held = written = 0
        wanted = SamplesRequest(since=hole.start, until=hole.end, step_s=step)
        told = self._hosts.samples(host, wanted)
        while (series := await _next(told)) is not None:
            points = tuple((at, value) for at, value in series.points if hole.start < at < hole.end)
            if points:
                # a label that is empty is none
                labels = {"__name__": series.name} | {name: value for name, value in series.labels if value}
                batch.append(Written(labels=labels, points=points))
                held += len(points)
            if held >= IN_WRITE:
                await self._store.write(batch)
                written, held, batch = written + held, 0, []
        if batch:
            await self._store.write(batch)
        return written + held


class _Away(Exception):  # noqa: N818 - it is a state of the host
    """The host cannot be asked, or says no."""


async def _next(told: AsyncIterator[Series]) -> Series | None:
    try:
        return await anext(told, None)
    except (WorldError, Refused, Invalid) as error:
        raise _Away(str(error)) from error


def _joined(holes: Sequence[Hole]) -> list[Hole]:
    """Those that meet are one; the newest first."""
    found: list[Hole] = []
    for hole in holes:
        if found and found[-1].start <= hole.end:
            found[-1] = Hole(start=hole.start, end=found[-1].end)
        else:
            found.append(hole)
    return found

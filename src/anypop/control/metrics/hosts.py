"""What control asks of hosts for metrics: their text of this moment, and what they have kept.

In: a host, over the streams that its agent opened. Out: OpenMetrics text, and series of samples, of which
every label is the host's own to tell. A host that is not connected is told so at once: a scrape of a thousand hosts
does not wait for those that are away. Nothing is stored.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from anypop.control.core import Core
from anypop.control.metrics.host_text import END, checked
from anypop.control.metrics.lives import Labels, Lives, may_tell
from anypop.control.refusals import NotFound
from anypop.control.streams import Socket, Streams
from anypop.model.codec import from_json
from anypop.model.errors import WorldError
from anypop.model.names import HostName
from anypop.model.streams import MetricsRequest, Samples, SamplesRequest, Series

AT_ONCE = 16  # hosts that are asked side by side; below what one account may have open
MOST_BYTES = 32 << 20  # of one host's text: 1,000 instances have 3 MB
MOST_POINTS = 4_000_000  # of one answer with samples: 100 instances for an hour have a tenth of it
LONGEST_S = 10.0  # a scraper waits no longer
BETWEEN_FRAMES_S = 10.0
BIG = 64 << 10  # bytes of text above which it is read in a thread
ASKER = "metrics"  # in whose name streams are counted that nobody's account asked for


@dataclass(slots=True)
class MeasuredHosts:
    """All hosts of this control. `dropped`: by host, how many lines and series were not its own to tell."""

    core: Core
    streams: Streams
    lives: Lives = field(default_factory=Lives)
    dropped: dict[HostName, int] = field(default_factory=dict)
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    def place(self, host: HostName) -> Labels:
        """The labels that all series of a host have. Raises `NotFound`."""
        for pop, one in self.core.state.network.hosts():
            if one.name == host:
                return {"pop": str(pop.city), "host": str(host)}
        raise NotFound(f"no host {host}")

    async def text(self, host: HostName) -> str:
        """What it measures now. Raises `NotFound` and `WorldError`."""
        place = self.place(host)
        parts: list[bytes] = []
        try:
            async with (
                self._places,
                self.streams.ask(host, MetricsRequest(), ASKER, one_of_many=True) as there,
                asyncio.timeout(LONGEST_S),
            ):
                while told := await there.receive():
                    parts.append(told if isinstance(told, bytes) else told.encode())
                    if sum(map(len, parts)) > MOST_BYTES:
                        raise WorldError(f"ask host {host}", f"it tells more than {MOST_BYTES} bytes of metrics")
        except TimeoutError as error:
            raise WorldError(f"ask host {host}", "its metrics do not come") from error
        text = b"".join(parts).decode(errors="replace")
        if not text.rstrip().endswith(END):
            raise WorldError(f"ask host {host}", "its metrics broke off")
        lives = self.lives.on(self.core.state, host)
        if len(text) > BIG:
            found = await asyncio.to_thread(checked, text, place, lives)
        else:
            found = checked(text, place, lives)
        self._count(host, found.dropped)
        return found.text

    async def samples(self, host: HostName, wanted: SamplesRequest, account: str = ASKER) -> AsyncIterator[Series]:
        """What it has kept, as it comes; a long series in parts that follow on each other. Raises `NotFound`,
        `WorldError`, `Refused`, and `Invalid` for what is no answer.
        """
        place = self.place(host)
        lives, points = self.lives.on(self.core.state, host), 0
        async with self._places, self.streams.ask(host, wanted, account, one_of_many=True) as there:
            while (told := await _next(there, host)) is not None:
                for series in from_json(Samples, told).series:
                    points += len(series.points)
                    if points > MOST_POINTS:
                        raise WorldError(f"ask host {host}", f"it tells more than {MOST_POINTS} samples at once")
                    if may_tell(series.name, dict(series.labels), place, lives):
                        yield series
                    else:
                        self._count(host, 1)
            if not there.said_all:
                raise WorldError(f"ask host {host}", "its samples broke off")

    def _count(self, host: HostName, dropped: int) -> None:
        if dropped:
            self.dropped[host] = self.dropped.get(host, 0) + dropped


async def _next(there: Socket, host: HostName) -> bytes | str | None:
    try:
        async with asyncio.timeout(BETWEEN_FRAMES_S):
            return await there.receive()
    except TimeoutError as error:
        raise WorldError(f"ask host {host}", "its samples stop coming") from error

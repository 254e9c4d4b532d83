"""All receivers of a host at work: what each gets, when it is tried again, and how far it has come.

In: receivers and containers, from the files of the agent. Out: lines, sent in turn from each container so that none
waits for another's flood; positions and counters, written within a second after they have changed and at the end. The
kernel tells of what is written (inotify(7)): where nobody says anything, next to nothing is done. It keeps no line in
memory but those that are on their way.
"""

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path

from anypop.agent.decide.log_choice import Choice
from anypop.agent.shipping import files
from anypop.agent.shipping.formats import Sent
from anypop.agent.shipping.reading import Position, Reader
from anypop.agent.shipping.sending import NotNow, Sender
from anypop.host.inotify import CREATED, MODIFIED, MOVED_TO, OVERFLOW, Inotify
from anypop.model.errors import WorldError
from anypop.model.log_sinks import LogSink, Places, Shipped
from anypop.model.log_text import RANKS, level_of

GATHERED_S = 0.2  # what is written one after the other goes together, and a log cannot be full twice meanwhile
LOOK_S = 2.0  # beside what the kernel tells: whether the stream to a receiver still stands
BLIND_S = 0.5  # the same where the kernel gives no watches
KEPT_EVERY_S = 1.0
RESTED_S = 10.0  # the agent tells when its files are others; this is for a word that was lost
WATCHED = MODIFIED | MOVED_TO | CREATED
MOST_LINES = 2000  # on their way at once
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
UNSURE_S = 60.0  # a receiver that lives has read what came longer ago than that


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unsure:
    """What was sent by a stream that has no word of thanks: how many lines, when, and where their logs had been read to
    before.
    """

    lines: int
    at: float
    before: tuple[tuple[Reader, Position | None], ...]


@dataclass(slots=True)
class _Work:
    sink: LogSink
    sender: Sender
    readers: dict[str, Reader] = field(default_factory=dict)
    unsure: deque[_Unsure] = field(default_factory=deque)
    told: Shipped = field(init=False)
    task: asyncio.Task[None] | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.told = Shipped(id=self.sink.id)


class Shipper:
    """`folder`: what `files` says."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        kept = files.read(folder, files.Positions)
        self._kept: dict[str, dict[str, Position]] = dict(kept.of) if kept is not None else {}
        self._works: dict[str, _Work] = {}
        before = files.read(folder, files.Told)
        self._before = {one.id: one for one in before.sinks} if before is not None else {}
        self._news = asyncio.Event()
        self._due: asyncio.TimerHandle | None = None
        self._events: Inotify | None = None
        self._watches: dict[str, int] = {}  # by folder; all of them, or nobody relies on any

    async def run(self, news: asyncio.Event) -> None:
        """Until cancelled. `news`: the agent has written something."""
        self._news = news
        try:
            while True:
                await self._look()
                self._watch()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RESTED_S):
                        await news.wait()
                news.clear()
                if self._due is not None:
                    self._due.cancel()
                    self._due = None
                self._keep()
        finally:
            self._blind()
            for work in self._works.values():
                await self._end(work)
            self._keep()

    def _watch(self) -> None:
        """The folders of all logs that are read."""
        wanted = {reader.source.folder for work in self._works.values() for reader in work.readers.values()}
        try:
            self._events = self._events or Inotify(self._told, rest_s=GATHERED_S)
            for gone in self._watches.keys() - wanted:
                self._events.remove(self._watches.pop(gone))
            for new in wanted - self._watches.keys():
                if Path(new).exists():  # one that is gone is read to its end
                    self._watches[new] = self._events.add(Path(new), WATCHED)
        except WorldError:
            self._blind()

    def _blind(self) -> None:
        if self._events is not None:
            self._events.close()
        self._events, self._watches = None, {}

    def _told(self, watch: int, _: bytes) -> None:
        """Something was written."""
        for work in self._works.values():
            folders = {reader.source.folder for reader in work.readers.values()}
            if watch == OVERFLOW or any(self._watches.get(folder) == watch for folder in folders):
                work.news.set()
        self._stirred()

    def _stirred(self) -> None:
        """Positions, or what waits, are others than those on disk."""
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(KEPT_EVERY_S, self._news.set)

    async def _look(self) -> None:
        wanted = files.read(self._folder, files.Receivers) or files.Receivers()
        sources = (files.read(self._folder, files.Sources) or files.Sources()).containers
        sinks = {sink.id: sink for sink in wanted.sinks}
        for gone in self._works.keys() - sinks.keys():
            await self._end(self._works.pop(gone))
            self._kept.pop(gone, None)
        for sink in sinks.values():
            work = self._works.get(sink.id)
            if work is None:
                work = self._works[sink.id] = self._begun(sink, wanted.forbidden)
            first = sink.id not in self._kept
            kept = self._kept.setdefault(sink.id, {})
            mine = {one.key: one for one in sources if sink.stack in ("", one.stack)}
            for key, source in mine.items():
                if key in work.readers and work.readers[key].source.folder == source.folder:
                    continue
                if key in work.readers:  # started anew: what it said before is elsewhere now
                    work.readers.pop(key).close()
                    kept.pop(key, None)
                work.readers[key] = reader = Reader(source, kept.get(key))
                work.news.set()
                if first:
                    reader.begin_at_end()
                    if reader.position is not None:
                        kept[key] = reader.position
            for key in work.readers.keys() - mine.keys():
                if not work.readers[key].behind():
                    work.readers.pop(key).close()
                    kept.pop(key, None)
            if work.task is None or work.task.done():
                work.task = asyncio.create_task(self._ship(work))

    def _begun(self, sink: LogSink, forbidden: Places) -> _Work:
        work = _Work(sink, Sender(sink, forbidden))
        work.told = replace(self._before.get(sink.id, work.told), error="")
        return work

    async def _ship(self, work: _Work) -> None:
        """For ever."""
        wait = FIRST_WAIT_S
        choice = Choice()
        while True:
            work.news.clear()
            lines, positions = self._taken(work, choice)
            try:
                if work.sender.said_goodbye():
                    work.unsure.clear()
                if not positions:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_S if self._events is not None else BLIND_S):
                            await work.news.wait()
                    continue
                refused = await work.sender.send(lines) if lines else 0
            except NotNow as error:
                self._stirred()
                work.told = replace(work.told, error=str(error)[:300])
                if error.unread:
                    self._back(work)
                work.unsure.clear()
                await asyncio.sleep(max(wait, min(error.wait_s, LONGEST_WAIT_S)))
                wait = min(2 * wait, LONGEST_WAIT_S)
                continue
            self._stirred()
            wait = FIRST_WAIT_S
            sent = len(lines) - refused
            work.told = replace(work.told, sent=work.told.sent + sent, lost=work.told.lost + refused, error="")
            if work.sink.kind == "syslog":
                self._note(work, sent, positions)
            for reader, position in positions:
                # unless the log has gone on without us meanwhile, and what was lost has been counted
                if reader.position is None or reader.position.inode in reader._files:
                    reader.position = position
                if reader.source.key in work.readers:
                    self._kept[work.sink.id][reader.source.key] = position

    def _note(self, work: _Work, lines: int, positions: list[tuple[Reader, Position]]) -> None:
        """Before the readers go on."""
        now = asyncio.get_running_loop().time()
        work.unsure.append(_Unsure(lines=lines, at=now, before=tuple((r, r.position) for r, _ in positions)))
        while work.unsure[0].at < now - UNSURE_S:
            work.unsure.popleft()

    def _back(self, work: _Work) -> None:
        """The stream broke: what may not have been read is sent again, and what is not kept any more is lost."""
        since = asyncio.get_running_loop().time() - UNSURE_S
        while work.unsure:
            one = work.unsure.pop()
            if one.at < since:
                continue
            kept = [reader.goes_back(position) for reader, position in one.before]
            lost = 0 if all(kept) else one.lines
            work.told = replace(work.told, sent=work.told.sent - one.lines, lost=work.told.lost + lost)
        places = self._kept[work.sink.id]
        for key, reader in work.readers.items():
            if reader.position is not None:
                places[key] = reader.position
            else:
                places.pop(key, None)

    def _taken(self, work: _Work, choice: Choice) -> tuple[list[Sent], list[tuple[Reader, Position]]]:
        """Some lines of each container, and the positions behind them."""
        lines: list[Sent] = []
        positions = []
        for reader in list(work.readers.values()):
            reader.follow()
            if reader.lost:
                work.told = replace(work.told, lost=work.told.lost + reader.lost)
                reader.lost = 0
            if len(lines) >= MOST_LINES:
                continue
            some, position = reader.next(choice)
            if position is None:
                continue
            rank = RANKS[work.sink.level]
            lines += [one for one in some if rank < 0 or (level := level_of(one.text)) is None or RANKS[level] >= rank]
            positions.append((reader, position))
        return lines, positions

    def _keep(self) -> None:
        files.write(self._folder, files.Positions(of=self._kept))
        told = [replace(w.told, behind=sum(r.behind() for r in w.readers.values())) for w in self._works.values()]
        files.write(self._folder, files.Told(sinks=tuple(told)))

    async def _end(self, work: _Work) -> None:
        if work.task is not None:
            work.task.cancel()
            await asyncio.gather(work.task, return_exceptions=True)
        await work.sender.close()
        for reader in work.readers.values():
            reader.close()

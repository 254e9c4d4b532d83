"""Lines of logs from many hosts as one: searched, the newest first, or watched as they come.

In: which incarnations are meant, by host, and what is searched for. Out: rows in the order of time, and of each host
that did not tell all, why. The search is the hosts' work; here no more than one frame of each is held at a time, and
nothing is kept. A host that does not answer is told and slows nobody. It knows no HTTP.
"""

import asyncio
import contextlib
import heapq
import json
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from anypop.control.refusals import Busy, Refused
from anypop.control.streams import Streams
from anypop.model.errors import Invalid, WorldError
from anypop.model.log_text import LEVELS
from anypop.model.names import HostName
from anypop.model.streams import LARGEST_FRAME, FindRequest, WatchLogsRequest

SEARCHES_OF_ACCOUNT, WATCHES_OF_ACCOUNT, DOWNLOADS_OF_ACCOUNT = 4, 12, 4
FIRST_S, NEXT_S = 12.0, 5.0  # a host searches for at most 8 s before it tells anything
AGAIN_S = 2.0  # a host that is away is tried again so often by who watches
PACE_S = 0.1
LONGEST_ROW = 160 << 10  # a line of 16 KiB, escaped, twice
MOST_BYTES = 8 << 20
MOST_WAITING = 500  # lines that wait for a reader who watches

Meant = Mapping[HostName, tuple[str, ...]]


class Row(NamedTuple):
    """One line. `at`: nanoseconds since the epoch. `said`: a JSON line's time, message and other fields."""

    at: int
    uid: str
    container: str
    errors: bool
    level: str | None
    text: str
    said: tuple[str, str, Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """So many bytes of a log were passed over: more is written than anybody reads."""

    uid: str
    container: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Silent:
    """A host that does not tell all of its lines; `why` empty: it does again."""

    host: HostName
    why: str


@dataclass(slots=True, kw_only=True)
class Found:
    """`lines`: the newest first. `cut`: there are older ones, or may be; `back_to`: everything from that moment on is
    here, but for hosts that are `silent`.
    """

    lines: list[Row] = field(default_factory=list)
    cut: bool = False
    back_to: int = 0
    silent: list[Silent] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    cut: bool
    back_to: int


class LogSearch:
    """Of one control."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._open: Counter[tuple[str, str]] = Counter()

    async def find(self, meant: Meant, wanted: FindRequest, account: str) -> Found:
        """`wanted.uids` is filled in for each host. Raises `Busy`."""
        found = Found()
        with self.counted("searches", account, SEARCHES_OF_ACCOUNT):
            async with contextlib.AsyncExitStack() as stack:
                hosts = [
                    _Host(self._streams, host, replace(wanted, uids=uids), account) for host, uids in meant.items()
                ]
                for host in hosts:
                    stack.push_async_callback(host.close)
                await asyncio.gather(*(host.advance(FIRST_S) for host in hosts))
                await _merged(hosts, wanted.most, found)
        found.silent = [Silent(host=host.name, why=host.why) for host in hosts if host.why]
        ends = [host.end for host in hosts if host.end is not None and host.end.cut]
        # what a host did not look at is older than what is shown, or would be missing among it
        floor = max((end.back_to for end in ends), default=0)
        found.cut = found.cut or bool(ends)
        if found.cut:
            last = found.lines[-1].at if found.lines else 0
            found.back_to = max(floor, last)
            found.lines = [row for row in found.lines if row.at >= floor]
        return found

    async def watch(
        self, meant: Callable[[], Meant], wanted: WatchLogsRequest, account: str
    ) -> AsyncGenerator[list[Row | Skipped | Silent], None]:
        """For ever: what has come since the last time, perhaps nothing. `meant` is asked again and again. Raises
        `Busy`.
        """
        with self.counted("watches", account, WATCHES_OF_ACCOUNT):
            news: asyncio.Queue[Row | Skipped | Silent] = asyncio.Queue(maxsize=MOST_WAITING)
            tasks: dict[tuple[HostName, tuple[str, ...]], asyncio.Task[None]] = {}
            since: dict[HostName, int | None] = {}
            try:
                while True:
                    now = set(meant().items())
                    for gone in tasks.keys() - now:
                        tasks.pop(gone).cancel()
                    for key in now - tasks.keys():
                        asked = replace(wanted, uids=key[1])
                        tasks[key] = asyncio.create_task(self._follow(key[0], asked, account, news, since))
                    yield await _batch(news)
            finally:
                for task in tasks.values():
                    task.cancel()
                await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def _follow(
        self,
        host: HostName,
        wanted: WatchLogsRequest,
        account: str,
        news: "asyncio.Queue[Row | Skipped | Silent]",
        since: dict[HostName, int | None],
    ) -> None:
        """One host, through its absences. `since`: after what was heard of each last."""
        silent = False
        while True:
            asked = replace(wanted, since=since.get(host, wanted.since))
            why = "its stream ended"
            with contextlib.suppress(TimeoutError):
                try:
                    async with self._streams.ask(host, asked, account, one_of_many=True) as there:
                        if silent:
                            await news.put(Silent(host=host, why=""))
                        silent = False
                        async for frame in _rows(there.receive, asked.uids):
                            for one in frame:
                                if isinstance(one, Row):
                                    since[host] = max(since.get(host) or 0, one.at + 1)
                                if not isinstance(one, _End):
                                    await news.put(one)
                except (Refused, WorldError, Invalid) as error:
                    why = _told(error)
            if not silent:
                await news.put(Silent(host=host, why=why))
            silent = True
            await asyncio.sleep(AGAIN_S)

    @contextmanager
    def counted(self, what: str, account: str, most: int) -> Iterator[None]:
        """One of so many that an account may have at once. Raises `Busy`."""
        if self._open[what, account] >= most:
            raise Busy(f"{most} {what} of logs of this account are open: end one first")
        self._open[what, account] += 1
        try:
            yield
        finally:
            self._open[what, account] -= 1
            if not self._open[what, account]:
                del self._open[what, account]


class _Host:
    """One host's hits, one after the other. `head`: the newest that is not taken yet."""

    def __init__(self, streams: Streams, host: HostName, wanted: FindRequest, account: str) -> None:
        self.name, self.why = host, ""
        self.head: Row | None = None
        self.end: _End | None = None
        self._frames = _asked(streams, host, wanted, account)
        self._held: list[Row | Skipped | _End] = []  # of the last frame, the next one last

    def next_held(self) -> bool:
        """Whether the next hit is here already, and taken: a frame holds some hundred, and nothing need wait for
        them.
        """
        if self._held and isinstance(one := self._held[-1], Row):
            self._held.pop()
            self.head = one
            return True
        return False

    async def advance(self, longest_s: float) -> None:
        self.head = None
        try:
            while not self._held:
                async with asyncio.timeout(longest_s):
                    frame = await anext(self._frames, None)
                if frame is None:
                    break
                self._held = frame[::-1]
            one = self._held.pop() if self._held else None
        except (Refused, WorldError, Invalid) as error:
            self.why = _told(error)
            return
        except TimeoutError:
            self.why = "it is too slow"
            return
        if isinstance(one, Row):
            self.head = one
        elif isinstance(one, _End):
            self.end = one
        else:
            self.why = "it ended its answer early"

    async def close(self) -> None:
        await self._frames.aclose()


def _told(error: Exception) -> str:
    """Why a host tells nothing; which one it is stands beside it."""
    return error.why if isinstance(error, WorldError) else str(error)


async def _merged(hosts: list[_Host], most: int, found: Found) -> None:
    heads = [(-host.head.at, number) for number, host in enumerate(hosts) if host.head is not None]
    heapq.heapify(heads)
    size = 0
    while heads:
        _, number = heads[0]
        host = hosts[number]
        row = host.head
        assert row is not None
        if found.lines and row.at != found.lines[-1].at and (len(found.lines) >= most or size >= MOST_BYTES):
            found.cut = True
            return
        found.lines.append(row)
        size += len(row.text)
        if not host.next_held():
            await host.advance(NEXT_S)
        if host.head is None:
            heapq.heappop(heads)
        else:
            heapq.heapreplace(heads, (-host.head.at, number))


async def _batch(news: "asyncio.Queue[Row | Skipped | Silent]") -> list[Row | Skipped | Silent]:
    """All that there is; after a while without any nothing."""
    try:
        async with asyncio.timeout(1.0):
            batch = [await news.get()]
    except TimeoutError:
        return []
    await asyncio.sleep(PACE_S)
    while not news.empty():
        batch.append(news.get_nowait())
    return sorted(batch, key=lambda one: one.at if isinstance(one, Row) else 0)


async def _asked(
    streams: Streams, host: HostName, wanted: FindRequest, account: str
) -> AsyncGenerator[list[Row | Skipped | _End], None]:
    async with streams.ask(host, wanted, account, one_of_many=True) as there:
        async for frame in _rows(there.receive, wanted.uids):
            yield frame


async def _rows(receive: Callable[[], Any], uids: tuple[str, ...]) -> AsyncIterator[list[Row | Skipped | _End]]:
    """What a host sends, the rows of each frame; raises `Invalid` for what it must not send, whatever it is."""
    rest, known = b"", frozenset(uids)
    while (frame := await receive()) is not None:
        if not isinstance(frame, bytes) or len(frame) > LARGEST_FRAME:
            raise _WRONG
        whole, end, rest = (rest + frame).rpartition(b"\n")
        if len(rest) > LONGEST_ROW:
            raise _WRONG
        if end:
            yield [_row(found, known) for found in _documents(whole)]


_LEVELS = frozenset(map(str, LEVELS))
_WRONG: Final = Invalid.one("logs", "what the host answers is no log")


def _documents(lines: bytes) -> list[Any]:
    """What is written on each of the lines; read at once, which costs a third of one after the other."""
    try:
        found: list[Any] = json.loads(b"[" + lines.replace(b"\n", b",") + b"]")
    except (ValueError, RecursionError) as error:
        raise _WRONG from error
    if len(found) != lines.count(b"\n") + 1:
        raise _WRONG
    return found


def _row(found: Any, known: frozenset[str]) -> Row | Skipped | _End:
    match found:
        case ["line", at, uid, container, errors, level, text, said] if (
            type(at) is int and 0 <= at < 1 << 63 and type(uid) is str and uid in known
            and type(container) is type(text) is str and type(errors) is bool
            and (level is None or (type(level) is str and level in _LEVELS))
        ):  # fmt: skip
            return Row(at, uid, container, errors, level, text, _said(said) if said is not None else None)
        case ["skipped", str(uid), str(container), int(size)] if uid in known:
            return Skipped(uid=uid, container=container, size=size)
        case ["end", bool(cut), int(back_to)] if 0 <= back_to < 1 << 63:
            return _End(cut=cut, back_to=back_to)
    raise _WRONG


def _said(said: Any) -> tuple[str, str, Mapping[str, Any]]:
    if type(said) is list and len(said) == 3:
        time, message, fields = said
        if type(time) is type(message) is str and type(fields) is dict:
            return time, message, fields
    raise _WRONG

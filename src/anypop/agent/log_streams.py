"""What people search for in the logs of this host, and what they watch there, over many containers at once.

In: what control asks, which containers are here, where their logs are. Out: rows of JSON, one a line, cut into frames:
`["line", at, uid, container, errors, level, text, said]` (`said`: of a JSON line `[time, message, fields]`),
`["skipped", uid, container, bytes]`, and at the end of a search `["end", cut, back to]`. Only lines that are meant
leave the host.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quoted
from pathlib import Path

from anypop.agent.decide.log_choice import Choice, Line
from anypop.agent.observe.log_past import files_of, newest, past
from anypop.agent.observe.log_present import Key, Present
from anypop.model.log_text import understood
from anypop.model.streams import LARGEST_FRAME, FindRequest, WatchLogsRequest

MOST_BYTES = 4 << 20  # text of one search
MOST_S = 8.0  # of one search; what is older is then told as not looked at
AT_ONCE = 2  # searches of this host; others wait for their turn

Folders = Callable[[frozenset[str]], Mapping[Key, list[Path]]]
_encoded = json.JSONEncoder(separators=(",", ":")).encode
_searching = asyncio.Semaphore(AT_ONCE)


async def find(wanted: FindRequest, folders: Folders) -> AsyncGenerator[bytes, None]:
    """The newest hits, at most `wanted.most` and as many as are of the last one's moment."""
    choice = Choice(text=wanted.text, level=wanted.level, since=wanted.since, until=wanted.until)
    async with _searching:
        here = {k: v for k, v in folders(frozenset(wanted.uids)).items() if wanted.container in ("", k[1])}
        keys = list(here)
        clock = asyncio.get_running_loop().time
        ends, lines, size, cut = clock() + MOST_S, 0, 0, False
        at: int | None = None
        frames = _Frames()
        async for number, line in newest([past(files_of(here[key]), choice) for key in keys]):
            if (lines >= wanted.most or size >= MOST_BYTES or clock() >= ends) and at not in (None, line.at):
                cut = True
                break
            at = line.at
            if line.text is None:
                continue
            lines, size = lines + 1, size + len(line.text)
            for frame in frames.add(_row(keys[number], line)):
                yield frame
        for frame in frames.add(_encoded(["end", cut, at or 0]), last=True):
            yield frame


async def watch(wanted: WatchLogsRequest, folders: Folders) -> AsyncGenerator[bytes, None]:
    """Hits as they are written down; it has no end."""
    uids = frozenset(wanted.uids)

    def now() -> Mapping[Key, Path]:
        return {k: v[0] for k, v in folders(uids).items() if wanted.container in ("", k[1])}

    choice = Choice(text=wanted.text, level=wanted.level, since=wanted.since)
    async for news in Present(now, choice).run():
        rows = [_row(news.key, line) for line in news.lines]
        if news.skipped:
            rows.insert(0, _encoded(["skipped", *news.key, news.skipped]))
        frames = _Frames()
        for row in rows:
            for frame in frames.add(row):
                yield frame
        for frame in frames.rest():
            yield frame


def _row(key: Key, line: Line) -> str:
    """Put together here: to ask the encoder for a whole row costs twice as much."""
    text = line.text or ""
    found = understood(text)
    said = "null"
    if found.fields or found.message != text:
        fields = _encoded(found.fields) if found.fields else "{}"
        said = f"[{_quoted(found.time)},{_quoted(found.message)},{fields}]"
    level = _quoted(found.level) if found.level is not None else "null"
    errors = "true" if line.errors else "false"
    return f'["line",{line.at},{_of_key(key)},{errors},{level},{_quoted(text)},{said}]'


@lru_cache(maxsize=1024)  # lines of one container come by the thousand
def _of_key(key: Key) -> str:
    return ",".join(map(_quoted, key))


class _Frames:
    """Rows, put together to frames of at most `LARGEST_FRAME` bytes."""

    def __init__(self) -> None:
        self._held = bytearray()

    def add(self, row: str, *, last: bool = False) -> list[bytes]:
        """The frames that are full with it."""
        self._held += row.encode() + b"\n"
        return self.rest() if last else self._cut()

    def rest(self) -> list[bytes]:
        full = self._cut()
        if self._held:
            full.append(bytes(self._held))
            self._held.clear()
        return full

    def _cut(self) -> list[bytes]:
        full = []
        while len(self._held) >= LARGEST_FRAME:
            full.append(bytes(self._held[:LARGEST_FRAME]))
            del self._held[:LARGEST_FRAME]
        return full

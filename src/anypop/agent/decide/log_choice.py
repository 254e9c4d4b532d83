"""Which lines of conmon's logs are meant, and what a line is, read from either end. Pure.

In: pieces of a log (`decide/log_lines.py` says its form), and what is searched for. Out: lines with the moment at which
conmon wrote them down, in nanoseconds. Parts of one line are joined; of a very long one the beginning is kept. Pieces
that cannot hold a hit are passed over whole: that is what makes a search quick.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from anypop.model.log_text import LEVELS, RANKS, Level, level_of

LONGEST_LINE = 16 << 10  # bytes that are shown of one
LONGEST_SEARCHED = 256 << 10  # bytes of one line that are kept together to be searched
NS = 1_000_000_000
_STREAMS = (b"stdout", b"stderr")

# What a line must have to be of a level at all: a word for it, or a number as the value of a field.
_BY_NUMBER = re.compile(rb'"(?:level|severity|lvl|loglevel|log\.level|priority)"\s*:\s*"?\d')
_SPELT: Mapping[Level, tuple[bytes, ...]] = {
    Level.TRACE: (b"trace", b"verbose", b"finest", b"trc"),
    Level.DEBUG: (b"debug", b"dbg", b"fine"),
    Level.INFO: (b"inf", b"notice"),
    Level.WARNING: (b"warn", b"wrn"),
    Level.ERROR: (b"err", b"severe"),
    Level.FATAL: (b"fatal", b"crit", b"panic", b"alert", b"emerg", b"ftl"),
}


class Line(NamedTuple):
    """`at`: when its last part was written down; `errors`: it went to standard error; `text`: None for no line at all
    but the word that everything after `at` has been looked at.
    """

    at: int
    errors: bool = False
    text: str | None = None


class Choice:
    """What is searched for. `until` is not within."""

    def __init__(
        self, *, text: str = "", level: Level | None = None, since: int | None = None, until: int | None = None
    ) -> None:
        self.since, self.until = since, until
        self._text = text.lower()
        self._rank = RANKS[level]
        # other letters than ASCII have no small form in bytes: they are searched for in whole lines alone
        self._bytes = text.lower().encode() if text.isascii() else b""
        self._words = tuple(word for one in LEVELS[max(self._rank, 0) :] for word in _SPELT[one])

    def may_be_in(self, piece: bytes) -> bool:
        """Whether a hit may be in these whole entries."""
        if b" P " in piece:  # what is searched for may stand across the border of two parts
            return True
        small = piece.lower()
        if self._bytes and self._bytes not in small:
            return False
        return self._rank < 0 or any(word in small for word in self._words) or _BY_NUMBER.search(small) is not None

    def takes(self, at: int, text: str) -> bool:
        """Whether this line is a hit."""
        if (self.since is not None and at < self.since) or (self.until is not None and at >= self.until):
            return False
        if self._text and self._text not in text.lower():
            return False
        return self._rank < 0 or RANKS[level_of(text)] >= self._rank


class Moments:
    """Reads conmon's moments, `2026-01-31T10:00:00.123456789+00:00`; a second is worked out once."""

    def __init__(self) -> None:
        self._known: tuple[bytes, bytes, int] = (b"", b"", 0)

    def ns(self, moment: bytes) -> int | None:
        """Nanoseconds since the epoch; None: it is none."""
        second, _, rest = moment.partition(b".")
        digits, zone = rest[:9], rest[9:]
        if not digits.isdigit() or len(digits) < 9:
            return None
        known, known_zone, at = self._known
        if second != known or zone != known_zone:
            try:
                at = int(datetime.fromisoformat((second + zone).decode("ascii")).timestamp())
            except ValueError:
                return None
            self._known = second, zone, at
        return at * NS + int(digits)


@dataclass(slots=True)
class _Open:
    """A line whose earlier parts may still come."""

    at: int
    stream: bytes
    parts: list[bytes]  # the last one first
    size: int


def shown(content: bytes) -> str:
    """A line's text; what it is too long by is told."""
    if (more := len(content) - LONGEST_LINE) > 0:
        return f"{content[:LONGEST_LINE].decode(errors='replace')} ... ({more} bytes more)"
    return content.decode(errors="replace")


def _read(entry: bytes) -> tuple[bytes, bytes, bytes, bytes] | None:
    """Moment, stream, kind and text; None: it is no entry of conmon's."""
    parts = entry.split(b" ", 3)
    if len(parts) < 4 or parts[1] not in _STREAMS or parts[2] not in (b"F", b"P"):
        return None
    return parts[0], parts[1], parts[2], parts[3]


@dataclass(slots=True)
class Backward:
    """A log from its end to its beginning. `over`: what is older is not asked for."""

    choice: Choice
    over: bool = False
    at: int = 0
    _moments: Moments = field(default_factory=Moments)
    _open: _Open | None = None

    def take(self, piece: bytes) -> list[Line]:
        """The hits in whole entries that stand before those that were taken last, the newest first."""
        found = [] if self._goes_on(piece) else self.end()
        if self._open is None and not self.choice.may_be_in(piece):
            self._look(piece)
            return found
        for entry in reversed(piece.split(b"\n")):
            if (read := _read(entry)) is None or (at := self._moments.ns(read[0])) is None:
                continue
            _, stream, kind, content = read
            if kind == b"P" and self._open is not None and self._open.stream == stream:
                self._lengthen(content)
                continue
            found += self.end()
            if self.choice.since is not None and at < self.choice.since:
                self.over = True
                break
            self.at = at
            self._open = _Open(at=at, stream=stream, parts=[content], size=len(content))
        return found

    def end(self) -> list[Line]:
        """The line that is whole now that nothing of it can come."""
        one, self._open = self._open, None
        if one is None:
            return []
        content = b"".join(reversed(one.parts))
        text = content.decode(errors="replace")
        if not self.choice.takes(one.at, text):
            return []
        shorter = text if len(content) <= LONGEST_LINE else shown(content)
        return [Line(at=one.at, errors=one.stream == b"stderr", text=shorter)]

    def _goes_on(self, piece: bytes) -> bool:
        """Whether `piece` ends with a part of the line that is open."""
        last = _read(piece[piece.rfind(b"\n") + 1 :])
        return self._open is not None and last is not None and last[1:3] == (self._open.stream, b"P")

    def _lengthen(self, content: bytes) -> None:
        one = self._open
        assert one is not None
        one.parts.append(content)
        one.size += len(content)
        while one.size > LONGEST_SEARCHED and len(one.parts) > 1:
            one.size -= len(one.parts.pop(0))

    def _look(self, piece: bytes) -> None:
        """How far back this is, though nothing in it is meant."""
        first = _read(piece.lstrip(b"\n").partition(b"\n")[0])
        at = self._moments.ns(first[0]) if first is not None else None
        if at is not None:
            self.at = at
            self.over = self.choice.since is not None and at < self.choice.since


@dataclass(slots=True)
class Forward:
    """A log as it grows."""

    choice: Choice
    _moments: Moments = field(default_factory=Moments)
    _rest: bytes = b""
    _parts: dict[bytes, bytes] = field(default_factory=dict)

    def take(self, piece: bytes) -> list[Line]:
        """The hits that `piece` completes."""
        *entries, self._rest = (self._rest + piece).split(b"\n")
        found = []
        for entry in entries:
            if (read := _read(entry)) is None or (at := self._moments.ns(read[0])) is None:
                continue
            _, stream, kind, content = read
            if (before := self._parts.pop(stream, None)) is not None:
                content = before + content
            if kind == b"P":
                self._parts[stream] = content[:LONGEST_SEARCHED]
                continue
            text = content.decode(errors="replace")
            if self.choice.takes(at, text):
                shorter = text if len(content) <= LONGEST_LINE else shown(content)
                found.append(Line(at=at, errors=stream == b"stderr", text=shorter))
        return found

    def forget(self) -> None:
        """Something was left out: what has been begun is no line."""
        self._rest = b""
        self._parts.clear()


def first_moment(piece: bytes) -> int | None:
    """Of the first whole entry that begins within `piece`, which begins anywhere."""
    for entry in piece.split(b"\n")[1:-1]:
        if (read := _read(entry)) is not None and (at := Moments().ns(read[0])) is not None:
            return at
    return None

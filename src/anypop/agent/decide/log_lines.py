"""The lines of a container's log as conmon keeps them, and as people ask for them. Pure.

In: pieces of a file of the form `2026-01-31T10:00:00.123456789+00:00 stdout F text` (F: a whole line, P: a part of one,
which the next entry goes on), and what is wanted. Out: the bytes to show. What is no such entry is shown as it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from mmap import mmap

from anypop.model.streams import LogRequest

_PARTS = 4


@dataclass(slots=True)
class LogLines:
    """Turns a log into what was asked for, piece by piece. `over`: it has given all that may be given."""

    wanted: LogRequest
    over: bool = False
    _rest: bytes = b""
    _given: int = 0
    _within: bool = False  # a line that is not yet whole has been begun
    _early: bool = field(init=False)

    def __post_init__(self) -> None:
        self._early = self.wanted.since is not None

    def take(self, piece: bytes) -> bytes:
        """What `piece`, the next one of the log, adds."""
        *entries, self._rest = (self._rest + piece).split(b"\n")
        return self._cut(b"".join(self._shown(entries)))

    def end(self) -> bytes:
        """What is left when nothing more comes: a last entry without an end of line."""
        entry, self._rest = self._rest, b""
        return self._cut(b"".join(self._shown([entry] if entry else [])))

    def _shown(self, entries: list[bytes]) -> Iterator[bytes]:
        for entry in entries:
            moment, text, whole = _read(entry)
            if self._early and moment and _seconds(moment) < (self.wanted.since or 0):
                continue
            self._early = False
            if self.wanted.timestamps and not self._within and moment:
                yield moment + b" "
            yield text
            if whole:
                yield b"\n"
            self._within = not whole

    def _cut(self, shown: bytes) -> bytes:
        most = self.wanted.most_bytes
        if most is not None and self._given + len(shown) >= most:
            shown, self.over = shown[: most - self._given], True
        self._given += len(shown)
        return shown


def _read(entry: bytes) -> tuple[bytes, bytes, bool]:
    """Its moment, its text, and whether the line ends with it."""
    parts = entry.split(b" ", _PARTS - 1)
    if len(parts) < _PARTS or parts[1] not in (b"stdout", b"stderr") or parts[2] not in (b"F", b"P"):
        return b"", entry, True
    return parts[0], parts[3], parts[2] == b"F"


def _seconds(moment: bytes) -> float:
    try:
        return datetime.fromisoformat(moment.decode("ascii")).timestamp()
    except ValueError:
        return 0.0


def last_lines(piece: bytes | mmap, lines: int) -> tuple[int, int]:
    """Where in `piece` its last `lines` lines begin, and how many of them are not in it. Parts of a line are one with
    the entry that ends it; what stands behind the last of those is a line too.
    """
    at, found = len(piece), 0
    while at > 0:
        begin = piece.rfind(b"\n", 0, at - 1) + 1
        if found == 0 or _read(piece[begin:at].rstrip(b"\n"))[2]:
            if found == lines:
                return at, 0
            found += 1
        at = begin
    return 0, lines - found

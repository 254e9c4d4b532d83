"""Rows of samples as bytes and back. Pure.

In: a layout (which series stand in which column) and rows, each a time and a whole number or None for each column. Out:
blocks, each of some rows, and from blocks the columns that somebody asks for. A block has the differences from the row
before it, so blocks of one file are read in order, from the first one; a new layout keeps what is known of the series
that stay.

A difference is written as a number of eight bytes; first all lowest bytes of a column, column by column, then all next
ones: mostly nothing, which deflate (zlib) makes nothing of. Steady counters take about a byte a sample, idle ones a
hundredth of that.
"""

import json
import struct
import sys
import zlib
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import IntEnum
from operator import sub
from typing import NamedTuple

from anypop.model.metrics import SeriesKey

Layout = tuple[SeriesKey, ...]


class Row(NamedTuple):
    """`at_ms`: milliseconds since the epoch; `values`: from 0 to 2**62, in the order of a layout."""

    at_ms: int
    values: Sequence[int | None]


class Kind(IntEnum):
    """Of a block."""

    LAYOUT = 1
    ROWS = 2


_HEADER = struct.Struct("<2sBxII")  # the mark, the kind, the length of what follows, its check sum
_MARK = b"aS"
_SHAPE = struct.Struct("<HIB")  # rows, columns with the time, bytes of a difference that are written
_LEVEL = 6
LARGEST = 64 << 20
"""Bytes of a block at most; one that says more is none."""


def block(kind: Kind, payload: bytes) -> bytes:
    return _HEADER.pack(_MARK, kind, len(payload), zlib.crc32(payload, kind)) + payload


def blocks(data: bytes) -> Iterator[tuple[Kind, bytes]]:
    """The whole blocks of a file, up to the first one that is cut or damaged."""
    at = 0
    while at + _HEADER.size <= len(data):
        mark, kind, length, check = _HEADER.unpack_from(data, at)
        payload = data[at + _HEADER.size : at + _HEADER.size + length]
        if mark != _MARK or len(payload) != length or zlib.crc32(payload, kind) != check or kind not in list(Kind):
            return
        yield Kind(kind), payload
        at += _HEADER.size + length


class Writer:
    """Of one file, from its beginning."""

    def __init__(self) -> None:
        self._layout: Layout | None = None
        self._last: list[int] = []
        self._at_ms = 0

    def write(self, layout: Layout, rows: Sequence[Row]) -> bytes:
        """The bytes that come next. At least one row."""
        found = b""
        if layout is not self._layout and layout != self._layout:
            known = dict(zip(self._layout or (), self._last, strict=True))
            self._last = [known.get(key, 0) for key in layout]
            found = block(Kind.LAYOUT, zlib.compress(_layout_text(layout), _LEVEL))
        self._layout = layout
        whole = [[0 if value is None else value + 1 for value in row.values] for row in rows]
        columns = zip(self._last, *whole, strict=True)
        numbers = array("Q", _zigzag(_steps((self._at_ms, *(row.at_ms for row in rows)))))
        for column in columns:
            numbers.extend(_zigzag(_steps(column)))
        self._last, self._at_ms = whole[-1], rows[-1].at_ms
        return found + block(Kind.ROWS, _packed(numbers, len(rows), len(layout) + 1))


def _steps(column: Sequence[int]) -> Iterator[int]:
    return map(sub, column[1:], column[:-1])


def _zigzag(steps: Iterator[int]) -> list[int]:
    return [step << 1 if step >= 0 else -step << 1 | 1 for step in steps]


def _packed(numbers: "array[int]", rows: int, columns: int) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    plain = numbers.tobytes()
    planes = [plain[n::8] for n in range(8)]
    while len(planes) > 1 and not any(planes[-1]):
        planes.pop()
    return _SHAPE.pack(rows, columns, len(planes)) + zlib.compress(b"".join(planes), _LEVEL)


def _layout_text(layout: Layout) -> bytes:
    """Series beside each other with the same labels share them."""
    groups: list[tuple[tuple[tuple[str, str], ...], list[str]]] = []
    for key in layout:
        if not groups or groups[-1][0] != key.labels:
            groups.append((key.labels, []))
        groups[-1][1].append(key.name)
    return json.dumps(groups, separators=(",", ":")).encode()


def _layout_of(text: bytes) -> Layout:
    return tuple(
        SeriesKey(name, tuple((word, value) for word, value in labels))
        for labels, names in json.loads(text)
        for name in names
    )


class Part(NamedTuple):
    """Some rows of a file: their times, and the columns that were asked for."""

    times_ms: list[int]
    columns: Mapping[SeriesKey, list[int | None]]


class Wanted(NamedTuple):
    """Which series are asked for; none: all."""

    names: Collection[str] = ()
    uids: Collection[str] = ()

    def has(self, key: SeriesKey) -> bool:
        return (not self.names or key.name in self.names) and (
            not self.uids or any(name == "incarnation" and value in self.uids for name, value in key.labels)
        )


def read(data: bytes, wanted: Wanted = Wanted()) -> Iterator[Part]:  # noqa: B008 - it is never changed
    """What a file says of the wanted series, block by block; what is damaged ends it."""
    last: dict[SeriesKey, int] = {}
    places: list[tuple[int, SeriesKey]] = []
    at_ms = width = 0
    for kind, payload in blocks(data):
        try:
            if kind is Kind.LAYOUT:
                layout = _layout_of(zlib.decompress(payload))
                places = [(n + 1, key) for n, key in enumerate(layout) if wanted.has(key)]
                last = {key: last.get(key, 0) for _, key in places}
                width = len(layout) + 1
                continue
            shape = _Shape(*_SHAPE.unpack_from(payload))
            planes = zlib.decompress(payload[_SHAPE.size :])
        except (ValueError, TypeError, zlib.error, struct.error):
            return
        if shape.columns != width or len(planes) != shape.rows * shape.columns * shape.used:
            return
        times = _summed(at_ms, planes, 0, shape)
        at_ms = times[-1] if times else at_ms
        found = {}
        for place, key in places:
            values = _summed(last[key], planes, place, shape)
            last[key] = values[-1] if values else last[key]
            found[key] = [value - 1 if value > 0 else None for value in values]
        yield Part(times, found)


class _Shape(NamedTuple):
    """Of a block of rows; `used`: bytes of a difference that are written."""

    rows: int
    columns: int
    used: int


def _summed(start: int, planes: bytes, place: int, shape: _Shape) -> list[int]:
    """The values of one column."""
    plain = bytearray(8 * shape.rows)
    for n in range(shape.used):
        first = (n * shape.columns + place) * shape.rows
        plain[n::8] = planes[first : first + shape.rows]
    numbers = array("Q", bytes(plain))
    if sys.byteorder == "big":
        numbers.byteswap()
    found, value = [], start
    for number in numbers:
        value += -(number >> 1) if number & 1 else number >> 1
        found.append(value)
    return found

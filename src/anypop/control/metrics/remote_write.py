"""The body of a remote-write request (version 0.1.0 of Prometheus's): a message of protobuf, compressed by Snappy.

In: series with their samples. Out: bytes, and the headers that say what they are. The message has four kinds of parts
and is written here: protobuf's library takes control 7 MB of memory for it. Tests read it with that library.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

HEADERS: Mapping[str, str] = {
    "content-encoding": "snappy",
    "content-type": "application/x-protobuf",
    "x-prometheus-remote-write-version": "0.1.0",
}
_DOUBLE = struct.Struct("<d")
_WHOLE, _EIGHT_BYTES, _BYTES = 0, 1, 2  # forms on the wire: a whole number, eight bytes, a length and so many bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """`labels`: with `__name__`. `points`: seconds since the epoch, and the value then; oldest first."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


def body_of(series: Iterable[Series]) -> bytes:
    """Labels are sorted by name, as the receiver wants them."""
    import cramjam  # noqa: PLC0415 - for who fills alone

    return bytes(cramjam.snappy.compress_raw(b"".join(_part(1, b"".join(_series(one))) for one in series)))


def _series(one: Series) -> Iterator[bytes]:
    """Numbers of members are those of remote.proto and types.proto of Prometheus."""
    for name, value in sorted(one.labels.items()):
        yield _part(1, _part(1, name.encode()) + _part(2, value.encode()))
    for at, amount in one.points:
        octets = bytes((1 << 3 | _EIGHT_BYTES,)) + _DOUBLE.pack(amount)
        yield _part(2, octets + bytes((2 << 3 | _WHOLE,)) + _whole(round(at * 1000)))


def _part(number: int, content: bytes) -> bytes:
    return bytes((number << 3 | _BYTES,)) + _whole(len(content)) + content


def _whole(number: int) -> bytes:
    """Seven bits in each byte, the lowest first; a negative one as 64 bits."""
    left, found = number & (1 << 64) - 1, bytearray()
    while left > 0x7F:
        found.append(left & 0x7F | 0x80)
        left >>= 7
    found.append(left)
    return bytes(found)

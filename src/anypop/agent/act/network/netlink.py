"""Netlink, the wire: messages of attributes to the kernel and back (RFC 3549; linux/netlink.h).

In: message types, headers and attributes as bytes. Out: acknowledgements, dumps, or `WorldError` with the kernel's
own words. Knows nothing of links, routes, tables or sockets; `rtnl`, `nftables` and `sockets` do. One `Netlink`
speaks one of the kernel's protocols for the network namespace its socket was opened in, for good.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from anypop.model.errors import WorldError

ROUTE, SOCK_DIAG, NETFILTER = 0, 4, 12
"""Protocols of the kernel's netlink: links and routes, sockets, nftables."""

REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
REPLACE, EXCL, CREATE = 0x100, 0x200, 0x400
_DONE, _ERROR, _DUMP_INTERRUPTED = 3, 2, 0x10
_SOL_NETLINK, _CAP_ACK, _EXT_ACK, _STRICT_CHECK = 270, 10, 11, 12
_NESTED_MASK = 0x3FFF
_NETNS_COOKIE = 71  # asm-generic/socket.h; the module `socket` does not know it
_COOKIE = struct.Struct("=Q")
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
# A call gives one datagram, and the kernel makes none of a dump larger than 32 KiB. From 128 KiB on the C library has
# the kernel map each buffer anew, which takes longer than most answers.
_BUFFER = 1 << 16
_PATIENCE_S = 10
_PATIENCE = struct.pack("@ll", _PATIENCE_S, 0)  # a `struct timeval`


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute: length, type, payload, padding to four bytes."""
    return _ATTRIBUTE.pack(4 + len(payload), kind) + payload + b"\0" * (-len(payload) % 4)


def u16(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=H", value))


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def nested(kind: int, *parts: bytes) -> bytes:
    return attribute(kind | 0x8000, b"".join(parts))


def attributes(payload: bytes) -> dict[int, bytes]:
    """The attributes in `payload` by type; of a repeated type the last one."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(payload):
        length, kind = _ATTRIBUTE.unpack_from(payload, at)
        if length < 4:
            break
        found[kind & _NESTED_MASK] = payload[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


def places(payload: bytes, within: slice | None = None) -> dict[int, slice]:
    """Where the attributes of a part of `payload` stand in it, by type."""
    found: dict[int, slice] = {}
    at, end = (within.start, within.stop) if within is not None else (0, len(payload))
    while at + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(payload, at)
        if length < 4:
            break
        found[kind & _NESTED_MASK] = slice(at + 4, at + length)
        at += (length + 3) & ~3
    return found


def each(payload: bytes) -> Iterator[bytes]:
    """The attributes of a list, all of one type."""
    at = 0
    while at + 4 <= len(payload):
        length, _ = _ATTRIBUTE.unpack_from(payload, at)
        if length < 4:
            return
        yield payload[at + 4 : at + length]
        at += (length + 3) & ~3


class Netlink:
    """A netlink socket of the calling thread's network namespace, for routes by default. Not safe for threads: each
    keeps its own.
    """

    def __init__(self, protocol: int = ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        # an error does not repeat our whole request before its words
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _STRICT_CHECK, 1)  # lets the kernel filter dumps, by protocol for example
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        # the kernel's own time limit: Python's asks the kernel twice for each message
        for limit in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._socket.setsockopt(socket.SOL_SOCKET, limit, _PATIENCE)
        self._socket.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def namespace(self) -> int | None:
        """The kernel's number of the network namespace, which no other one ever gets; None: a kernel before 5.14."""
        try:
            told = self._socket.getsockopt(socket.SOL_SOCKET, _NETNS_COOKIE, _COOKIE.size)
        except OSError:
            return None
        return int(_COOKIE.unpack(told)[0])

    def change(self, what: str, kind: int, flags: int, body: bytes) -> None:
        """One request, acknowledged. Raises `WorldError(what, ...)`; its `__cause__` is an `OSError` with the errno."""
        sequence = self._send(kind, REQUEST | ACK | flags, body)
        for number, kind_, payload in self._receive():
            if number == sequence and kind_ == _ERROR:
                _raise_for(what, payload)
                return

    def transaction(
        self, what: str, begin: tuple[int, bytes], change: tuple[int, bytes], end: tuple[int, bytes]
    ) -> None:
        """One change between two marks, in one datagram, as nftables wants it. Errors as in `change`."""
        parts = [
            self._message(kind, REQUEST | flags, body) for (kind, body), flags in ((begin, 0), (change, ACK), (end, 0))
        ]
        last = self._sequence
        self._socket.send(b"".join(parts))
        for number, kind_, payload in self._receive():
            if last - 2 <= number <= last and kind_ == _ERROR:
                _raise_for(what, payload)
                return

    def ask(self, what: str, kind: int, body: bytes) -> list[bytes]:
        """The payloads that answer a question about one thing. Errors as in `change`."""
        sequence, found = self._send(kind, REQUEST | ACK, body), list[bytes]()
        for number, kind_, payload in self._receive():
            if number == sequence and kind_ == _ERROR:
                _raise_for(what, payload)
                break
            if number == sequence:
                found.append(payload)
        return found

    def one(self, what: str, kind: int, body: bytes) -> bytes:
        """The payload of the one message that answers such a question, without the word that there is no more: half as
        many calls. Errors as in `change`.
        """
        sequence = self._send(kind, REQUEST, body)
        for number, kind_, payload in self._receive():
            if number == sequence:
                if kind_ == _ERROR:
                    _raise_for(what, payload)
                return payload
        raise AssertionError("a socket that ended")

    def batch(self, what: str, messages: Sequence[tuple[int, int, bytes]]) -> None:
        """Messages (type, flags, body) that count together, in one datagram: a mark, changes, a mark. Errors as in
        `change`, the first one there is.
        """
        parts = [
            self._message(kind, REQUEST | flags | (ACK if kind & 0xFF00 else 0), body) for kind, flags, body in messages
        ]
        last = self._sequence
        waiting = set(range(last - len(messages) + 2, last))
        self._socket.send(b"".join(parts))
        for number, kind_, payload in self._receive():
            if not last - len(messages) < number <= last or kind_ != _ERROR:
                continue
            _raise_for(what, payload)
            waiting.discard(number)
            if not waiting:
                return

    def dump(self, what: str, kind: int, body: bytes) -> list[bytes]:
        """The payloads of all messages of a dump. One that was interrupted by a change is taken again."""
        while True:
            sequence = self._send(kind, REQUEST | DUMP, body)
            found, whole = [], False
            self._torn = False
            for number, kind_, payload in self._receive():
                if number != sequence:
                    continue
                if kind_ == _DONE:
                    _raise_for(what, payload, words_at=4)  # a dump that fails on its way says so in its last message
                    whole = not self._torn
                    break
                if kind_ == _ERROR:
                    _raise_for(what, payload)
                found.append(payload)
            if whole:
                return found

    def first(self, what: str, kind: int, body: bytes) -> bytes:
        """The payload of the first message of a dump; empty where there is none. The socket is of no use afterwards."""
        sequence = self._send(kind, REQUEST | DUMP, body)
        for number, kind_, payload in self._receive():
            if number == sequence and kind_ in (_DONE, _ERROR):
                _raise_for(what, payload, words_at=4 if kind_ == _DONE else 4 + 16)
                break
            if number == sequence:
                return payload
        return b""

    _torn = False

    def _send(self, kind: int, flags: int, body: bytes) -> int:
        self._socket.send(self._message(kind, flags, body))
        return self._sequence

    def _message(self, kind: int, flags: int, body: bytes) -> bytes:
        self._sequence += 1
        body += b"\0" * (-len(body) % 4)
        return _HEADER.pack(16 + len(body), kind, flags, self._sequence, 0) + body

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        while True:
            try:
                data = self._socket.recv(_BUFFER)
            except BlockingIOError as error:
                raise WorldError("netlink", f"the kernel did not answer in {_PATIENCE_S} s") from error
            at = 0
            while at + 16 <= len(data):
                length, kind, flags, number, _ = _HEADER.unpack_from(data, at)
                if flags & _DUMP_INTERRUPTED and kind != _ERROR:
                    self._torn = True
                yield number, kind, data[at + 16 : at + length]
                at += (length + 3) & ~3


def _raise_for(what: str, payload: bytes, words_at: int = 4 + 16) -> None:
    code = -int(struct.unpack_from("=i", payload)[0])
    if code == 0:
        return
    words = attributes(payload[words_at:]).get(1)  # NLMSGERR_ATTR_MSG
    said = words.rstrip(b"\0").decode(errors="replace") if words else ""
    cause = OSError(code, os.strerror(code))
    raise WorldError(what, f"{said} ({os.strerror(code)})" if said else os.strerror(code)) from cause


def is_gone(error: WorldError) -> bool:
    """Whether the kernel said that the thing to be removed is not there."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in (
        errno.ENOENT,
        errno.ESRCH,
        errno.ENODEV,
        errno.EADDRNOTAVAIL,
    )


def is_invalid(error: WorldError) -> bool:
    """Whether the kernel does not know what it was asked for."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EINVAL


def is_there(error: WorldError) -> bool:
    """Whether the kernel said that the thing to be made is there already."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EEXIST

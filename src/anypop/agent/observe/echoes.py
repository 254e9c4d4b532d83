"""Answers to the pings of one measurement, as they come in by this host's upstreams.

In: a key, the address that was asked from, the upstreams' interfaces. Out: who answered, each once. It looks at packets
before they go on to an instance or by a tunnel, so that an answer counts in the PoP where it came in; the kernel picks
out echo replies with the measurement's number (a classic BPF program), and of these only such with the right token
count. Nothing is taken from anybody: packets go on as ever.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterable

from anypop.agent.decide import echo
from anypop.agent.observe.kernel_monitor import attach_filter
from anypop.model.announce import Address
from anypop.model.errors import WorldError

_ETHERNET = {4: 0x0800, 6: 0x86DD}
_OUTGOING = 4  # PACKET_OUTGOING, linux/if_packet.h
_LONGEST = 2048
# linux/filter.h: load a byte, two at a place, two and one behind the header whose length is loaded first; jump; return
_BYTE, _TWO, _TWO_BEHIND, _BYTE_BEHIND, _LENGTH = 0x30, 0x28, 0x48, 0x50, 0xB1
_EQUAL, _BITS, _RETURN = 0x15, 0x45, 0x06


class Echoes:
    """Listens from when it is made, in the network namespace of the thread that makes it, until it is closed."""

    def __init__(self, key: bytes, source: Address, interfaces: Iterable[str]) -> None:
        self._key, self._source = key, source
        self._heard: dict[Address, None] = {}
        self._sockets: list[socket.socket] = []
        try:
            for name in sorted(set(interfaces)):
                self._sockets.append(_listening(name, source.version, echo.identifier_of(key)))
        except OSError as error:
            self.close()
            raise WorldError("listen for answers", error.strerror or str(error)) from error
        for sock in self._sockets:
            asyncio.get_running_loop().add_reader(sock, self._readable, sock)

    @property
    def heard(self) -> tuple[Address, ...]:
        return tuple(self._heard)

    def _readable(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                packet, (_, _, kind, *_) = sock.recvfrom(_LONGEST)
                if kind == _OUTGOING:
                    continue
                sender = echo.answers_from(packet, self._key, self._source)
                if sender is not None:
                    self._heard[sender] = None

    def close(self) -> None:
        for sock in self._sockets:
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()
        self._sockets.clear()


def _listening(interface: str, version: int, number: int) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
    try:
        attach_filter(sock, _program(version, number))  # before it hears anything
        sock.bind((interface, _ETHERNET[version]))
    except BaseException:
        sock.close()
        raise
    return sock


def _program(version: int, number: int) -> list[tuple[int, int, int, int]]:
    """Packets begin with their IP header."""
    if version == 6:
        return [
            (_BYTE, 0, 0, 6), (_EQUAL, 0, 5, echo.ICMP[6]),
            (_BYTE, 0, 0, 40), (_EQUAL, 0, 3, echo.SAYS[6]),
            (_TWO, 0, 0, 44), (_EQUAL, 0, 1, number),
            (_RETURN, 0, 0, 0xFFFF), (_RETURN, 0, 0, 0),
        ]  # fmt: skip
    return [
        (_BYTE, 0, 0, 9), (_EQUAL, 0, 8, echo.ICMP[4]),
        (_TWO, 0, 0, 6), (_BITS, 6, 0, 0x1FFF),  # a later fragment has no header of ICMP
        (_LENGTH, 0, 0, 0),
        (_BYTE_BEHIND, 0, 0, 0), (_EQUAL, 0, 3, echo.SAYS[4]),
        (_TWO_BEHIND, 0, 0, 4), (_EQUAL, 0, 1, number),
        (_RETURN, 0, 0, 0xFFFF), (_RETURN, 0, 0, 0),
    ]  # fmt: skip

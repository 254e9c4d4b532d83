"""BFD control packets as octets (RFC 5880, section 4.1). Pure.

In: octets, or fields. Out: the other of the two. Packets with authentication are not read: no neighbour is asked for
it. Times are microseconds, as on the wire.
"""

import struct
from functools import lru_cache
from typing import NamedTuple

ADMIN_DOWN, DOWN, INIT, UP = range(4)
STATES = ("admin-down", "down", "init", "up")
NO_DIAGNOSTIC, TIME_EXPIRED, _, NEIGHBOR_SAID_DOWN = range(4)
ADMINISTRATIVELY_DOWN = 7
SINGLE_HOP_PORT, MULTIHOP_PORT = 3784, 4784
"""UDP ports that packets are sent to (RFC 5881, 5883)."""

_FIELDS = struct.Struct(">BBBBIIIII")
_KNOWN = 256  # packets: a session that stands sends and hears the same one, some ten times a second
_VERSION = 1 << 5
_POLL, _FINAL, _INDEPENDENT, _AUTHENTICATED, _, _MULTIPOINT = (1 << bit for bit in range(5, -1, -1))


class Packet(NamedTuple):
    """`independent`: the sender does not die with its control plane (the C bit). `min_tx_us`, `min_rx_us`: how often it
    would send, and how often it can receive.
    """

    state: int
    multiplier: int
    mine: int
    yours: int
    min_tx_us: int
    min_rx_us: int
    diagnostic: int = NO_DIAGNOSTIC
    poll: bool = False
    final: bool = False
    independent: bool = True


@lru_cache(maxsize=_KNOWN)
def packed(packet: Packet) -> bytes:
    """The 24 octets."""
    flags = packet.state << 6
    flags |= (_POLL if packet.poll else 0) | (_FINAL if packet.final else 0)
    flags |= _INDEPENDENT if packet.independent else 0
    return _FIELDS.pack(
        _VERSION | packet.diagnostic, flags, packet.multiplier, _FIELDS.size, packet.mine, packet.yours,
        packet.min_tx_us, packet.min_rx_us, 0,
    )  # fmt: skip


@lru_cache(maxsize=_KNOWN)
def unpacked(octets: bytes) -> Packet | None:
    """None for what must be discarded, whatever session it is for (section 6.8.6)."""
    if len(octets) < _FIELDS.size:
        return None
    first, flags, multiplier, length, mine, yours, min_tx, min_rx, _echo = _FIELDS.unpack_from(octets)
    state = flags >> 6
    if (
        first >> 5 != 1
        or not _FIELDS.size <= length <= len(octets)
        or not multiplier
        or flags & (_AUTHENTICATED | _MULTIPOINT)
        or not mine
        or (not yours and state in (INIT, UP))
    ):
        return None
    return Packet(
        state=state, diagnostic=first & 31, poll=bool(flags & _POLL), final=bool(flags & _FINAL),
        independent=bool(flags & _INDEPENDENT), multiplier=multiplier, mine=mine, yours=yours, min_tx_us=min_tx,
        min_rx_us=min_rx,
    )  # fmt: skip

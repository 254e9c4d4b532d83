"""One ICMP echo to an address over one link, and its answer (RFC 792, RFC 4443): whether a guest's own network is up.

In: a socket's options as `ask` sets them, the address. Out: None when the answer came. A virtual machine without a
port or a probe is asked so: its process runs long before its guest has an address. Raw, since the kernel lets nobody
use its own sockets for echoes unless an administrator has said so.
"""

import asyncio
import os
import socket
import struct

from anypop.agent.decide import echo
from anypop.model.announce import Address

_SOL_RAW = 255  # linux/socket.h
_ICMP_FILTER, _ICMP6_FILTER = 1, 1  # of SOL_RAW and IPPROTO_ICMPV6, linux/icmp.h and linux/icmpv6.h
_LONGEST = 2048


async def ping(sock: socket.socket, address: Address) -> None:
    """Returns when the answer came. `sock`: raw, of the family's ICMP. Raises OSError."""
    loop, version, token = asyncio.get_running_loop(), address.version, os.urandom(12)
    number = int.from_bytes(token[:2], "big")
    _hear_answers_alone(sock, version)
    sock.connect((str(address), 0))  # at once: it is only remembered who is asked
    await loop.sock_sendall(sock, echo.request(version, number, token))
    while _answer(await loop.sock_recv(sock, _LONGEST), version) != (number, token):
        pass


def _answer(packet: bytes, version: int) -> tuple[int, bytes] | None:
    if version == 4:  # with the header of the packet
        packet = packet[(packet[0] & 0xF) * 4 :] if packet else b""
    return echo.answer(packet, version)


def _hear_answers_alone(sock: socket.socket, version: int) -> None:
    """Everything else that comes by ICMP would be copied to this socket."""
    says = echo.SAYS[version]
    if version == 4:
        sock.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", 0xFFFFFFFF & ~(1 << says)))
    else:
        passes = [0xFFFFFFFF] * 8
        passes[says // 32] &= ~(1 << (says % 32))
        sock.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *passes))

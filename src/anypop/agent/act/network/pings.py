"""Pings from an anycast address, by which catchments are measured: one to each of many addresses, no faster than told.

In: a key, the address that answers go to, whom to ask. Out: echo requests on the wire, by the ways that neighbours
told; how many are out. Where the answers arrive is for who listens (`observe/echoes`).
"""

import asyncio
import socket
import struct
from collections.abc import Sequence

from anypop.agent.decide import echo
from anypop.agent.naming import PING_MARK
from anypop.model.announce import Address
from anypop.model.errors import WorldError
from anypop.model.streams import MOST_PINGS_PER_S

_TRANSPARENT = {4: (socket.IPPROTO_IP, 19), 6: (socket.IPPROTO_IPV6, 75)}  # IP_TRANSPARENT, IPV6_TRANSPARENT
# Whatever comes by ICMP would be copied to this socket: all of it is blocked (SOL_RAW and ICMP_FILTER of linux/icmp.h;
# ICMPV6_FILTER of linux/icmpv6.h).
_NOTHING = {4: (255, 1, b"\xff" * 4), 6: (socket.IPPROTO_ICMPV6, 1, b"\xff" * 32)}


async def send(key: bytes, source: Address, targets: Sequence[Address], per_s: int) -> tuple[int, int]:
    """How many were sent, and to how many there is no way. Raises `WorldError` where this host cannot send at all."""
    loop = asyncio.get_running_loop()
    pause = 1 / min(max(per_s, 1), MOST_PINGS_PER_S)
    sent, began, number = 0, loop.time(), echo.identifier_of(key)
    with _socket(source) as sock:
        for index, target in enumerate(targets):
            try:
                sock.sendto(echo.request(source.version, number, echo.token(key, target)), (str(target), 0))
                sent += 1
            except OSError:  # no way there, or a queue that is full: a ping that is lost
                pass
            await asyncio.sleep(began + (index + 1) * pause - loop.time())
    return sent, len(targets) - sent


def _socket(source: Address) -> socket.socket:
    """One that may send from an address that no interface of this host has."""
    version = source.version
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, echo.ICMP[version])
    except OSError as error:
        raise WorldError("send pings", error.strerror or str(error)) from error
    try:
        sock.setsockopt(*_TRANSPARENT[version], struct.pack("i", 1))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, PING_MARK)
        sock.setsockopt(*_NOTHING[version])
        sock.bind((str(source), 0))
    except OSError as error:
        sock.close()
        raise WorldError("send pings", error.strerror or str(error)) from error
    return sock

"""One ICMP echo to an address over one link, and its answer (RFC 792, RFC 4443): whether a guest's own network is up.

In: a socket's options as `ask` sets them, the address. Out: None when the answer came. A virtual machine without a
port or a probe is asked so: its process runs long before its guest has an address. Raw, since the kernel lets nobody
use its own sockets for echoes unless an administrator has said so.
"""

import asyncio
import os
import socket
import struct

from anypop.model.announce import Address

_HEAD = struct.Struct(">BBHHH")  # type, code, checksum, identifier, sequence
_ASKS, _SAYS = {4: 8, 6: 128}, {4: 0, 6: 129}
_SOL_RAW = 255  # linux/socket.h
_ICMP_FILTER, _ICMP6_FILTER = 1, 1  # of SOL_RAW and IPPROTO_ICMPV6, linux/icmp.h and linux/icmpv6.h
_LONGEST = 2048


async def ping(sock: socket.socket, address: Address) -> None:
    """Returns when the answer came. `sock`: raw, of the family's ICMP. Raises OSError."""
    loop, version, token = asyncio.get_running_loop(), address.version, os.urandom(12)
    number = int.from_bytes(token[:2], "big")
    _hear_answers_alone(sock, version)
    sock.connect((str(address), 0))  # at once: it is only remembered who is asked
    head = _HEAD.pack(_ASKS[version], 0, 0, number, 1)
    # of IPv6 the kernel reckons it
    checksum = _checksum(head + token) if version == 4 else 0
    await loop.sock_sendall(sock, _HEAD.pack(_ASKS[version], 0, checksum, number, 1) + token)
    while not _answers(await loop.sock_recv(sock, _LONGEST), version, number, token):
        pass


def _answers(packet: bytes, version: int, number: int, token: bytes) -> bool:
    if version == 4:  # with the header of the packet
        packet = packet[(packet[0] & 0xF) * 4 :] if packet else b""
    if len(packet) < _HEAD.size:
        return False
    kind, _, _, identifier, _ = _HEAD.unpack_from(packet)
    return kind == _SAYS[version] and identifier == number and packet[_HEAD.size :] == token


def _hear_answers_alone(sock: socket.socket, version: int) -> None:
    """Everything else that comes by ICMP would be copied to this socket."""
    if version == 4:
        sock.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", 0xFFFFFFFF & ~(1 << _SAYS[4])))
    else:
        passes = [0xFFFFFFFF] * 8
        passes[_SAYS[6] // 32] &= ~(1 << (_SAYS[6] % 32))
        sock.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *passes))


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF

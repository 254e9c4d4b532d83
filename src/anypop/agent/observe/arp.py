"""One ARP question over one link, and its answer (RFC 826): whether the kernel of a guest still answers on its card.

In: the link, a guest's IPv4 address. Out: whether an answer came in time. The kernel's own table of neighbours tells
nothing here, since hosts know the hardware address of each guest and never ask for it; so this asks by itself. Nothing
of it changes any table on this host. It says nothing about what runs above the guest's kernel.
"""

import asyncio
import socket
import struct
from ipaddress import IPv4Address

from anypop.model.errors import WorldError

_PROTOCOL = 0x0806  # linux/if_ether.h
_PACKET = struct.Struct(">HHBBH6s4s6s4s")
_ETHERNET, _IP, _ASKS, _SAYS = 1, 0x0800, 1, 2
_EVERYBODY = b"\xff" * 6
_LONGEST = 2048
_ANY_PORT = 9  # nothing is sent there


async def answers(link: str, address: IPv4Address, within_s: float) -> bool:
    """Raises `WorldError` where it cannot be asked: that says nothing about the guest."""
    loop = asyncio.get_running_loop()
    try:
        own = _own(link, address)
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0) as sock:
            sock.bind((link, _PROTOCOL))
            hardware = sock.getsockname()[4]
            question = _PACKET.pack(
                _ETHERNET, _IP, 6, 4, _ASKS, hardware, own.packed, bytes(6), address.packed
            )  # fmt: skip
            sock.sendto(question, (link, _PROTOCOL, 0, 0, _EVERYBODY))
            async with asyncio.timeout(within_s):
                while not _is_answer(await loop.sock_recv(sock, _LONGEST), address):
                    pass
    except TimeoutError:
        return False
    except OSError as error:
        raise WorldError(f"ask for {address} on {link}", error.strerror or str(error)) from error
    return True


def _is_answer(packet: bytes, address: IPv4Address) -> bool:
    if len(packet) < _PACKET.size:
        return False
    _, kind, _, _, what, _, sender, _, _ = _PACKET.unpack_from(packet)
    return (kind, what, sender) == (_IP, _SAYS, address.packed)


def _own(link: str, address: IPv4Address) -> IPv4Address:
    """This host's address on the link. One that asks without any (RFC 5227) may be taken by a guest that begins at this
    moment for somebody who wants its address.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
        sock.connect((str(address), _ANY_PORT))
        return IPv4Address(sock.getsockname()[0])

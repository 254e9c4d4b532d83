"""Which address a name leads to, and whether something may be sent there.

In: a name, a port, and what is refused. Out: one address, to which the caller connects without a second look-up. A
tenant's receiver is never at a private address, at one of the platform's, nor at one of this machine itself.
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from ipaddress import ip_address

from anypop.model.log_sinks import Places
from anypop.model.registries import refusal

Refusal = Callable[[str], str]


def why_not(host: str, forbidden: Places) -> str:
    """Why nothing of a tenant's goes to this address, in words; empty where it may."""
    address = ip_address(host)
    if why := refusal(address):
        return why
    inside = any(address in network for network in forbidden if network.version == address.version)
    return "an address of this platform" if inside or _is_own(host, address.version) else ""


def _is_own(host: str, version: int) -> bool:
    with socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as one:
        try:
            one.bind((host, 0))
        except OSError as error:
            return error.errno != errno.EADDRNOTAVAIL
    return True


async def looked_up(host: str, port: int, kind: socket.SocketKind, refused: Refusal) -> str:
    """The first address that is not refused. Raises `OSError`."""
    rows = await asyncio.get_running_loop().getaddrinfo(host, port, type=kind)
    why = ""
    for row in rows:
        address = str(row[4][0]).partition("%")[0]
        if not (why := refused(address)):
            return address
    raise OSError(f"{host} is {why}: nothing is sent there")

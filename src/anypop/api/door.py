"""The listening socket with a bound on what it lets in: so many open connections from one address, so many altogether.

In: connections, as the kernel hands them over. Out: those within the bounds; the others are closed before TLS or
anything else costs memory for them. Each listening address has bounds of its own, so that a flood at the one where
tenants come in takes no place from agents at another. It reads nothing and decides by numbers alone.
"""

import logging
import resource
import socket
from asyncio import sslproto
from collections import Counter
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from anypop.api.seldom import Seldom

log = logging.getLogger("anypop.api")

# What asyncio reads from a socket at once. It keeps so much for every connection with TLS, a quarter of a MiB by
# default; a record of TLS has at most 16 KiB (RFC 8446, section 5.1).
TLS_READ_BYTES = 16 << 10
# For everything that is no connection: the store, certificates, worker processes.
OTHER_FILES = 256
AT_ONCE = 64  # refused in one go; then the event loop has its turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How many connections may be open. An address is one of IPv4, or a /64 of IPv6, which is what one host has."""

    per_address: int = 200
    altogether: int = 4096


def source_of(host: str) -> str:
    """Who is counted as one: an IPv4 address, also when it is written as IPv6, or a /64 of IPv6."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((address, 64), strict=False))


class Door(socket.socket):
    """A listening socket that counts."""

    bounds = Bounds()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.open: Counter[str] = Counter()
        self._refusals = Seldom(log)

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection within the bounds. Raises `BlockingIOError` when there is none."""
        for _ in range(AT_ONCE):
            made, address = super().accept()
            source = source_of(str(address[0]))
            held = self.open[source]
            if held < self.bounds.per_address and self.open.total() < self.bounds.altogether:
                return _Held(made, self.open, source), address
            made.close()
            if not held:
                del self.open[source]
            self._refusals.warn(
                f"a connection from {source} was refused: it has {held} open, all together have {self.open.total()}"
            )
        raise BlockingIOError


class _Held(socket.socket):
    """A connection that takes its place until it is closed."""

    def __init__(self, made: socket.socket, places: Counter[str], source: str) -> None:
        super().__init__(made.family, made.type, made.proto, fileno=made.detach())
        self._places, self._source = places, source
        places[source] += 1

    def close(self) -> None:
        if self._source:
            self._places[self._source] -= 1
            if not self._places[self._source]:
                del self._places[self._source]  # memory for those that are there, and for nobody else
            self._source = ""
        super().close()


def prepare(wanted: Bounds) -> Bounds:
    """Make TLS light, allow as many open files as the system lets us, and say what fits into them."""
    sslproto.SSLProtocol.max_size = TLS_READ_BYTES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted.altogether + OTHER_FILES
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    fitting = max(1, min(wanted.altogether, soft - OTHER_FILES))
    if fitting < wanted.altogether:
        log.warning("%s open files allow %s connections, not %s", soft, fitting, wanted.altogether)
    return Bounds(per_address=min(wanted.per_address, fitting), altogether=fitting)

"""One TCP socket that asks the same place again and again, for as long as that answers at once.

In: an address, a port, the link that leads to it. Out: whether a connection stood when the kernel's call returned; it
is reset right away. To make, bind, mark and close a socket for each question costs as much as the question. Only "yes"
counts: after anything else the socket is closed, and whoever asks does so with a new one and learns why. Of the
process's open files these are a quarter at most.
"""

import ctypes
import errno
import resource
import socket
import struct

from anypop.agent.naming import PROBE_MARK
from anypop.model.announce import Address

_libc = ctypes.CDLL(None, use_errno=True)
# connect(2): to an address of no family takes the connection back, with a reset, and leaves the socket as it was made
_NOWHERE = struct.pack("=H14x", socket.AF_UNSPEC)
_AT_ONCE = (0, errno.EINPROGRESS)


class KeptSocket:
    """See the module. `link`: the interface that questions leave by; empty: any."""

    open_ones = 0

    def __init__(self, address: Address, port: int, link: str) -> None:
        self._family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        self._place, self._link = (str(address), port), link
        self._socket: socket.socket | None = None

    def connects(self) -> bool:
        """Whether it did. False says nothing of the place."""
        try:
            sock = self._socket or self._open()
            if sock is None:
                return False
            if sock.connect_ex(self._place) in _AT_ONCE:
                sock.getpeername()
                if _libc.connect(sock.fileno(), _NOWHERE, len(_NOWHERE)) == 0:
                    return True
        except OSError:
            pass
        self.close()
        return False

    def _open(self) -> socket.socket | None:
        if KeptSocket.open_ones >= resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4:
            return None
        self._socket = sock = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        KeptSocket.open_ones += 1
        if self._link:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._link.encode())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, PROBE_MARK)
        return sock

    def close(self) -> None:
        """Harmless where it is closed."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            KeptSocket.open_ones -= 1

"""Changes of nftables' rules that somebody else has made, as they happen (nftables' own notifications).

In: nothing. Out: one call for each change that neither this process nor an `nft` that it started has made. Says that
something changed, not what. The kernel tells who: the number of the process; where the agent lives in a process
namespace of its own the numbers differ, and its own changes are told as well, which costs a look each.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Callable

from anypop.agent.act.network import netlink as nl
from anypop.agent.act.network.nft import is_own

_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_NFTABLES = 7  # the multicast group
_NEW_GENERATION = 10 << 8 | 15  # ends each transaction, and tells who made it
_HEADER = struct.Struct("=IHHII")
_BUFFER = 4 << 20  # a table of a thousand instances, loaded at once


class RulesetMonitor:
    """Listens in the network namespace of the thread that makes it; calls `changed` in the event loop's thread."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, nl.NETFILTER
        )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.bind((0, 0))
        self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _NFTABLES)
        asyncio.get_running_loop().add_reader(self._socket, self._readable)

    def _readable(self) -> None:
        foreign = False
        try:
            while data := self._socket.recv(1 << 17):
                foreign |= any(pid != os.getpid() and not is_own(pid) for pid in _makers(data))
        except BlockingIOError:
            pass
        except OSError:
            foreign = True  # ENOBUFS: more changes than fit; one look sees them all
        if foreign:
            self._changed()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()


def _makers(data: bytes) -> list[int]:
    """The processes that ended a transaction in these messages."""
    found, at = [], 0
    while at + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, at)
        if kind == _NEW_GENERATION:
            pid = nl.attributes(data[at + _HEADER.size + 4 : at + length]).get(2, b"")  # NFTA_GEN_PROC_PID
            found.append(int.from_bytes(pid, "big"))
        at += max((length + 3) & ~3, _HEADER.size)
    return found

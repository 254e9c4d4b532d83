"""Which connections of an incarnation that leaves have still a client at their other end.

In: its namespace and addresses, at every look while it drains. Out: the connections that nobody holds. A route that
changes takes a client's packets to another PoP, which resets the connection; here it stays half open or open and idle,
and no packet will ever tell. So the other side is asked, as TCP's keep-alive does (RFC 9293, 3.8.4), with one packet a
second until it answers or has been silent three times. Nothing is closed and nothing written, and no process of the
tenant knows of it; who cannot be asked is taken to be there.
"""

import contextlib
import ctypes
import os
import socket
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from anypop.agent.act.network.sockets import Connection, connections, full_queues
from anypop.host import netns
from anypop.model.announce import Address

Ends = tuple[Address, int, Address, int]
_Key = tuple[int, Ends]  # the inode alone may be another connection's by the next look

ASK_S = 1.0
TRIES = 3
"""A client that lives answers within its round trip; of three packets on a bad line one arrives."""

SYN_TRIES = 2
"""The kernel sends the answer to a SYN again after 1 and after 3 s."""

_MOST = 1000  # asked in one look, which takes some 10 ms of the agent's time; the others have their turn

_TICK_S = 0.01  # the kernel counts silence in steps of 1 to 10 ms

_PIDFD_GETFD = 438  # the number of the system call on every architecture; Python has no name for it
_TCP_REPAIR, _OFF = 19, 0  # linux/tcp.h
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(slots=True, kw_only=True)
class _Space:
    """What is known of one incarnation's connections. `asked`: when first and how often; `answered`: not again.
    `overflows`: how often its servers' queues were full; `half_open`: tries when first seen since the last of these.
    """

    next_at: float = 0.0
    overflows: int = 0
    half_open: dict[Ends, int] = field(default_factory=dict)
    asked: dict[_Key, tuple[float, int]] = field(default_factory=dict)
    answered: set[_Key] = field(default_factory=set)
    gone: frozenset[Ends] = frozenset()


class Held:
    """Asks, and remembers who was asked. One for all incarnations of an agent that leave."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._spaces: dict[str, _Space] = {}

    def keep(self, namespaces: Collection[str]) -> None:
        """Forget all others."""
        self._spaces = {name: space for name, space in self._spaces.items() if name in namespaces}

    def gone(self, namespace: str, addresses: Collection[Address]) -> frozenset[Ends]:
        """The ends of the inbound connections that nobody holds any more. Looks and asks once a second at most; in
        between it says the same again.
        """
        now = self._clock()
        space = self._spaces.setdefault(namespace, _Space())
        if now >= space.next_at:
            space.next_at = now + ASK_S
            found = [c for c in connections(namespace, addresses, heard=True) if c.inbound and not c.udp]
            space.gone = frozenset(_unheld(space, namespace, found, now))
        return space.gone


def _unheld(space: _Space, namespace: str, found: list[Connection], now: float) -> Iterator[Ends]:
    to_ask: dict[int, _Key] = {}
    overflows = full_queues(namespace) if any(c.half_open for c in found) else space.overflows
    if overflows != space.overflows:
        space.overflows, space.half_open = overflows, {}
    for one in found:
        key = one.inode, one.ends
        if one.half_open:
            # Where the queue of a server was full, a client may have answered and nobody taken it: then only what is
            # sent to it again from now on tells.
            before = space.half_open.setdefault(one.ends, one.tries if overflows else 0)
            is_gone = one.tries >= before + SYN_TRIES
        elif one.idle and one.inode:
            first, times = space.asked.get(key, (now, 0))
            if times and one.silent_s < now - first + _TICK_S:
                space.answered.add(key)
            is_gone = times >= TRIES and key not in space.answered
            if times < TRIES and key not in space.answered and len(to_ask) < _MOST:
                to_ask[one.inode] = key
        else:
            is_gone = one.tries >= TRIES and one.silent_s >= TRIES * ASK_S
        if is_gone:
            yield one.ends
    for inode in _asked(namespace, to_ask) if to_ask else ():
        first, times = space.asked.get(to_ask[inode], (now, 0))
        space.asked[to_ask[inode]] = first, times + 1


def _asked(namespace: str, inodes: Collection[int]) -> Iterator[int]:
    """Send one packet on each of these sockets, which the other side has to answer; gives those where that could be
    done.
    """
    for pid in _inside(namespace):
        with contextlib.suppress(OSError), _closing(os.pidfd_open(pid)) as process:
            for number, inode in _sockets_of(pid):
                if inode in inodes:
                    with contextlib.suppress(OSError):
                        _ask(process, number, inode)
                        yield inode


def _inside(namespace: str) -> Iterator[int]:
    """The processes in a network namespace."""
    with contextlib.suppress(OSError):
        mine = netns.path_of(namespace).stat()
        for process in Path("/proc").iterdir():
            if process.name.isdecimal():
                with contextlib.suppress(OSError):
                    if os.path.samestat((process / "ns/net").stat(), mine):
                        yield int(process.name)


def _sockets_of(pid: int) -> Iterator[tuple[int, int]]:
    """Its descriptors that are sockets, with their inodes."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(descriptor.readlink())
            if target.startswith("socket:["):
                yield int(descriptor.name), int(target[8:-1])


def _ask(process: int, number: int, inode: int) -> None:
    """By the end of a repair that never began, at which the kernel sends what a keep-alive is: a segment from before
    the window. That also resets the permission to use the port again, which is given back.
    """
    handle = _libc.syscall(_PIDFD_GETFD, process, number, 0)
    if handle < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    with socket.socket(fileno=handle) as one:
        if os.fstat(one.fileno()).st_ino != inode:  # the number has another socket by now
            raise OSError("another socket")
        shared = one.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        one.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, _OFF)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, shared)


@contextlib.contextmanager
def _closing(handle: int) -> Iterator[int]:
    try:
        yield handle
    finally:
        os.close(handle)

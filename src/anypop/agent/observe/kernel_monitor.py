"""Changes in the kernel that somebody else may have made, as they happen: links, next hops, routes of our own protocol,
and that what other hosts are told is deleted.

In: nothing. Out: one call for each burst that no look at the kernel has followed meanwhile (`looked`): most of what
changes we changed ourselves, and the pass that comes after sees it. The kernel filters the routes (a classic BPF
program on the message's protocol and type), so the updates of a full BGP table in the same kernel cost nothing here.
Says that something changed, not what: the next look sees it.
"""

import asyncio
import contextlib
import ctypes
import socket
import struct
from collections.abc import Callable, Sequence

from anypop.agent.naming import ROUTE_PROTOCOL, SERVED_PROTOCOL

_SOL_NETLINK, _ADD_MEMBERSHIP, _SO_ATTACH_FILTER = 270, 1, 26
_LINK, _ROUTE4, _ROUTE6, _NEXTHOP = 1, 7, 11, 32
_TYPE_AT, _DELETED = 4, 25  # RTM_DELROUTE
_PROTOCOL_AT = 16 + 5  # after the netlink header: the fifth byte of struct rtmsg
_LOAD_BYTE, _JUMP_EQUAL, _RETURN = 0x30, 0x15, 0x06  # linux/filter.h


def listen(*groups: int) -> socket.socket:
    """A netlink socket that hears these multicast groups (linux/rtnetlink.h) of the calling thread's namespace."""
    sock = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
    )
    sock.bind((0, 0))
    for group in groups:
        sock.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
    return sock


def _drain(sock: socket.socket) -> None:
    """Read all that waits. An error (ENOBUFS) says that more happened than fits: one look sees it all."""
    with contextlib.suppress(OSError):
        while sock.recv(1 << 16):
            pass


def _only_ours(sock: socket.socket) -> None:
    """Routes of our protocol, and deletions of what other hosts are told: it is not routed by, so that it comes is no
    change that anybody waits for.
    """
    attach_filter(
        sock,
        [
            (_LOAD_BYTE, 0, 0, _PROTOCOL_AT),
            (_JUMP_EQUAL, 3, 0, ROUTE_PROTOCOL),
            (_JUMP_EQUAL, 0, 3, SERVED_PROTOCOL),
            (_LOAD_BYTE, 0, 0, _TYPE_AT),
            (_JUMP_EQUAL, 0, 1, _DELETED),
            (_RETURN, 0, 0, 0xFFFF),
            (_RETURN, 0, 0, 0),
        ],
    )


def attach_filter(sock: socket.socket, instructions: Sequence[tuple[int, int, int, int]]) -> None:
    """Let the kernel choose what a socket receives: a classic BPF program of (code, if true, if false, value)."""
    program = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    memory = ctypes.create_string_buffer(program, len(program))
    sock.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program) // 8, ctypes.addressof(memory))
    )


BURST_S = 0.01  # changes come in bursts


class KernelMonitor:
    """Listens in the network namespace of the thread that makes it; calls `changed` in the event loop's thread, a
    moment (`burst_s`) after a change.
    """

    def __init__(self, changed: Callable[[], None], burst_s: float = BURST_S) -> None:
        self._changed = changed
        self._burst_s = burst_s
        self._soon: asyncio.TimerHandle | None = None
        routes = listen(_ROUTE4, _ROUTE6)
        _only_ours(routes)
        self._sockets = [routes, listen(_LINK, _NEXTHOP)]
        for sock in self._sockets:
            asyncio.get_running_loop().add_reader(sock, self._readable, sock)

    def looked(self) -> None:
        """Everything is about to be read from the kernel: what happened until now needs no call."""
        for sock in self._sockets:
            _drain(sock)
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None

    def _readable(self, sock: socket.socket) -> None:
        _drain(sock)
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(self._burst_s, self._tell)

    def _tell(self) -> None:
        self._soon = None
        self._changed()

    def close(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
        for sock in self._sockets:
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()

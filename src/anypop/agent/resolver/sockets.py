"""The sockets of the resolver, and by which link a question came: that alone says who asks (ip(7), ipv6(7)).

In: nothing but the kernel. Out: bound sockets; of a datagram or a connection the number of the interface by which it
came in. An answer leaves by the link that the question came by, whatever the routes say of its address: of two
incarnations of a slot only one has the routes.
"""

import socket
import struct
from dataclasses import dataclass

from anypop.agent.naming import RESOLVER4, RESOLVER6

PORT = 53
_PKTOPTIONS = {socket.AF_INET: (socket.IPPROTO_IP, 9), socket.AF_INET6: (socket.IPPROTO_IPV6, 6)}
_IP_PKTINFO, _IP_FREEBIND, _IPV6_FREEBIND = 8, 15, 78
_RECEIVE = 1 << 20
_ROOM = 128  # bytes of what the kernel tells beside a datagram
_PKTINFO4, _PKTINFO6 = struct.Struct("=I4s4s"), struct.Struct("=16sI")


@dataclass(slots=True)
class Sockets:
    """One of each kind and family, where the kernel has it."""

    datagrams: list[socket.socket]
    listening: list[socket.socket]

    def close(self) -> None:
        for one in (*self.datagrams, *self.listening):
            one.close()


def opened() -> Sockets:
    """All of them. OSError where somebody else has the port. The addresses need not be there yet."""
    found = Sockets([], [])
    try:
        for family, address in ((socket.AF_INET, RESOLVER4), (socket.AF_INET6, RESOLVER6)):
            for kind, into in ((socket.SOCK_DGRAM, found.datagrams), (socket.SOCK_STREAM, found.listening)):
                try:
                    made = socket.socket(family, kind)
                except OSError:
                    if family == socket.AF_INET6:
                        continue  # a kernel without it
                    raise
                into.append(made)
                _bind(made, family, kind, str(address))
    except BaseException:
        found.close()
        raise
    return found


def _bind(made: socket.socket, family: int, kind: int, address: str) -> None:
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET:
        made.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        made.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    else:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    made.bind((address, PORT))
    if kind == socket.SOCK_STREAM:
        made.listen(64)
    else:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE)


def receive(from_: socket.socket) -> tuple[bytes, int, tuple[str, int]]:
    """A datagram, the interface by which it came (0: not told), and its source. BlockingIOError where there is none."""
    data, beside, _, source = from_.recvmsg(4096, _ROOM)
    return data, _interface(beside), (source[0], source[1])


def send(by: socket.socket, data: bytes, interface: int, to: tuple[str, int]) -> None:
    """An answer, out by that interface."""
    if by.family == socket.AF_INET:
        info = _PKTINFO4.pack(interface, RESOLVER4.packed, bytes(4))
        by.sendmsg([data], [(socket.IPPROTO_IP, _IP_PKTINFO, info)], 0, to)
    else:
        info = _PKTINFO6.pack(RESOLVER6.packed, interface)
        by.sendmsg([data], [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info)], 0, to)


def interface_of(connection: socket.socket) -> int:
    """The interface by which a connection was opened; 0: not told."""
    level, option = _PKTOPTIONS[socket.AddressFamily(connection.family)]
    try:
        raw = connection.getsockopt(level, option, _ROOM)
    except OSError:
        return 0
    beside = []
    while len(raw) >= _CONTROL_SIZE:
        length, level, kind = struct.unpack_from("@Nii", raw)
        if length < _CONTROL_SIZE:
            break
        beside.append((level, kind, raw[_CONTROL_SIZE:length]))
        raw = raw[(length + 7) & ~7 :]
    return _interface(beside)


_CONTROL_SIZE = struct.calcsize("@Nii")


def _interface(beside: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in beside:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO) and len(data) >= _PKTINFO4.size:
            return int(_PKTINFO4.unpack_from(data)[0])
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO) and len(data) >= _PKTINFO6.size:
            return int(_PKTINFO6.unpack_from(data)[1])
    return 0

"""The TCP and UDP connections that a network namespace has on some addresses, asked from the kernel (sock_diag(7);
linux/inet_diag.h).

In: the namespace's name and addresses. Out: the connections, IPv4 on `::` sockets as IPv4. No process is started. A
UDP socket counts where it is connected: of others the kernel knows no peer.
"""

import socket
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from anypop.agent.act.network.netlink import SOCK_DIAG, Netlink, attributes
from anypop.host import netns
from anypop.model.announce import Address

_BY_FAMILY = 20
_REQUEST = struct.Struct("=BBBxI48x")  # family, protocol, extensions, states; no filter by address
_ANSWER = struct.Struct(">BBBBHH16s16s12x")  # family, state, timer, tries, then the ends of the connection
_NUMBERS = struct.Struct("=IIIII")  # expires, receive queue, send queue, user, inode
_INFO = 2  # INET_DIAG_INFO: struct tcp_info of linux/tcp.h
_HEARD = struct.Struct("=24xI24xII")  # unacknowledged segments, milliseconds since data came, and since any answer
(
    _ESTABLISHED, _SYN_SENT, _SYN_RECEIVED, _FIN_WAIT1, _FIN_WAIT2, _TIME_WAIT, _CLOSED, _CLOSE_WAIT, _LAST_ACK,
    _LISTEN, _CLOSING,
) = range(1, 12)  # fmt: skip
_ALL = (1 << 12) - 2
_SAID_ALL = {_FIN_WAIT1, _FIN_WAIT2, _LAST_ACK, _CLOSING}
_FIXED = 72  # struct inet_diag_msg; attributes follow
_MAPPED = bytes(10) + b"\xff\xff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One connection, established, half-open or half-closed.

    `inbound`: somebody listens on its local port, so the other side opened it. `said_all`: this side has sent its
    FIN. `pending`: taking the namespace away would cut it; false only where nobody here holds it any more and
    everything sent has arrived.

    `half_open`: its SYN was answered, and nothing is known to have come back. `tries`: how often the kernel has sent
    the same again since it heard anything. `silent_s`: since the other side was heard, and `idle`: open, and nothing
    waits to be acknowledged; both where that was asked for. `inode`: of the socket; 0 where no process has it.
    """

    udp: bool
    local: Address
    local_port: int
    peer: Address
    peer_port: int
    inbound: bool
    said_all: bool
    pending: bool
    half_open: bool = False
    tries: int = 0
    silent_s: float = 0.0
    idle: bool = False
    inode: int = 0

    @property
    def ends(self) -> tuple[Address, int, Address, int]:
        return self.peer, self.peer_port, self.local, self.local_port


@dataclass(frozen=True, slots=True, kw_only=True)
class _Socket:
    udp: bool
    state: int
    local: Address
    local_port: int
    peer: Address
    peer_port: int
    tries: int
    inode: int
    info: bytes


def connections(namespace: str, addresses: Collection[Address], *, heard: bool = False) -> list[Connection]:
    """Those whose local address is one of `addresses`. None when the namespace is gone. `heard`: with what is known of
    the other side, which takes longer.
    """
    try:
        with netns.inside(namespace), Netlink(SOCK_DIAG) as net:
            found = list(_sockets(net, heard=heard))
    except FileNotFoundError:
        return []
    waiting = {(s.udp, s.local_port) for s in found if s.state == (_CLOSED if s.udp else _LISTEN)}
    wanted = frozenset(addresses)
    return [
        _connection(s, waiting)
        for s in found
        if s.peer_port and s.local in wanted and s.state not in (_LISTEN, _TIME_WAIT, _CLOSED)
    ]


def full_queues(namespace: str) -> int:
    """How often a connection found the queue of a TCP server in there full (the counter ListenOverflows of
    /proc/net/netstat). 0 when the namespace is gone.
    """
    try:
        with netns.inside(namespace):
            lines = Path("/proc/thread-self/net/netstat").read_text().splitlines()
    except FileNotFoundError:
        return 0
    names, values = (line.split()[1:] for line in lines if line.startswith("TcpExt:"))
    return int(dict(zip(names, values, strict=True))["ListenOverflows"])


def _sockets(net: Netlink, *, heard: bool) -> Iterator[_Socket]:
    # IPv4 first: a half-open connection to `::` is there, and in the other once open
    asked = 1 << (_INFO - 1) if heard else 0
    for family in (socket.AF_INET, socket.AF_INET6):
        for protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
            states = _ALL & ~(1 << _TIME_WAIT)  # often the most of all, and nothing that could be cut
            for payload in net.dump("list sockets", _BY_FAMILY, _REQUEST.pack(family, protocol, asked, states)):
                version, state, _, tries, local_port, peer_port, local, peer = _ANSWER.unpack_from(payload)
                *_, inode = _NUMBERS.unpack_from(payload, 52)
                yield _Socket(
                    udp=protocol == socket.IPPROTO_UDP, state=state, local=_address(version, local),
                    local_port=local_port,
                    peer=_address(version, peer), peer_port=peer_port, tries=tries, inode=inode,
                    info=attributes(payload[_FIXED:]).get(_INFO, b"") if heard else b"",
                )  # fmt: skip


def _connection(found: _Socket, waiting: set[tuple[bool, int]]) -> Connection:
    waits, *ages = _HEARD.unpack_from(found.info) if len(found.info) >= _HEARD.size else (1, 0, 0)
    return Connection(
        udp=found.udp, local=found.local, local_port=found.local_port, peer=found.peer, peer_port=found.peer_port,
        inbound=(found.udp, found.local_port) in waiting, said_all=not found.udp and found.state in _SAID_ALL,
        pending=found.state != _FIN_WAIT2 or found.inode != 0,
        half_open=not found.udp and found.state == _SYN_RECEIVED, tries=found.tries, silent_s=min(ages) / 1000,
        idle=not found.udp and found.state == _ESTABLISHED and waits == 0, inode=found.inode,
    )  # fmt: skip


def _address(version: int, packed: bytes) -> Address:
    if version == socket.AF_INET:
        return IPv4Address(packed[:4])
    return IPv4Address(packed[12:]) if packed.startswith(_MAPPED) else IPv6Address(packed)

"""The sockets and timers of all BFD sessions of a host: one loop that does nothing else.

In: sessions as ordered (`set`), packets. Out: packets; `happened` is called for each event. Packets of a neighbour on
the link count only where they come over its interface with their TTL untouched (RFC 5881, section 5): nobody beyond the
link can have sent them. What is ordered for an interface or an address that is not there yet is tried again with each
packet that is due.
"""

import errno
import heapq
import random
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from anypop.agent.bfd.packet import ADMIN_DOWN, MULTIHOP_PORT, SINGLE_HOP_PORT, Packet, packed, unpacked
from anypop.agent.bfd.session import Event, Session, Wanted

_SOURCE_PORTS = range(49152, 65536)  # RFC 5881, section 4
_CONTROL_TRAFFIC = 0xC0  # the class of routing protocols (CS6), which queues let through first
_PRIORITY = 6
_WHOLE_TTL = 255
_BIND_AGAIN_S = 0.004  # whoever leaves the port (BIRD, an earlier life of this process) leaves it at any moment
_IP_PKTINFO, _IP_RECVTTL = 8, 12  # linux/in.h; the module `socket` does not know them
_INTEGER = struct.Struct("=i")
_ROOM = socket.CMSG_SPACE(20) + socket.CMSG_SPACE(_INTEGER.size)  # struct in6_pktinfo has 20 octets
_LONGEST = 128
_MOST_KNOWN = 4096  # ways; a neighbour has one for each port that it ever sent from
_SMALL_MATTERS = {errno.ECONNREFUSED, errno.ENOBUFS, errno.EAGAIN}

Place = tuple[str, str, str]
_Ends = tuple[tuple[Any, ...], ...]
"""The source of a packet as the kernel has it, and its notes: each a level, a kind, octets."""


class _Way:
    """The socket by which a session sends. It is made when it is first needed, and again after an error."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._socket: socket.socket | None = None

    def send(self, octets: bytes) -> None:
        try:
            if self._socket is None:
                self._socket = self._open()
            self._socket.send(octets)
        except OSError as error:
            if error.errno not in _SMALL_MATTERS:
                self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _open(self) -> socket.socket:
        wanted = self._wanted
        six = ":" in wanted.neighbor
        sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, _PRIORITY)
            if six:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, _WHOLE_TTL)
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _CONTROL_TRAFFIC)
            else:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, _WHOLE_TTL)
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _CONTROL_TRAFFIC)
            if wanted.interface:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, wanted.interface.encode())
            scope = (0, socket.if_nametoindex(wanted.interface) if wanted.interface else 0) if six else ()
            self._bind(sock, wanted.local or "::", scope)
            sock.connect((wanted.neighbor, MULTIHOP_PORT if wanted.multihop else SINGLE_HOP_PORT, *scope))
        except OSError:
            sock.close()
            raise
        return sock

    def _bind(self, sock: socket.socket, local: str, scope: tuple[int, ...]) -> None:
        for _ in range(20):
            with suppress(OSError):
                sock.bind((local, random.choice(_SOURCE_PORTS), *scope))
                return
        sock.bind((local, random.choice(_SOURCE_PORTS), *scope))


class _Door:
    """Where packets of one family come in. `sock` None: somebody else has the port."""

    def __init__(self, family: int, *, multihop: bool) -> None:
        self.family, self.multihop = family, multihop
        self.sock: socket.socket | None = None
        self.trouble = ""
        self.known: dict[_Ends, Place] = {}  # the sessions whose packets came this very way

    def open(self) -> bool:
        six = self.family == 6
        sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            sock.setblocking(False)
            if six:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            else:
                sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
                sock.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)
            sock.bind(("::" if six else "0.0.0.0", MULTIHOP_PORT if self.multihop else SINGLE_HOP_PORT))
        except OSError as error:
            sock.close()
            self.trouble = f"UDP port {MULTIHOP_PORT if self.multihop else SINGLE_HOP_PORT}: {error.strerror}"
            return False
        self.sock, self.trouble = sock, ""
        return True

    def read(self) -> tuple[bytes, _Ends] | None:
        """One packet: octets, and what the kernel says of where it came from; None: there is no more."""
        assert self.sock is not None
        try:
            octets, notes, _, source = self.sock.recvmsg(_LONGEST, _ROOM)
        except OSError:
            return None
        return octets, (source, *notes)


def _read_ends(ends: _Ends) -> tuple[str, str, int, int]:
    """Source, destination, number of the interface, TTL."""
    source, destination, index, ttl = str(ends[0][0]).partition("%")[0], "", 0, 0
    for level, kind, data in ends[1:]:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            index, destination = _INTEGER.unpack_from(data)[0], socket.inet_ntop(socket.AF_INET, data[8:12])
        elif level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            index, destination = _INTEGER.unpack_from(data, 16)[0], socket.inet_ntop(socket.AF_INET6, data[:16])
        else:
            ttl = _INTEGER.unpack_from(data)[0]
    return source, destination, index, ttl


class Endpoint:
    """All sessions of this process's network namespace."""

    def __init__(self, happened: Callable[[Session, Event], None]) -> None:
        self._happened = happened
        self._sessions: dict[Place, Session] = {}
        self._ways: dict[Place, _Way] = {}
        self._leaving: dict[Place, float] = {}
        self._doors: dict[tuple[int, bool], _Door] = {}
        self._shut = False  # whether a door has to be opened
        self._queue: list[tuple[float, int, Place]] = []
        self._turn = 0
        self._goes_on = True
        self._planned: dict[Place, int] = {}
        self._interfaces: dict[int, str] = {}
        self._poll = select.epoll()
        self._wakes: dict[int, Callable[[], None]] = {}
        self._readable: dict[int, _Door] = {}

    @property
    def troubles(self) -> list[str]:
        return sorted({door.trouble for door in self._doors.values() if door.trouble})

    @property
    def sessions(self) -> Mapping[Place, Session]:
        return self._sessions

    def when_readable(self, handle: int, call: Callable[[], None]) -> None:
        """Something else that the loop shall listen to."""
        self._wakes[handle] = call
        self._poll.register(handle, select.EPOLLIN)

    def set(self, wanted: Iterable[Wanted], *, up_before: Iterable[str] = ()) -> None:
        """Have exactly these. `up_before`: names of those that an earlier life of this process left up."""
        now, before = time.monotonic(), set(up_before)
        listed = {each.place: each for each in wanted}
        for each in listed.values():
            key = _family(each), each.multihop
            if key not in self._doors:
                self._doors[key], self._shut = _Door(key[0], multihop=key[1]), True
        for place, each in listed.items():
            session = self._sessions.get(place)
            if session is None or place in self._leaving:
                self._drop(place)
                self._begin(each, now, was_up=each.name in before)
            elif session.wanted != each:
                session.change(each, now)
                self._plan(place, session)
        for place, session in self._sessions.items():
            if place not in listed and place not in self._leaving:
                session.close(now)
                self._leaving[place] = now + session.wanted.multiplier * session.wanted.interval_us / 1e6
                self._plan(place, session)

    def run(self, doors_changed: Callable[[], None]) -> None:
        """Until `stop`. `doors_changed`: `troubles` are others now."""
        troubles = self.troubles
        while self._goes_on:
            if self._shut:
                self._shut = self._open_doors()
                if troubles != (troubles := self.troubles):
                    doors_changed()
            due_s = self._queue[0][0] - time.monotonic() if self._queue else None
            if self._shut:
                due_s = min(_BIND_AGAIN_S, due_s) if due_s is not None else _BIND_AGAIN_S
            for handle, _ in self._poll.poll(None if due_s is None else max(0.0, due_s)):
                if handle in self._wakes:
                    self._wakes[handle]()
                elif handle in self._readable:
                    self._read(self._readable[handle])
            self._tick()

    def stop(self) -> None:
        """Close all sessions, and end."""
        self.set(())
        self._tick()
        self._goes_on = False

    def _begin(self, wanted: Wanted, now: float, *, was_up: bool) -> None:
        taken = {session.number for session in self._sessions.values()}
        number = next(n for n in iter(lambda: random.randrange(1, 1 << 32), 0) if n not in taken)
        session = Session(wanted, number=number, was_up=was_up)
        if self._doors[_family(wanted), wanted.multihop].sock is not None:
            session.listen(now)
        self._sessions[wanted.place], self._ways[wanted.place] = session, _Way(wanted)
        self._plan(wanted.place, session)

    def _drop(self, place: Place) -> None:
        for door in self._doors.values():
            door.known.clear()
        self._leaving.pop(place, None)
        self._planned.pop(place, None)
        self._sessions.pop(place, None)
        way = self._ways.pop(place, None)
        if way is not None:
            way.close()

    def _plan(self, place: Place, session: Session) -> None:
        self._turn += 1
        self._planned[place] = self._turn
        heapq.heappush(self._queue, (session.due(), self._turn, place))

    def _open_doors(self) -> bool:
        """Whether one is still shut."""
        shut = False
        for key, door in self._doors.items():
            if door.sock is None:
                if not door.open():
                    shut = True
                    continue
                assert door.sock is not None
                self._readable[door.sock.fileno()] = door
                self._poll.register(door.sock, select.EPOLLIN)
                for place, session in self._sessions.items():
                    if (_family(session.wanted), session.wanted.multihop) == key:
                        session.listen(time.monotonic())
                        self._plan(place, session)
        return shut

    def _read(self, door: _Door) -> bool:
        """One packet, where there is one. Of the next the kernel tells: to ask whether there is one costs as much."""
        found = door.read() if door.sock is not None else None
        if found is None:
            return False
        octets, ends = found
        place = door.known.get(ends)
        if place is None and (place := self._place(door, *_read_ends(ends))) is not None:
            if len(door.known) >= _MOST_KNOWN:
                door.known.clear()
            door.known[ends] = place
        packet = unpacked(octets) if place is not None else None
        if place is not None and packet is not None:
            self._heard(place, packet)
        return True

    def _read_all(self) -> None:
        for door in self._doors.values():
            while self._read(door):
                pass

    def _place(self, door: _Door, source: str, destination: str, index: int, ttl: int) -> Place | None:
        """The session that a packet is for, by its ends."""
        interface = ""
        if not door.multihop:
            if ttl != _WHOLE_TTL:
                return None
            interface = self._interface(index)
        for local in (destination, ""):
            if (source, local, interface) in self._sessions:
                return source, local, interface
        self._interfaces.pop(index, None)  # it may have got another name
        return None

    def _interface(self, index: int) -> str:
        if index not in self._interfaces:
            with suppress(OSError):
                self._interfaces[index] = socket.if_indextoname(index)
        return self._interfaces.get(index, "")

    def _heard(self, place: Place, packet: Packet) -> None:
        session = self._sessions[place]
        due = session.due()
        answer, event = session.heard(packet, time.monotonic())
        if answer is not None:
            self._ways[place].send(packed(answer))
        if session.due() < due:
            self._plan(place, session)
        if event is not None:
            self._happened(session, event)

    def _tick(self) -> None:
        """Sessions whose next packet may leave by now go with one whose packet has to, and from then on at the same
        moments: to wake up for each of them costs more than to send it.
        """
        luck, sends = random.random(), False
        while self._queue:
            due, turn, place = self._queue[0]
            session, now = self._sessions.get(place), time.monotonic()
            stale = session is None or self._planned[place] != turn  # it was planned anew meanwhile
            if not stale and due > now and not (sends and session is not None and session.may_send(now)):
                break
            heapq.heappop(self._queue)
            if stale or session is None:
                continue
            if session.is_silent(now):  # who was not run for a while reads what has come meanwhile
                self._read_all()
                if self._planned.get(place) != turn:
                    continue
            packet, event = session.tick(now, luck)
            if packet is not None:
                self._ways[place].send(packed(packet))
                sends = True
            if event is not None:
                self._happened(session, event)
            if session.state == ADMIN_DOWN and now >= self._leaving.get(place, now + 1):
                self._drop(place)
            else:
                self._plan(place, session)


def _family(wanted: Wanted) -> int:
    return 6 if ":" in wanted.neighbor else 4

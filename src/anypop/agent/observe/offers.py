"""What the other hosts serve, as the speaker writes it into the kernel, one table for each: kept here by events.

In: which tables there are, and whose. Out: `offers`, and a call when they have changed. Routes that are taken away and
put back at once (the speaker replaces IPv6 ones so) are no change, and neither are those that a speaker takes away that
has just been started anew after its death, or since this host's own device of the tunnels was taken away: what the
others serve has not changed by that. Where messages were lost, and in every full look, all of it is read anew.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address

from anypop.agent.act.network import rtnl
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.naming import TUNNEL
from anypop.agent.observe.kernel_monitor import attach_filter, listen
from anypop.model.announce import Address

_LINK, _ROUTE4, _ROUTE6 = 1, 7, 11
_BIRD = 12
_HEADER = struct.Struct("=IHHII")
_PROTOCOL_AT, _KIND_AT = 16 + 5, 16 + 7  # after the netlink header: fields of struct rtmsg
_LOAD_BYTE, _JUMP_EQUAL, _RETURN = 0x30, 0x15, 0x06  # linux/filter.h
_BUFFER, _SO_RCVBUFFORCE = 32 << 20, 33  # some 39,000 changes at once
REPLACED_S = 0.002  # between the two halves of a replacement; the speaker takes microseconds
RECOVERY_S = 8.0  # from a speaker's death until its successor has heard again from everybody
OWN_WAY_S = 3.0  # from the loss of the own device until the sessions in the tunnels are back


class Offers:
    """Listens in the network namespace of the thread that makes it; calls `changed` in the event loop's thread."""

    def __init__(self, net: Netlink, changed: Callable[[], None]) -> None:
        self._net, self._changed = net, changed
        self._names: Mapping[int, IPv4Address] = {}
        self._known: dict[tuple[int, Address], int] = {}
        self._going: dict[tuple[int, Address], float] = {}
        self._recovers_until = 0.0
        self._seen: Mapping[IPv4Address, Mapping[Address, int]] | None = None
        self._socket: socket.socket | None = None
        self._links: socket.socket | None = None

    def follow(self, names: Mapping[int, IPv4Address]) -> None:
        """Hear of these tables; `names`: whose each is, by its end of the tunnels. Cheap where they are the same."""
        if names == self._names:
            return
        self._names, self._seen = dict(names), None
        if names and self._socket is None:
            self._socket = listen(_ROUTE4, _ROUTE6)
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
            except OSError:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            attach_filter(self._socket, _BLACK_HOLES_OF_BIRD)
            self._links = listen(_LINK)
            asyncio.get_running_loop().add_reader(self._socket, self._readable)
        if names:
            self.read_anew()
        else:
            self.close()

    def offers(self) -> Mapping[IPv4Address, Mapping[Address, int]]:
        """By the end of the tunnels: how many instances each host has of an address; 0: it takes nobody new."""
        if self._socket is not None and self._take():
            self._seen = None
        if self._seen is None:
            found: dict[IPv4Address, dict[Address, int]] = {}
            for (table, address), count in self._known.items():
                if table in self._names:
                    found.setdefault(self._names[table], {})[address] = count
            self._seen = found
        return self._seen

    def speaker_died(self) -> None:
        """What its successor takes out of the kernel at its start counts for nothing."""
        self._recovers_until = asyncio.get_running_loop().time() + RECOVERY_S

    def read_anew(self) -> bool:
        """Read all of it. Whether anything differs from what was known."""
        if not self._names:
            return False
        there = {
            (table, route.prefix.network_address): route.count - 1
            for table, route in rtnl.blackholes(self._net, _BIRD)
            if table in self._names and route.count
        }
        before = dict(self._known)
        for key in self._known.keys() - there.keys():
            self._lose(key)
        for key, count in there.items():
            self._going.pop(key, None)
            self._known[key] = count
        if before == self._known:
            return False
        self._seen = None
        return True

    def close(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        if self._links is not None:
            self._links.close()
            self._links = None
        self._known, self._going, self._seen = {}, {}, None

    def _readable(self) -> None:
        if self._take():
            self._seen = None
            self._changed()

    def _take(self) -> bool:
        """Take in what is told. Whether anything has changed by it. Links first: the speaker hears of the loss of a
        device no sooner than we do, and takes away what it had heard by it after that.
        """
        assert self._socket is not None
        if self._has_lost_own_way():
            recovered_at = asyncio.get_running_loop().time() + OWN_WAY_S
            self._recovers_until = max(self._recovers_until, recovered_at)
        found = False
        while True:
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                return found
            except OSError:  # ENOBUFS: messages were lost
                return self.read_anew() or found
            for kind, payload in _messages(data):
                if kind in (rtnl.NEW_ROUTE, rtnl.DEL_ROUTE):
                    found |= self._hear(kind == rtnl.NEW_ROUTE, payload)

    def _has_lost_own_way(self) -> bool:
        """Whether this host's own device of the tunnels has gone, or down, since the last time."""
        lost = False
        while self._links is not None:
            try:
                data = self._links.recv(1 << 16)
            except OSError:  # nothing more; or more than fits, and then nobody knows
                return lost
            for kind, payload in _messages(data):
                if kind in (rtnl.NEW_LINK, rtnl.DEL_LINK):
                    name, up = rtnl.link_told(payload)
                    lost |= name == TUNNEL and (kind == rtnl.DEL_LINK or not up)
        return lost

    def _hear(self, new: bool, payload: bytes) -> bool:
        table, _, route = rtnl.route_told(payload)
        if table not in self._names or not route.blackhole or not route.count:
            return False
        key, count = (table, route.prefix.network_address), route.count - 1
        if new:
            self._going.pop(key, None)
            was, self._known[key] = self._known.get(key), count
            return was != count
        return key in self._known and self._lose(key)

    def _lose(self, key: tuple[int, Address]) -> bool:
        """It is gone, or will be when it does not come back. True: at once."""
        loop = asyncio.get_running_loop()
        wait = max(REPLACED_S if key[1].version == 6 else 0.0, self._recovers_until - loop.time())
        if not wait:
            self._known.pop(key, None)
            return True
        due = self._going.setdefault(key, loop.time() + wait)
        loop.call_at(due, self._end, key, due)
        return False

    def _end(self, key: tuple[int, Address], due: float) -> None:
        if self._going.get(key) == due:
            del self._going[key]
            if self._known.pop(key, None) is not None:
                self._seen = None
                self._changed()


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Each by its kind."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, at)
        yield kind, data[at + _HEADER.size : at + length]
        at += max((length + 3) & ~3, _HEADER.size)


_BLACK_HOLES_OF_BIRD = [
    (_LOAD_BYTE, 0, 0, _PROTOCOL_AT),
    (_JUMP_EQUAL, 0, 3, _BIRD),
    (_LOAD_BYTE, 0, 0, _KIND_AT),
    (_JUMP_EQUAL, 0, 1, rtnl.BLACKHOLE),
    (_RETURN, 0, 0, 0xFFFF),
    (_RETURN, 0, 0, 0),
]

"""Two incarnations with the same addresses, for tests of draining: namespaces, links, servers that say who they are,
and clients.

Sockets live in the namespace where they were made, so one event loop plays all of them. Nothing here knows how a
drain is done.
"""

import asyncio
import contextlib
import itertools
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

from anypop.agent.act.network import pins, rtnl
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.naming import ROUTE_PROTOCOL, link_of, namespace_of
from anypop.host import ip, netns, process
from anypop.model.announce import Address

PREFIX = f"d{os.getpid() % 46656:x}"
ROUTER, CLIENT = f"{PREFIX}-router", f"{PREFIX}-client"
OLD, NEW = "aa" * 16, "bb" * 16
ANYCAST: dict[int, Address] = {4: IPv4Address("192.0.2.1"), 6: IPv6Address("2001:db8:a::1")}
EXTERNAL: dict[int, Address] = {4: IPv4Address("198.51.100.10"), 6: IPv6Address("2001:db8:e::10")}
CLIENTS: dict[int, Address] = {4: IPv4Address("203.0.113.2"), 6: IPv6Address("2001:db8:c::2")}
PORT = 80
BUCKETS = 1024


@dataclass(frozen=True)
class Incarnation:
    """One of the two: a namespace, a link, private addresses of its own, and the addresses that both have."""

    uid: str
    number: int

    @property
    def name(self) -> str:
        return "old" if self.uid == OLD else "new"

    @property
    def space(self) -> str:
        return namespace_of(PREFIX, self.uid)

    def private(self, version: int) -> Address:
        return ip_address(f"10.64.0.{2 * self.number + 1}" if version == 4 else f"fd00:64::{2 * self.number + 1}")

    def hop(self, version: int) -> int:
        return 100 + 10 * self.number + version

    @property
    def behind(self) -> dict[Address, Address]:
        return {pool[v]: self.private(v) for pool in (ANYCAST, EXTERNAL) for v in (4, 6)}


BOTH = (Incarnation(OLD, 0), Incarnation(NEW, 1))


@contextlib.contextmanager
def wired() -> Iterator[None]:
    """The namespaces with their links, addresses and next hops."""
    spaces = [ROUTER, CLIENT, *(one.space for one in BOTH)]
    try:
        ip.batch([f"netns add {space}" for space in spaces])
        for space in spaces:
            with netns.inside(space):  # both ends are ours: nobody to collide with
                Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")
        ip.batch(_wires())
        ip.batch(_client_side(), netns=CLIENT)
        for one in BOTH:
            ip.batch(_inside(one), netns=one.space)
        ip.batch(_router_side(), netns=ROUTER)
        with netns.inside(ROUTER), Netlink() as net:
            for name, value in SETTINGS.items():
                Path("/proc/sys/net", name).write_text(value)
            index = {link.name: link.index for link in rtnl.links(net)}
            for one, v in itertools.product(BOTH, (4, 6)):
                interface = index[link_of(one.uid)]
                rtnl.set_nexthop(net, one.hop(v), interface=interface, gateway=one.private(v), protocol=ROUTE_PROTOCOL)
        yield
    finally:
        ip.batch([f"netns del {space}" for space in spaces], force=True)


@contextlib.contextmanager
def fresh() -> Iterator[Netlink]:
    """The thread inside the router's namespace, for one test: anycast goes to both, external addresses to the old
    one, no pins.
    """
    with netns.inside(ROUTER), Netlink() as net:
        for v in (4, 6):
            rtnl.delete_nexthop(net, v)  # a new group: buckets that were in use lately stay where they were
        balance(net, *BOTH)
        for v in (4, 6):
            rtnl.set_route(net, ip_network(ANYCAST[v]), ROUTE_PROTOCOL, nexthop=v)
        own(net, BOTH[0])
        yield net
        pins.unpin_all(net, PREFIX)
    for space in (CLIENT, *(one.space for one in BOTH)):
        process.run(netns.command(space, "ss", "-KHt"))  # what a control has broken tries for minutes to end itself


SETTINGS = {
    "ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1",
    "ipv4/fib_multipath_hash_policy": "3", "ipv6/fib_multipath_hash_policy": "3",
    "ipv4/fib_multipath_hash_fields": "55", "ipv6/fib_multipath_hash_fields": "55",
}  # fmt: skip


def _wires() -> list[str]:
    pairs = [(f"{link_of(one.uid)}", one.space, "eth0") for one in BOTH]
    return [
        f"link add {here} netns {ROUTER} type veth peer name {there} netns {space}"
        for here, space, there in (*pairs, ("up-c", CLIENT, "c0"))
    ]


def _client_side() -> list[str]:
    return [
        "link set lo up", f"addr add {CLIENTS[4]}/24 dev c0", f"addr add {CLIENTS[6]}/64 dev c0 nodad",
        "link set c0 up",
        "route add default via 203.0.113.1", "route add default via 2001:db8:c::1",
    ]  # fmt: skip


def _inside(one: Incarnation) -> list[str]:
    n = 2 * one.number
    return [
        "link set lo up",
        *(f"addr add {pool[v]} dev lo {'nodad' if v == 6 else ''}" for pool in (ANYCAST, EXTERNAL) for v in (4, 6)),
        f"addr add {one.private(4)}/31 dev eth0", f"addr add {one.private(6)}/127 dev eth0 nodad", "link set eth0 up",
        f"route add default via 10.64.0.{n} src {EXTERNAL[4]}", f"route add default via fd00:64::{n} src {EXTERNAL[6]}",
    ]  # fmt: skip


def _router_side() -> list[str]:
    lines = [
        "link set lo up",
        "addr add 203.0.113.1/24 dev up-c",
        "addr add 2001:db8:c::1/64 dev up-c nodad",
        "link set up-c up",
    ]
    for one in BOTH:
        link, n = link_of(one.uid), 2 * one.number
        lines += [
            f"addr add 10.64.0.{n}/31 dev {link}",
            f"addr add fd00:64::{n}/127 dev {link} nodad",
            f"link set {link} up",
        ]
    return lines


def balance(net: Netlink, *members: Incarnation) -> None:
    """The groups of both families are these from now on."""
    for v in (4, 6):
        hops = [(one.hop(v), 1) for one in members]
        rtnl.set_group(net, v, hops, protocol=ROUTE_PROTOCOL, buckets=BUCKETS, idle_s=60)


def own(net: Netlink, one: Incarnation) -> None:
    """The external addresses are this one's from now on."""
    index = next(link.index for link in rtnl.links(net) if link.name == link_of(one.uid))
    for v in (4, 6):
        rtnl.set_route(net, ip_network(EXTERNAL[v]), ROUTE_PROTOCOL, gateway=one.private(v), interface=index)


# --- servers and clients
# ---------------------------------------------------------------------------------------------------------------


def made_in(space: str, family: int, kind: int = socket.SOCK_STREAM, protocol: int = 0) -> socket.socket:
    """A socket of that namespace, wherever it is used."""
    with netns.inside(space):
        made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    return made


async def answer_all(listener: socket.socket, name: str) -> None:
    """Answers each line with a name, until it is told to close or the other side does."""
    loop = asyncio.get_running_loop()

    async def answer(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            while (await loop.sock_recv(sock, 4)) == b"who\n":
                await loop.sock_sendall(sock, name.encode())

    async with asyncio.TaskGroup() as tasks:
        while True:
            sock, _ = await loop.sock_accept(listener)
            sock.setblocking(False)
            tasks.create_task(answer(sock))


async def _echo(sock: socket.socket, name: str) -> None:
    """Answers each datagram with a name, from the address that it came to."""
    loop = asyncio.get_running_loop()
    while True:
        _, peer = await loop.sock_recvfrom(sock, 100)
        await loop.sock_sendto(sock, name.encode(), peer)


@contextlib.asynccontextmanager
async def serving(**spaces: str) -> AsyncIterator[None]:
    """A server of each name: TCP on one dual-stack `::` socket, UDP on the anycast addresses."""
    made: list[socket.socket] = []
    tasks: list[asyncio.Task[None]] = []
    for name, space in spaces.items():
        listener = made_in(space, socket.AF_INET6)
        made.append(listener)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("::", PORT))
        listener.listen(1000)
        tasks.append(asyncio.create_task(answer_all(listener, name)))
        for v, family in ((4, socket.AF_INET), (6, socket.AF_INET6)):
            if space != CLIENT:
                sock = made_in(space, family, socket.SOCK_DGRAM)
                made.append(sock)
                sock.bind((str(ANYCAST[v]), PORT))
                tasks.append(asyncio.create_task(_echo(sock, name)))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for sock in made:
            sock.close()


class Client:
    """One TCP connection from a namespace to an address."""

    def __init__(self, address: Address, *, space: str = CLIENT, port: int = 0) -> None:
        self.address = address
        self.sock = made_in(space, socket.AF_INET if address.version == 4 else socket.AF_INET6)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if port:
            self.sock.bind(("", port))
        self.server = ""

    async def open(self, timeout_s: float = 3) -> "Client":
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.get_running_loop().sock_connect(self.sock, (str(self.address), PORT))
                self.server = await self.ask()
        except BaseException:
            self.sock.close()
            raise
        return self

    async def ask(self) -> str:
        """Who answers; empty when the other side has closed."""
        await asyncio.get_running_loop().sock_sendall(self.sock, b"who\n")
        return (await asyncio.get_running_loop().sock_recv(self.sock, 100)).decode()

    async def is_whole(self) -> bool:
        """Whether the same one still answers."""
        try:
            async with asyncio.timeout(1):
                return await self.ask() == self.server
        except (OSError, TimeoutError):
            return False

    async def hear_the_end(self) -> None:
        """The server closes, we do not."""
        await asyncio.get_running_loop().sock_sendall(self.sock, b"bye\n")
        assert await asyncio.get_running_loop().sock_recv(self.sock, 100) == b""

    async def end(self) -> None:
        """The server closes first."""
        await self.hear_the_end()
        self.sock.close()


@contextlib.contextmanager
def dropped(rule: str, table: str = "t", *, space: str = CLIENT) -> Iterator[None]:
    """What is sent from there and this rule of nftables drops; by default, what the client sends."""
    process.run(
        netns.command(space, "nft", "-f", "-"),
        stdin=f"table inet {table} {{ chain c {{ type filter hook output priority 0; {rule}; }}; }}",
    )
    try:
        yield
    finally:
        process.run(netns.command(space, "nft", "delete", "table", "inet", table))


FIN, PSH, ACK = 0x01, 0x08, 0x10


def segment(space: str, source: tuple[Address, int], to: tuple[Address, int], flags: int, data: bytes = b"") -> None:
    """One TCP segment of a connection that nobody knows."""
    (here, port), (there, other) = source, to
    pseudo = here.packed + there.packed + struct.pack("!LL", 20 + len(data), socket.IPPROTO_TCP)
    words = struct.pack("!HHLLBBHHH", port, other, 1, 1, 5 << 4, flags, 1024, 0, 0) + data
    total = sum(struct.unpack(f"!{(len(pseudo + words) + 1) // 2}H", pseudo + words + bytes(len(words) % 2)))
    total = (total & 0xFFFF) + (total >> 16)
    check = ~(total + (total >> 16)) & 0xFFFF
    with made_in(
        space, socket.AF_INET if here.version == 4 else socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_TCP
    ) as raw:
        raw.bind((str(here), 0))
        raw.sendto(words[:16] + struct.pack("!H", check) + words[18:], (str(there), 0))


ENOUGH = 30  # short connections after the change


@dataclass
class Load:
    """Clients of every kind on some addresses, while something changes in the middle."""

    addresses: tuple[Address, ...]
    long: list[Client] = field(default_factory=list)
    broken: int = 0
    after: list[str] = field(default_factory=list)

    async def run(self, change: Callable[[], Awaitable[None]], *, seconds: float = 0.5) -> None:
        """Half of 50 long connections talk, half are quiet; a new short one begins every few milliseconds, before and
        after `change`, until there were enough.
        """
        self.long = [await Client(self.addresses[n % len(self.addresses)]).open() for n in range(50)]
        self._changed, self._over = False, False
        tasks = [asyncio.create_task(self._talk(client)) for client in self.long[::2]] + [
            asyncio.create_task(self._come())
        ]
        await asyncio.sleep(seconds / 2)
        await change()
        self._changed = True
        await asyncio.sleep(seconds)
        with contextlib.suppress(TimeoutError):  # so many as a test counts, however slow the machine is
            async with asyncio.timeout(20):
                while len(self.after) <= ENOUGH:  # noqa: ASYNC110 - it is counted by other tasks
                    await asyncio.sleep(0.02)
        self._over = True
        await asyncio.gather(*tasks)
        self.broken += (await asyncio.gather(*(client.is_whole() for client in self.long))).count(False)

    async def _talk(self, client: Client) -> None:
        while not self._over:
            if not await client.is_whole():
                return  # counted at the end
            await asyncio.sleep(0.02)

    async def _come(self) -> None:
        shorts = set()
        for number in itertools.count():
            if self._over:
                break
            shorts.add(asyncio.create_task(self._short(self.addresses[number % len(self.addresses)], self._changed)))
            await asyncio.sleep(0.003)
        await asyncio.gather(*shorts)

    async def _short(self, address: Address, changed: bool) -> None:
        try:
            client = await Client(address).open()
            whole = True
            for _ in range(3):
                await asyncio.sleep(0.01)
                whole = whole and await client.is_whole()
            client.sock.close()
        except (OSError, TimeoutError):
            whole = False
        else:
            if changed:
                self.after.append(client.server)
        self.broken += not whole

    def close(self) -> None:
        for client in self.long:
            client.sock.close()

"""Forged packets from inside an instance: how many arrive that must not, with the rules and with them taken out.

A router of the agent's own making (its links, routes and rules; no agent, no containers), three instances in two
stacks, an upstream that is also the vantage, and a management network. What arrives is seen where it arrives: on the
wire of whoever it is for, and for the host itself at open sockets. Needs root; makes its own namespaces and removes
them.
"""

import asyncio
import contextlib
import os
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from itertools import count

from anypop.agent.act.network import firewall, namespaces, rtnl, sysctl
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.decide.firewall import firewall_for
from anypop.agent.naming import inside_mac, link_of, namespace_of, router_mac
from anypop.agent.teardown import remove_firewall
from anypop.host import ip, netns
from anypop.model.announce import Address, Announcement, Scope
from anypop.model.names import CityCode, HostName, InstanceName, StackId, WorkloadId
from anypop.model.network import Upstream
from anypop.model.order import Containers, InstanceLink, InstanceOrder, LinkAddress, Order
from anypop.model.workload import Container, Port
from bench.scene import Scene

OPEN, CLOSED = 80, 9000  # declared by every instance: one open to all, one to its own stack
HOST_PORTS = (53, 179, 3784, 8443)
COVER4, COVER6 = IPv4Network("192.0.2.0/24"), IPv6Network("2001:db8:a::/48")
EXTERNAL4, EXTERNAL6 = IPv4Network("198.51.100.0/24"), IPv6Network("2001:db8:e::/48")
VANTAGE = {4: ip_address("203.0.113.1"), 6: ip_address("2001:db8:ff::1")}
_OUTGOING = 4  # PACKET_OUTGOING
_SETTLE_S = 5.0
_GAP_S = 0.3  # after the last packet; a millisecond is enough on an idle machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Forged:
    """What became of the packets. `attempts`: that must not arrive; `arrived` of them with the rules, `without` with
    the rules taken out, each told by name. `proper`: that must arrive; `lost` of them with the rules.
    """

    attempts: int
    arrived: tuple[str, ...]
    without: tuple[str, ...]
    proper: int
    lost: tuple[str, ...]


@dataclass(slots=True)
class _Try:
    name: str
    frame: bytes
    token: bytes


@dataclass(slots=True)
class _Tries:
    """Packets to be sent from one place, each with a token of its own."""

    heads: tuple[bytes, bytes]  # hardware addresses: of who forwards, of the sender
    all: list[_Try] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def packet(self, name: str, source: Address, target: Address, *, port: int, tcp: bool = False) -> None:
        token = f"anypop-{next(self._numbers):08d}".encode()
        self.all.append(_Try(name, _frame(self.heads, packet(source, target, port, token, tcp=tcp)), token))


def forged_sources(prefix: str) -> Forged:
    """Send all of it twice. `prefix` begins the names of the namespaces that are made, and is unique on the machine."""
    with _Scene(prefix) as scene:
        place = namespace_of(prefix, scene.mine.uid), "eth0"
        return _judged(scene, place, scene.forged(), scene.proper())


def from_outside(prefix: str) -> Forged:
    """The other direction: what an upstream sends that is not for it to send, to instances, to the host, and through
    the host to another upstream and to the management network.
    """
    with _Scene(prefix) as scene:
        return _judged(scene, (f"{prefix}-one", "pop"), scene.intruding(), scene.visiting())


def _judged(scene: "_Scene", place: tuple[str, str], bad: "_Tries", good: "_Tries") -> Forged:
    scene.settle(place, good.all)
    seen = scene.sent(place, bad.all + good.all)
    scene.take_the_rules_out()
    without = scene.sent(place, bad.all)
    return Forged(
        attempts=len(bad.all),
        arrived=tuple(t.name for t in bad.all if t.token in seen),
        without=tuple(t.name for t in bad.all if t.token in without),
        proper=len(good.all),
        lost=tuple(t.name for t in good.all if t.token not in seen),
    )


class _Scene(Scene):
    def __init__(self, prefix: str) -> None:
        super().__init__()
        self.prefix, self.router = prefix, f"{prefix}-pop"
        self.mine, self.sibling = _instance(0, "stack-a"), _instance(1, "stack-a")
        self.other = _instance(2, "stack-b", anycast=7)
        self.instances = (self.mine, self.sibling, self.other)
        self._ears: list[socket.socket] = []

    def make(self) -> None:
        for name in (self.router, *(f"{self.prefix}-{far}" for far in ("one", "two", "mgmt"))):
            ip.batch([f"netns add {name}"])
            self.undo.callback(ip.batch, [f"netns del {name}"])
        router = self.router
        ip.batch(
            [
                f"link add up-one netns {router} type veth peer name pop netns {self.prefix}-one",
                f"link add up-two netns {router} type veth peer name pop netns {self.prefix}-two",
                f"link add mgmt0 netns {router} type veth peer name pop netns {self.prefix}-mgmt",
            ]
        )
        ip.batch(
            [
                "link set lo up", "addr add 10.99.0.2/30 dev up-one", "addr add fd00:99::2/126 dev up-one nodad",
                "link set up-one up", "addr add 100.64.0.2/24 dev mgmt0", "addr add fd00:77::2/64 dev mgmt0 nodad",
                "link set mgmt0 up", "addr add 10.98.0.2/30 dev up-two", "addr add fd00:98::2/126 dev up-two nodad",
                "link set up-two up",
            ],
            netns=router,
        )  # fmt: skip
        ip.batch(
            [
                "link set lo up", "addr add 10.99.0.1/30 dev pop", "addr add fd00:99::1/126 dev pop nodad",
                "link set pop up", f"addr add {VANTAGE[4]}/32 dev lo", f"addr add {VANTAGE[6]}/128 dev lo nodad",
                "route add default via 10.99.0.2", "route add default via fd00:99::2",
            ],
            netns=f"{self.prefix}-one",
        )  # fmt: skip
        ip.batch(
            [
                "link set lo up", "addr add 100.64.0.1/24 dev pop", "addr add 100.64.0.3/24 dev pop",
                "addr add fd00:77::1/64 dev pop nodad", "link set pop up",
            ],
            netns=f"{self.prefix}-mgmt",
        )  # fmt: skip
        ip.batch(
            ["link set lo up", "addr add 10.98.0.1/30 dev pop", "addr add fd00:98::1/126 dev pop nodad",
            "link set pop up"],
            netns=f"{self.prefix}-two",
        )  # fmt: skip
        ip.batch(
            ["route add default via 10.99.0.1", "route add default via fd00:99::1",
            "route add 203.0.114.0/24 via 10.98.0.1", "route add 2001:db8:77::/48 via fd00:98::1"],
            netns=router,
        )  # fmt: skip
        with netns.inside(router), Netlink() as net:
            sysctl.prepare(["up-one", "up-two"])
            for one in self.instances:
                self.undo.callback(self._remove, one)
                namespaces.make_namespace(self.prefix, one.uid)
                namespaces.add_link(net, self.prefix, one)
                index = next(link.index for link in rtnl.links(net) if link.name == link_of(one.uid))
                namespaces.set_external_routes(net, index, one)
            asyncio.run(firewall.load(firewall_for(_order(self.instances), self.instances), None, self.prefix))
        self._listen()

    def _remove(self, one: InstanceOrder) -> None:
        with netns.inside(self.router), Netlink() as net:
            namespaces.delete_namespace(net, self.prefix, one.uid)

    def _listen(self) -> None:
        wires = [f"{self.prefix}-{far}" for far in ("one", "two", "mgmt")]
        for name in (*wires, *(namespace_of(self.prefix, i.uid) for i in (self.sibling, self.other))):
            with netns.inside(name):
                ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # ETH_P_ALL
            self._ears.append(ear)
        with netns.inside(self.router):
            for port in HOST_PORTS:
                ear = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
                ear.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                ear.bind(("::", port))
                self._ears.append(ear)
        for ear in self._ears:
            ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            ear.setblocking(False)
            self.undo.callback(ear.close)

    def take_the_rules_out(self) -> None:
        with netns.inside(self.router):
            remove_firewall(self.prefix)

    def settle(self, place: tuple[str, str], tries: list[_Try]) -> None:
        """Until these arrive: the kernel may take a second before it asks for IPv6 neighbours on new wires."""
        until = time.monotonic() + _SETTLE_S
        while time.monotonic() < until and len(self.sent(place, tries)) < len(tries):
            pass

    def sent(self, place: tuple[str, str], tries: Iterable[_Try]) -> frozenset[bytes]:
        """Send them by an interface of a namespace; the tokens of those that arrived anywhere."""
        wanted = {t.token for t in tries}
        for ear in self._ears:
            _heard(ear)
        with netns.inside(place[0]):
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        with wire:
            wire.bind((place[1], 0))
            for one in tries:
                wire.send(one.frame)
        found, until = set[bytes](), time.monotonic() + _GAP_S
        while time.monotonic() < until:
            for ear in self._ears:
                texts = _heard(ear)
                hits = {token for token in wanted - found for text in texts if token in text}
                if hits:
                    found |= hits
                    until = time.monotonic() + _GAP_S
            os.sched_yield()
        return frozenset(found)

    def proper(self) -> _Tries:
        """What an instance may send: from each of its addresses to the Internet, and to ports that are open for it."""
        tries = _Tries((router_mac(self.mine.uid), inside_mac(self.mine.uid)))
        tries._numbers = count(10_000)
        for own in _own(self.mine):
            tries.packet(f"from {own}", own, VANTAGE[own.version], port=4242)
        for version in (4, 6):
            own, theirs = _external(self.mine, version), _external(self.other, version)
            tries.packet(f"the open port of {theirs}", own, theirs, port=OPEN, tcp=True)
            kin = self.sibling.private(version)
            assert kin is not None
            tries.packet(f"its own stack's {kin}", own, kin, port=CLOSED, tcp=True)
        return tries

    def _upstream(self) -> tuple[bytes, bytes]:
        macs = []
        for name, device in ((self.router, "up-one"), (f"{self.prefix}-one", "pop")):
            with netns.inside(name), Netlink() as net:
                index = next(link.index for link in rtnl.links(net) if link.name == device)
                macs.append(rtnl.mac_of(net, index))
        return macs[0], macs[1]

    def visiting(self) -> _Tries:
        """What an upstream may send: clients to open ports, its speaker's BFD, what others judge."""
        tries = _Tries(self._upstream())
        tries._numbers = count(10_000)
        for version in (4, 6):
            client, near = VANTAGE[version], ip_address("10.99.0.1" if version == 4 else "fd00:99::1")
            tries.packet("the open port", client, _external(self.other, version), port=OPEN, tcp=True)
            host = ip_address("10.99.0.2" if version == 4 else "fd00:99::2")
            tries.packet("BFD", near, host, port=3784)
            tries.packet("a port of the host that is none of ours", client, host, port=8443)
        return tries

    def intruding(self) -> _Tries:
        """What it may not."""
        tries = _Tries(self._upstream())
        for version in (4, 6):
            four = version == 4
            near, host = map(ip_address, ("10.99.0.1", "10.99.0.2") if four else ("fd00:99::1", "fd00:99::2"))
            clients = [VANTAGE[version], near, ip_address("8.8.8.8" if four else "2001:4860:4860::8888")]
            private, theirs = self.other.private(version), _external(self.other, version)
            assert private is not None
            through = ("203.0.114.7", "10.98.0.1", "100.64.0.1", "100.64.0.3") if four else (
                "2001:db8:77::7", "fd00:98::1", "fd00:77::1")  # fmt: skip
            for client in clients:
                tries.packet(f"{client} to the private {private}", client, private, port=OPEN, tcp=True)
                tries.packet(f"{client} to a closed port of {theirs}", client, theirs, port=CLOSED, tcp=True)
                for target in map(ip_address, through):
                    for port in (80, 179):
                        tries.packet(f"{client} through to {target} port {port}", client, target, port=port)
            gateway = next(a.gateway for a in self.other.addresses() if a.gateway.version == version)
            for client, target in ((clients[0], host), (clients[2], host), (clients[0], gateway)):
                tries.packet(f"{client} with BFD to {target}", client, target, port=3784)
        return tries

    def forged(self) -> _Tries:
        """What it may not: from addresses that are not its own, and to what is not for it."""
        tries = _Tries((router_mac(self.mine.uid), inside_mac(self.mine.uid)))
        for source in self._foreign():
            tries.packet(f"from {source}", source, VANTAGE[source.version], port=4242)
        for version in (4, 6):
            own = _external(self.mine, version)
            # from the address of a neighbour of the same stack, to that stack's port
            kin, private = self.sibling.private(version), self.other.private(version)
            assert kin is not None
            assert private is not None
            tries.packet(f"as a stranger to {kin}", private, kin, port=CLOSED, tcp=True)
            for target in self._host(version):
                for port in HOST_PORTS:
                    tries.packet(f"the host's {target} port {port}", own, target, port=port)
            tries.packet(f"another stack's {private}", own, private, port=OPEN, tcp=True)
            theirs = _external(self.other, version)
            tries.packet(f"a closed port of {theirs}", own, theirs, port=CLOSED, tcp=True)
            tries.packet(f"an undeclared port of {kin}", own, kin, port=22, tcp=True)
            for target in _away(version):
                tries.packet(f"{target} port 179", own, target, port=179, tcp=True)
                tries.packet(f"{target} port 8443", own, target, port=8443, tcp=True)
        return tries

    def _host(self, version: int) -> list[Address]:
        gateways = [a.gateway for i in self.instances for a in i.addresses() if a.gateway.version == version]
        more = ("10.99.0.2", "100.64.0.2") if version == 4 else ("fd00:99::2", "fd00:77::2")
        return [*gateways, *map(ip_address, more)]

    def _foreign(self) -> Iterator[Address]:
        for one in (self.sibling, self.other):
            yield from (a for a in _own(one) if a not in self.mine.anycast)
            yield from (a.gateway for a in one.addresses())
        yield from (a.gateway for a in self.mine.addresses())
        for text in (
            "8.8.8.8", "203.0.113.1", "10.99.0.1", "10.99.0.2", "100.64.0.1", "100.64.0.2", "10.64.255.254",
            "198.51.100.200", "192.0.2.200", "172.16.0.1", "198.18.0.1", "100.100.100.100", "169.254.169.254",
            "127.0.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1",
            "2001:4860:4860::8888", "2001:db8:ff::1", "fd00:99::1", "fd00:99::2", "fd00:77::1", "fd00:77::2",
            "fd00:64::ffff", "2001:db8:e::ffff", "2001:db8:a::ffff", "fd12::1", "64:ff9b::808:808", "::1", "::",
            "ff02::1", "fe80::1", "::ffff:808:808", "2002:808:808::1",
        ):  # fmt: skip
            yield ip_address(text)


def _away(version: int) -> list[Address]:
    """The upstream's speaker on the wire, control and another PoP's router on the management network, metadata."""
    if version == 4:
        return [ip_address(a) for a in ("10.99.0.1", "100.64.0.1", "100.64.0.3", "169.254.169.254")]
    return [ip_address(a) for a in ("fd00:99::1", "fd00:77::1", "fe80::a9fe:a9fe")]


def _instance(n: int, stack: str, *, anycast: int = 1) -> InstanceOrder:
    far = 2 * n
    four = LinkAddress(
        private=IPv4Address("10.64.0.1") + far, gateway=IPv4Address("10.64.0.0") + far, external=EXTERNAL4[10 + n]
    )
    six = LinkAddress(
        private=IPv6Address("fd00:64::1") + far, gateway=IPv6Address("fd00:64::") + far, external=EXTERNAL6[10 + n]
    )
    ports = (Port(name="web", port=OPEN, open_to_all=True), Port(name="admin", port=CLOSED))
    return InstanceOrder(
        name=InstanceName(f"forger-{n}"), uid=f"{os.getpid() % 0xFFFF:04x}{n:06x}{0:022x}",
        workload_id=WorkloadId(f"w{anycast}"), stack_id=StackId(stack), links=(InstanceLink(addresses=(four, six)),),
        anycast=(COVER4[anycast], COVER6[anycast]),
        payload=Containers(containers=(Container(name="web", image="none", ports=ports),)),
    )  # fmt: skip


def _order(instances: tuple[InstanceOrder, ...]) -> Order:
    upstreams = tuple(
        Upstream(
            name=name, asn=64600, interface=f"up-{name}",
            neighbor4=IPv4Address(f"10.{n}.0.1"), local4=IPv4Address(f"10.{n}.0.2"),
            neighbor6=IPv6Address(f"fd00:{n}::1"), local6=IPv6Address(f"fd00:{n}::2"),
        )
        for name, n in (("one", 99), ("two", 98))
    )  # fmt: skip
    return Order(
        pop=CityCode("LHR"), host=HostName("LHR"), generation=1, asn=64500, router_id=IPv4Address("10.64.255.1"),
        private4=IPv4Network("10.64.0.0/16"), private6=IPv6Network("fd00:64::/64"),
        external4=EXTERNAL4, external6=EXTERNAL6, upstreams=upstreams, instances=instances,
        announcements=tuple(Announcement(prefix=p, upstream="one", scope=Scope()) for p in (COVER4, COVER6)),
    )  # fmt: skip


def _own(one: InstanceOrder) -> list[Address]:
    return [*(a.private for a in one.addresses()), *namespaces.own_addresses(one)]


def _external(one: InstanceOrder, version: int) -> Address:
    return next(a for a in one.externals() if a.version == version)


def _heard(ear: socket.socket) -> list[bytes]:
    """What has come in; not what went out by the same wire."""
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            data, where = ear.recvfrom(1 << 16)
            if ear.family != socket.AF_PACKET or where[2] != _OUTGOING:
                found.append(data)
    return found


def _frame(heads: tuple[bytes, bytes], packet: bytes) -> bytes:
    kind = 0x0800 if packet[0] >> 4 == 4 else 0x86DD
    return heads[0] + heads[1] + struct.pack(">H", kind) + packet


def packet(source: Address, target: Address, port: int, token: bytes, *, tcp: bool = False) -> bytes:
    """A UDP packet, or the first of a TCP connection, that carries the token."""
    if tcp:
        head = struct.pack(">HHIIBBHHH", 40000, port, int.from_bytes(token[-4:], "big"), 0, 5 << 4, 2, 1024, 0, 0)
        number, at = 6, 16
    else:
        head, number, at = struct.pack(">HHHH", 40000, port, 8 + len(token), 0), 17, 6
    body = head + token
    sum_ = checksum(source.packed + target.packed + struct.pack(">IHBB", len(body), 0, 0, number) + body)
    body = body[:at] + struct.pack(">H", sum_ or 0xFFFF) + body[at + 2 :]
    if source.version == 6:
        return struct.pack(">IHBB", 6 << 28, len(body), number, 64) + source.packed + target.packed + body
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, number, 0) + source.packed + target.packed
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:] + body


def checksum(data: bytes) -> int:
    """The Internet's (RFC 1071)."""
    total = int.from_bytes(data + b"\0" * (len(data) & 1), "big") % 0xFFFF if any(data) else 0
    return 0xFFFF - (total or 0xFFFF if any(data) else 0)

"""A guest that really runs behind the first of two routers, a client before both, and who of the two the client's
packets go to: for what flows do while a machine moves.
"""

import shutil
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, ip_network
from itertools import groupby, pairwise
from pathlib import Path

from anypop.agent.act.network import rtnl
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.naming import ROUTE_PROTOCOL, link_of
from anypop.host import ip, netns
from anypop.model.machine import Machine, MachineImage
from anypop.model.order import Containers, InstanceOrder
from tests.agent_lab import ANYCAST4, instance, web
from tests.moving_hosts import Host, wired
from tests.wait import wait_until

ECHO = 7
_UPLINK = "uplink"
_PKTINFO = 8  # IP_PKTINFO of linux/in.h, which Python does not name
_IDENTIFIER = 158
_SETTLED = 20  # answers, after which a guest that is translated has its ways ready


def guest_order(n: int, image: MachineImage) -> InstanceOrder:
    one = web(image.reference, machine=Machine(image=image), memory_bytes=128 << 20)
    return replace(instance(n), payload=Containers(containers=(one,)))


class Street:
    """Two hosts, each with a router of its own, and a client. `prefix`: of all namespaces; `numbers`: of the instance
    on each, equal ones have the same addresses.
    """

    def __init__(
        self, top: Path, prefix: str, image: MachineImage, files: Mapping[str, Path],
        numbers: tuple[int, int] = (0, 1),
    ) -> None:  # fmt: skip
        images = top / "images"
        images.mkdir()
        for name, file in files.items():
            shutil.copyfile(file, images / name)
        self.client = f"{prefix}c"
        self.routers = (f"{prefix}r0", f"{prefix}r1")
        self.addresses = ("10.99.0.1", "10.99.1.1")
        self.hosts = tuple(
            Host(
                top, f"LHR-{n + 1}", prefix=f"{prefix}{n}", images=images, authority=top / "ca",
                order=guest_order(numbers[n], image), router=self.routers[n], address=self.addresses[n],
            )
            for n in (0, 1)
        )  # fmt: skip

    @contextmanager
    def laid(self) -> Iterator[None]:
        """All of it is there, and gone afterwards. The client goes to the first."""
        with ExitStack() as gone:
            for name in (self.client, *self.routers):
                ip.batch([f"netns add {name}"])
                gone.callback(ip.batch, [f"netns del {name}"])
                ip.batch(["link set lo up"], netns=name)
                with netns.inside(name):
                    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
            for n, (router, host) in enumerate(zip(self.routers, self.hosts, strict=True)):
                ip.batch(
                    [f"link add {_UPLINK}{n} type veth peer name {_UPLINK} netns {router}",
                     f"addr add 10.99.{n}.0/31 dev {_UPLINK}{n}", f"link set {_UPLINK}{n} up"], netns=self.client,
                )  # fmt: skip
                ip.batch(
                    [f"addr add {self.addresses[n]}/31 dev {_UPLINK}", f"link set {_UPLINK} up",
                     f"route add default via 10.99.{n}.0"], netns=router,
                )  # fmt: skip
                with netns.inside(router):
                    gone.enter_context(wired(host))
                    with Netlink() as net:
                        self._lead(net, host.order)
            self.turn_to(0)
            yield

    @staticmethod
    def _lead(net: Netlink, order: InstanceOrder) -> None:
        index = next(link.index for link in rtnl.links(net) if link.name == link_of(order.uid))
        rtnl.set_up(net, index)
        private = order.private(4)
        for address in (ANYCAST4, *order.externals()):
            if address.version == 4:
                rtnl.set_route(net, ip_network(address), ROUTE_PROTOCOL, gateway=private, interface=index)

    def turn_to(self, n: int) -> None:
        """The client's packets for the anycast address go to that router; for own addresses always to their own."""
        with netns.inside(self.client), Netlink() as net:
            for m, host in enumerate(self.hosts):
                own = next(a for a in host.order.externals() if a.version == 4)
                rtnl.set_route(net, ip_network(own), ROUTE_PROTOCOL, gateway=IPv4Address(self.addresses[m]))
            rtnl.set_route(net, ip_network(ANYCAST4), ROUTE_PROTOCOL, gateway=IPv4Address(self.addresses[n]))

    def connected(self, address: object = ANYCAST4, within_s: float = 120) -> socket.socket:
        """A connection to the guest's echo."""
        deadline = time.monotonic() + within_s
        with netns.inside(self.client):
            while True:
                with suppress(OSError):
                    return socket.create_connection((str(address), ECHO), timeout=2)
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the guest does not answer at {address}")
                time.sleep(0.05)


def echoed(link: socket.socket, text: bytes) -> bytes:
    """What comes back of it."""
    link.settimeout(60)
    link.sendall(text)
    found = b""
    while len(found) < len(text) and (piece := link.recv(4096)):
        found += piece
    return found


@dataclass(frozen=True, slots=True)
class Answer:
    """`at`: when it came (monotonic); `by`: the router that it came through, which is that of the host whose guest gave
    it, since each sends by its own uplink.
    """

    at: float
    by: int


class Silence:
    """Asks the anycast address by ICMP, again and again, and knows how long it has been silent at most, and whose guest
    gave each answer.
    """

    def __init__(self, street: Street, every_s: float = 0.002) -> None:
        with netns.inside(street.client):
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
            self._uplinks = {socket.if_nametoindex(f"{_UPLINK}{n}"): n for n in range(len(street.hosts))}
        self._socket.setsockopt(socket.IPPROTO_IP, _PKTINFO, 1)
        self._socket.settimeout(0.05)
        self._every_s, self._over = every_s, threading.Event()
        self._answers: list[Answer] = []
        self._threads = [threading.Thread(target=work) for work in (self._ask, self._hear)]

    def __enter__(self) -> "Silence":
        """Once there are answers: what is still before the first one is heard is no silence that anybody could tell."""
        for thread in self._threads:
            thread.start()
        try:
            wait_until(lambda: len(self._answers) >= _SETTLED, timeout_s=60, reason="the guest answers echoes")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._socket.close()

    def answered_by(self, n: int) -> int:
        """How many answers the guest of that host has given."""
        return sum(one.by == n for one in list(self._answers))

    def moved_ms(self) -> float:
        """The longest silence of a guest that went from the first host to the second meanwhile."""
        return moved_ms(self._answers)

    def _ask(self) -> None:
        number = 0
        while not self._over.wait(self._every_s):
            number = number + 1 & 0xFFFF
            body = struct.pack("!HH", _IDENTIFIER, number)
            total = 0x0800 + _IDENTIFIER + number
            check = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
            with suppress(OSError):
                self._socket.sendto(struct.pack("!BBH", 8, 0, check) + body, (str(ANYCAST4), 0))

    def _hear(self) -> None:
        while not self._over.is_set():
            with suppress(TimeoutError):
                packet, more, _, _ = self._socket.recvmsg(256, socket.CMSG_SPACE(12))
                is_ours = packet[20] == 0 and struct.unpack_from("!H", packet, 24)[0] == _IDENTIFIER
                if is_ours and packet[12:16] == ANYCAST4.packed:
                    (link,) = struct.unpack_from("=i", more[0][2])
                    self._answers.append(Answer(time.monotonic(), self._uplinks[link]))


def moved_ms(answers: Sequence[Answer]) -> float:
    """The longest silence, of answers that tell of a move: some of the first host's guest, then some of the second's,
    and none of the first's after that. Raises `ValueError` of others: their longest silence is not that of a move.
    """
    who = [one.by for one in answers]
    if not who or who != sorted(who) or {*who} != {0, 1}:
        turns = [(by, len([*found])) for by, found in groupby(who)]
        raise ValueError(f"no move from the first host to the second: answers in turn, by (host, how many): {turns}")
    return max(b.at - a.at for a, b in pairwise(answers)) * 1000

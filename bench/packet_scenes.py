"""Scenes of packets on a real kernel, each beside its control: with the mechanism in, and with it taken out.

`large_answers_hanging`: transfers that cross a link of 1,400 bytes on the way to the client.
`udp_answers_wrong_source`: answers of ordinary servers of UDP. In: nothing. Out: counts. Each scene makes its own
namespaces (a host's router with instances, networks, clients) with the agent's own functions, and removes them.
"""

import asyncio
import contextlib
import selectors
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from threading import Event, Thread

from tests.agent_lab import ANYCAST4, ANYCAST6, external, instance

from anypop.agent.act.network import inside, namespaces, nftables, rtnl, sysctl
from anypop.agent.act.network.error_ways import ErrorWays
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.act.network.router import Router
from anypop.agent.decide.elements import Member
from anypop.agent.decide.error_ways import ErrorWay
from anypop.agent.decide.inside import Inside, inside_for
from anypop.agent.naming import link_of, namespace_of, short
from anypop.host import ip, netns, process
from anypop.model.order import InstanceOrder
from anypop.model.workload import Container, Port, Protocol
from bench.scene import Scene

PREFIX = "pks"
MEMBERS = 8
ANSWER_BYTES = 200_000
PORT = 8080
PATIENCE_S = 3.0  # an answer takes some milliseconds; the kernel's own probing, the second net, some 7 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Of `asked` questions, how many went wrong with the mechanism in, and with it taken out."""

    asked: int
    wrong: int
    wrong_without: int


def large_answers_hanging(asked: int = 64, *, members: int = MEMBERS, small: int = 1, tracked: bool = True) -> Counted:
    """Half of them in each family, each from a client address of its own, so that each flow needs its own ICMP error.
    Without the mechanism other addresses ask, since an instance remembers what it has been told.

    `small`: which link takes 1,400 bytes; 1 is somewhere on the way, 0 the host's own uplink. `tracked`: whether
    connection tracking sees the flows; where it does not, errors are copied to all.
    """
    with _Chain(members, clients=asked, small=small) as chain:
        chain.lead_errors()
        if not tracked:
            chain.track_nothing()
        wrong = chain.hanging(range(asked // 2))
        chain.forget_errors()
        return Counted(asked=asked, wrong=wrong, wrong_without=chain.hanging(range(asked // 2, asked)))


def udp_answers_wrong_source(asked: int = 300) -> Counted:
    """Questions to an instance's anycast and external addresses, in both families, each from a fresh socket: how many
    get no answer, or one from another address than was asked.

    The servers are Python's and C's, on wildcard sockets of IPv4, of IPv6 and of both, and on sockets bound to one
    address. The first question to each port comes before its server is there.
    """
    with _Chain(1, clients=1, small=2, udp=True) as chain, tempfile.TemporaryDirectory(dir="/tmp") as folder:
        program = Path(folder, "udp_server")
        process.run(["cc", "-O1", "-o", str(program), str(Path(__file__).with_name("udp_server.c"))])
        chain.keep_udp(True)
        with chain.udp_servers(program) as questions:
            wrong = chain.wrong_sources(questions, asked)
            chain.keep_udp(False)
            return Counted(asked=asked, wrong=wrong, wrong_without=chain.wrong_sources(questions, asked))


class _Chain(Scene):
    """client - a - b - the host's router - instances. One of the links between the four is small, and the router on
    the host's side of it sends the errors.
    """

    def __init__(self, members: int, *, clients: int, small: int, udp: bool = False) -> None:
        super().__init__()
        ports = (Port(name="dns", port=53, protocol=Protocol.UDP),) if udp else ()
        web = Container(name="app", image="none", ports=ports)
        self.orders = [instance(n, containers=(web,)) for n in range(members)]
        self._clients = clients
        self._mtus = [1400 if n == small else 1500 for n in range(3)]
        self.pop, self._b, self._a, self._client = (f"{PREFIX}-{name}" for name in ("pop", "b", "a", "cl"))
        self._stop = Event()
        self._threads: list[Thread] = []

    def make(self) -> None:
        self._remove()  # of a run that died
        self._stop.clear()
        self.undo.callback(self._remove)
        spaces = (self.pop, self._b, self._a, self._client)
        ip.batch([f"netns add {name}" for name in spaces])
        for name in spaces:
            with netns.inside(name):
                for kind in ("all", "default"):  # a tentative address asks nobody for the way to a neighbour
                    Path(f"/proc/sys/net/ipv6/conf/{kind}/accept_dad").write_text("0")
        for n, (left, right) in enumerate(((self.pop, self._b), (self._b, self._a), (self._a, self._client))):
            mtu = self._mtus[n]
            ip.batch([f"link add r{n} netns {left} mtu {mtu} type veth peer name l{n} netns {right} mtu {mtu}"])
            for space, device, last in ((left, f"r{n}", 1), (right, f"l{n}", 2)):
                ip.batch(
                    [
                        "link set lo up",
                        f"addr add 10.90.{n}.{last}/30 dev {device}",
                        f"addr add fd00:90:{n}::{last}/126 dev {device} nodad",
                        f"link set {device} up",
                    ],
                    netns=space,
                )
        for name in spaces:
            with netns.inside(name):
                sysctl.prepare(())
        self._route()
        self._instances()

    def _route(self) -> None:
        for n, (left, right) in enumerate(((self.pop, self._b), (self._b, self._a), (self._a, self._client))):
            there4, there6 = f"10.90.{n}.2", f"fd00:90:{n}::2"
            ip.batch([f"route add 10.91.0.0/16 via {there4}", f"route add fd00:91::/64 via {there6}"], netns=left)
            ip.batch([f"route add default via 10.90.{n}.1", f"route add default via fd00:90:{n}::1"], netns=right)
            # an error comes from the address of the link that it leaves by: the router has to know the way back
            ip.batch([f"route add 10.90.0.0/16 via {there4}", f"route add fd00:90::/32 via {there6}"], netns=left)
        ip.batch(
            [line for k in range(self._clients) for line in
             (f"addr add {_client(k, 4)}/32 dev lo", f"addr add {_client(k, 6)}/128 dev lo nodad")],
            netns=self._client,
        )  # fmt: skip

    def _instances(self) -> None:
        with netns.inside(self.pop), Netlink() as net:
            router = Router(net)
            for order in self.orders:
                namespaces.make_namespace(PREFIX, order.uid)
                namespaces.add_link(net, PREFIX, order)
                namespaces.set_external_routes(net, self._number(net, order), order)
            for address in (ANYCAST4, ANYCAST6):
                gateways = {short(o.uid): own for o in self.orders if (own := o.private(address.version))}
                router.set_next_hops(address, tuple(Member(short=key) for key in gateways), gateways)
                router.set_route(address)
            self._ways = tuple(
                ErrorWay(
                    short=short(order.uid),
                    number=self._number(net, order),
                    privates=tuple(a.private for a in order.addresses()),
                    anycast=order.anycast,
                )
                for order in self.orders
            )
        for order in self.orders:
            with netns.inside(namespace_of(PREFIX, order.uid)):
                listener = socket.create_server(("::", PORT), family=socket.AF_INET6, backlog=256, dualstack_ipv6=True)
            thread = Thread(target=_serve, args=(listener, self._stop), daemon=True)
            thread.start()
            self._threads.append(thread)

    @staticmethod
    def _number(net: Netlink, order: InstanceOrder) -> int:
        return next(link.index for link in rtnl.links(net) if link.name == link_of(order.uid))

    def lead_errors(self) -> None:
        with netns.inside(self.pop), contextlib.closing(ErrorWays(PREFIX)) as errors:
            asyncio.run(errors.set(self._ways))

    def track_nothing(self) -> None:
        """What an operator does who cannot keep state: anycast traffic passes untracked."""
        rules = "".join(
            f"table {family} {PREFIX}_raw {{\n chain pre {{\n  type filter hook prerouting priority raw\n"
            f"  {family} daddr {address} notrack\n  {family} saddr {address} notrack\n }}\n}}\n"
            for family, address in (("ip", ANYCAST4), ("ip6", ANYCAST6))
        )
        process.run(netns.command(self.pop, "nft", "-f", "-"), stdin=rules)

    def forget_errors(self) -> None:
        """Take the mechanism out."""
        with netns.inside(self.pop):
            nftables.delete_error_tables(PREFIX)

    def hanging(self, clients: Sequence[int]) -> int:
        """How many of the answers to these clients, one in each family, do not come whole in time."""
        asked = [(k, address) for k in clients for address in (ANYCAST4, ANYCAST6)]
        with ThreadPoolExecutor(len(asked)) as pool:
            return sum(not whole for whole in pool.map(lambda pair: self._whole(*pair), asked))

    def _whole(self, client: int, address: IPv4Address | IPv6Address) -> bool:
        with netns.inside(self._client):
            asking = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6)
        deadline = time.monotonic() + PATIENCE_S
        with asking, contextlib.suppress(OSError):
            asking.settimeout(PATIENCE_S)
            asking.bind((_client(client, address.version), 0))
            asking.connect((str(address), PORT))
            got = 0
            while chunk := asking.recv(1 << 16):
                got += len(chunk)
                asking.settimeout(max(0.01, deadline - time.monotonic()))
            return got == ANSWER_BYTES
        return False

    def keep_udp(self, wanted: bool) -> None:
        """The first instance's mechanism, in or out."""
        order = self.orders[0]
        asyncio.run(inside.set_inside(PREFIX, order.uid, inside_for(order) if wanted else Inside()))

    @contextlib.contextmanager
    def udp_servers(self, program: Path) -> Iterator[list[tuple[str, int]]]:
        """Servers in the first instance. Gives what may be asked: an address and a port."""
        order = self.orders[0]
        space = namespace_of(PREFIX, order.uid)
        four, six = (str(external(order, version)) for version in (4, 6))
        own4, own6 = [str(ANYCAST4), four], [str(ANYCAST6), six]
        served = [(("::",), 5301, own4 + own6), (("0.0.0.0",), 5302, own4), ((str(ANYCAST4), four), 5303, own4)]
        served += [((str(ANYCAST6), six, "0.0.0.0"), 5304, own4 + own6), ((str(ANYCAST4), "0.0.0.0"), 5305, own4)]
        compiled = [("6", 5306, own4 + own6), ("4", 5307, own4)]
        questions = [(a, port) for _, port, all_ in (*served, *compiled) for a in all_]
        for address, port in questions:
            self._ask(address, port, patience_s=0.001)
        with contextlib.ExitStack() as stack:
            sockets = []
            for bound, port, _ in served:
                for address in bound:
                    with netns.inside(space):
                        server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
                    stack.enter_context(server)
                    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    server.bind((address, port))
                    sockets.append(server)
            echo = Thread(target=_echo, args=(sockets, self._stop), daemon=True)
            echo.start()
            stack.callback(echo.join, 5)
            stack.callback(self._stop.set)
            for family, port, _ in compiled:
                server_process = subprocess.Popen(netns.command(space, str(program), family, str(port)))
                stack.callback(server_process.wait)
                stack.callback(server_process.kill)
                deadline = time.monotonic() + 5
                while self._ask(own4[1], port, patience_s=0.1) is None and time.monotonic() < deadline:
                    continue
            yield questions

    def wrong_sources(self, questions: Sequence[tuple[str, int]], asked: int) -> int:
        """Of so many questions, taken in turn; the addresses of each server alternate."""
        turns = [questions[n % len(questions)] for n in range(asked)]
        with ThreadPoolExecutor(16) as pool:
            return sum(
                source != address
                for (address, _), source in zip(turns, pool.map(lambda one: self._ask(*one), turns), strict=True)
            )

    def _ask(self, address: str, port: int, patience_s: float = 1.0) -> str | None:
        """Where the answer came from."""
        with netns.inside(self._client):
            asking = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        with asking, contextlib.suppress(OSError):
            asking.settimeout(patience_s)
            asking.sendto(b"?", (address, port))
            return str(ip_address(asking.recvfrom(512)[1][0]))
        return None

    def _remove(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(5)
        for name in (f"{PREFIX}-{part}" for part in ("pop", "b", "a", "cl")):
            if netns.exists(name):
                ip.batch([f"netns del {name}"], force=True)
        for order in self.orders:
            namespaces.remove_name(netns.path_of(namespace_of(PREFIX, order.uid)))


def _client(k: int, version: int) -> str:
    return str(IPv4Address("10.91.0.1") + k if version == 4 else ip_address("fd00:91::1") + k)


def _echo(sockets: Sequence[socket.socket], stop: Event) -> None:
    """Answer every datagram, until told to stop."""
    with selectors.DefaultSelector() as selector:
        for server in sockets:
            selector.register(server, selectors.EVENT_READ)
        while not stop.is_set():
            for key, _ in selector.select(0.1):
                assert isinstance(key.fileobj, socket.socket)
                question, peer = key.fileobj.recvfrom(512)
                key.fileobj.sendto(question, peer)


def _serve(listener: socket.socket, stop: Event) -> None:
    """Give everyone who connects the large answer, until told to stop."""
    selector = selectors.DefaultSelector()
    listener.setblocking(False)
    selector.register(listener, selectors.EVENT_READ, 0)
    with listener:
        while not stop.is_set():
            for key, _ in selector.select(0.1):
                if key.fileobj is listener:
                    with contextlib.suppress(OSError):
                        peer, _ = listener.accept()
                        peer.setblocking(False)
                        selector.register(peer, selectors.EVENT_WRITE, [ANSWER_BYTES])
                else:
                    _feed(selector, key)
        for key in list(selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()


def _feed(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    assert isinstance(key.fileobj, socket.socket)
    try:
        key.data[0] -= key.fileobj.send(b"x" * min(key.data[0], 1 << 16))
        done = key.data[0] == 0
    except BlockingIOError:
        return
    except OSError:
        done = True
    if done:
        selector.unregister(key.fileobj)
        key.fileobj.close()

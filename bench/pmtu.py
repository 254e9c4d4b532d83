"""Large transfers that hang where a link on the way takes smaller packets than the ends believe.

In: a running platform without distances (`bench.flat`). Out: of 64 transfers (32 in each family, each from a client
address of its own, so that none profits by what another one's instance was told), how many do not come whole in time:
answers to a line of 1,400 bytes from a PoP of two hosts behind an edge router, where the error comes to any of the two;
the same answers where the PoP that gets the error only carries; and uploads through the tunnel, from clients that hear
no ICMP at all, as many do. The same with the mechanism taken out: the tables that lead errors, or the clamp of segment
sizes; a zero says something only beside that.
"""

import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

from anypop.agent.act.network import nftables
from anypop.agent.naming import tunnels_table
from anypop.host import ip, netns, process
from anypop.lab.address import VantageHost
from anypop.lab.until import until
from bench.flat import Flat, compiled, flat
from bench.harness import Row, row

ASKED = 64
BYTES = 200_000
FIRST = 80
SINK, SOURCE = FIRST + 1, FIRST + 2
Transfer = Callable[[VantageHost, str, str], bool]
PATIENCE_S = 5.0  # a transfer takes some milliseconds; the kernel's own probing, the second net, some 7 s


def rows() -> Iterable[Row]:
    """Rows `large_answers_hanging_two_hosts`, `large_answers_hanging_carried` and `large_uploads_hanging_carried`."""
    prefix = f"b{os.getpid() % 46656:x}"
    with (
        tempfile.TemporaryDirectory(prefix="anyp-", dir="/tmp") as name,
        flat(prefix, Path(name), backbone=True, access_mtu=1400) as it,
        ExitStack() as undo,
    ):
        scene = _Scene(it, undo, compiled(Path(name), "pour"))
        two = scene.served("two", 2)
        yield scene.row("large_answers_hanging_two_hosts", "amsterdam", two, _answer, scene.without_errors)
        yield scene.row("large_answers_hanging_carried", "london", two, _answer, scene.without_errors)
        scene.deafen("wide")
        yield scene.row("large_uploads_hanging_carried", "wide", two, _upload, scene.without_clamps)


class _Scene:
    def __init__(self, it: Flat, undo: ExitStack, program: Path) -> None:
        self.it, self._undo, self._program = it, undo, program
        self._used: dict[str, int] = {}

    def served(self, slug: str, replicas: int) -> tuple[str, ...]:
        """A workload in the PoP of two hosts; its addresses."""
        self.it.beside(slug, "AMS", self._program, self._undo, ports=(FIRST, SINK, SOURCE), replicas=replicas)
        return self.it.anycast(slug)

    def row(
        self, name: str, vantage: str, addresses: Sequence[str], transfer: Transfer, without: Callable[[], object]
    ) -> Row:
        """With the mechanism, and without it."""
        place = self.it.lab.vantage(vantage)
        for address in addresses:
            until(lambda a=address: _is_reached(place, a), timeout_s=30, what=f"{address} to be reached")  # type: ignore[misc]
        wrong = self._hanging(place, addresses, transfer)
        with self._stopped_agents():
            without()
            control = self._hanging(place, addresses, transfer)
        print(f"{name}: {wrong} of {ASKED}, without {control}")
        assert control > 0, f"{name}: nothing hangs without the mechanism either, so a zero says nothing"
        against = f"of {ASKED}, with the mechanism taken out"
        return row(name, [float(wrong)], unit="transfers", against=against, floor=[float(control)], below=0.5)

    def _hanging(self, place: VantageHost, addresses: Sequence[str], transfer: Transfer) -> int:
        """How many do not come whole."""
        pairs = [(client, a) for a in addresses for client in self._clients(place, a, ASKED // len(addresses))]
        with ThreadPoolExecutor(ASKED) as pool:
            return sum(not whole for whole in pool.map(lambda pair: transfer(place, *pair), pairs))

    def _clients(self, place: VantageHost, address: str, count: int) -> list[str]:
        """So many addresses of the vantage's own that nobody has used yet."""
        prefix = place.prefix6 if ip_address(address).version == 6 else place.prefix4
        begun = self._used.get(str(prefix), 20)
        self._used[str(prefix)] = begun + count
        fresh = [prefix[begun + n] for n in range(count)]
        ip.batch([f"addr add {a}/{a.max_prefixlen} dev eth0" for a in fresh], netns=place.netns)
        return [str(a) for a in fresh]

    def deafen(self, vantage: str) -> None:
        """Its hosts hear no ICMP error."""
        rules = (
            "table inet deaf {\n chain in {\n  type filter hook input priority 0\n"
            "  icmp type destination-unreachable drop\n  icmpv6 type packet-too-big drop\n }\n}\n"
        )
        process.run(netns.command(self.it.vantage(vantage), "nft", "-f", "-"), stdin=rules)

    @contextmanager
    def _stopped_agents(self) -> Iterator[None]:
        """They would mend what is taken out; what is left of it they mend afterwards."""
        place = self.it.place
        agents = [pid for host in place.hosts if (pid := process.alive(place.pid_file(f"agent-{host.lower()}")))]
        for pid in agents:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in agents:
                os.kill(pid, signal.SIGCONT)

    def without_errors(self) -> None:
        """On all hosts."""
        for space in self._hosts():
            with netns.inside(space):
                nftables.delete_error_tables(self.it.place.prefix)

    def without_clamps(self) -> None:
        """On all hosts."""
        table = tunnels_table(self.it.place.prefix)
        for space in self._hosts():
            process.run(netns.command(space, "nft", "flush", "chain", "inet", table, "cut"))

    def _hosts(self) -> list[str]:
        return [place.netns for site in self.it.lab.plan.sites for place in site.hosts]


def _answer(place: VantageHost, client: str, address: str) -> bool:
    """Whether a large answer comes whole."""
    deadline = time.monotonic() + PATIENCE_S
    with _socket(place, client) as asking, suppress(OSError):
        asking.connect((address, SOURCE))
        got = 0
        while chunk := asking.recv(1 << 16):
            got += len(chunk)
            asking.settimeout(max(0.01, deadline - time.monotonic()))
        return got == BYTES
    return False


def _upload(place: VantageHost, client: str, address: str) -> bool:
    """Whether a large question comes whole: who reads it closes when all of it is there."""
    deadline = time.monotonic() + PATIENCE_S
    with _socket(place, client) as asking, suppress(OSError):
        asking.connect((address, SINK))
        asking.sendall(b"x" * BYTES)
        asking.shutdown(socket.SHUT_WR)
        asking.settimeout(max(0.01, deadline - time.monotonic()))
        return asking.recv(1) == b""
    return False


def _is_reached(place: VantageHost, address: str) -> bool:
    own = place.address6 if ip_address(address).version == 6 else place.address4
    with _socket(place, str(own)) as asking, suppress(OSError):
        asking.settimeout(1)
        asking.connect((address, SINK))
        return True
    return False


def _socket(place: VantageHost, client: str) -> socket.socket:
    """In the vantage's namespace; `client`: its own address."""
    version = ip_address(client).version
    with netns.inside(place.netns):
        asking = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6)
    asking.settimeout(PATIENCE_S)
    asking.bind((client, 0))
    return asking

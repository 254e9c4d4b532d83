"""Ways from a client to a server beside the one through a host, and what a transfer over a way costs.

In: a running platform without distances (`bench.flat`), the compiled program of `pour.c`. Out: ways by plain routing,
through HAProxy, and with nothing between; each has a server of its own, at the same router as the host. `speed` counts
the CPU of everybody who takes part: a busy machine changes that less than it changes seconds of a clock.
"""

import os
import subprocess
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

from anypop.agent.act.network import sysctl
from anypop.host import ip, netns
from anypop.lab.until import until
from bench.flat import Flat, spawned

PORT, SINK = 80, 81
MEGABYTES, STREAMS = 400, 2
QUESTIONS = 1500
# of the PoPs' own prefixes, and no instance's
DIRECT, PLAIN, PROXIED, FAR = "198.18.16.250", "198.18.16.251", "198.18.16.252", "198.18.17.120"
_DETOUR = 7700  # routing table and preference for what comes back from a twin
_HAPROXY = """
global
  maxconn 1000
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen ask
  bind {address}:{port}
  server one {server}:{port}
listen pour
  bind {address}:{sink}
  server one {server}:{sink}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a client reaches a server. `pids`: of the server and of whoever stands between."""

    client: str
    address: str
    pids: tuple[int, ...]


class Twins:
    """From `with` until its end: namespaces and programs beside the platform's."""

    def __init__(self, it: Flat, prefix: str, program: Path) -> None:
        self._it, self._prefix, self._program = it, prefix, program
        self._near, self._client = it.lab.plan.router(1299, "LHR").netns, it.vantage("london")
        self._undo = ExitStack()
        self._links = 0

    def __enter__(self) -> "Twins":
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def ours(self, slug: str, city: str) -> Way:
        """A workload of one instance; the server is in its namespace beside its own, and is like everybody's."""
        pids = self._it.beside(slug, city, self._program, self._undo, ports=(PORT, SINK))
        return self._way(self._it.anycast(slug)[0], *pids)

    def direct(self) -> Way:
        """The server at the router itself, where the host is for the others."""
        return self._way(DIRECT, self._serve(self._space("d", self._near, DIRECT), DIRECT))

    def plain(self) -> Way:
        """A namespace that routes."""
        router = self._space("r", self._near, PLAIN)
        return self._way(PLAIN, self._serve(self._space("s", router, PLAIN), PLAIN))

    def proxied(self) -> Way:
        """A namespace in which HAProxy passes TCP on."""
        proxy = self._space("p", self._near, PROXIED)
        server = self._space("b", proxy, None)
        ip.batch([f"addr add {PROXIED}/32 dev lo"], netns=proxy)
        behind = f"10.95.{self._links}.2"
        file = self._it.folder / "haproxy.cfg"
        file.write_text(_HAPROXY.format(address=PROXIED, server=behind, port=PORT, sink=SINK))
        served = self._serve(server, None)
        return self._way(PROXIED, served, spawned(netns.command(proxy, "haproxy", "-db", "-f", str(file)), self._undo))

    def plain_far(self) -> Way:
        """Through a router at the near host's place to a server behind one at the far host's place."""
        there, edge = self._it.lab.plan.router(1299, "AMS").netns, self._it.lab.plan.sites[1].netns
        link = self._links + 1
        detour = self._space("x", self._near, FAR)
        onward = next(far for _, own, far in self._it.lab.plan.links_of(self._near) if far.netns == there)
        own = next(own for _, own, far in self._it.lab.plan.links_of(self._near) if far.netns == there)
        via = onward.addresses[0].partition("/")[0]
        lines = [
            f"route add {FAR}/32 via {via} dev {own.interface} table {_DETOUR}",
            f"rule add pref 77 iif t{link} lookup {_DETOUR}",
        ]
        ip.batch(lines, netns=self._near)
        ip.batch([f"route add {FAR}/32 via 10.95.{link}.1"], netns=detour)
        router = self._space("y", edge, FAR)
        return self._way(FAR, self._serve(self._space("z", router, FAR), FAR))

    def _way(self, address: str, *pids: int) -> Way:
        way = Way(client=self._client, address=address, pids=pids)
        until(lambda: is_answered(self._program, way), timeout_s=30, what=f"{address} to answer")
        return way

    def _space(self, name: str, at: str, address: str | None) -> str:
        """A namespace with a link to `at`, which sends what is for `address` there."""
        self._links += 1
        space, net = f"{self._prefix}-{name}", f"10.95.{self._links}"
        ip.batch([f"netns add {space}", f"link add t{self._links} netns {at} type veth peer name eth0 netns {space}"])
        self._undo.callback(ip.batch, [f"netns del {space}"], force=True)
        with netns.inside(space):
            sysctl.prepare(())
        here = ["link set lo up", f"addr add {net}.2/30 dev eth0", "link set eth0 up", f"route add default via {net}.1"]
        ip.batch(here, netns=space)
        ip.batch([f"addr add {net}.1/30 dev t{self._links}", f"link set t{self._links} up"], netns=at)
        if address is not None:
            ip.batch([f"route add {address}/32 via {net}.2"], netns=at)
        return space

    def _serve(self, space: str, address: str | None) -> int:
        if address is not None:
            ip.batch([f"addr add {address}/32 dev lo"], netns=space)
        return spawned(netns.command(space, str(self._program), "serve", str(PORT)), self._undo)


def speed(program: Path, way: Way) -> float:
    """Megabytes from client to server for each second of CPU that all of it takes."""
    watched = (*way.pids, *_softirq_pids())
    before = _cpu_s(watched)
    own = _cpu_of(netns.command(way.client, str(program), "pour", way.address, str(SINK), str(STREAMS), str(MEGABYTES)))
    return MEGABYTES / (own + _cpu_s(watched) - before)


def p99(program: Path, way: Way) -> float:
    """Microseconds."""
    words = netns.command(way.client, str(program), "ask", way.address, str(PORT), str(QUESTIONS))
    said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
    return quantiles(map(float, said.split()), n=100)[98]


def is_answered(program: Path, way: Way) -> bool:
    """One question."""
    words = netns.command(way.client, str(program), "ask", way.address, str(PORT), "1")
    return subprocess.run(words, capture_output=True, check=False, timeout=10).returncode == 0


def _cpu_of(words: list[str]) -> float:
    """CPU seconds of a program that is run to its end."""
    started = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(started.pid, 0)
    started.returncode = os.waitstatus_to_exitcode(status)
    assert started.returncode == 0, f"{' '.join(words)}: exit code {started.returncode}"
    return used.ru_utime + used.ru_stime


def _cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds of all threads of these so far, as the scheduler counts them."""
    files = (file for pid in pids for file in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return sum(int(file.read_text().split()[0]) for file in files) / 1e9


def _softirq_pids() -> tuple[int, ...]:
    """The threads to which the kernel gives packets that are too many for whoever sent them."""
    found = []
    for file in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):  # whoever else is here may end at any moment
            if file.read_text().startswith("ksoftirqd"):
                found.append(int(file.parent.name))
    return tuple(found)

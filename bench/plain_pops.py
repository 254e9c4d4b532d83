"""What a person would otherwise use, on the same networks: plain multipath routes behind a BIRD without BFD (hold
timer 9 s), with nobody that looks after instances (`plain`), and with a script that asks each of them every 2 s and
writes the route anew (`checked`).

Two servers in each PoP, each in a network namespace of its own. What a server that is dead does to the rest is seen for
`_SEEN_S`: where nobody takes it out, its questions fail for all of that.
"""

import os
import signal
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anypop.host import ip, netns, process
from anypop.lab import build
from anypop.lab.address import PopSite
from anypop.lab.build import Lab
from anypop.lab.topology_read import load as read
from bench.udp_load import Seen, UdpLoad

RUNS = 3
_CHECK_S = 2.0
_HOLD_S = 9
_SEEN_S = 12.0
_CITY = "AMS"
INTERVAL_S = 0.002


def plain(topology: Path, folder: Path, prefix: str, server: Path, *, port: int) -> dict[str, list[Seen]]:
    """`plain_` and `checked_`, each with `instance_killed` and `pop_cut`, `RUNS` times."""
    found: dict[str, list[Seen]] = defaultdict(list)
    try:
        lab = build.up(read(topology.read_text()), prefix=prefix, state_dir=folder)
        address = str(lab.network().anycast4[0][1])
        with _pops(lab, folder, address, server, port) as pops:
            time.sleep(5)  # sessions come up, routes spread
            for kind in ("plain", "checked"):
                pops.check(kind == "checked")
                with UdpLoad(lab.plan.vantages, address, port=port, interval_s=INTERVAL_S) as load:
                    for _ in range(RUNS):
                        since = time.monotonic()
                        time.sleep(0.3)
                        pops.kill(_CITY)
                        time.sleep(_SEEN_S)
                        found[f"{kind}_instance_killed"].append(load.seen(since, time.monotonic()))
                        pops.start(_CITY, 0)
                        time.sleep(2 * _CHECK_S)
                        since = time.monotonic()
                        time.sleep(0.3)
                        lab.cut(_CITY)
                        time.sleep(_SEEN_S)
                        found[f"{kind}_pop_cut"].append(load.seen(since, time.monotonic()))
                        lab.restore(_CITY)
                        time.sleep(8)
    finally:
        build.down(prefix=prefix, state_dir=folder)
    return found


class _Pops:
    """All PoPs of the lab, by hand. `place`: the namespace and private address of a server by city and number."""

    def __init__(self, lab: Lab, folder: Path, address: str, server: Path, port: int) -> None:
        self._lab, self._folder, self._address, self._server, self._port = lab, folder, address, server, port
        self.sites = {str(site.pop.city): site for site in lab.plan.sites}
        self._checks = threading.Event()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._check_on, daemon=True)

    def open(self) -> None:
        for city, site in self.sites.items():
            for n in (0, 1):
                self._wire(city, site, n)
                self.start(city, n)
            self._route(city, (0, 1))
            home = self._folder / f"plain-{city.lower()}"
            home.mkdir()
            (home / "bird.conf").write_text(self._bird_conf(site))
            argv = ["bird", "-f", "-c", str(home / "bird.conf"), "-s", str(home / "bird.ctl")]
            with netns.inside(site.netns):
                process.spawn(argv, pid_file=home / "bird.pid", log=home / "bird.log")
        self._thread.start()

    def close(self) -> None:
        self._ends.set()
        self._thread.join()
        for city in self.sites:
            process.end(self._folder / f"plain-{city.lower()}" / "bird.pid", grace_s=0)
            for n in (0, 1):
                process.end(self._pid(city, n), grace_s=0)
                ip.batch([f"netns del {self._space(city, n)}"])

    def check(self, wanted: bool) -> None:
        """Whether the script runs."""
        if wanted:
            self._checks.set()
        else:
            self._checks.clear()

    def start(self, city: str, n: int) -> None:
        with netns.inside(self._space(city, n)):
            argv = [str(self._server), "4", str(self._port)]
            process.spawn(argv, pid_file=self._pid(city, n), log=self._folder / "servers.log")

    def kill(self, city: str) -> None:
        pid = process.alive(self._pid(city, 0))
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def _space(self, city: str, n: int) -> str:
        return f"{self._lab.plan.prefix}-{city.lower()}{n}"

    def _pid(self, city: str, n: int) -> Path:
        return self._folder / f"{self._space(city, n)}.pid"

    def _wire(self, city: str, site: PopSite, n: int) -> None:
        space, link = self._space(city, n), f"s{n}"
        ip.batch([f"netns add {space}", f"link add {link} netns {site.netns} type veth peer name eth0 netns {space}"])
        ip.batch([f"link set {link} up", f"addr add 10.200.{n}.0/31 dev {link}"], netns=site.netns)
        ip.batch(
            ["link set lo up", "link set eth0 up", f"addr add 10.200.{n}.1/31 dev eth0",
             f"addr add {self._address}/32 dev lo", f"route add default via 10.200.{n}.0 src {self._address}"],
            netns=space,
        )  # fmt: skip

    def _route(self, city: str, numbers: tuple[int, ...]) -> None:
        ways = " ".join(f"nexthop via 10.200.{n}.1 dev s{n}" for n in numbers)
        ip.batch([f"route replace {self._address}/32 {ways}"], netns=self.sites[city].netns)

    def _bird_conf(self, site: PopSite) -> str:
        cover = self._lab.network().anycast4[0]
        lines = [
            f"router id {site.pop.hosts[0].router_id};",
            "log stderr all; protocol device {}",
            "protocol kernel { ipv4 { export where source = RTS_BGP; }; }",
            f"protocol static {{ ipv4; route {cover} unreachable; }}",
        ]
        for upstream in site.pop.hosts[0].upstreams:
            lines.append(
                f"protocol bgp up_{upstream.name} {{ local {upstream.local4} as {self._lab.network().asn}; "
                f"neighbor {upstream.neighbor4} as {upstream.asn}; hold time {_HOLD_S}; connect delay time 1; "
                "connect retry time 1; error wait time 1, 2; "
                "ipv4 { import all; export where source = RTS_STATIC; }; }"
            )
        return "\n".join(lines) + "\n"

    def _check_on(self) -> None:
        """Ask each server once; a route leads to those that answered."""
        while not self._ends.wait(_CHECK_S):
            if self._checks.is_set():
                for city in self.sites:
                    well = tuple(n for n in (0, 1) if self._answers(city, n))
                    self._route(city, well or (0, 1))

    def _answers(self, city: str, n: int) -> bool:
        with netns.inside(self.sites[city].netns):
            asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with asking:
            asking.settimeout(0.5)
            try:
                asking.connect((f"10.200.{n}.1", self._port))
                asking.send(b"well?")
                return bool(asking.recv(64))
            except OSError:
                return False


@contextmanager
def _pops(lab: Lab, folder: Path, address: str, server: Path, port: int) -> Iterator[_Pops]:
    pops = _Pops(lab, folder, address, server, port)
    try:
        pops.open()
        yield pops
    finally:
        pops.close()

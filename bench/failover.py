"""What clients lose when something dies, goes, or comes back: ten faults of each kind on one platform.

The article's networks, with two hosts in New York behind an edge router; eight instances in four PoPs; questions by
UDP (`udp_load`) from every vantage each 2 ms. Kinds take turns, so that nothing is hit twice within a minute: what
flaps is damped on purpose. BFD is at 50 ms x 3, the lab's default. Beside it, in `plain_pops`, what a person would
otherwise use.
"""

import contextlib
import io
import os
import signal
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import httpx
import yaml

from anypop.cli import declaration, views, watch
from anypop.cli.call import Call, Root
from anypop.cli.failure import Failure
from anypop.cli.main import run
from anypop.cli.screen import Format
from anypop.host import ip, netns, process
from anypop.lab import build, platform
from anypop.lab.address import Link, Role
from anypop.lab.until import until
from bench.harness import Row, row
from bench.plain_pops import plain
from bench.udp_load import Seen, UdpLoad

TOPOLOGY = Path(__file__).parents[1] / "topologies" / "article.yaml"
ROUNDS = 10
SLUG = "bench"
TARGET = "all=AMS,LHR,JFK,LAX"
PORT = 9000
INTERVAL_S = 0.002
_BEFORE_S = 0.3  # of calm before each fault, in which round trips are measured
_AFTER_S = 1.0
_AIMS_MS = {"instance_killed": 10, "host_killed": 200, "pop_cut": 200, "upstream_lost": 200}
_CONTAINERFILE = 'FROM scratch\nCOPY server /server\nSTOPSIGNAL SIGKILL\nENTRYPOINT ["/server", "4", "9000"]\n'


def rows() -> Iterable[Row]:
    """For each kind of fault `NAME_ms` (the outage) and `NAME_failed` (questions without an answer), and
    `plain_NAME_...`, `checked_NAME_...` of the baselines.
    """
    prefix = f"b{os.getpid() % 46656:x}"
    with tempfile.TemporaryDirectory(prefix="anyp-", dir="/tmp") as folder:
        server, topology = Path(folder) / "server", Path(folder) / "failover.yaml"
        process.run(["cc", "-O1", "-static", "-o", str(server), str(Path(__file__).with_name("udp_server.c"))])
        written = yaml.safe_load(TOPOLOGY.read_text())
        next(p for p in written["anypop"]["pops"] if p["city"] == "JFK")["hosts"] = 2
        topology.write_text(yaml.safe_dump(written))
        state = Path(folder) / "s"
        try:
            place = platform.up(topology, state=state, prefix=prefix, api_port=0, registry_port=0, progress=print)
            with contextlib.redirect_stderr(io.StringIO()):  # progress is for people
                measured = _Platform(place, server).measured()
        finally:
            platform.down(state, progress=print, purge=True)
        yield from _rows(measured)
        yield from _baselines(plain(TOPOLOGY, Path(folder) / "p", f"{prefix}p", server, port=PORT), measured)


def _rows(measured: dict[str, list[Seen]]) -> Iterable[Row]:
    for name, seen in measured.items():
        aim_ms = _AIMS_MS.get(name)
        yield row(f"{name}_ms", [s.outage_ms for s in seen], unit="ms", below=aim_ms if aim_ms else INTERVAL_S * 500)
        below = None if aim_ms else 0.5
        yield row(f"{name}_failed", [float(s.failed) for s in seen], unit="requests", below=below)


def _baselines(found: dict[str, list[Seen]], measured: dict[str, list[Seen]]) -> Iterable[Row]:
    for name, seen in found.items():
        ours = measured[name.partition("_")[2]]
        floor = [s.outage_ms for s in ours]
        yield row(f"{name}_ms", [s.outage_ms for s in seen], unit="ms", against="this platform", floor=floor)
        yield row(f"{name}_failed", [float(s.failed) for s in seen], unit="requests")


class _Platform:
    """A platform with its workload, and every way to hurt it."""

    def __init__(self, place: platform.Platform, server: Path) -> None:
        self.place = place
        self.lab = build.attach(place.state / "lab")
        self.call = Call(Root(), output=Format.JSON, state=place.state, stack="")
        options = declaration.Wanted(
            slug=SLUG,
            image=_publish(place, server),
            ports=[f"{PORT}/udp"],
            size="SP-1",
            targets=(TARGET,),
            replicas=2,
            anycast=True,
        )
        workloads = f"{self.call.stack_path('workload')}/workloads"
        body = {"workload": declaration.of_options(options)}
        made = self.call.client.call("POST", workloads, what=SLUG, body=body)["workload"]
        watch.until_running(self.call, SLUG, views.expected(made), timeout_s=120)
        self.anycast = views.anycast_of(made)[0].split("/")[0]
        self.victims = [(city, n) for n in (0, 1) for city in ("AMS", "LAX", "JFK", "LHR")]

    def measured(self) -> dict[str, list[Seen]]:
        found: dict[str, list[Seen]] = defaultdict(list)
        with UdpLoad(self.lab.plan.vantages, self.anycast, port=PORT, interval_s=INTERVAL_S) as load:
            self._calm(load)
            for number in range(ROUNDS):
                for name, fault in self._faults(number).items():
                    since = time.monotonic()
                    time.sleep(_BEFORE_S)
                    for part, ended in fault():
                        seen = load.seen(since, ended)
                        found[part or name].append(seen)
                        print(f"{number + 1} {part or name}: {seen.failed} of {seen.asked}, {seen.outage_ms:.0f} ms")
                        since = ended
                    self._calm(load)
        return found

    def _faults(self, number: int) -> dict[str, Callable[[], Iterable[tuple[str, float]]]]:
        """In the order of a round; those of one city are far apart."""
        host = ("JFK-1", "JFK-2")[number % 2]
        bird = ("AMS", "LAX", "JFK-1", "JFK-2")[number % 4]
        return {
            "pop_cut": partial(self._cut, ("AMS", "LAX")[number % 2]),
            "agent_restart": partial(self._agent_killed, ("LAX", "AMS", "JFK-1")[number % 3]),
            "instance_killed": partial(self._instance_killed, number),
            "host_killed": partial(self._host_killed, host),
            "control_killed": self._control_killed,
            "scale_in": self._scaled_in,
            "upstream_lost": self._upstream_lost,
            "pop_drain": partial(self._withheld, ("LAX", "AMS")[number % 2]),
            "bird_killed": partial(self._bird_killed, bird),
        }

    def _calm(self, load: UdpLoad) -> None:
        """Until everything is as it was, and a second passes without a loss."""
        until(self._whole, timeout_s=120, what="everything to be as it was before the fault")
        for _ in range(60):
            now = time.monotonic()
            if not load.seen(now, now + 0.5).failed:
                return

    def _whole(self) -> bool:
        try:
            return self._stands()
        except Failure:  # control is being started anew
            return False

    def _stands(self) -> bool:
        instances = self.call.client.get(f"{self.call.workload_path(SLUG)}/instances", what=SLUG)["results"]
        if len(instances) != 8 or any(i["phase"] != "RUNNING" for i in instances):
            return False
        pops = self.call.client.get("/anypop/v1/pops", what="pops")["results"]
        good = all(s["state"] == "established" and not s.get("error") for p in pops for s in p["sessions"])
        edge = next(s for s in self.lab.plan.sites if s.edge is not None).netns
        ways = ip.query("route", "show", self.anycast, netns=edge)
        return good and all(p["trusted"] for p in pops) and any(len(w.get("nexthops", ())) == 2 for w in ways)

    def _cut(self, city: str) -> Iterable[tuple[str, float]]:
        self.lab.cut(city)
        time.sleep(_AFTER_S + 0.5)
        yield "pop_cut", time.monotonic()
        self.lab.restore(city)
        until(self._whole, timeout_s=60, what=f"{city} to be back")
        time.sleep(_AFTER_S)
        yield "pop_returns", time.monotonic()

    def _host_killed(self, name: str) -> Iterable[tuple[str, float]]:
        self.lab.cut(name)
        time.sleep(_AFTER_S + 0.5)
        yield "", time.monotonic()
        self.lab.restore(name)

    def _upstream_lost(self) -> Iterable[tuple[str, float]]:
        """CenturyLink in New York: what came by it comes by Arelion."""
        link = self._link("JFK", 209)
        rules = "add table inet lost; add chain inet lost in { type filter hook prerouting priority -500; }; "
        rules += "add chain inet lost out { type filter hook postrouting priority 500; }; "
        rules += f"add rule inet lost in iifname {link.b.interface} drop; "
        rules += f"add rule inet lost out oifname {link.b.interface} drop"
        process.run(netns.command(link.b.netns, "nft", rules))
        time.sleep(_AFTER_S + 0.5)
        yield "", time.monotonic()
        process.run(netns.command(link.b.netns, "nft", "delete table inet lost"))

    def _link(self, city: str, asn: int) -> Link:
        site = next(s for s in self.lab.plan.sites if s.pop.city == city)
        interface = next(u.interface for u in site.upstreams if u.asn == asn)
        known = (k for k in self.lab.plan.links if k.role is Role.UPSTREAM and k.a.netns == site.netns)
        return next(k for k in known if k.a.interface == interface)

    def _instance_killed(self, number: int) -> Iterable[tuple[str, float]]:
        city, n = self.victims[number % len(self.victims)]
        os.kill(self._pid(f"{SLUG}-all-{city.lower()}-{n}"), signal.SIGKILL)
        time.sleep(_AFTER_S)
        yield "", time.monotonic()

    def _pid(self, instance: str) -> int:
        filters = f'{{"label":["anypop.instance={instance}"]}}'
        for host in self.place.hosts:
            transport = httpx.HTTPTransport(uds=str(self.place.podman(host).socket))
            with httpx.Client(transport=transport, base_url="http://podman/v4.0.0/libpod") as http:
                for found in http.get("/containers/json", params={"filters": filters}).raise_for_status().json():
                    return int(found["Pid"])
        raise AssertionError(f"{instance} does not run")

    def _bird_killed(self, host: str) -> Iterable[tuple[str, float]]:
        _kill(self.place.home(host) / "bird" / "bird.pid")
        time.sleep(6)  # until neighbours have been told everything again
        yield "", time.monotonic()

    def _agent_killed(self, host: str) -> Iterable[tuple[str, float]]:
        _kill(self.place.pid_file(f"agent-{host.lower()}"))
        time.sleep(2)
        yield "", time.monotonic()

    def _control_killed(self) -> Iterable[tuple[str, float]]:
        _kill(self.place.pid_file("control"))
        time.sleep(2)
        yield "", time.monotonic()

    def _scaled_in(self) -> Iterable[tuple[str, float]]:
        self._scale(1)
        yield "", time.monotonic()
        self._scale(2)

    def _scale(self, replicas: int) -> None:
        options = declaration.Wanted(slug=SLUG, image="x", targets=(TARGET,), replicas=replicas)
        body = {"workload": {"targets": declaration.of_options(options)["targets"]}}
        self.call.client.call("PATCH", self.call.workload_path(SLUG), what=SLUG, body=body)
        path = f"{self.call.workload_path(SLUG)}/instances"
        count = 4 * replicas

        def there() -> bool:
            found = self.call.client.get(path, what=SLUG)["results"]
            return len(found) == count and all(i["phase"] == "RUNNING" for i in found)

        until(there, timeout_s=90, what=f"{count} instances")

    def _withheld(self, city: str) -> Iterable[tuple[str, float]]:
        self._announce("withhold", city)
        time.sleep(5)
        yield "", time.monotonic()
        self._announce("reset", city)

    def _announce(self, verb: str, city: str) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            code = run(["--state", str(self.place.state), "announce", verb, SLUG, "--pop", city, "--yes"])
        assert code == 0, f"announce {verb} {city}"


def _kill(pid_file: Path) -> None:
    pid = process.alive(pid_file)
    assert pid is not None, f"{pid_file} is dead already"
    os.kill(pid, signal.SIGKILL)


def _publish(place: platform.Platform, server: Path) -> str:
    """The server of UDP as an image in the lab's registry."""
    home, folder = place.podman(place.hosts[0]), server.parent / "image"
    folder.mkdir()
    (folder / "server").write_bytes(server.read_bytes())
    (folder / "server").chmod(0o755)
    (folder / "Containerfile").write_text(_CONTAINERFILE)
    reference = f"127.0.0.1:{place.registry_port}/bench/udp:1"
    build_it = ["build", "--quiet", "--isolation", "chroot", "--tag", reference]
    for words in ([*build_it, "--file", str(folder / "Containerfile"), str(folder)], ["push", "--quiet", reference]):
        process.run(home.command(*words), env=home.environment())
    return reference

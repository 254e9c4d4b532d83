"""A platform of eight instances in four PoPs, New York's on two hosts behind an edge router, and every way to hurt it.

In: a topology, a static server of UDP. Out: what clients at every vantage lost by a fault (`udp_load`). Kinds take
turns, so that nothing is hit twice within a minute: what flaps is damped on purpose. A fault yields the moments at
which what was seen is to be read.
"""

import contextlib
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import httpx

from anypop.cli import declaration, views, watch
from anypop.cli.call import Call, Root
from anypop.cli.failure import Failure
from anypop.cli.screen import Format
from anypop.host import birdc, ip, netns, process
from anypop.lab import build, platform
from anypop.lab.address import Link, Role
from anypop.lab.until import until
from anypop.model.errors import WorldError
from bench.udp_load import Seen, UdpLoad

SLUG = "bench"
TARGET = "all=AMS,LHR,JFK,LAX"
PORT = 9000
INTERVAL_S = 0.002
_BEFORE_S = 0.3  # of calm before each fault, in which round trips are measured
_AFTER_S = 1.0
_CALM_S = 2.0  # in which nothing is done: what fails then fails for want of processor time
_DRAINED_WITHIN_S = 60
_CONTAINERFILE = 'FROM scratch\nCOPY server /server\nSTOPSIGNAL SIGKILL\nENTRYPOINT ["/server", "4", "9000"]\n'

Fault = Callable[[], Iterable[tuple[str, float]]]
"""Does it, and yields (name of the row, or nothing for its own; until when)."""


class Scene:
    """See the module. `replicas`: in each city."""

    def __init__(self, place: platform.Platform, server: Path, *, replicas: int = 2) -> None:
        self.place, self.replicas = place, replicas
        self.lab = build.attach(place.state / "lab")
        self.call = Call(Root(), output=Format.JSON, state=place.state, stack="")
        options = declaration.Wanted(
            slug=SLUG,
            image=_publish(place, server),
            ports=[f"{PORT}/udp"],
            size="SP-1",
            targets=(TARGET,),
            replicas=replicas,
            anycast=True,
        )
        workloads = f"{self.call.stack_path('workload')}/workloads"
        body = {"workload": declaration.of_options(options)}
        made = self.call.client.call("POST", workloads, what=SLUG, body=body)["workload"]
        watch.until_running(self.call, SLUG, views.expected(made), timeout_s=120)
        self.anycast = views.anycast_of(made)[0].split("/")[0]

    def measured(self, rounds: int, faults: Callable[[int], Mapping[str, Fault]]) -> dict[str, list[Seen]]:
        """`faults`: those of a round, by name, in the order in which they come."""
        found: dict[str, list[Seen]] = defaultdict(list)
        with UdpLoad(self.lab.plan.vantages, self.anycast, port=PORT, interval_s=INTERVAL_S) as load:
            self._calm(load)
            for number in range(rounds):
                for name, fault in faults(number).items():
                    since = time.monotonic()
                    time.sleep(_BEFORE_S)
                    for part, ended in fault():
                        seen = load.seen(since, ended)
                        found[part or name].append(seen)
                        print(f"{number + 1} {part or name}: {seen.failed} of {seen.asked}, {seen.outage_ms:.0f} ms")
                        since = ended
                    self._calm(load)
        return found

    def _calm(self, load: UdpLoad) -> None:
        """Until everything is as it was, and half a second passes without a loss."""
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
        if len(instances) != 4 * self.replicas or any(i["phase"] != "RUNNING" for i in instances):
            return False
        pops = self.call.client.get("/anypop/v1/pops", what="pops")["results"]
        good = all(s["state"] == "established" and not s.get("error") for p in pops for s in p["sessions"])
        good = good and all(tunnel["up"] for p in pops for tunnel in p.get("tunnels") or ())
        return good and all(p["trusted"] for p in pops) and self._spread() and self._serving() == 4 * self.replicas

    def _spread(self) -> bool:
        """Whether the edge router spreads over each host that has an instance."""
        edge = next(s for s in self.lab.plan.sites if s.edge is not None).netns
        ways = ip.query("route", "show", self.anycast, netns=edge)
        return self.replicas < 2 or any(len(w.get("nexthops", ())) == 2 for w in ways)

    def _serving(self) -> int:
        """Links in the kernels' groups: an instance that cools down runs, and gets no traffic."""
        found = 0
        for site in self.lab.plan.sites:
            for host in site.hosts:
                for row in ip.query("route", "show", self.anycast, "proto", "158", netns=host.netns):
                    devices = {hop["dev"] for hop in row.get("nexthops", [row]) if "dev" in hop}
                    found += sum(device.startswith("i") for device in devices)
        return found

    def nothing(self) -> Iterable[tuple[str, float]]:
        time.sleep(_CALM_S)
        yield "", time.monotonic()

    def pop_cut(self, city: str, *, back: str) -> Iterable[tuple[str, float]]:
        """`back`: the row of its return."""
        self.lab.cut(city)
        time.sleep(_AFTER_S + 0.5)
        yield "", time.monotonic()
        self.lab.restore(city)
        until(self._whole, timeout_s=60, what=f"{city} to be back")
        time.sleep(_AFTER_S)
        yield back, time.monotonic()

    def host_killed(self, name: str) -> Iterable[tuple[str, float]]:
        self.lab.cut(name)
        time.sleep(_AFTER_S + 0.5)
        yield "", time.monotonic()
        self.lab.restore(name)

    def upstream_lost(self) -> Iterable[tuple[str, float]]:
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

    def instance_killed(self, city: str, n: int) -> Iterable[tuple[str, float]]:
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

    def bird_killed(self, host: str) -> Iterable[tuple[str, float]]:
        _kill(self.place.home(host) / "bird" / "bird.pid")
        time.sleep(6)  # until neighbours have been told everything again
        yield "", time.monotonic()

    def bird_killed_twice(self, host: str) -> Iterable[tuple[str, float]]:
        """The second time when its neighbours have their sessions again, and wait to be told everything."""
        home = self.place.home(host) / "bird"
        _kill(home / "bird.pid")

        def recovers() -> bool:
            with contextlib.suppress(WorldError):
                lines = birdc.ask(home / "bird.ctl", "show protocols").splitlines()
                return all("Established" in line for line in lines if line.startswith("u4_"))
            return False

        until(recovers, timeout_s=20, what="the sessions of the next BIRD", every_s=0.002)
        _kill(home / "bird.pid")
        time.sleep(6)
        yield "", time.monotonic()

    def agent_killed(self, host: str) -> Iterable[tuple[str, float]]:
        _kill(self.place.pid_file(f"agent-{host.lower()}"))
        time.sleep(2)
        yield "", time.monotonic()

    def control_killed(self) -> Iterable[tuple[str, float]]:
        _kill(self.place.pid_file("control"))
        time.sleep(2)
        yield "", time.monotonic()

    def scaled_in(self) -> Iterable[tuple[str, float]]:
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

    def pop_drained(self, city: str) -> Iterable[tuple[str, float]]:
        """By `drain` and `undrain`, as far as their last stages."""
        body = {"drain": {"target": city, "deadline_s": _DRAINED_WITHIN_S, "calm_s": 1}}
        path = "/anypop/v1/drains"
        path = f"{path}/{self.call.client.call('POST', path, what='drain', body=body)['drain']['id']}"
        until(lambda: self._stage(path) == "drained", timeout_s=2 * _DRAINED_WITHIN_S, what=f"{city} to be drained")
        yield "", time.monotonic()
        self.call.client.call("POST", f"{path}/undrain", what="undrain", body={})
        until(lambda: self._stage(path) == "over", timeout_s=60, what=f"{city} to be back")
        yield "pop_undrain", time.monotonic()

    def _stage(self, path: str) -> str:
        return str(self.call.client.get(path, what="drain")["drain"]["stage"])


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

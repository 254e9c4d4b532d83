"""What a person would otherwise use: one route with several next hops, balanced by addresses and ports.

In: the compiled program of `connections.c`. Out: how many established connections break when a server is added, is
taken out, dies, or is replaced, with the route changed as a script would: `ip route replace`. A client, a router and
servers in namespaces of their own; the servers' address is on their loopback, as instances have it.
"""

import subprocess
import time
from pathlib import Path

from anypop.agent.act.network import sysctl
from anypop.host import ip, netns
from bench.connections import Connections
from bench.scene import Scene

ADDRESS = "192.0.2.1"


class Multipath(Scene):
    """From `with` until its end: `servers` servers, all of them behind the route."""

    def __init__(self, prefix: str, program: Path, *, servers: int) -> None:
        super().__init__()
        self._program, self._prefix = program, prefix
        self.router, self._client = f"{prefix}-router", f"{prefix}-client"
        self._all = range(servers + 1)  # the last one waits
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def make(self) -> None:
        spaces = [self.router, self._client, *(self._space(n) for n in self._all)]
        ip.batch([f"netns add {space}" for space in spaces])
        self.undo.callback(ip.batch, [f"netns del {space}" for space in spaces], force=True)
        ip.batch([f"link add c netns {self.router} type veth peer name eth0 netns {self._client}"])
        lines = ["link set lo up", "addr add 10.90.0.1/30 dev c", "link set c up"]
        for n in self._all:
            ip.batch([f"link add s{n} netns {self.router} type veth peer name eth0 netns {self._space(n)}"])
            lines += [f"addr add 10.91.{n}.1/30 dev s{n}", f"link set s{n} up"]
        ip.batch(lines, netns=self.router)
        with netns.inside(self.router):
            sysctl.prepare(())
        here = [
            "link set lo up",
            "addr add 10.90.0.2/30 dev eth0",
            "link set eth0 up",
            "route add default via 10.90.0.1",
        ]
        ip.batch(here, netns=self._client)
        for n in self._all:
            ip.batch(
                ["link set lo up", f"addr add 10.91.{n}.2/30 dev eth0", "link set eth0 up",
                 f"addr add {ADDRESS}/32 dev lo", f"route add default via 10.91.{n}.1"], netns=self._space(n),
            )  # fmt: skip
            self.start(n)

    def _space(self, n: int) -> str:
        return f"{self._prefix}-s{n}"

    def start(self, n: int) -> None:
        """The server in its namespace."""
        words = netns.command(self._space(n), str(self._program), "serve", "80")
        self._processes[n] = process = subprocess.Popen(words, env={"NAME": f"s{n}"})
        self.undo.callback(process.wait)
        self.undo.callback(process.kill)

    def kill(self, n: int) -> None:
        """SIGKILL."""
        self._processes[n].kill()

    def route(self, *servers: int) -> None:
        """To these, as a script would set it."""
        hops = " ".join(f"nexthop via 10.91.{n}.2" for n in servers)
        ip.batch([f"route replace {ADDRESS}/32 {hops}"], netns=self.router)

    def connections(self, count: int, life_s: float = 0) -> Connections:
        return Connections(self._program, self._client, ADDRESS, count=count, life_s=life_s)


def broken(prefix: str, program: Path, *, count: int, settle_s: float) -> dict[str, int]:
    """Connections broken by `add`, `drain`, `kill` (of the others', not the dead one's own), `update`, and `pop_dial`:
    a half sent elsewhere, all of it, and back.
    """
    found: dict[str, int] = {}
    with Multipath(prefix, program, servers=4) as scene:
        scene.route(0)
        with scene.connections(count) as flows:
            for share in ((0, 4), (4,), (0,)):
                scene.route(*share)
                time.sleep(settle_s)
            found["pop_dial"] = flows.told().lost
        for act, before, after in (
            ("add", (0, 1, 2, 3), (0, 1, 2, 3, 4)),
            ("drain", (0, 1, 2, 3), (1, 2, 3)),
            ("update", (0, 1, 2, 3), (4, 1, 2, 3)),
            ("kill", (0, 1, 2, 3), (1, 2, 3)),
        ):
            scene.route(*before)
            with scene.connections(count) as flows:
                if act == "kill":
                    scene.kill(0)
                scene.route(*after)
                time.sleep(settle_s)  # each connection has asked several times, and been answered or not
                told = flows.told()
            found[act] = told.lost - (told.broken.get("s0", 0) if act == "kill" else 0)
    return found

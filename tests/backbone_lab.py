"""Hosts that carry for each other, for the agent's lab tests: a namespace for each, a real agent and BIRD in it, one
Podman for all, and between them a router that is the Internet, with the clients on it.

Host number k has the address 10.77.k.2 on its wire and 10.77.255.k as its end of the tunnels. Clients reach the anycast
addresses by the host that `enter_by` says. `close` removes everything.
"""

import http.client
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

from anypop.agent.act.network import nftables
from anypop.agent.act.network.guard_rules import RECEIVED
from anypop.agent.act.network.netlink import NETFILTER, Netlink
from anypop.agent.act.network.router import Router
from anypop.agent.naming import dials_table, tunnels_table
from anypop.host import birdc, ip, netns, process
from anypop.model.announce import Address, Announcement, Scope
from anypop.model.backbone import Backbone, BackbonePeer, BackboneRules, DialledPop
from anypop.model.errors import WorldError
from anypop.model.names import CityCode, HostName
from anypop.model.network import Upstream
from anypop.model.order import InstanceOrder, Order
from anypop.model.report import CarriedReport, Report, TunnelReport
from tests.agent_lab import ANYCAST4, ANYCAST6, COVER4, COVER6, TOKEN, Control, instance
from tests.moving_hosts import joined
from tests.podman_service import PodmanService
from tests.wait import wait_until

RULES = BackboneRules()
CLIENT4, CLIENT6 = IPv4Address("203.0.113.50"), IPv6Address("2001:db8:f00::50")


class Host:
    """Number `n` of the lab, from 0."""

    def __init__(self, lab: "BackboneLab", n: int, pop: str, far: int) -> None:
        self.lab, self.n, self.pop, self.far = lab, n, CityCode(pop), far
        self.name = HostName(f"{pop}-{n}")
        self.prefix = f"{lab.prefix}{n}"
        self.router = f"{self.prefix}-host"
        self.folder = lab.folder / str(n)
        self.state = self.folder / "state"
        self.router_id = IPv4Address("10.64.255.1") + n
        self.address = IPv4Address("10.77.255.1") + n
        self.private4 = IPv4Network((int(IPv4Address("10.64.0.0")) + 128 * n, 25))
        self.private6 = IPv6Network((int(IPv6Address("fd00:64::")) + 128 * n, 121))
        self.external4 = IPv4Network((int(IPv4Address("198.51.100.0")) + 64 * n, 26))
        self.external6 = IPv6Network((int(IPv6Address("2001:db8:e::")) + 64 * n, 122))
        self._pid = self.folder / "agent.pid"
        self._generation = 0
        self.control: Control

    def open(self) -> None:
        core, wire, n = self.lab.core, f"h{self.n}", self.n + 1
        self.folder.mkdir()
        ip.batch([f"netns add {self.router}"])
        ip.batch([f"link add core netns {self.router} type veth peer name {wire} netns {core}"])
        ip.batch(
            ["link set lo up", f"addr add 10.77.{n}.2/30 dev core", f"addr add fd00:77:{n}::2/64 dev core nodad",
             "link set core up", f"route add default via 10.77.{n}.1", f"route add default via fd00:77:{n}::1"],
            netns=self.router,
        )  # fmt: skip
        ip.batch(
            [f"addr add 10.77.{n}.1/30 dev {wire}", f"addr add fd00:77:{n}::1/64 dev {wire} nodad",
             f"link set {wire} up", f"route add {self.address} via 10.77.{n}.2",
             f"route add {self.external4} via 10.77.{n}.2", f"route add {self.external6} via fd00:77:{n}::2"],
            netns=core,
        )  # fmt: skip
        self.control = Control(self.router, by_token=self.lab.authority is None)
        if self.lab.authority is not None:
            joined(self.state, self.name, self.lab.authority)
        (self.folder / "token").write_text(TOKEN + "\n")

    def start_agent(self) -> None:
        trusts = ["--ca", str(self.lab.authority / "ca.pem")] if self.lab.authority is not None else []
        process.spawn(
            netns.command(
                self.router, sys.executable, "-m", "anypop.agent", "--pop", self.pop, "--host", self.name,
                "--control", self.control.url, "--token-file", str(self.folder / "token"), "--state", str(self.state),
                "--podman", str(self.lab.podman.socket), "--prefix", self.prefix, *trusts,
            ),
            pid_file=self._pid, log=self.folder / "agent.log",
        )  # fmt: skip

    def kill_agent(self) -> None:
        process.end(self._pid, grace_s=0)

    def instance(self, i: int, **more: Any) -> InstanceOrder:
        """Instance number `i` of this host."""
        return instance(64 * self.n + i, name=f"web-{self.pop.lower()}-{self.n}-{i}", **more)

    def order(
        self, *instances: InstanceOrder, backbone: bool = True, gated: bool = True, dials: tuple[DialledPop, ...] = (),
        **more: Any,
    ) -> Order:  # fmt: skip
        """`gated`: the anycast addresses must work for their prefixes to be announced."""
        self._generation += 1
        n = self.n + 1
        core = Upstream(
            name="core", asn=64600, interface="core", bfd=False, neighbor4=IPv4Address(f"10.77.{n}.1"),
            local4=IPv4Address(f"10.77.{n}.2"), neighbor6=IPv6Address(f"fd00:77:{n}::1"),
            local6=IPv6Address(f"fd00:77:{n}::2"),
        )  # fmt: skip
        gates: tuple[tuple[Any, Address], ...] = ((COVER4, ANYCAST4), (COVER6, ANYCAST6))
        settings: dict[str, Any] = {
            "pop": self.pop, "host": self.name, "generation": self._generation, "asn": 33438,
            "router_id": self.router_id, "private4": self.private4, "private6": self.private6,
            "external4": self.external4, "external6": self.external6, "upstreams": (core,), "instances": instances,
            "announcements": tuple(
                Announcement(prefix=p, upstream="core", scope=Scope(), gates=(gate,) if gated else ())
                for p, gate in gates
            ),
            "decay_s": 0.3, "drain_s": 2.0, "backbone": replace(self.backbone(), dials=dials) if backbone else None,
        }  # fmt: skip
        return Order(**(settings | more))

    def backbone(self) -> Backbone:
        others = sorted((o for o in self.lab.hosts if o is not self), key=lambda o: (abs(o.far - self.far), o.n))
        return Backbone(
            rules=self.lab.rules, address=self.address, carried=(COVER4, COVER6),
            peers=tuple(
                BackbonePeer(
                    host=o.name, pop=o.pop, router_id=o.router_id, address=o.address,
                    distance_km=0 if o.pop == self.pop else abs(o.far - self.far),
                    external4=o.external4, external6=o.external6, private4=o.private4, private6=o.private6,
                    number=o.n,
                )
                for o in others
            ),
        )  # fmt: skip

    def give(self, *instances: InstanceOrder, **more: Any) -> Order:
        order = self.order(*instances, **more)
        self.control.give(order)
        return order

    @property
    def ordered(self) -> int:
        """The generation of its newest order."""
        return self._generation

    @property
    def report(self) -> Report | None:
        return self.control.report

    def tunnels(self) -> dict[HostName, TunnelReport]:
        return {t.host: t for t in (self.report.tunnels if self.report else ())}

    def carried(self) -> dict[Address, CarriedReport]:
        return {c.address: c for c in (self.report.carried if self.report else ())}

    def members(self, address: Address, *, table: str = "main") -> dict[str, int]:
        """Who is behind an address in the kernel: links by name, other hosts by their end of the tunnels; weights."""
        with netns.inside(self.router), Netlink() as net:
            seen = Router(net).look()
        groups = seen.balanced if table == "main" else seen.inbound
        return {f"i{m.short}" if m.peer is None else str(m.peer): m.weight for m in groups.get(address, ())}

    def received(self, address: IPv4Address) -> int:
        """Packets that came by the tunnel from another host, as the guard has counted them."""
        with netns.inside(self.router), Netlink(NETFILTER) as net:
            found = nftables.counted(net, tunnels_table(self.prefix), RECEIVED)
        return found[address.packed][0]

    def dialled(self) -> dict[Address, int]:
        """What of new connections its dial leaves here, in percent, by its own report."""
        return {c.address: c.kept for c in self.carried().values() if c.kept is not None}

    def steered(self) -> tuple[int, int]:
        """New connections that have left by the dial, and those that stayed, as the kernel has counted them since its
        rules were loaded.
        """
        table = ("-j", "list", "table", "inet", dials_table(self.prefix))
        rows = json.loads(process.run(netns.command(self.router, "nft", *table)))["nftables"]
        found = {"left": 0, "kept": 0}
        for row in rows:
            rule = row.get("rule", {})
            if (comment := rule.get("comment")) in found:
                found[comment] += sum(e["counter"]["packets"] for e in rule["expr"] if "counter" in e)
        return found["left"], found["kept"]

    def mend(self, lab: "BackboneLab") -> None:
        """Give its wire the routes that went when it was cut."""
        n = self.n + 1
        ip.batch(
            [f"route replace {self.address} via 10.77.{n}.2", f"route replace {self.external4} via 10.77.{n}.2",
             f"address replace fd00:77:{n}::1/64 dev h{self.n} nodad",
             f"route replace {self.external6} via fd00:77:{n}::2"],
            netns=lab.core,
        )  # fmt: skip

    def bird(self, *words: str) -> str:
        return birdc.ask(self.state / "bird" / "bird.ctl", *words)

    def said(self) -> str:
        log = self.folder / "agent.log"
        return f"{self.name}: {self.report}\n{log.read_text()[-2000:] if log.exists() else ''}"

    def close(self) -> None:
        process.end(self._pid, grace_s=0)
        with suppress(OSError, WorldError, ValueError):
            process.run(
                netns.command(
                    self.router, sys.executable, "-m", "anypop.agent", "--pop", self.pop, "--host", self.name,
                    "--state", str(self.state), "--podman", str(self.lab.podman.socket), "--prefix", self.prefix,
                    "--teardown",
                )
            )  # fmt: skip
        process.end(self.state / "bird" / "bird.pid", grace_s=1)
        for name in [*netns.names(f"{self.prefix}-i-"), self.router]:
            with suppress(WorldError):
                ip.batch([f"netns del {name}"])
        if hasattr(self, "control"):
            self.control.close()


class BackboneLab:
    """`sites`: the PoP of each host and where it lies on one line, in kilometres. `joined`: hosts have certificates."""

    def __init__(
        self, prefix: str, sites: Sequence[tuple[str, int]], *, rules: BackboneRules = RULES, joined: bool = False
    ) -> None:
        self.prefix, self.core, self.rules = prefix, f"{prefix}-core", rules
        self.small = f"{prefix}-small"  # a client behind a line that takes packets of 1,300 bytes, and does not know it
        self.folder = Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir="/tmp"))
        self.authority = self.folder / "authority" if joined else None
        self.hosts = [Host(self, n, pop, far) for n, (pop, far) in enumerate(sites)]
        self.podman = PodmanService(self.folder / "podman")
        try:
            ip.batch([f"netns add {self.core}"])
            ip.batch(
                ["link set lo up", f"addr add {CLIENT4}/32 dev lo", f"addr add {CLIENT6}/128 dev lo nodad"],
                netns=self.core,
            )
            ip.batch([f"netns add {self.small}"])
            ip.batch([f"link add small mtu 1300 type veth peer name eth0 mtu 1500 netns {self.small}"], netns=self.core)
            ip.batch(
                ["addr add 203.0.113.61/30 dev small", "addr add 2001:db8:f00:1::1/64 dev small nodad",
                 "link set small up"],
                netns=self.core,
            )  # fmt: skip
            ip.batch(
                ["link set lo up", "addr add 203.0.113.62/30 dev eth0", "addr add 2001:db8:f00:1::2/64 dev eth0 nodad",
                 "link set eth0 up", "route add default via 203.0.113.61", "route add default via 2001:db8:f00:1::1"],
                netns=self.small,
            )  # fmt: skip
            with netns.inside(self.core):
                for path in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
                    Path(f"/proc/sys/net/{path}").write_text("1")
                Path("/proc/sys/net/ipv4/conf/all/rp_filter").write_text("0")
            self.podman.start()
            self.podman.import_web_image()
            for host in self.hosts:
                host.open()
            for host in self.hosts:
                host.start_agent()
        except BaseException:
            self.close()
            raise

    def enter_by(self, host: Host) -> None:
        """Clients' packets to the anycast prefixes come to this host from now on."""
        n = host.n + 1
        ip.batch(
            [f"route replace {COVER4} via 10.77.{n}.2 src {CLIENT4}",
             f"route replace {COVER6} via fd00:77:{n}::2 src {CLIENT6}"],
            netns=self.core,
        )  # fmt: skip

    def wait(self, predicate: Callable[[], object], reason: str, timeout_s: float = 20) -> None:
        try:
            wait_until(predicate, timeout_s=timeout_s, reason=reason)
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), *(h.said() for h in self.hosts)])) from error

    def get(self, address: object, path: str = "/", *, timeout_s: float = 1.0, namespace: str = "") -> str:
        """The page at `address`, asked by a client; empty when there is none."""
        with suppress(OSError, http.client.HTTPException), netns.inside(namespace or self.core):
            connection = http.client.HTTPConnection(str(address), 80, timeout=timeout_s)
            try:
                connection.request("GET", path)
                return connection.getresponse().read().decode().strip()
            finally:
                connection.close()
        return ""

    def close(self) -> None:
        for host in self.hosts:
            host.close()
        self.podman.stop()
        for name in (self.small, self.core):
            with suppress(WorldError):
                ip.batch([f"netns del {name}"])
        shutil.rmtree(self.folder, ignore_errors=True)


def container_pids(lab: BackboneLab) -> dict[str, int]:
    """Main processes of the lab's containers, by instance."""
    rows = lab.podman.ask("GET", "/containers/json?all=true").json() or []
    return {row["Labels"]["anypop.instance"]: int(row["Pid"]) for row in rows}

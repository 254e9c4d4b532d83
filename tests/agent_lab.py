"""A PoP for the agent's lab tests: a router namespace, upstreams with a real BIRD each, a Podman, and a control that
holds one order.

The agent runs as its own process, as in production. Clients are sockets opened in an upstream's namespace. `close`
removes everything.
"""

import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from anypop.host import birdc, ip, netns, process
from anypop.model.announce import Address, Announcement, Prefix, Scope
from anypop.model.codec import from_json, to_json
from anypop.model.errors import WorldError
from anypop.model.names import CityCode, HostName, InstanceName, WorkloadId
from anypop.model.network import Upstream
from anypop.model.order import Containers, InstanceLink, InstanceOrder, LinkAddress, Order, Removal
from anypop.model.peering import Imports
from anypop.model.reasons import Reason
from anypop.model.report import InstanceReport, PrefixReport, Report
from anypop.model.workload import Container, Port
from tests.podman_service import WEB, PodmanService
from tests.wait import wait_until

POP = CityCode("LHR")
_TIME = re.compile(r"\b(\d\d):(\d\d):(\d\d\.\d{3})\b")
HOST = HostName(POP)
ANYCAST4, ANYCAST6 = IPv4Address("192.0.2.1"), IPv6Address("2001:db8:a::1")
COVER4, COVER6 = IPv4Network("192.0.2.0/24"), IPv6Network("2001:db8:a::/48")
EXTERNAL4, EXTERNAL6 = IPv4Network("198.51.100.0/24"), IPv6Network("2001:db8:e::/48")
# what upstreams of the lab tell: addresses for documentation, also single ones, by numbers for private use
IMPORTS = Imports(allow=(IPv4Network("203.0.113.0/24"), IPv6Network("2001:db8:f00::/40")), reserved_as=True)
TOKEN = "a token of forty characters, let us say."


def web(image: str = WEB, **more: Any) -> Container:
    """The web server that answers with its host name."""
    sizes: dict[str, Any] = {"cpu_millis": 1000, "memory_bytes": 64 << 20}
    return Container(name="web", image=image, ports=(Port(name="http", port=80, open_to_all=True),), **(sizes | more))


def times_apart(told: str) -> tuple[str, Any]:
    """What a BIRD tells, and its times in seconds of the day. It works them out anew for each answer: the same time
    differs by a millisecond.
    """
    return _TIME.sub("TIME", told), [3600 * int(h) + 60 * int(m) + float(s) for h, m, s in _TIME.findall(told)]


def instance(
    n: int, *, uid: str = "", anycast: bool = True, containers: tuple[Container, ...] | None = None, name: str = "",
    life: int = 0,
    link: int | None = None,
) -> InstanceOrder:  # fmt: skip
    """Instance number `n` of a web workload, with every address that follows from `n`; private ones from `link`,
    where it is told.
    """
    far = 2 * (n if link is None else link)
    four = LinkAddress(
        private=IPv4Address("10.64.0.1") + far, gateway=IPv4Address("10.64.0.0") + far, external=EXTERNAL4[10 + n]
    )
    six = LinkAddress(
        private=IPv6Address("fd00:64::1") + far, gateway=IPv6Address("fd00:64::") + far, external=EXTERNAL6[10 + n]
    )
    return InstanceOrder(
        name=InstanceName(name or f"web-eu-lhr-{n}"), uid=uid or f"{n + 1:032x}"[::-1], workload_id=WorkloadId("w1"),
        life=life, template=f"t{life}", links=(InstanceLink(addresses=(four, six)),),
        anycast=(ANYCAST4, ANYCAST6) if anycast else (),
        payload=Containers(containers=containers or (web(),)),
    )  # fmt: skip


def external(order: InstanceOrder, version: int = 4) -> Address:
    """Its external address of a family."""
    return next(a for a in order.externals() if a.version == version)


class Upstreams:
    """BGP neighbours of the PoP: a namespace and a BIRD each, named `<prefix>-up-<name>`; one named `nobfd` does
    without BFD. `bfd_ms`: how often it sends.
    """

    def __init__(self, prefix: str, router: str, folder: Path, names: tuple[str, ...], bfd_ms: int = 100) -> None:
        self._prefix, self._router, self._folder = prefix, router, folder
        self.all: list[Upstream] = []
        self._names, self._bfd_ms = names, bfd_ms

    def open(self) -> None:
        """Make and start all of them."""
        router = self._router
        for number, name in enumerate(self._names):
            space, asn = self.namespace(name), 64600 + number
            inside, out4, out6 = f"up-{name}", f"10.99.{number}", f"fd00:99:{number}:"
            ip.batch([f"netns add {space}", f"link add {inside} netns {router} type veth peer name pop netns {space}"])
            ip.batch(
                ["link set lo up", f"addr add {out4}.1/30 dev pop", f"addr add {out6}:1/126 dev pop nodad",
                "link set pop up",
                 f"addr add 203.0.113.{number + 1}/32 dev lo"], netns=space,
            )  # fmt: skip
            here = [
                f"addr add {out4}.2/30 dev {inside}",
                f"addr add {out6}:2/126 dev {inside} nodad",
                f"link set {inside} up",
            ]
            ip.batch(here, netns=router)
            self.all.append(
                Upstream(name=name, asn=asn, interface=inside, neighbor4=IPv4Address(f"{out4}.1"),
                local4=IPv4Address(f"{out4}.2"),
                         neighbor6=IPv6Address(f"{out6}:1"), local6=IPv6Address(f"{out6}:2"), bfd=name != "nobfd",
                         bfd_interval_ms=self._bfd_ms, imports=IMPORTS)
            )  # fmt: skip
            self._start(self.all[-1], number)

    def namespace(self, name: str) -> str:
        return f"{self._prefix}-up-{name}"

    def routes(self, name: str, prefix: Prefix) -> str:
        """What this upstream has learnt for `prefix`, as its BIRD tells it; empty for nothing."""
        with suppress(WorldError):
            return birdc.ask(self._folder / f"{name}.ctl", f"show route {prefix} all")
        return ""

    def learnt(self, name: str) -> str:
        return birdc.ask(self._folder / f"{name}.ctl", "show route where source = RTS_BGP")

    def log(self, name: str) -> str:
        """What its BIRD says of its sessions."""
        return (self._folder / f"{name}.log").read_text()

    def close(self) -> None:
        for name in self._names:
            process.end(self._folder / f"{name}.pid", grace_s=1)
            if netns.exists(self.namespace(name)):
                ip.batch([f"netns del {self.namespace(name)}"])

    def _start(self, upstream: Upstream, number: int) -> None:
        config = self._folder / f"{upstream.name}.conf"
        times = f"min rx interval {self._bfd_ms} ms; min tx interval {self._bfd_ms} ms; multiplier 3;"
        bfd = f'protocol bfd {{ debug {{ events }}; interface "*" {{ {times} }}; }}'
        lines = ["log stderr all;", f"router id 10.99.{number}.1;", "protocol device {}", bfd]
        for family, neighbor, own, route in (
            (4, upstream.local4, upstream.neighbor4, f"203.0.113.{number + 1}/32"),
            (6, upstream.local6, upstream.neighbor6, f"2001:db8:ff{number}::/48"),
        ):
            lines.append(f"protocol kernel k{family} {{ ipv{family} {{ export where source = RTS_BGP; }}; }}")
            lines.append(f"protocol static s{family} {{ ipv{family}; route {route} unreachable; }}")
            lines.append(
                f"protocol bgp b{family} {{ local {own} as {upstream.asn}; neighbor {neighbor} as 33438; passive on; "
                f"{'bfd on; ' if upstream.bfd else ''}"
                "error wait time 1, 2; debug { events }; "
                f"ipv{family} {{ import all; export where source = RTS_STATIC; }}; }}"
            )
        config.write_text("\n".join(lines) + "\n")
        argv = netns.command(
            self.namespace(upstream.name),
            "bird",
            "-f",
            "-c",
            str(config),
            "-s",
            str(self._folder / f"{upstream.name}.ctl"),
        )
        process.spawn(argv, pid_file=self._folder / f"{upstream.name}.pid", log=self._folder / f"{upstream.name}.log")


class Control:
    """A control that gives one order to whoever has the token, and keeps every report. Listens inside the router's
    namespace.
    """

    def __init__(self, router: str, *, by_token: bool = True) -> None:
        self.by_token = by_token
        self.order: Order | None = None
        self.away = False
        self.reports: list[Report] = []
        self.report_times: list[float] = []
        self._changed = threading.Condition()
        with netns.inside(router):
            self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        # agents are killed in the middle of a request
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def give(self, order: Order) -> None:
        with self._changed:
            self.order = order
            self._changed.notify_all()

    @property
    def report(self) -> Report | None:
        return self.reports[-1] if self.reports else None

    def close(self) -> None:
        with self._changed:
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        control = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if "Upgrade" in self.headers:  # the agent's streams: open, and nobody asks for anything
                    self._hold()
                    return
                query = parse_qs(urlsplit(self.path).query)
                after, wait = int(query["after"][0]), float(query["wait"][0])
                with control._changed:
                    control._changed.wait_for(
                        lambda: control.order is not None and control.order.generation > after, wait
                    )
                    newer = control.order is not None and control.order.generation > after
                    body = to_json(control.order) if newer else b""
                self._answer(200 if newer else 204, body)

            def _hold(self) -> None:
                there = ServerProtocol()
                lines = [self.requestline, *(f"{name}: {value}" for name, value in self.headers.items()), "", ""]
                there.receive_data("\r\n".join(lines).encode())
                for request in there.events_received():
                    assert isinstance(request, Request)
                    there.send_response(there.accept(request))
                with suppress(OSError):
                    while there.state is not State.CLOSED:
                        for octets in there.data_to_send():
                            self.connection.sendall(octets)
                        if not (octets := self.connection.recv(4096)):
                            break
                        there.receive_data(octets)
                self.close_connection = True

            def do_POST(self) -> None:
                report = from_json(Report, self.rfile.read(int(self.headers["Content-Length"])))
                control.reports.append(report)
                control.report_times.append(time.time())
                self._answer(204, b"")

            def _answer(self, status: int, body: bytes) -> None:
                if control.by_token and self.headers["Authorization"] != f"Bearer {TOKEN}":
                    status, body = 401, b""
                if control.away:
                    status, body = 503, b""
                self.send_response(status)
                if status != 204:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with suppress(OSError):
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class PopLab:
    """Everything together. `name` is one test module's; with the process it is unique, so two runs go side by side."""

    def __init__(
        self,
        name: str,
        upstreams: tuple[str, ...] = ("one",),
        *,
        bfd_ms: int = 100,
        podman_env: dict[str, str] | None = None,
    ) -> None:
        self.prefix = prefix = f"{name}{os.getpid() % 46656:x}"
        self.router = f"{prefix}-pop-lhr"
        self.folder = Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir="/tmp"))
        self.state = self.folder / "pop"
        self._agent_pid = self.folder / "agent.pid"
        self._closers: list[Callable[[], object]] = [lambda: shutil.rmtree(self.folder, ignore_errors=True)]
        try:
            ip.batch([f"netns add {self.router}"])
            self._closers.append(lambda: ip.batch([f"netns del {self.router}"]))
            ip.batch(["link set lo up"], netns=self.router)
            self.upstreams = Upstreams(prefix, self.router, self.folder, upstreams, bfd_ms)
            self._closers.append(self.upstreams.close)
            self.upstreams.open()
            self.podman = PodmanService(self.folder / "podman", podman_env, volumes_of=self.state)
            self._closers.append(self.podman.stop)
            self.podman.start()
            self.podman.import_web_image()
            self.control = Control(self.router)
            self._closers.append(self.control.close)
            (self.folder / "token").write_text(TOKEN + "\n")
            self._generation = 0
        except BaseException:
            self.close()
            raise

    def start_agent(self) -> None:
        process.spawn(
            netns.command(
                self.router, sys.executable, "-m", "anypop.agent", "--pop", POP, "--control", self.control.url,
                "--token-file",
                str(self.folder / "token"), "--state", str(self.state), "--podman", str(self.podman.socket), "--prefix",
                self.prefix,
            ),
            pid_file=self._agent_pid, log=self.folder / "agent.log",
        )  # fmt: skip

    def kill_agent(self) -> None:
        """kill -9."""
        process.end(self._agent_pid, grace_s=0)

    def agent_pid(self) -> int:
        pid = process.alive(self._agent_pid)
        assert pid is not None, f"the agent is dead:\n{self.agent_log()}"
        return pid

    def agent_log(self) -> str:
        file = self.folder / "agent.log"
        return file.read_text() if file.exists() else ""

    def order(self, *instances: InstanceOrder, **more: Any) -> Order:
        """An order of the next generation that runs `instances` and announces everything to every upstream."""
        self._generation += 1
        gates: dict[int, tuple[Address, ...]] = {4: (ANYCAST4,), 6: (ANYCAST6,)}
        anycast = any(i.anycast for i in instances)
        announcements = tuple(
            Announcement(prefix=p, upstream=u.name, scope=Scope(),
            gates=gates[p.version] if p in (COVER4, COVER6) else ())
            for p in (EXTERNAL4, EXTERNAL6, *((COVER4, COVER6) if anycast else ())) for u in self.upstreams.all
        )  # fmt: skip
        settings: dict[str, Any] = {
            "pop": POP, "host": HOST, "generation": self._generation, "asn": 33438,
            "router_id": IPv4Address("10.64.255.1"),
            "private4": IPv4Network("10.64.0.0/16"), "private6": IPv6Network("fd00:64::/64"),
            "external4": EXTERNAL4, "external6": EXTERNAL6,
            "upstreams": tuple(self.upstreams.all), "instances": instances, "announcements": announcements,
            "decay_s": 0.3, "drain_s": 0.3,
        }  # fmt: skip
        return Order(**(settings | more))

    def give(self, *instances: InstanceOrder, **more: Any) -> Order:
        order = self.order(*instances, **more)
        self.control.give(order)
        return order

    def reported(self, name: str) -> InstanceReport | None:
        report = self.control.report
        return next((i for i in report.instances if i.name == name), None) if report else None

    def reported_prefix(self, prefix: Prefix) -> PrefixReport | None:
        report = self.control.report
        return next((p for p in report.prefixes if p.prefix == prefix), None) if report else None

    def reported_life(self, uid: str) -> InstanceReport | None:
        """The same of one incarnation."""
        report = self.control.report
        return next((i for i in report.instances if i.uid == uid), None) if report else None

    def wait_running(self, *names: str, timeout_s: float = 20) -> None:
        def all_run() -> bool:
            return all((r := self.reported(n)) is not None and r.phase == "RUNNING" and r.healthy for n in names)

        try:
            wait_until(all_run, timeout_s=timeout_s, reason=f"{', '.join(names)} run and are healthy")
        except AssertionError as error:
            raise AssertionError(
                f"{error}\nlast report: {self.control.report}\nagent said: {self.agent_log()}"
            ) from error

    def get(self, address: object, *, upstream: str = "one", timeout_s: float = 1.0, path: str = "/") -> str:
        """The page at `address`, asked from an upstream's namespace; empty when there is none."""
        with suppress(OSError, http.client.HTTPException), netns.inside(self.upstreams.namespace(upstream)):
            connection = http.client.HTTPConnection(str(address), 80, timeout=timeout_s)
            try:
                connection.request("GET", path)
                return connection.getresponse().read().decode().strip()
            finally:
                connection.close()
        return ""

    def kernel(self, *words: str) -> list[dict[str, Any]]:
        return ip.query(*words, netns=self.router)

    def members(self, address: object) -> int:
        """Links behind an anycast address in the kernel; 0 without a route."""
        for row in self.kernel("-6" if ":" in str(address) else "-4", "route", "show", "proto", "158"):
            if row["dst"] == str(address):
                return len({hop["dev"] for hop in row.get("nexthops", [row])})
        return 0

    def teardown(self) -> str:
        """`anypop.agent --teardown`; what it said."""
        argv = netns.command(
            self.router, sys.executable, "-m", "anypop.agent", "--pop", POP, "--state", str(self.state),
            "--podman", str(self.podman.socket), "--prefix", self.prefix, "--teardown",
        )  # fmt: skip
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
        return done.stderr

    def close(self) -> None:
        process.end(self._agent_pid, grace_s=0)
        if self.state.exists():
            with suppress(subprocess.SubprocessError):
                self.teardown()
            process.end(self.state / "bird" / "bird.pid", grace_s=1)
        for name in netns.names(f"{self.prefix}-i-"):
            with suppress(WorldError):
                ip.batch([f"netns del {name}"])
        for closer in reversed(self._closers):
            with suppress(WorldError, OSError):
                closer()


def tokens(*instances: InstanceOrder, reason: Reason = Reason.WORKLOAD_DELETED) -> tuple[Removal, ...]:
    """Leave to take these down."""
    return tuple(Removal(name=i.name, uid=i.uid, reason=reason) for i in instances)


class Flow:
    """A TCP connection to a server that first says who it is, then echoes."""

    def __init__(self, pop: PopLab, address: object = ANYCAST4, port: int = 80) -> None:
        with netns.inside(pop.upstreams.namespace("one")):
            self._socket = socket.create_connection((str(address), port), timeout=3)
        self._file = self._socket.makefile("rw", encoding="ascii")
        self.host = self._file.readline().strip()

    def lives(self) -> bool:
        with suppress(OSError):
            self._file.write("ping\n")
            self._file.flush()
            return self._file.readline() == "ping\n"
        return False

    def close(self) -> None:
        with suppress(OSError):
            self._file.close()
        self._socket.close()


def container_pids(lab: PopLab) -> dict[str, int]:
    """Main processes of the lab's containers, by instance."""
    rows = lab.podman.ask("GET", "/containers/json?all=true").json() or []
    return {row["Labels"]["anypop.instance"]: int(row["Pid"]) for row in rows}

"""The whole platform on one machine: an internet, a registry, control, and for each host a Podman and an agent.

Comes in: a topology and a place (state folder, name prefix, ports). Goes out: running programs, the same that a real
deployment runs, found again by pid file and name. `up` repairs what was killed; `down` leaves nothing outside the state
folder, whatever was killed before. It starts programs by their command lines and knows nothing of what they decide.
"""

import contextlib
import json
import shutil
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from anypop.host import netns, process
from anypop.host.lock import alone
from anypop.lab import address, build, folder, podman, preflight, registry
from anypop.lab.address import INSTANCES, MANAGEMENT
from anypop.lab.topology import Topology
from anypop.lab.topology_read import load
from anypop.lab.until import until
from anypop.model import codec
from anypop.model.confinement import InstanceRules
from anypop.model.errors import Invalid, Problem, WorldError

DEFAULT_STATE = Path("/var/lib/anypop")
CONTROL_ADDRESS = "100.64.0.1"
CONTROL_PORT = 8443  # inside the management namespace, where nobody else listens

LAB_READY = "registry and one Podman for each host"  # the step that begins when the internet stands

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A platform's place on this machine; `platform.json` in its state folder. `image`: the lab's web image, pullable
    from every PoP.

    `hosts`: by their names; the only host of a PoP is called like its city.
    """

    state: Path
    prefix: str
    topology: Path
    api_port: int
    registry_port: int
    cities: tuple[str, ...]
    hosts: tuple[str, ...]

    @property
    def api(self) -> str:
        return f"https://127.0.0.1:{self.api_port}"

    @property
    def image(self) -> str:
        return f"127.0.0.1:{self.registry_port}/{registry.IMAGE}"

    @property
    def run(self) -> Path:
        """Locks and sockets of the Podman services: short paths, gone at reboot."""
        return Path("/run/anypop") / self.prefix

    def pid_file(self, program: str) -> Path:
        return self.state / "run" / f"{program}.pid"

    def log(self, program: str) -> Path:
        return self.state / "log" / f"{program}.log"

    def home(self, host: str) -> Path:
        """The state folder of a host's agent."""
        return self.state / "pops" / host.lower()

    def podman(self, host: str) -> podman.PodmanHome:
        return podman.PodmanHome(
            store=self.home(host) / "podman",
            run=self.run / host.lower(),
            registries_conf=self.state / "registries.conf",
        )

    def agent_command(self, host: str, *more: str) -> list[str]:
        """The agent of one host, in its namespace where that exists."""
        city, _, _ = host.partition("-")
        argv = [sys.executable, "-m", "anypop.agent", "--pop", city, "--host", host, "--state", str(self.home(host))]
        argv += ["--prefix", self.prefix, "--podman", str(self.podman(host).socket), *more]
        namespace = address.host_netns(self.prefix, host)
        return netns.command(namespace, *argv) if netns.exists(namespace) else argv

    def programs(self) -> tuple[str, ...]:
        """Every program but the lab's routers and wires."""
        return (
            "registry",
            "control",
            *(f"{kind}-{host.lower()}" for host in self.hosts for kind in ("podman", "agent")),
        )

    def dead(self) -> tuple[str, ...]:
        """Programs that should run and do not."""
        return tuple(program for program in self.programs() if not process.alive(self.pid_file(program)))


def find(state: Path) -> Platform | None:
    """The platform whose state folder this is; None where none was started (or it was taken down)."""
    try:
        data = json.loads((state / "platform.json").read_text())
    except FileNotFoundError:
        return None
    data |= {"state": Path(data["state"]), "topology": Path(data["topology"]), "cities": tuple(data["cities"])}
    data["hosts"] = tuple(data.get("hosts", data["cities"]))  # before PoPs had several, each city's was called like it
    return Platform(**data)


def up(
    topology_file: Path, *, state: Path, prefix: str, api_port: int, registry_port: int, progress: Progress
) -> Platform:
    """Start everything that does not run yet. Raises `Invalid` with every problem found, `WorldError` when a part
    does not start.
    """
    topology = load(topology_file.read_text(), name=str(topology_file))
    if found := [*build.prefix_problems(prefix), *preflight.problems()]:
        raise Invalid(found)
    state = state.absolute()
    folder.enter(state)
    with folder.unwritable(), alone(state, "up or down"):
        place = find(state)
        if place is None:
            place = _claim(
                topology_file, topology, state=state, prefix=prefix, api_port=api_port, registry_port=registry_port
            )
        elif not place.dead() and build.attach(state / "lab").whole():
            raise WorldError(
                "up", f"this platform is up already at {place.api}; take it down with: anypop down --state {state}"
            )
        progress("internet")
        lab = build.up(topology, prefix=place.prefix, state_dir=state / "lab", progress=progress)
        # the lab's Internet has private addresses
        rules = InstanceRules(registries=(f"127.0.0.1:{place.registry_port}",), unreachable=(MANAGEMENT, *INSTANCES))
        network = replace(lab.network(), instances=rules)
        (state / "network.yaml").write_text(json.dumps(codec.to_data(network), indent=1))

        progress(LAB_READY)
        podman.write_registries(state / "registries.conf", f"127.0.0.1:{place.registry_port}")
        registry.start(
            state / "registry", place.registry_port, pid_file=place.pid_file("registry"), log=place.log("registry")
        )
        for host in place.hosts:
            _start_podman(place, host)

        progress("control")
        _start_control(place)
        registry_url = f"http://127.0.0.1:{place.registry_port}/v2/"
        until(lambda: _answers(registry_url), timeout_s=15, what="the registry", log=place.log("registry"))
        if not _answers(registry_url + registry.IMAGE.replace(":", "/manifests/")):
            registry.publish_hello(place.podman(place.hosts[0]), place.registry_port, state / "image")
        trust = _trust(state / "control" / "ca.pem", place)
        until(
            lambda: _answers(f"{place.api}/anypop/v1/healthz", trust),
            timeout_s=20,
            what="control",
            log=place.log("control"),
        )

        progress("an agent on each host")
        for host in place.hosts:
            _start_agent(place, host)
        for host in place.hosts:
            sign = place.home(host) / "order.json"
            until(sign.exists, timeout_s=30, what=f"the agent of {host}", log=place.log(f"agent-{host.lower()}"))
    return place


def down(state: Path, *, progress: Progress, purge: bool = False) -> bool:
    """Take everything down. The state folder stays (workloads come back with the next `up`) unless `purge`. False when
    nothing was up.

    Raises `Invalid` when it is not root that asks, `WorldError` for a `purge` of a folder that is no platform's.
    """
    if found := preflight.user_problems():
        raise Invalid(found)
    state = state.absolute()
    place = find(state)
    if place is not None:
        with folder.unwritable(), alone(state, "up or down"):
            progress("agents and control")
            for host in place.hosts:
                process.end(place.pid_file(f"agent-{host.lower()}"))
            process.end(place.pid_file("control"))
            progress("instances")
            for host in place.hosts:  # a Podman that was killed is needed once more to remove its containers
                _start_podman(place, host)
            with ThreadPoolExecutor() as pool:
                list(
                    pool.map(
                        lambda host: process.run(place.agent_command(host, "--teardown"), timeout_s=120), place.hosts
                    )
                )
            progress("internet")
            build.down(prefix=place.prefix, state_dir=state / "lab")
            process.end(place.pid_file("registry"))
            for host in place.hosts:
                process.end(place.pid_file(f"podman-{host.lower()}"))
                podman.erase(place.podman(host), keep_images=not purge)
            shutil.rmtree(place.run, ignore_errors=True)
            with contextlib.suppress(OSError):  # other platforms of this machine have their own folders there
                place.run.parent.rmdir()
            (state / "platform.json").unlink()
    if purge:
        folder.purge(state)
    return place is not None


def _claim(
    topology_file: Path, topology: Topology, *, state: Path, prefix: str, api_port: int, registry_port: int
) -> Platform:
    """Write down what is about to be started, before anything is, so that `down` can find it whatever happens."""
    ports = {"port": api_port, "registry_port": registry_port}
    found = [problem for field, port in ports.items() if port and (problem := preflight.port_problem(field, port))]
    if netns.names(f"{prefix}-"):
        message = (
            f"namespaces named {prefix}-* exist already, from another platform: choose another --prefix, or take that "
            "one down"
        )
        found.append(Problem(path="prefix", message=message))
    if found:
        raise Invalid(found)
    place = Platform(
        state=state,
        prefix=prefix,
        topology=topology_file.resolve(),
        api_port=api_port or preflight.free_port(),
        registry_port=registry_port or preflight.free_port(),
        cities=tuple(pop.city for pop in topology.own.pops),
        hosts=tuple(name for pop in topology.own.pops for name in address.host_names(pop)),
    )
    for part in ("run", "log", "pops"):
        (state / part).mkdir(exist_ok=True, mode=0o700)
    record = asdict(place) | {"state": str(state), "topology": str(place.topology)}
    temporary = state / "platform.tmp"
    temporary.write_text(json.dumps(record, indent=1))
    temporary.rename(state / "platform.json")
    return place


def _start_control(place: Platform) -> None:
    if process.alive(place.pid_file("control")):
        return
    state = place.state
    argv = [
        sys.executable,
        "-m",
        "anypop.api",
        "--state",
        str(state / "control"),
        "--listen",
        f"127.0.0.1:{place.api_port}",
    ]
    argv += [
        "--listen",
        f"netns={place.prefix}-mgmt,{CONTROL_ADDRESS}:{CONTROL_PORT}",
        "--network",
        str(state / "network.yaml"),
    ]
    argv += ["--lab", str(state / "lab"), "--graph", str(state), "--client-file", str(state / "client.json")]
    process.spawn(argv, pid_file=place.pid_file("control"), log=place.log("control"))


def _start_podman(place: Platform, host: str) -> None:
    program = f"podman-{host.lower()}"
    podman.start(place.podman(host), pid_file=place.pid_file(program), log=place.log(program))


def _start_agent(place: Platform, host: str) -> None:
    program = f"agent-{host.lower()}"
    if process.alive(place.pid_file(program)):
        return
    control = place.state / "control"
    more = ["--control", f"https://{CONTROL_ADDRESS}:{CONTROL_PORT}", "--ca", str(control / "ca.pem")]
    more += ["--token-file", str(control / "agents" / f"{host}.token")]
    place.home(host).mkdir(parents=True, exist_ok=True)
    process.spawn(place.agent_command(host, *more), pid_file=place.pid_file(program), log=place.log(program))


def _trust(ca: Path, place: Platform) -> ssl.SSLContext:
    until(ca.exists, timeout_s=20, what="control", log=place.log("control"))
    return ssl.create_default_context(cafile=str(ca))


def _answers(url: str, trust: ssl.SSLContext | None = None) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5, context=trust) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False

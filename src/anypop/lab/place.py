"""A platform's place on one machine: its folders, ports, names, and the programs that belong to it.

`platform.json` in the state folder, written before anything is started and removed when everything has ended. Comes in:
a state folder. Goes out: where each thing of it lies. It starts and ends nothing.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from anypop.host import netns, process
from anypop.lab import address, podman, registry

RECORD = "platform.json"
WIRE = "wire"


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A platform's place on this machine; `platform.json` in its state folder. `image`: the lab's web image, pullable
    from every PoP.

    `hosts`: by their names; the only host of a PoP is called like its city. `supervised`: a supervisor starts anew what
    dies. `public_names`: further ones for control's certificate; `certificate` and `key`: files for those that are real
    (empty: none). `metrics_port`: where the store of metrics listens (0: there is none).
    """

    state: Path
    prefix: str
    topology: Path
    api_port: int
    registry_port: int
    cities: tuple[str, ...]
    hosts: tuple[str, ...]
    supervised: bool = True
    public_names: tuple[str, ...] = ()
    certificate: str = ""
    key: str = ""
    metrics_port: int = 0

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
        if program == WIRE:
            return self.state / "lab" / "wire.pid"
        return self.state / "run" / f"{program}.pid"

    def log(self, program: str) -> Path:
        if program == WIRE:
            return self.state / "lab" / "wire.log"
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
            *(("metrics",) if self.metrics_port else ()),
            *(f"{kind}-{host.lower()}" for host in self.hosts for kind in ("podman", "agent")),
            *(("supervisor",) if self.supervised else ()),
        )

    def dead(self) -> tuple[str, ...]:
        """Programs that should run and do not."""
        return tuple(program for program in self.programs() if not process.alive(self.pid_file(program)))


def find(state: Path) -> Platform | None:
    """The platform whose state folder this is; None where none was started (or it was taken down)."""
    try:
        data = json.loads((state / RECORD).read_text())
    except FileNotFoundError:
        return None
    data |= {"state": Path(data["state"]), "topology": Path(data["topology"]), "cities": tuple(data["cities"])}
    data["hosts"] = tuple(data.get("hosts", data["cities"]))  # before PoPs had several, each city's was called like it
    return Platform(**data)

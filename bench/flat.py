"""A platform without distances: what packets cost and which flows break, not how long light takes.

In: a name prefix and a folder. Out: a running platform, the same programs as everywhere, on an internet whose cables
are all 0 km long, so no wire process holds a frame. AMS is a PoP of two hosts behind an edge router, LHR one of one
host with a session of its own; each city has a vantage, and LHR a second one whose line takes packets of any size.
"""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.story import Shell

from anypop.host import netns, process
from anypop.lab import build, platform
from anypop.lab.build import Lab
from anypop.lab.machine import interfaces
from anypop.lab.until import until

BACKBONE = "  backbone: {}\n"
_TOPOLOGY = """
name: flat
ases:
  - {asn: 1299, cities: [LHR, AMS], internal: [{between: LHR-AMS, km: 0}]}
  - {asn: 64497, cities: [LHR]}
  - {asn: 64498, cities: [LHR]}
  - {asn: 64499, cities: [AMS]}
links:
  - {a: 64497, b: 1299, relationship: customer-provider, at: [{between: LHR, mtu: ACCESS}]}
  - {a: 64498, b: 1299, relationship: customer-provider, at: [LHR]}
  - {a: 64499, b: 1299, relationship: customer-provider, at: [{between: AMS, mtu: ACCESS}]}
vantages:
  - {name: london, city: LHR, asn: 64497}
  - {name: wide, city: LHR, asn: 64498}
  - {name: amsterdam, city: AMS, asn: 64499}
anypop:
  asn: 33438
  anycast4: [198.18.0.0/24]
  anycast6: ["2001:db8:a0::/48"]
  pops:
    - city: LHR
      external4: 198.18.16.0/24
      external6: "2001:db8:b0::/48"
      upstreams: [{name: arelion, asn: 1299}]
    - city: AMS
      hosts: 2
      external4: 198.18.17.0/24
      external6: "2001:db8:b1::/48"
      upstreams: [{name: arelion, asn: 1299}]
"""
_CONTAINERFILE = """\
FROM scratch
COPY program /program
ENV NAME={name}
ENTRYPOINT ["/program", "serve", "80"]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flat:
    """The running platform, its lab and its command line; `folder`: for what else is made."""

    place: platform.Platform
    lab: Lab
    shell: Shell
    folder: Path

    def vantage(self, name: str) -> str:
        """Its namespace."""
        return self.lab.vantage(name).netns

    def publish(self, program: Path, tag: str, name: str = "") -> str:
        """An image of a program that serves; `name`: what it shall say of itself."""
        home, scratch = self.place.podman(self.place.hosts[0]), self.folder / f"image-{tag}"
        reference = self.reference(tag)
        scratch.mkdir()
        shutil.copy(program, scratch / "program")
        text = _CONTAINERFILE.format(name=name) if name else _CONTAINERFILE.replace("ENV NAME={name}\n", "")
        (scratch / "Containerfile").write_text(text)
        build_ = ("build", "--quiet", "--isolation", "chroot", "--tag", reference, str(scratch))
        process.run(home.command(*build_), env=home.environment())
        process.run(home.command("push", "--quiet", reference), env=home.environment())
        return reference

    def reference(self, tag: str) -> str:
        return f"127.0.0.1:{self.place.registry_port}/bench/program:{tag}"

    def anycast(self, workload: str) -> tuple[str, ...]:
        """Its addresses."""
        shown = self.shell.json("workload", "show", workload)["workload"]
        subnets = shown["metadata"]["annotations"]["anycast.platform.stackpath.net/subnets"]
        return tuple(subnet.partition("/")[0] for subnet in subnets.split(","))

    def beside(
        self, slug: str, city: str, program: Path, undo: ExitStack, *, ports: Sequence[int], replicas: int = 1
    ) -> tuple[int, ...]:
        """A workload, and a server in each of its namespaces beside its own: a program with one argument, the first of
        the ports. The servers' process ids.
        """
        words = (word for port in (8080, *ports) for word in ("--port", str(port)))
        begins = f"{self.place.prefix}-i-"
        before = set(netns.names(begins))
        self.say(
            "workload", "create", slug, "--image", self.place.image, *words, "--env", "PORT=8080", "--target",
            f"t={city}", "--replicas", str(replicas), "--anycast", "--yes", "--no-wait",
        )  # fmt: skip

        def made() -> set[str]:
            found = {name for name in netns.names(begins) if name not in before and interfaces(name) is not None}
            return found if len(found) == replicas else set()

        spaces = until(made, timeout_s=30, what=f"the namespaces of {slug}")
        return tuple(
            spawned(netns.command(space, str(program), "serve", str(ports[0])), undo) for space in sorted(spaces)
        )

    def say(self, *words: str) -> None:
        """A command that must succeed."""
        said = self.shell.try_(*words)
        assert said.code == 0, f"{' '.join(words)}: {said.err}"


@contextmanager
def flat(prefix: str, folder: Path, *, backbone: bool, access_mtu: int = 1500) -> Iterator[Flat]:
    """Up, and down whatever happens. `access_mtu`: the longest packet on the vantages' lines."""
    state, topology = folder / "s", folder / "flat.yaml"
    text = _TOPOLOGY.replace("ACCESS", str(access_mtu))
    topology.write_text(text.replace("  pops:\n", f"{BACKBONE if backbone else ''}  pops:\n"))
    try:
        place = platform.up(topology, state=state, prefix=prefix, api_port=0, registry_port=0, progress=print)
        yield Flat(place=place, lab=build.attach(state / "lab"), shell=Shell(place=place), folder=folder)
    finally:
        platform.down(state, progress=print, purge=True)


def spawned(words: list[str], undo: ExitStack) -> int:
    """A process until `undo` is closed."""
    started = subprocess.Popen(words)
    undo.callback(started.wait)
    undo.callback(started.kill)
    return started.pid


def compiled(folder: Path, name: str) -> Path:
    """A program of this folder's sources, which runs anywhere."""
    program = folder / name
    process.run(["cc", "-O2", "-static", "-o", str(program), str(Path(__file__).with_name(f"{name}.c"))])
    return program

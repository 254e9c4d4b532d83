"""How long an internet takes to be ready, and what a router of it weighs.

Ready means: wired, started, converged (every session up, every router knows every vantage that policy lets it know).
The floor of the same run is the same number of namespaces with a bare BIRD in each, made with the same calls: no links,
no addresses, no protocols.
"""

import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from anypop.host import birdc, ip, netns, process
from anypop.lab import build, daemons, machine
from anypop.lab.address import LabPlan
from anypop.lab.generate import generate
from anypop.lab.topology import Topology
from anypop.lab.topology_read import load
from anypop.lab.until import until
from bench.harness import Row, row

ARTICLE = Path(__file__).parents[1] / "topologies" / "article.yaml"
RUNS = 5
BARE = "log stderr all;\nrouter id 10.0.0.1;\nprotocol device {}\n"


def rows() -> Iterable[Row]:
    """Rows `article_ready` and `hundred_as_ready` in seconds, `memory_per_router` in MB (all of the lab, by its
    routers).
    """
    article, hundred = load(ARTICLE.read_text()), load(generate(ases=100, pops=10, seed=7))
    seconds, _, floor, _ = _measure(article)
    yield row("article_ready", seconds, unit="s", against="bare namespaces and BIRDs", floor=floor, below=5)
    seconds, memory, floor, bare = _measure(hundred)
    yield row("hundred_as_ready", seconds, unit="s", against="bare namespaces and BIRDs", floor=floor, below=15)
    yield row("memory_per_router", memory, unit="MB", against="a bare BIRD", floor=bare, below=6)


def _measure(topology: Topology) -> tuple[list[float], list[float], list[float], list[float]]:
    """Seconds and MB per router of the lab, then of the floor; one sample a run, in turns."""
    seconds, memory, floor, bare = [], [], [], []
    for number in range(RUNS):
        prefix = f"x{os.getpid() % 46656:x}"
        with tempfile.TemporaryDirectory(prefix="anyp-", dir="/tmp") as folder:
            home = Path(folder) / "lab"
            try:
                began = time.monotonic()
                lab = build.up(topology, prefix=prefix, state_dir=home)
                seconds.append(time.monotonic() - began)
                memory.append(_megabytes(home.glob("**/*.pid"), len(lab.plan.routers)))
            finally:
                build.down(prefix=prefix, state_dir=home)
            began = time.monotonic()
            with _bare(lab.plan, Path(folder) / "bare"):
                floor.append(time.monotonic() - began)
                bare.append(_megabytes((Path(folder) / "bare").glob("*.pid"), len(lab.plan.routers)))
        print(
            f"run {number + 1}: {seconds[-1]:.2f} s, floor {floor[-1]:.2f} s, {memory[-1]:.2f} MB a router, floor "
            f"{bare[-1]:.2f} MB"
        )
    return seconds, memory, floor, bare


@contextmanager
def _bare(plan: LabPlan, folder: Path) -> Iterator[None]:
    """The floor: as many namespaces as `plan` has, a BIRD without protocols for each router, all of them answering."""
    folder.mkdir()
    (folder / "bird.conf").write_text(BARE)
    names = plan.namespaces()
    homes = {router.netns: folder / router.name for router in plan.routers}

    def start(name: str) -> None:
        argv = ["bird", "-f", "-c", str(folder / "bird.conf"), "-s", str(homes[name].with_suffix(".ctl"))]
        with netns.inside(name):
            process.spawn(argv, pid_file=homes[name].with_suffix(".pid"), log=homes[name].with_suffix(".log"))

    def answers(name: str) -> bool:
        control = homes[name].with_suffix(".ctl")
        return control.exists() and "BIRD" in birdc.ask(control, "show status")

    try:
        ip.batch(f"netns add {name}" for name in names)
        machine.in_parallel(start, homes)
        for name in homes:
            until(lambda name=name: answers(name), timeout_s=30, what=f"a bare BIRD in {name}")  # type: ignore[misc]
        yield
    finally:
        daemons.end_inside(names)
        machine.remove(names)


def _megabytes(pid_files: Iterable[Path], routers: int) -> float:
    """Proportional set size of all these processes (the wire is one) per router: own memory, and the share of what
    they have in common.
    """
    sizes = []
    for file in pid_files:
        pid = process.alive(file)
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        sizes.append(next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024)
    return sum(sizes) / routers

"""`script/chaos`: a story of faults on a lab of its own, told as a table and, asked so, as JSON.

In: a seed, how many faults, or which kinds one after the other. Out: a line for each fault, the end state; exit code 1
where that is not the declared one, or where anything was lost beyond the bounds. The lab has its own name and folder,
and is gone afterwards. It has a backbone, also where the topology has none (`--plain` takes it as it is).
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from anypop.host import process
from anypop.lab import build, platform
from anypop.lab.leftovers import left_behind
from anypop.model.errors import WorldError
from tests.lab.chaos.bounds import BOUNDS
from tests.lab.chaos.clients import Clients
from tests.lab.chaos.faults import Breaker
from tests.lab.chaos.growth import grown, idle, used
from tests.lab.chaos.registry import Fetching
from tests.lab.chaos.story import Told, drawn, play
from tests.lab.chaos.tell import line, summary
from tests.lab.chaos.whole import anycast_of, lacks
from tests.lab.story import Shell
from tests.wait import wait_until

ROOT = Path(__file__).parents[3]
LIMIT_S = 60.0
FAR = 2  # cities with an instance of the workload that all others carry
DISK = "size=64g"  # a limit only: pages are taken as they are written


def main() -> int:
    parser = argparse.ArgumentParser(prog="script/chaos", description="A seeded story of real faults on a lab.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--only", action="append", default=[], metavar="KIND", help="kinds to choose from")
    parser.add_argument("--each", action="store_true", help="each kind --faults times, one at a time")
    parser.add_argument("--limit", type=float, default=LIMIT_S, metavar="SECONDS", help="to be as declared again")
    parser.add_argument("--topology", type=Path, default=ROOT / "topologies" / "article.yaml")
    parser.add_argument("--plain", action="store_true", help="the topology as it is, perhaps without a backbone")
    parser.add_argument("--bounds", action="store_true", help="print what each kind of fault may cost, and why")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="keep the programs' logs there")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.bounds:
        for kind, bound in sorted(BOUNDS.items()):
            print(f"{kind:<22} {bound.ms:>5} ms, and {bound.back_ms:>4} ms when it is taken back: {bound.why}")
        return 0
    with tempfile.TemporaryDirectory(prefix="anyc-", dir="/tmp") as folder, _disk(Path(folder)) as disk:
        told = _on_a_lab(options, disk)
    print(*map(line, told.rows), summary(told), sep="\n")
    if options.json:
        options.json.write_text(json.dumps(told.data(), indent=1) + "\n")
    return 1 if told.lacks or told.unexpected else 0


def _on_a_lab(options: argparse.Namespace, disk: Path) -> Told:
    state, prefix = disk / "chaos", f"k{os.getpid() % 46656:x}"
    try:
        topology = options.topology if options.plain else _with_backbone(options.topology, disk / "topology.yaml")
        place = platform.up(topology, state=state, prefix=prefix, api_port=0, registry_port=0, progress=lambda _: None)
        lab, wanted, dice = build.attach(state / "lab"), {"chaos": 2 * len(place.cities)}, random.Random(options.seed)
        addresses = deploy(place, "chaos", place.cities, 2)
        if lab.plan.topology.own.backbone is not None:
            cities = place.cities[:FAR]
            addresses += deploy(place, "chaos-far", cities, 1)
            wanted["chaos-far"] = len(cities)
        wait_until(lambda: not lacks(place, wanted), timeout_s=60, reason="the platform is as declared", every_s=0.5)
        fetching = Fetching(place=place, wanted=wanted, dice=dice)
        breaker = Breaker(place=place, lab=lab, dice=dice, disk=disk, more=fetching.kinds())
        every = sorted(breaker.kinds())
        chosen = [k for k in every if not options.only or any(word in k for word in options.only)]
        kinds = (
            [k for k in chosen for _ in range(options.faults)] if options.each else drawn(dice, chosen, options.faults)
        )
        before = used(place) | idle(place)
        with Clients(lab.plan.vantages, addresses, interval_s=0.1).asking() as clients:
            told = play(
                breaker, clients, wanted, seed=options.seed, kinds=kinds, limit_s=options.limit,
                calm=1.0 if options.each else 0.6, tell=lambda row: print(line(row), file=sys.stderr, flush=True),
            )  # fmt: skip
        return replace(told, grown={} if told.lacks else grown(before, used(place) | idle(place)))
    finally:
        if options.logs:
            _keep(state, options.logs)
        platform.down(state, progress=lambda _: None, purge=True)
        if left := left_behind(state, prefix):
            print("left behind:", *left, sep="\n  ", file=sys.stderr)


def _with_backbone(topology: Path, changed: Path) -> Path:
    """The same topology, and hosts that carry traffic for each other."""
    text = topology.read_text()
    if "\n  backbone:" in text:
        return topology
    changed.write_text(text.replace("\n  pops:\n", "\n  backbone: {}\n  pops:\n"))
    return changed


def _keep(state: Path, folder: Path) -> None:
    """The programs' logs, flat, and what control has told of."""
    folder.mkdir(parents=True, exist_ok=True)
    if (place := platform.find(state)) is not None:
        (folder / "events.json").write_text(Shell(place=place).try_("events", "--limit", "1000", "-o", "json").out)
        (folder / "instances.json").write_text(Shell(place=place).try_("instances", "-o", "json").out)
    for log in [*state.glob("log/*"), *state.glob("lab/*.log"), *state.glob("pops/*/bird/*.log")]:
        shutil.copy(log, folder / "-".join(log.relative_to(state).parts))


def deploy(place: platform.Platform, slug: str, cities: Sequence[str], replicas: int) -> list[str]:
    """So many instances in each city behind one anycast address; the anycast addresses."""
    where = ("--target", f"all={','.join(cities)}", "--replicas", str(replicas), "--anycast")
    what = ("workload", "create", slug, "--image", place.image, "--port", "80", "--size", "SP-1")
    shell = Shell(place=place)
    shell.json(*what, *where, "--yes", "--timeout", "60")
    links = [i["networkInterfaces"][0] for i in shell.json("instances", slug)]
    return sorted({a for link in links for a in anycast_of(link)})


@contextmanager
def _disk(folder: Path) -> Iterator[Path]:
    """A file system of its own whose size can be changed at any moment."""
    mount = folder / "disk"
    mount.mkdir()
    process.run(["mount", "-t", "tmpfs", "-o", f"{DISK},mode=700", "anypop-chaos", str(mount)])
    try:
        yield mount
    finally:
        with suppress(WorldError):
            process.run(["umount", "--lazy", str(mount)])


if __name__ == "__main__":
    sys.exit(main())

"""Kill -9 of anything at any moment, drawn from a seed: the victims, the moments, and what has to be true afterwards.

In: a platform and a `random.Random`. Out: kills, and answers to "is it whole again?". It ends only what belongs to the
platform that it is given.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from anypop.host import netns, process
from anypop.lab import build, platform, vantage
from tests.lab.story import Shell

# an operation on a small platform takes about a second: kills fall before, into and after it
FIRST_S, LAST_S = 0.0, 1.2


@dataclass(slots=True)
class Killer:
    """Kills from its own thread while an operation is under way; `done` tells what, for a person who reads a
    failure.
    """

    place: platform.Platform
    dice: random.Random
    done: list[str] = field(default_factory=list)

    def victims(self) -> list[Path]:
        """Pid files of everything that runs for this platform."""
        state = self.place.state
        found = [
            *state.glob("run/*.pid"),
            *state.glob("lab/*.pid"),
            *state.glob("lab/*/bird.pid"),
            *state.glob("pops/*/bird/bird.pid"),
        ]
        return sorted(file for file in found if process.alive(file))

    def strike(self) -> None:
        """One kill: a daemon, or a process that lives in an instance (its application)."""
        inside = self._in_instances()
        if inside and self.dice.random() < 0.2:
            pid = self.dice.choice(inside)
            self._kill(pid, f"process {pid} of an instance")
            return
        victims = self.victims()
        if victims:
            file = self.dice.choice(victims)
            self._kill(process.alive(file), str(file.relative_to(self.place.state)))

    def _kill(self, pid: int | None, name: str) -> None:
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.done.append(name)

    def _in_instances(self) -> list[int]:
        inodes = set()
        for name in netns.names(f"{self.place.prefix}-i-"):
            with suppress(OSError):
                inodes.add(netns.path_of(name).stat().st_ino)
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (entry / "ns/net").stat().st_ino in inodes:
                    found.append(int(entry.name))
        return sorted(found)

    @contextmanager
    def at_work(self, kills: int) -> Iterator[None]:
        """So many kills while the block runs, at moments drawn beforehand; all of them have fallen when it ends."""
        moments = sorted(self.dice.uniform(FIRST_S, LAST_S) for _ in range(kills))
        began, quick = time.monotonic(), threading.Event()

        def run() -> None:
            for moment in moments:
                quick.wait(max(0.0, began + moment - time.monotonic()))
                self.strike()

        thread = threading.Thread(target=run, name="killer")
        thread.start()
        try:
            yield
        finally:
            thread.join()


def repair(place: platform.Platform) -> None:
    """`anypop up` on what is left."""
    if place.dead() or not build.attach(place.state / "lab").whole():
        platform.up(
            place.topology, state=place.state, prefix=place.prefix, api_port=0, registry_port=0, progress=lambda _: None
        )


def lacks(place: platform.Platform, wanted: dict[str, int]) -> list[str]:
    """What keeps the platform from being as `wanted` (workload: instances): one line each; nothing when it has
    converged.

    Each instance runs, and its own address and the anycast address answer from every vantage; nothing else is there.
    """
    shell = Shell(place=place)
    found, addresses, uids = [], [], 0
    listed = {w["slug"] for w in shell.json("workload", "list")}
    found += [f"workload {slug} is there" for slug in listed - set(wanted)] + [
        f"workload {slug} is missing" for slug in set(wanted) - listed
    ]
    for slug in sorted(listed & set(wanted)):
        instances = shell.json("instances", slug)
        if len(instances) != wanted[slug]:
            found.append(f"{slug} has {len(instances)} instances")
        uids += len(instances)
        for instance in instances:
            if instance["phase"] != "RUNNING":
                found.append(f"{instance['name']} is {instance['phase']}: {instance['reason']} {instance['message']}")
            addresses += [instance["externalIpAddress"], *instance["networkInterfaces"][0]["ipAddressAliases"]]
    if len(netns.names(f"{place.prefix}-i-")) != uids:
        found.append(f"namespaces of instances: {netns.names(f'{place.prefix}-i-')}")
    for pop in shell.json("pops"):
        if (
            not pop["trusted"]
            or pop.get("drift")
            or pop.get("orphans")
            or any(s["state"] != "established" for s in pop["sessions"])
        ):
            found.append(f"PoP {pop}")
    if not found:
        lab = build.attach(place.state / "lab")
        for source in lab.plan.vantages:
            for address in sorted(set(addresses)):
                (answer,) = vantage.probe(source, address, requests=1, timeout_s=1)
                if not answer.ok:
                    found.append(f"{address} does not answer {source.name}: {answer.error}")
    return found

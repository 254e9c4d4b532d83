"""Established connections over the anycast address while what stands behind it changes: how many are broken, exactly.

2,000 connections from a vantage ask several times a second. An instance is added, one is taken out, one is killed, all
are replaced by a new revision, another host gets an instance of what is carried there, and a PoP is dialled to a half,
to nothing, and back. Two rows tell what an instance that joins under 20,000 new connections a minute gets of them, as a
part of its fair share, and what it breaks. An instance that drains ends after its time (10 s), whoever still talks:
nobody waits for that here, and in an update, which takes longer, each connection lives half as long and is then made
anew. Beside each stands the same act behind a plain multipath route, where it has to break some: a zero says something
only beside that.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from anypop.cli.demo import kill_container
from anypop.lab.until import until
from bench import multipath_scene, newcomer_share
from bench.connections import Connections, Told
from bench.flat import Flat, compiled, flat
from bench.harness import Row, row

COUNT = 2000
RUNS = 3
FRESH = 400  # new connections that show that an act has come into effect
SETTLE_S = 4.0  # each connection has asked a dozen times since
DRAINS_S = 9.0  # an instance on its way out is there for 10 s at least, whoever talks to it
LIFE_S = 5.0
SLUG, FAR, BOTH = "near", "far", "both"
NAMES = {f"{SLUG}-t-lhr-{n}" for n in range(4)}
DEAD = f"{SLUG}-t-lhr-1"


def rows() -> Iterable[Row]:
    """Rows `add`, `drain`, `kill` (connections of others), `update`, `remote_joins`, `pop_dial`, `newcomer_share` and
    `newcomer_broken`.
    """
    prefix = f"b{os.getpid() % 46656:x}"
    with tempfile.TemporaryDirectory(prefix="anyp-", dir="/tmp") as name, flat(prefix, Path(name), backbone=True) as it:
        program = compiled(Path(name), "connections")
        acts = _Ours(it, program)
        ours = acts.measured()
        plain = [multipath_scene.broken(f"{prefix}p", program, count=COUNT, settle_s=SETTLE_S) for _ in range(RUNS)]
        alone = newcomer_share.alone(f"{prefix}r", program)
    against = f"of {COUNT}, behind a plain multipath route"
    for act, broken in ours.items():
        floor = [float(one[act if act in one else "add"]) for one in plain]  # a remote one that joins is added
        assert min(floor) > 0, f"{act} breaks nothing behind a plain multipath route either: the run says nothing"
        yield row(act, broken, unit="connections", against=against, floor=floor, below=0.5)
    yield row(
        "newcomer_share", [one.share for one in acts.joined], unit="of its fair share", at_least=0.5,
        against=f"after {newcomer_share.AFTER_S:g} s, a resilient group alone", floor=[one.share for one in alone],
    )  # fmt: skip
    yield row(
        "newcomer_broken", [float(one.broken) for one in acts.joined], unit="connections", below=0.5, against=against,
        floor=[float(one["add"]) for one in plain],
    )  # fmt: skip


class _Ours:
    def __init__(self, it: Flat, program: Path) -> None:
        self.it, self.program = it, program
        self.first, self.second = it.publish(program, "1"), it.publish(program, "2", "second")
        self.address = ""
        self.joined: list[newcomer_share.Joined] = []

    def measured(self) -> dict[str, list[float]]:
        self._create(SLUG, "LHR", 4)
        found: dict[str, list[float]] = {"add": [], "drain": [], "kill": [], "update": [], "remote_joins": []}
        found["pop_dial"] = []
        for _ in range(RUNS):
            found["add"].append(
                self._act("add", lambda: self._scale(SLUG, 5), lambda names: f"{SLUG}-t-lhr-4" in names)
            )
            found["drain"].append(
                self._act("drain", lambda: self._scale(SLUG, 4), lambda names: f"{SLUG}-t-lhr-4" not in names)
            )
            self._settled(4)
            found["kill"].append(self._act("kill", self._kill, lambda _: True, own=DEAD))
            self._settled(4)
        with self._connections(newcomer_share.AT_ONCE, newcomer_share.LIFE_S) as load:
            for one in newcomer_share.measured(load, f"{SLUG}-t-lhr-4", self._join, self._leave):
                print(f"newcomer: {one.share:.2f} of its fair share, {one.broken} connections broken")
                self.joined.append(one)
        found["update"] = [self._update() for _ in range(RUNS)]
        self.it.say("workload", "delete", SLUG, "--yes", "--timeout", "60")
        self._create(FAR, "AMS", 1)
        for _ in range(RUNS):
            found["remote_joins"].append(
                self._act("remote_joins", lambda: self._scale(FAR, 2), lambda names: f"{FAR}-t-ams-1" in names)
            )
            self._scale(FAR, 1)
            until(lambda: self._names() == {f"{FAR}-t-ams-0"}, timeout_s=60, what="one instance")
        self.it.say("workload", "delete", FAR, "--yes", "--timeout", "60")
        self._create(BOTH, "LHR,AMS", 1)
        for _ in range(RUNS):
            found["pop_dial"].append(self._dial())
        return found

    def _dial(self) -> float:
        """London's share of what comes in there: half of it, nothing, and all of it again."""
        here, there = f"{BOTH}-t-lhr-0", f"{BOTH}-t-ams-0"
        with self._connections(COUNT) as flows:
            for percent, names in ((50, {here, there}), (0, {there}), (100, {here})):
                self.it.say("dial", BOTH, "LHR", str(percent), "--yes", "--timeout", "30")
                until(lambda wanted=names: self._names() == wanted, timeout_s=30, what=f"a dial of {percent}")  # type: ignore[misc]
                time.sleep(SETTLE_S)
            told = flows.told()
        print(f"pop_dial: {told.lost} of {COUNT} broken {_by_name(told)}")
        return float(told.lost)

    def _create(self, slug: str, city: str, replicas: int) -> None:
        self.it.say(
            "workload", "create", slug, "--image", self.first, "--port", "80", "--target", f"t={city}",
            "--replicas", str(replicas), "--anycast", "--yes", "--timeout", "60",
        )  # fmt: skip
        self.address = self.it.anycast(slug)[0]
        names = {f"{slug}-t-{city.partition(',')[0].lower()}-{n}" for n in range(replicas)}
        until(lambda: self._names() == names, timeout_s=30, what=f"{slug} to be reached")

    def _names(self) -> set[str]:
        """Who serves new connections."""
        try:
            with self._connections(FRESH) as fresh:
                return set(fresh.first.whole)
        except AssertionError:
            return set()

    def _connections(self, count: int, life_s: float = 0) -> Connections:
        return Connections(self.program, self.it.vantage("london"), self.address, count=count, life_s=life_s)

    def _act(self, name: str, act: Callable[[], object], done: Callable[[set[str]], bool], own: str = "") -> float:
        """Connections broken by `act`, but those of `own`, who is killed in it and must lose some."""
        with self._connections(COUNT) as flows:
            began = time.monotonic()
            act()
            until(lambda: done(self._names()), timeout_s=DRAINS_S, what=f"{name} to come into effect")
            assert time.monotonic() - began < DRAINS_S - SETTLE_S / 2, f"{name} took too long to be watched"
            time.sleep(min(SETTLE_S, DRAINS_S - (time.monotonic() - began)))
            told = flows.told()
        print(f"{name}: {told.lost} of {COUNT} broken {_by_name(told)}")
        if not own:
            return float(told.lost)
        assert told.broken.get(own, 0) > 0, f"{own} was killed and lost nothing"
        return float(told.lost - told.broken[own])

    def _update(self) -> float:
        """To the other image."""
        image, names = (self.second, {"second"}) if self._names() == NAMES else (self.first, NAMES)
        with self._connections(COUNT, LIFE_S) as flows:
            self.it.say("workload", "set-image", SLUG, image, "--yes", "--no-wait")
            until(lambda: self._names() == names, timeout_s=90, what="the update to come into effect")
            self._settled(4)
            time.sleep(SETTLE_S)
            told = flows.told()
        print(f"update: {told.lost} broken of {COUNT} at any time {_by_name(told)}")
        return float(told.lost)

    def _join(self) -> None:
        self._scale(SLUG, 5)
        self._settled(5)

    def _leave(self) -> None:
        self._scale(SLUG, 4)
        self._settled(4)

    def _scale(self, slug: str, replicas: int) -> None:
        self.it.say("workload", "scale", slug, str(replicas), "--yes", "--no-wait")

    def _kill(self) -> None:
        kill_container(self.it.place.podman("LHR").socket, DEAD)

    def _settled(self, replicas: int) -> None:
        """Nothing drains any more, and all are well."""

        def all_run() -> bool:
            found = self.it.shell.json("instances", SLUG)
            return len(found) == replicas and all(i["phase"] == "RUNNING" for i in found)

        until(all_run, timeout_s=60, what=f"{replicas} instances and no more", every_s=0.2)


def _by_name(told: Told) -> str:
    return " ".join(f"{name}:{count}" for name, count in told.broken.items() if count)

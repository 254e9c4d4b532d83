"""Kill -9 of random programs while a platform is changed, brought up and taken down: what is left is always repaired,
or removed whole.

Moments and victims come from a seed, so a failure can be looked at again (as far as a machine repeats itself):
ANYPOP_CHAOS_SEED, and ANYPOP_CHAOS_ROUNDS for a longer run.
"""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from anypop.lab import build, platform, programs
from anypop.lab.generate import generate
from anypop.lab.leftovers import left_behind
from anypop.model.errors import WorldError
from tests.lab.chaos.clients import Clients
from tests.lab.chaos.faults import Breaker
from tests.lab.chaos.killer import Killer
from tests.lab.chaos.registry import Fetching
from tests.lab.chaos.story import drawn, play
from tests.lab.chaos.tell import line, summary
from tests.lab.chaos.whole import lacks, repair
from tests.lab.story import Shell
from tests.wait import wait_until

pytestmark = pytest.mark.lab

SEED = int(os.environ.get("ANYPOP_CHAOS_SEED", "7"))
ROUNDS = int(os.environ.get("ANYPOP_CHAOS_ROUNDS", "1"))
KILLS = 7
FAULTS = 20
UP = (
    "import sys; from pathlib import Path; from anypop.lab import platform; where = Path(sys.argv[1]), "
    "Path(sys.argv[2]); "
)
UP += "ports = dict(api_port=int(sys.argv[4]), registry_port=int(sys.argv[5])); "
UP += "platform.up(where[0], state=where[1], prefix=sys.argv[3], progress=print, supervised=False, **ports)"
DOWN = (
    "import sys; from pathlib import Path; from anypop.lab import platform; platform.down(Path(sys.argv[1]), "
    "progress=print)"
)


def test_whatever_is_killed_at_any_moment_is_repaired_or_removed(short_folder: Path) -> None:
    """Create and delete under kills of control, agents, BIRDs, Podmans, the wire and applications; a `down` and an `up`
    that die halfway; each time `up` makes it whole, with every workload that is still wanted. Then faults of every
    kind, one into the other, and nobody who says `up`: the supervisor and the agents make it whole. At the end `down`
    leaves nothing (invariants 1, 12, 13).
    """
    state, prefix = short_folder / "chaos", f"c{os.getpid() % 46656:x}"
    topology = short_folder / "chaos.yaml"
    topology.write_text(generate(ases=6, pops=2, seed=5))
    try:
        place = platform.up(
            topology, state=state, prefix=prefix, api_port=0, registry_port=0, progress=lambda _: None, supervised=False
        )
        killer = Killer(place=place, dice=random.Random(SEED))
        wanted: dict[str, int] = {}
        for number in range(ROUNDS):
            _change_under_kills(killer, wanted, f"w{number}")
        killer = _die_halfway(killer)
        _converges(killer, wanted)
        _lives_through(killer.place, wanted)
        for _ in range(3):
            killer.strike()
    finally:
        platform.down(state, progress=lambda _: None, purge=True)
        assert left_behind(state, prefix) == []


def _lives_through(place: platform.Platform, wanted: dict[str, int]) -> None:
    """A story of script/chaos, beside a supervisor and under requests from every vantage: as declared at its end."""
    programs.start(place, "supervisor")
    try:
        lab, dice = build.attach(place.state / "lab"), random.Random(SEED)
        fetching = Fetching(place=place, wanted=wanted, dice=dice)
        breaker = Breaker(place=place, lab=lab, dice=dice, more=fetching.kinds())
        instances = Shell(place=place).json("instances", next(iter(sorted(wanted))))
        addresses = sorted({a for i in instances for a in i["networkInterfaces"][0]["ipAddressAliases"]})
        kinds = drawn(dice, sorted(breaker.kinds().keys() - {"kill supervisor"}), FAULTS)
        with Clients(lab.plan.vantages, addresses, interval_s=0.1).asking() as clients:
            told = play(breaker, clients, wanted, seed=SEED, kinds=kinds, limit_s=40, calm=0.2)
        assert told.asked > 0
        assert not told.lacks, "\n".join([*map(line, told.rows), summary(told)])
    finally:
        programs.end(place, "supervisor")


def _change_under_kills(killer: Killer, wanted: dict[str, int], slug: str) -> None:
    """One more workload, and sometimes one less."""
    place, shell = killer.place, Shell(place=killer.place)
    doomed = killer.dice.choice([*wanted, None])
    words = [_create(place, slug)] + ([("workload", "delete", doomed, "--yes", "--no-wait")] if doomed else [])
    with killer.at_work(KILLS):
        for each in words:
            shell.try_(*each)
    repair(place)
    for each in words:  # what was asked for while control was dead is asked for again, as a person would
        said = shell.try_(*each)
        assert said.code == 0 or "exists" in said.err or "no workload" in said.err, said.err
    wanted[slug] = 2 * len(place.cities)
    if doomed:
        del wanted[doomed]
    _converges(killer, wanted)


def _die_halfway(killer: Killer) -> Killer:
    """`down` is killed, `up` after it too, with a program dying beside each; the next `up` has to make of that what
    it can.
    """
    place = killer.place
    ports = {"api_port": place.api_port, "registry_port": place.registry_port}
    up = (UP, str(place.topology), str(place.state), place.prefix, *map(str, ports.values()))
    for words, longest_s in (((DOWN, str(place.state)), 1.5), (up, 3.0)):
        with killer.at_work(1):
            _run_and_kill(words, after_s=killer.dice.uniform(0.1, longest_s))
    if platform.find(place.state) is None or place.dead() or not _is_whole(place):
        place = platform.up(
            place.topology, state=place.state, prefix=place.prefix, api_port=place.api_port,
            registry_port=place.registry_port, progress=lambda _: None, supervised=False,
        )  # fmt: skip
    return Killer(place=place, dice=killer.dice, done=killer.done)


def _is_whole(place: platform.Platform) -> bool:
    try:
        return build.attach(place.state / "lab").whole()
    except WorldError:
        return False


def _create(place: platform.Platform, slug: str) -> tuple[str, ...]:
    target = f"all={','.join(place.cities)}"
    return ("workload", "create", slug, "--image", place.image, "--port", "80", "--size", "SP-1", "--target", target,
            "--replicas", "2", "--anycast", "--yes", "--no-wait")  # fmt: skip


def _converges(killer: Killer, wanted: dict[str, int]) -> None:
    try:
        wait_until(
            lambda: not lacks(killer.place, wanted), timeout_s=40, reason="the platform is as it should be", every_s=0.2
        )
    except AssertionError as error:
        raise AssertionError(
            f"{error}\nseed {SEED}, killed: {killer.done}\nit lacks: {lacks(killer.place, wanted)}"
        ) from error


def _run_and_kill(words: tuple[str, ...], *, after_s: float) -> None:
    """A program that dies at a moment; what it started lives on. One that has ended before is no matter."""
    with subprocess.Popen(
        [sys.executable, "-c", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        try:
            running.wait(timeout=after_s)
        except subprocess.TimeoutExpired:
            running.kill()

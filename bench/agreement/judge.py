"""One world from beginning to end: run it, compare, and when the two disagree find the smallest world that shows it.

What `bench.agree` and the lab test call. A machine that is too busy to settle in time gets a second try; a disagreement
gets none.
"""

import os
import re
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Queue

from anypop.model.errors import WorldError
from bench.agreement.compare import Verdict, compare
from bench.agreement.running import running
from bench.agreement.shrink import only, shrink
from bench.agreement.worlds import World

WORKERS = 2  # routers mostly wait for each other: two worlds at a time keep two cores busy


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """`seconds`: from the first namespace until all were gone again."""

    world: World
    verdict: Verdict
    seconds: float


def judged(world: World, *, prefix: str, several: bool = False) -> Judged:
    """Run `world` under a name prefix and compare. `several`: by several implementations."""
    began = time.monotonic()
    for last in (False, True):
        try:
            with running(world, prefix=prefix, several=several) as lab:
                verdict = compare(lab)
            break
        except WorldError as error:
            if last:
                verdict = Verdict(differences=(str(error),))
    return Judged(world=world, verdict=verdict, seconds=time.monotonic() - began)


def all_judged(worlds: Iterable[World], *, several: bool = False) -> Iterator[Judged]:
    """Several at a time, in the order given. Names on this machine begin with `g` and the number of this process."""
    prefixes: Queue[str] = Queue()
    for number in range(WORKERS):
        prefixes.put(f"g{os.getpid() % 46656:x}{number}")

    def one(world: World) -> Judged:
        prefix = prefixes.get()
        try:
            return judged(world, prefix=prefix, several=several)
        finally:
            prefixes.put(prefix)

    with ThreadPoolExecutor(WORKERS) as pool:
        yield from pool.map(one, worlds)


def smallest(found: Judged, *, patience_s: float = 900.0) -> str:
    """The smallest topology that shows a disagreement, as a file, with what differs in it. After `patience_s` the
    smallest so far.
    """
    deadline = time.monotonic() + patience_s
    number = re.match(r"announcement (\d+)", found.verdict.differences[0])
    start = only(found.world, int(number[1])) if number else found.world
    shown = found.verdict.differences
    prefix = f"g{os.getpid() % 46656:x}s"

    def disagrees(world: World) -> bool:
        nonlocal shown
        if time.monotonic() > deadline:
            return False
        verdict = judged(world, prefix=prefix).verdict
        shown = shown if verdict.agree else verdict.differences
        return not verdict.agree

    world = shrink(start, disagrees) if disagrees(start) else found.world
    return "\n".join(
        [f"# seed {found.world.seed}", *(f"# {line}" for line in shown), world.text(0 if number else None)]
    )

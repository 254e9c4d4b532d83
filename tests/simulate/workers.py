"""Many simulated lives, in worker processes.

In: the first seed and how many. Out: `Found`: the failures, and all reasons that were given. Every worker has the same
hash seed, so that a life is the same in whichever of them it is lived, and in `script/simulate --seed`.
"""

import gc
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.pool import Pool

from anypop.model.reasons import Reason
from tests.simulate.lives import Platform, live
from tests.simulate.mutations import MUTATIONS, broken_on_purpose
from tests.simulate.quick import be_quick

CHUNK = 20
MOST_TRIED, MOST_LIVED = 200, 40  # seeds for a mutation to be noticed in: most are in the first
HASH_SEED = "0"

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Found:
    """What became of so many seeds. `failures`: seed, and what broke."""

    seeds: int = 0
    simulated_s: float = 0.0
    failures: list[tuple[int, str]] = field(default_factory=list)
    reasons: set[Reason] = field(default_factory=set)


def sweep(
    first: int,
    count: int,
    *,
    pool: Pool,
    most_failures: int = 10,
    progress: Progress = lambda done, failed: None,
) -> Found:
    """Live these seeds."""
    found = Found()
    chunks = [(at, min(CHUNK, first + count - at)) for at in range(first, first + count, CHUNK)]
    for part in pool.imap_unordered(_chunk, chunks):
        found.seeds += part.seeds
        found.simulated_s += part.simulated_s
        found.failures += part.failures
        found.reasons |= part.reasons
        progress(found.seeds, len(found.failures))
        if len(found.failures) >= most_failures:
            break
    found.failures.sort()
    return found


def broken(mutations: Iterable[str], *, pool: Pool) -> dict[str, str]:
    """What was noticed of each of these mutations, in words; nothing where it was not."""
    names = list(mutations)
    return {name: words for name, words in zip(names, pool.imap(_first_notice, names), strict=True) if words}


@contextmanager
def processes(workers: int = 0) -> Iterator[Pool]:
    """Workers for all that is lived in this context, since each takes seconds to load the platform; 0: one for each
    core.
    """
    with _same_hashes():
        pool = multiprocessing.get_context("spawn").Pool(workers or os.cpu_count() or 1, initializer=be_quick)
    try:
        yield pool
    finally:
        pool.terminate()
        pool.join()


@contextmanager
def _same_hashes() -> Iterator[None]:
    """Processes that are spawned meanwhile hash text alike."""
    before = os.environ.get("PYTHONHASHSEED")
    os.environ["PYTHONHASHSEED"] = HASH_SEED
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONHASHSEED"]
        else:
            os.environ["PYTHONHASHSEED"] = before


def _chunk(asked: tuple[int, int]) -> Found:
    first, count = asked
    part = Found()
    for seed in range(first, first + count):
        life = live(seed)
        part.seeds += 1
        part.simulated_s += life.lasted_s
        part.reasons |= life.reasons
        if life.broken:
            part.failures.append((seed, life.broken))
    gc.collect()
    return part


def _first_notice(name: str) -> str:
    mutation, lived = MUTATIONS[name], 0
    with broken_on_purpose(name):
        for seed in range(mutation.first, mutation.first + MOST_TRIED):
            if lived < MOST_LIVED and mutation.only(Platform(seed)):
                lived += 1
                life = live(seed, script=mutation.script)
                if life.broken:
                    return life.broken
    gc.collect()
    return ""

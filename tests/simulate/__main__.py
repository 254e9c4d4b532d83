"""`script/simulate`: many seeds in worker processes, or the story of one.

In: `--seeds N --from K`, or `--seed N --story`, or `--seed N --shrink`. Out: progress, the first seeds in which an
invariant broke, and what to call for their stories; exit code 1 where one broke.
"""

import argparse
import sys
import time

from anypop.model.reasons import Reason
from tests.simulate.lives import live, shrunk
from tests.simulate.quick import be_quick
from tests.simulate.workers import Found, processes, sweep


def main() -> int:
    asked = argparse.ArgumentParser(
        prog="script/simulate", description="Simulated lives of a platform, one for each seed."
    )
    asked.add_argument("--seeds", type=int, default=1000, help="how many")
    asked.add_argument("--from", type=int, default=0, dest="first", help="the first one")
    asked.add_argument("--seed", type=int, help="this one alone")
    asked.add_argument("--story", action="store_true", help="with --seed: tell what happens")
    asked.add_argument(
        "--shrink", action="store_true", help="with --seed: leave out acts that the failure does not need, and tell"
    )
    asked.add_argument("--workers", type=int, default=0, help="processes (default: one for each core)")
    asked.add_argument("--failures", type=int, default=10, help="stop after so many seeds have failed")
    given = asked.parse_args()
    if given.seed is not None:
        return _one(given.seed, shrink=given.shrink, told=given.story)
    began = time.monotonic()

    def progress(done: int, failed: int) -> None:
        passed = time.monotonic() - began
        print(
            f"{done} of {given.seeds} seeds, {failed} failed, {done / passed:.0f} a second", file=sys.stderr, flush=True
        )

    with processes(given.workers) as pool:
        found = sweep(given.first, given.seeds, pool=pool, most_failures=given.failures, progress=progress)
    return _told(found, time.monotonic() - began)


def _one(seed: int, *, shrink: bool, told: bool) -> int:
    be_quick()
    life = shrunk(seed) if shrink else live(seed, told=told)
    for line in life.story:
        print(line)
    print(f"\nseed {seed}: acts: {', '.join(f'{a.at:.1f} {a.act.__name__}' for a in life.acts)}")
    print(life.broken or f"all invariants held for {life.lasted_s:.0f} s")
    return 1 if life.broken else 0


def _told(found: Found, seconds: float) -> int:
    print(
        f"{found.seeds} seeds in {seconds:.1f} s, {found.simulated_s / 3600:.1f} simulated hours, "
        f"{len(found.reasons)} of {len(Reason)} reasons"
    )
    for seed, broken in found.failures:
        print(f"\nseed {seed}: {broken.strip().splitlines()[-1]}\n  script/simulate --seed {seed} --shrink")
    return 1 if found.failures else 0


if __name__ == "__main__":
    sys.exit(main())

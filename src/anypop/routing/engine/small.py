"""The engine for small graphs, such as a lab's: the reference engine, asked in the same way as the compiled one.

Same graph, seeds and policies in, same `Outcome` out. A few hundred sites settle faster than the compiler loads, so
that a question about a lab is answered at once. Ties are found the obvious way: the PoPs of all equally good routes.
"""

from collections.abc import Sequence

import numpy as np

from anypop.model.names import CityCode
from anypop.routing.engine.arrays import NONE, masks_of, seed_arrays
from anypop.routing.engine.propagate import KINDS, Engine, Outcome
from anypop.routing.engine.reference import Held, Settled, settle
from anypop.routing.engine.seeds import SHIPPED, Policies, Seed
from anypop.routing.internet.sites import Internet

# Below this the slow engine answers in less time (0.2 s) than it takes to load compiled code (about 1 s).
SMALL = 300


def engine_for(internet: Internet, policies: Policies = SHIPPED) -> Engine:
    """The engine that answers a single question soonest."""
    return SmallEngine(internet, policies) if len(internet) <= SMALL else Engine(internet, policies)


class SmallEngine(Engine):
    """`run` without compiled code. What searches (`prepare`, `spread`, `twin`) is the compiled engine's still."""

    def run(self, seeds: Sequence[Seed], *, ends: bool = False) -> Outcome:
        _, pops = seed_arrays(self.internet, seeds)
        settled = settle(self.internet, seeds, self.policies)
        sent = [_sender(route) for route in settled.best]
        routes = settled.best
        mask, *more = masks_of(_masks(settled, [pops.index(seed.pop) for seed in seeds]), len(pops))
        return Outcome(
            internet=self.internet,
            seeds=tuple(seeds),
            pops=tuple(map(CityCode, pops)),
            kind=np.array([KINDS.index(r.kind) if r else NONE for r in routes], dtype=np.int8),
            length=np.array([len(r.path) if r else 0 for r in routes], dtype=np.int32),
            sender=np.array(sent, dtype=np.int32),
            seed=np.array([r.seed if r else -1 for r in routes], dtype=np.int32),
            preference=np.array([r.local_pref if r else 0 for r in routes], dtype=np.int32),
            mask=mask,
            stable=settled.stable,
            masks=tuple(more),
        )


def _sender(route: Held | None) -> int:
    if route is None:
        return -(1 << 30)
    return route.sender if route.sender >= 0 else -1 - route.seed


def _masks(settled: Settled, bit_of: Sequence[int]) -> list[int]:
    """Per site a bit for each PoP that some route as good as the best leads to."""
    masks = [0] * len(settled.best)
    growing = True
    while growing:
        growing = False
        for site, (best, held) in enumerate(zip(settled.best, settled.holds, strict=True)):
            found = masks[site]
            for route in held:
                if best is not None and _rank(route) == _rank(best):
                    found |= 1 << bit_of[route.seed] if route.sender < 0 else masks[route.sender]
            growing |= found != masks[site]
            masks[site] = found
    return masks


def _rank(route: Held) -> tuple[int, int, bool, int]:
    return route.local_pref, len(route.path), route.external, route.metric

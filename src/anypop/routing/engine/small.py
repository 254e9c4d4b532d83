"""The engine for small graphs, such as a lab's: the reference engine, asked in the same way as the compiled one.

Same graph, seeds and policies in, same `Outcome` out. A few hundred sites settle faster than the compiler loads, so
that a question about a lab is answered at once. Ties are found the obvious way: the PoPs of all equally good routes.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from anypop.model.names import CityCode
from anypop.routing.engine.arrays import NONE, masks_of, pops_of
from anypop.routing.engine.propagate import KINDS, Engine, Outcome
from anypop.routing.engine.reference import Held, Rules, Settled, settled
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
        rules = Rules(self.internet, self.policies)
        found = self._outcome(rules, seeds, settled(rules, seeds))
        if not ends or not found.stable:
            return found
        other = self._outcome(rules, seeds, settled(rules, seeds, backwards=True))
        return found if not other.stable or other.same(found) else replace(found, others=(other,))

    def _outcome(self, rules: Rules, seeds: Sequence[Seed], found: Settled) -> Outcome:
        pops = pops_of(seeds)
        routes = found.best
        dropped = np.array([r is not None and r.dropped for r in routes])
        mask, *more = masks_of(_masks(rules, found, [pops.index(seed.pop) for seed in seeds]), len(pops))
        return Outcome(
            internet=self.internet,
            seeds=tuple(seeds),
            pops=tuple(map(CityCode, pops)),
            kind=np.array([KINDS.index(r.kind) if r else NONE for r in routes], dtype=np.int8),
            length=np.array([len(r.path) if r else 0 for r in routes], dtype=np.int32),
            sender=np.array([_sender(route) for route in routes], dtype=np.int32),
            seed=np.array([r.seed if r else -1 for r in routes], dtype=np.int32),
            preference=np.array([r.local_pref if r else 0 for r in routes], dtype=np.int32),
            mask=mask,
            stable=found.stable,
            masks=tuple(more),
            dropped=dropped if dropped.any() else None,
        )


def _sender(route: Held | None) -> int:
    if route is None:
        return -(1 << 30)
    return route.sender if route.sender >= 0 else -1 - route.seed


def _masks(rules: Rules, found: Settled, bit_of: Sequence[int]) -> list[int]:
    """Per site a bit for each PoP that some route as good as the best leads to."""
    equals = [as_good(rules, site, held) for site, held in enumerate(found.holds)]
    masks = [0] * len(equals)
    growing = True
    while growing:
        growing = False
        for site, routes in enumerate(equals):
            bits = masks[site]
            for route in routes:
                bits |= 1 << bit_of[route.seed] if route.sender < 0 else masks[route.sender]
            growing |= bits != masks[site]
            masks[site] = bits
    return masks


def as_good(rules: Rules, site: int, held: Sequence[Held]) -> list[Held]:
    """The routes that a site would choose if their senders had the lowest key."""
    best = rules.choose(site, held)
    return [
        route
        for index, route in enumerate(held)
        if best is not None
        and _rank(route) == _rank(best)
        and (first := replace(route, key=-1)) == rules.choose(site, [*held[:index], first, *held[index + 1 :]])
    ]


def _rank(route: Held) -> tuple[int, int, bool, int]:
    return route.local_pref, len(route.path), route.external, route.metric

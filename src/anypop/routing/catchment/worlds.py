"""What the model cannot know, drawn by lot: ways in which ties are broken, and networks that decide otherwise.

In: an engine, a number. Out: `World`s: the same graph in which ties are broken in another order, and some networks are
not believed. Whoever compares two sets of announcements does so in the same worlds, so that only what they change
differs. The same number gives the same worlds. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from anypop.routing.engine.propagate import Engine, Outcome, Prepared
from anypop.routing.engine.seeds import Seed
from anypop.routing.internet.sites import Bool, Int64

# A graph alone is right for two networks in three, whose ways have four networks on average: each decides as the model
# says in nine of ten cases (0.9 ** 4 = 0.66).
DEVIANT = 0.1
WORLDS = 8  # each costs a propagation of every repair
_MOST_NEW = 16  # sessions that a repair adds


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One way it may be. `keys`: by which each of our sessions breaks ties, in the order of the announcements.
    `deviant`: per site whether its network decides otherwise than the model says.
    """

    engine: Engine
    now: Prepared
    keys: Int64
    deviant: Bool

    def run(self, seeds: Sequence[Seed]) -> Outcome | None:
        """Where everybody lands; None where the preferences asked for never come to rest."""
        return landed(self.engine, self.now, [replace(s, key=int(k)) for s, k in zip(seeds, self.keys, strict=False)])

    def doubted(self, outcome: Outcome, sites: Int64) -> Bool:
        """Of each of these sites whether some network on its way, itself included, decides otherwise."""
        found = np.zeros(len(sites), dtype=bool)
        going, here = np.arange(len(sites)), sites
        while len(going):
            found[going] |= self.deviant[here]
            after = outcome.sender[here]
            on = (after >= 0) & ~found[going]
            going, here = going[on], after[on].astype(np.int64)
        return found


def landed(engine: Engine, now: Prepared, seeds: Sequence[Seed]) -> Outcome | None:
    """Where everybody lands by these seeds; None where the preferences asked for never come to rest. `now`: those of
    now, prepared: where only prepends and what is withheld differ, nothing else is made again.
    """
    prepared = _variant(now, seeds) or engine.prepare(seeds)
    return engine.outcome(prepared, True) if engine.spread(prepared, ties=False) else None


def _variant(now: Prepared, seeds: Sequence[Seed]) -> Prepared | None:
    if len(seeds) != len(now.seeds):
        return None
    changed = [i for i, (old, new) in enumerate(zip(now.seeds, seeds, strict=True)) if old != new]
    for i in changed:
        if replace(now.seeds[i], prepend=seeds[i].prepend, announced=seeds[i].announced) != seeds[i]:
            return None
    return now.variant({i: seeds[i].prepend if seeds[i].announced else -1 for i in changed})


def drawn(engine: Engine, seeds: Sequence[Seed], *, number: int = WORLDS, seed: int = 0) -> tuple[World, ...]:
    """So many worlds. `seeds`: our announcements of now."""
    internet = engine.internet
    found = []
    for index in range(number):
        rng = np.random.default_rng((seed, index))
        order = rng.permutation(len(internet.asns)).astype(np.int64)
        own = engine.twin(order[internet.group])
        keys = rng.integers(0, len(order), len(seeds) + _MOST_NEW)
        found.append(
            World(
                engine=own,
                now=own.prepare([replace(s, key=int(k)) for s, k in zip(seeds, keys, strict=False)]),
                keys=keys,
                deviant=(rng.random(len(order)) < DEVIANT)[internet.group],
            )
        )
    return tuple(found)

"""Which PoPs a site could choose at all: compiled, over a finished propagation.

A site hears every neighbour's best route that the neighbour may send; the PoP behind each is a bit, in as many numbers
as it takes. The doctor looks for sites that heard of the right PoP and chose another. Kernels touch nothing but the
arrays they are given.
"""

# ruff: noqa: SIM114 - one condition per line of reasoning

from dataclasses import dataclass

import numpy as np

from anypop.model.names import CityCode
from anypop.routing.engine.arrays import MASKED, Actions, Graph, Sown, State, bits_of
from anypop.routing.engine.compiled import kernel
from anypop.routing.engine.propagate import Engine, Prepared
from anypop.routing.engine.settle import neighbours
from anypop.routing.engine.tolls import carried, passes, toll
from anypop.routing.internet.sites import Bool, Int32, Int64


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What some route that a site holds leads to, best or not. `bits[i]`: per site a bit for each PoP of the i-th 63 of
    `pops`.
    """

    pops: tuple[CityCode, ...]
    bits: tuple[Int64, ...]

    def of(self, sites: Int32 | Int64, wanted: Int32 | Int64) -> Bool:
        """Whether each of `sites` heard of its PoP: an index in `pops`, -1 for none of them."""
        found = np.zeros(len(sites), dtype=bool)
        for word, bits in enumerate(self.bits):
            here = wanted // MASKED == word
            found[here] = (bits[sites[here]] >> (wanted[here] % MASKED)) & 1 == 1
        return found


def heard(engine: Engine, prepared: Prepared) -> Heard:
    """Who hears of which PoPs by these announcements."""
    engine.spread(prepared, ties=False, recorded=True)
    found = []
    for first in range(0, len(prepared.pops), MASKED):
        bits = np.zeros(len(engine.internet), dtype=np.int64)
        sown = prepared.sown._replace(bit=bits_of(prepared.sown.pop, first))
        _heard(engine.graph, sown, prepared.actions, engine.state, bits)
        found.append(bits[engine.place])
    return Heard(pops=prepared.pops, bits=tuple(found))


@kernel
def _heard(g: Graph, a: Sown, t: Actions, s: State, bits: Int64) -> None:
    seeds = len(a.site)
    bits[:] = 0
    for i in range(seeds):
        if a.on[i]:
            bits[a.site[i]] |= a.bit[i]
    for source in range(5):
        start, to = neighbours(g, source)
        relation = 4 if source == 0 else 2 if source == 1 else 1 if source == 2 else 8
        for v in range(len(bits)):
            if start[v] == start[v + 1]:
                continue
            for j in range(start[v], start[v + 1]):
                u = to[j]
                here = s.site[u]
                if here.done != 2:
                    continue
                seed = here.seed
                bit = a.bit[seed]
                if bit == 0 or bits[v] & bit:
                    continue
                if source == 4:
                    if not here.external or a.flags[seed] & 2 or not carried(g, t, u, v, seed, seeds):
                        continue
                elif a.flags[seed] or (source < 2 and here.kind != 0) or passes(g, s, u, g.group[v]):
                    continue
                elif here.bare == 0 and toll(g, t, u, g.group[v], relation, seed, seeds, here.entered) < 0:
                    continue
                bits[v] |= bit

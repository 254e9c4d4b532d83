"""What an `Outcome` holds of each site, out of the engine's own arrays: one pass, in the order of the `Internet`.

In: graph, state after a propagation, and where each site is in the kernels' order. Out: the columns. `ranked`: all have
records; else most have only the word of whom they have their route from. Touches nothing but the columns.
"""

from typing import NamedTuple

import numpy as np

from anypop.routing.engine.arrays import KIND, LENGTH, NONE, NOTHING, RANKS, Graph, State, UInt8
from anypop.routing.engine.compiled import kernel
from anypop.routing.internet.sites import Int8, Int32, Int64


class Columns(NamedTuple):
    """As `Outcome` has them. `bare`: whether the route's communities were stripped."""

    kind: Int8
    length: Int32
    sender: Int32
    seed: Int32
    preference: Int32
    mask: Int64
    bare: UInt8


def empty(sites: int) -> Columns:
    """For so many sites, to be filled."""
    return Columns(
        kind=np.empty(sites, dtype=np.int8),
        length=np.empty(sites, dtype=np.int32),
        sender=np.empty(sites, dtype=np.int32),
        seed=np.empty(sites, dtype=np.int32),
        preference=np.empty(sites, dtype=np.int32),
        mask=np.empty(sites, dtype=np.int64),
        bare=np.empty(sites, dtype=np.uint8),
    )


@kernel
def fill(g: Graph, s: State, place: Int32, out: Columns, ranked: bool) -> None:
    """See the module. `place`: by site of the `Internet`."""
    for i in range(len(place)):
        v = place[i]
        word = np.int64(s.word[v])
        out.mask[i] = s.mask[v]
        if ranked or word & RANKS == 0:
            here = s.site[v]
            kind, sender = here.kind, here.sender
            out.length[i], out.seed[i], out.bare[i] = here.length, here.seed, here.bare
        elif word == NOTHING:
            kind, sender = NONE, -1
            out.length[i], out.seed[i], out.bare[i] = 0, -1, 0
        else:
            kind, sender = word >> KIND, g.by_rank[word & RANKS]
            out.length[i], out.seed[i], out.bare[i] = word >> LENGTH & 255, s.gives[sender] >> 1, s.gives[sender] & 1
        out.kind[i] = kind
        out.sender[i] = g.site[sender] if sender >= 0 else sender
        if ranked:
            out.preference[i] = s.rest[v].preference
        else:
            out.preference[i] = 0 if kind == NONE else 300 - 100 * kind

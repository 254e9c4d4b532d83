"""Which PoPs a site could choose at all: compiled, over a finished propagation.

A site hears every neighbour's best route that the neighbour may send; the PoP behind each is a bit. The doctor looks
for sites that heard of the right PoP and chose another. Touches nothing but the arrays it is given.
"""

# ruff: noqa: SIM114 - one condition per line of reasoning

from anypop.model.errors import Invalid
from anypop.routing.engine.arrays import MASKED, Actions, Graph, Sown, State
from anypop.routing.engine.compiled import kernel
from anypop.routing.engine.settle import neighbours
from anypop.routing.engine.spread import carried, passes, toll
from anypop.routing.internet.sites import Int64


def heard(g: Graph, a: Sown, t: Actions, s: State, bits: Int64) -> None:
    """Per site, a bit for each PoP that some route it holds leads to, best or not. Raises `Invalid` for more PoPs than
    a number has bits.
    """
    if (a.bit == 0).any():
        raise Invalid.one("pops", f"more than {MASKED}: who heard of which of them is worked out for so many at most")
    _heard(g, a, t, s, bits)


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
                seed = s.rest[u].seed
                bit = a.bit[seed]
                if bits[v] & bit:
                    continue
                if source == 4:
                    if not here.external or a.flags[seed] & 2 or not carried(g, t, u, v, seed, seeds):
                        continue
                elif a.flags[seed] or (source < 2 and here.kind != 0) or passes(g, s, u, g.group[v]):
                    continue
                elif here.bare == 0 and toll(g, t, u, g.group[v], relation, seed, seeds, here.entered) < 0:
                    continue
                bits[v] |= bit

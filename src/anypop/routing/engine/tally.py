"""Adding up what a propagation costs: compiled, so that a search over hundreds of changes spends its time on
propagating.

`cost` has a row per site and a column per PoP; the sum is over where every site landed. Touches nothing but what it
is given.
"""

# ruff: noqa: PLR0917 - a compiled function takes its arrays by position

from anypop.routing.engine.arrays import Graph, Sown, State
from anypop.routing.engine.compiled import kernel
from anypop.routing.internet.sites import Float, Int32


@kernel
def tally(g: Graph, a: Sown, s: State, cost: Float, none: Float, before: Int32) -> tuple[float, int]:
    """The cost of a finished propagation, and how many sites landed elsewhere than `before` (a PoP's index, -1 for
    none) says.

    `none[site]`: what it costs that the site has no route. All by the sites of the `Internet`.
    """
    total = 0.0
    moved = 0
    for v in range(len(s.site)):
        here = s.site[v]
        pop = -1 if here.done != 2 else a.pop[here.seed]
        place = g.site[v]
        total += none[place] if pop < 0 else cost[place, pop]
        moved += pop != before[place]
    return total, moved

"""Adding up what a propagation costs: compiled, so that a search over hundreds of changes spends its time on
propagating.

`cost` has a row per site and a column per PoP; the sum is over where every site landed. Touches nothing but what it
is given.
"""

from anypop.routing.engine.arrays import Sown, State
from anypop.routing.engine.compiled import kernel
from anypop.routing.internet.sites import Float, Int32


@kernel
def tally(a: Sown, s: State, cost: Float, none: Float, before: Int32) -> tuple[float, int]:
    """The cost of a finished propagation, and how many sites landed elsewhere than `before` (a PoP's index, -1 for
    none) says.

    `none[site]`: what it costs that the site has no route.
    """
    total = 0.0
    moved = 0
    site, rest = s.site, s.rest
    for v in range(len(site)):
        seed = rest[v].seed
        pop = -1 if site[v].done != 2 else a.pop[seed]
        total += none[v] if pop < 0 else cost[v, pop]
        moved += pop != before[v]
    return total, moved

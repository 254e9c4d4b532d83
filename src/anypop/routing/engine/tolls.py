"""The compiled engine: what an AS does to a route on its way to another, or to another site of its own.

In: graph, actions, who sends what to whom. Out: whether it is sent, and with how many prepends. Called by every kernel
that follows links; touches nothing.
"""

# ruff: noqa: PLR0917 - a compiled function takes its arrays by position

from anypop.routing.engine.arrays import ALLOW, DENY, DROP, KEEP, LONGEST, PREPEND, Actions, Graph, State
from anypop.routing.engine.compiled import kernel


@kernel
def toll(g: Graph, t: Actions, u: int, to: int, relation: int, seed: int, seeds: int, entered: int) -> int:
    """What site u's AS does to a route of `seed` on its way to the AS `to`, which is `relation` (a bit) to it: -1 not
    sent, else prepends.
    """
    book = t.book[g.group[u]]
    if book < 0:
        return 0
    here = g.region[u] * 7 + entered
    denied = False
    allowed = False
    extra = 0
    for row in range(t.start[book * seeds + seed], t.start[book * seeds + seed + 1]):
        act = t.act[row]
        if act == KEEP:
            if g.footprint[to] & ~(1 << t.amount[row]):
                return -1
            continue
        if act == DROP:  # it goes to no other AS
            return -1
        whom = t.whom[row]
        meant = whom - 16 == to if whom >= 16 else (whom & relation) != 0
        if not meant or not (t.table[row] >> here) & 1:
            continue
        if act == DENY:
            denied = True
        elif act == ALLOW:
            allowed = True
        elif act == PREPEND:
            extra += t.amount[row]
    return -1 if denied and not allowed else extra


@kernel
def carried(g: Graph, t: Actions, u: int, w: int, seed: int, seeds: int) -> bool:
    """Whether site u may tell site w of the same AS about a route of `seed`."""
    book = t.book[g.group[u]]
    if book < 0:
        return True
    for row in range(t.start[book * seeds + seed], t.start[book * seeds + seed + 1]):
        if t.act[row] == KEEP and g.region[w] < 6 and g.region[w] != t.amount[row]:
            return False
    return True


@kernel
def passes(g: Graph, s: State, u: int, group: int) -> bool:
    """Whether the way of site u goes through the AS `group`."""
    for _ in range(LONGEST):
        if g.group[u] == group:
            return True
        u = s.site[u].sender
        if u < 0:
            return False
    return True

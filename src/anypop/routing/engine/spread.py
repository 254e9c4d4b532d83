"""The compiled engine, part one: where each network's route leads, class by class.

Routes of customers climb by length (`levels`), cross one peering, and go down to customers. On their way down, nobody
tells: each site asks its providers once, who have all chosen, because they come before it. Where there is no such order
(siblings, an AS of several sites, providers in a ring) those that tell others hear by length instead. Exact for
relationships, prepends and every export action of communities. Local preference set by communities breaks the order of
the classes: `settle` corrects the result then. Touches nothing but the arrays it is given.
"""

# ruff: noqa: PLR0917 - a compiled function takes its arrays by position, and what runs per link calls nothing

from typing import Any

import numpy as np

from anypop.routing.engine.arrays import (
    FREE,
    KIND,
    LENGTH,
    LONGEST,
    NONE,
    NOTHING,
    PEER,
    PROVIDER,
    RANKS,
    Actions,
    Graph,
    Sown,
    State,
)
from anypop.routing.engine.compiled import kernel
from anypop.routing.engine.levels import link, phase, sow
from anypop.routing.engine.tolls import passes, toll


@kernel
def spread(g: Graph, a: Sown, t: Actions, s: State, ties: bool) -> None:
    """Propagate all seeds that are on; `s` holds the result. `ties`: also all equally good PoPs."""
    site, word = s.site, s.word
    for v in range(g.tellers[0]):
        site[v].done = 0
        site[v].bound = FREE
    for v in a.site:  # a leaf has a record only where we announce to it
        site[v].done = 0
        site[v].bound = FREE
    word[:] = NOTHING
    s.head[:] = -1
    sow(a, s, 0)
    climbed = phase(g, a, t, s, 0, 0, 0, ties)
    for i in range(climbed):
        tell(g, a, t, s, s.order[i])
    tell_peers(g, a, t, s, climbed, ties)
    # Where nobody waits for the way down, lengths matter only to those that hear of us too.
    hear_peers(g, a, s, 0 if g.downhill[0] else g.tellers[0])
    sow(a, s, 1)
    chosen = phase(g, a, t, s, 1, climbed, climbed, ties)
    if not g.downhill[0]:
        chosen = phase(g, a, t, s, 2, climbed, chosen, ties)
    for i in range(climbed, chosen):
        tell(g, a, t, s, s.order[i])
    descend(g, a, t, s, ties)


@kernel
def tell_peers(g: Graph, a: Sown, t: Actions, s: State, climbed: int, ties: bool) -> None:
    """The sites `order[:climbed]`, which have customers' routes, tell their peers; of what a site hears the best stays
    in its word.
    """
    start, to, site, word, mask, wide = g.peer, g.peer_to, s.site, s.word, s.mask, g.wide
    seeds = len(a.site)
    some = len(t.act) > 0
    plain = len(g.inner_to) == 0
    for position in range(climbed):
        u = s.order[position]
        here = site[u]
        seed = here.seed
        if start[u] == start[u + 1] or a.flags[seed]:
            continue
        bits = mask[u]
        bound = PEER | ((np.int64(here.length) + 1) << LENGTH) | g.rank[u]
        acts = some and here.bare == 0 and t.book[g.group[u]] >= 0
        if acts or here.length >= LONGEST or not plain:
            for i in range(start[u], start[u + 1]):
                v = to[i]
                length = np.int64(here.length) + 1
                if acts:
                    extra = toll(g, t, u, g.group[v], 2, seed, seeds, here.entered)
                    if extra < 0:
                        continue
                    length += extra
                bound = PEER | (length << LENGTH) | g.rank[u]
                best = word[v]
                if length > LONGEST or bound >> LENGTH > best >> LENGTH or (wide[v] and passes(g, s, u, g.group[v])):
                    continue
                mask[v] = bits if bound >> LENGTH < best >> LENGTH else mask[v] | bits
                word[v] = min(bound, best)
            continue
        # No branches: which of two is better is what a processor guesses wrong. And no signs, or it looks at each.
        word_of_all = np.uint32(bound)
        for i in range(np.uint32(start[u]), np.uint32(start[u + 1])):
            v = np.uint32(to[i])
            best = word[v]
            if ties:
                older = mask[v] if best >> LENGTH <= bound >> LENGTH else np.int64(0)
                mask[v] = older | (bits if bound >> LENGTH <= best >> LENGTH else np.int64(0))
            word[v] = min(word_of_all, best)


@kernel
def hear_peers(g: Graph, a: Sown, s: State, tellers: int) -> None:
    """The first `tellers`, and who is told by us, wait at the length of what their peers offer."""
    site, word = s.site, s.word
    for i in range(tellers + len(a.site)):
        v = i if i < tellers else a.site[i - tellers]
        best = word[v]
        here = site[v]
        if best < PEER or best >= PROVIDER or here.done != 0:
            continue
        sender = g.by_rank[best & RANKS]
        here.done = 1
        here.length = best >> LENGTH & 255
        here.bound = (np.int64(here.length) << 32) | (np.int64(g.rank[sender]) * (len(a.site) + 1))
        here.sender = sender
        here.bare = site[sender].bare | g.strips[sender]
        link(s, v, here.length)


@kernel
def descend(g: Graph, a: Sown, t: Actions, s: State, ties: bool) -> None:
    """Sites ask their providers, each after these, and who tells others does. Sites that lie side by side and have as
    many providers ask together: all their first one, then all their second one. Nothing is left to guess then.
    """
    word, told, up_to = s.word, s.told, g.up_to
    one_by_one = ties or len(t.act) > 0
    begin = 0 if g.downhill[0] else g.tellers[0]
    for v in range(begin):
        if s.site[v].done != 2:  # all have chosen already, or never will
            record(g, s, v)
            tell(g, a, t, s, v)
    for block in range(len(g.alike) - 1):
        first, last = np.uint32(g.alike[block]), np.uint32(g.alike[block + 1])
        if first < begin:
            continue
        if one_by_one:
            for v in range(first, last):
                if word[v] >= PROVIDER:
                    word[v] = asked(g, t, s, len(a.site), v, ties)
        else:
            number = g.up[first + 1] - g.up[first]
            for which in range(number):
                i = g.up[first] + which
                for v in range(first, last):
                    word[v] = min(word[v], told[np.uint32(up_to[i])])
                    i += number
        if first < g.tellers[0]:
            for v in range(first, last):
                if s.site[v].done != 2:
                    record(g, s, v)
                    tell(g, a, t, s, v)


@kernel
def tell(g: Graph, a: Sown, t: Actions, s: State, v: int) -> None:
    """Site v, where it has a route, tells its customers; its record is its result."""
    here = s.site[v]
    s.told[v] = NOTHING
    if here.done != 2:
        return
    s.word[v] = (np.int64(here.kind) << KIND) | (np.int64(here.length) << LENGTH)
    s.gives[v] = here.seed << 1 | here.bare | g.strips[v]
    if a.flags[here.seed] or here.length >= LONGEST:
        return
    if len(t.act) > 0 and here.bare == 0 and t.book[g.group[v]] >= 0:
        s.told[v] = 0
    else:
        s.told[v] = PROVIDER | ((np.int64(here.length) + 1) << LENGTH) | g.rank[v]


@kernel
def asked(g: Graph, t: Actions, s: State, seeds: int, v: int, ties: bool) -> int:
    """The best of what site v has, and its providers have told it."""
    best: Any = np.int64(s.word[v])
    some = s.mask[v] if best != NOTHING else np.int64(0)
    for i in range(np.uint32(g.up[v]), np.uint32(g.up[v + 1])):
        u: Any = np.uint32(g.up_to[i])
        bound: Any = np.int64(s.told[u])
        if bound == 0:
            here = s.site[u]
            extra = toll(g, t, u, g.group[v], 1, here.seed, seeds, here.entered)
            length = np.int64(here.length) + 1 + extra
            bound = PROVIDER | (length << LENGTH) | g.rank[u] if extra >= 0 and length <= LONGEST else NOTHING
        if ties:
            older = some if best >> LENGTH <= bound >> LENGTH else np.int64(0)
            some = older | (s.mask[u] if bound >> LENGTH <= best >> LENGTH else np.int64(0))
        best = min(bound, best)
    if ties:
        s.mask[v] = some if best != NOTHING else np.int64(0)  # who was told nothing is as good as who has nothing
    return int(best)


@kernel
def record(g: Graph, s: State, v: int) -> None:
    """The record of a site that heard from another AS or nothing."""
    here = s.site[v]
    best = np.int64(s.word[v])
    if best == NOTHING:
        here.done = 0
        here.kind = NONE
        here.length = 0
        here.sender = -1
        here.seed = -1
        s.mask[v] = 0
        return
    here.done = 2
    here.kind = best >> KIND
    here.length = best >> LENGTH & 255
    here.external = 1
    here.entered = g.region[v]
    here.sender = g.by_rank[best & RANKS]
    here.seed = s.gives[here.sender] >> 1
    here.bare = s.gives[here.sender] & 1


@kernel
def records(g: Graph, s: State) -> None:
    """Leaves have their results as records too."""
    for v in range(g.tellers[0], len(s.word)):
        if s.word[v] & RANKS:
            record(g, s, v)

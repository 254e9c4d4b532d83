"""The compiled engine: one class of routes, from the shortest to the longest.

Sites wait in a list for each length; who is in the next list has his route, tells the other sites of his AS, which take
the nearest exit, and his neighbours, who wait at the length that this makes. In: what is announced, and the classes
before this one. Out: records of the sites that got a route, in `order`. Touches nothing but the arrays it is given.
"""

# ruff: noqa: PLR0917, PLR0915 - a compiled function takes its arrays by position, and what runs per link calls nothing

import numpy as np

from anypop.routing.engine.arrays import FREE, LONGEST, WIDE, Actions, Graph, Sown, State
from anypop.routing.engine.compiled import kernel
from anypop.routing.engine.tolls import carried, passes, toll


@kernel
def unlink(s: State, v: int) -> None:
    """Take a waiting site out of the list of its length."""
    links = s.rest[v]
    if links.before >= 0:
        s.rest[links.before].after = links.after
    else:
        s.head[s.site[v].length] = links.after
    if links.after >= 0:
        s.rest[links.after].before = links.before
    s.site[v].done = 0
    s.site[v].bound = FREE


@kernel
def link(s: State, v: int, length: int) -> None:
    """Put a site at the head of the list of `length`."""
    first = s.head[length]
    s.rest[v].after = first
    s.rest[v].before = -1
    if first >= 0:
        s.rest[first].before = v
    s.head[length] = v


@kernel
def sow(a: Sown, s: State, kind: int) -> None:
    """Our own announcements of one class reach their upstreams."""
    for i in range(len(a.site)):
        v = a.site[i]
        here = s.site[v]
        if not a.on[i] or a.kind[i] != kind or here.done == 2 or a.length[i] > LONGEST:
            continue
        bit = a.bit[i]
        bound = (np.int64(a.length[i]) << 32) | a.tie[i]
        if here.done == 1 and here.length == a.length[i]:
            s.mask[v] |= bit
        if bound >= here.bound:
            continue
        if here.done == 1 and here.length > a.length[i]:
            unlink(s, v)
        if here.done == 0:
            link(s, v, a.length[i])
            s.mask[v] = bit
        here.done = 1
        here.bound = bound
        here.length = a.length[i]
        here.sender = -1 - i
        here.bare = 0


@kernel
def push(g: Graph, a: Sown, t: Actions, s: State, begin: int, stop: int, kind_of: int, ties: bool) -> None:
    """The sites `order[begin:stop]` tell neighbours: `kind_of` 0 their providers, 2 customers (but for leaves: `ask`),
    3 siblings. Of what a site hears, the shortest stays, then the sender of the lowest rank; masks of
    equals unite.
    """
    if kind_of == 0:
        start, to, relation = g.up, g.up_to, 4
    elif kind_of == 2:
        start, to, relation = g.transit, g.transit_to, 1
    else:
        start, to, relation = g.sibling, g.sibling_to, 8
    group, rank, strips, book, flags = g.group, g.rank, g.strips, t.book, a.flags
    site, rest, mask, head, order = s.site, s.rest, s.mask, s.head, s.order
    seeds = len(a.site)
    some = len(t.act) > 0
    for position in range(begin, stop):
        u = order[position]
        if start[u] == start[u + 1]:
            continue
        here = site[u]
        seed = here.seed
        if flags[seed]:
            continue
        tie = np.int64(rank[u]) * (seeds + 1)
        acts = some and here.bare == 0 and book[group[u]] >= 0
        bare = 1 if here.bare or strips[u] else 0
        length = np.int64(here.length) + 1
        bound = (length << 32) | tie
        for i in range(start[u], start[u + 1]):
            v = to[i]
            there = site[v]
            if acts:
                extra = toll(g, t, u, group[v], relation, seed, seeds, here.entered)
                if extra < 0:
                    continue
                length = np.int64(here.length) + 1 + extra
                bound = (length << 32) | tie
            if bound >= there.bound:
                if ties and there.bound >> 32 == length and not (there.traits & WIDE and passes(g, s, u, group[v])):
                    mask[v] |= mask[u]
                continue
            if length > LONGEST or (there.traits & WIDE and passes(g, s, u, group[v])):
                continue
            fresh = there.bound >> 32 != length
            if ties:
                mask[v] = mask[u] if fresh else mask[v] | mask[u]
            if fresh:
                if there.done == 1:
                    unlink(s, v)
                # The body of `link` once more: a call would count references, which costs more than all it does.
                first = head[length]
                links = rest[v]
                links.after = first
                links.before = -1
                if first >= 0:
                    rest[first].before = v
                head[length] = v
            there.done = 1
            there.bound = bound
            there.length = length
            there.sender = u
            there.bare = bare


@kernel
def arrive(g: Graph, s: State, level: int, kind: int, tail: int) -> int:
    """All that wait at one length have their routes from outside. Returns the new end of `order`."""
    site, rest, order, region = s.site, s.rest, s.order, g.region
    v = s.head[level]
    s.head[level] = -1
    while v >= 0:
        here = site[v]
        here.done = 2
        here.bound = -1
        here.kind = kind
        here.external = 1
        here.entered = region[v]
        here.seed = -1 - here.sender if here.sender < 0 else site[here.sender].seed
        more = rest[v]
        more.metric = 0
        order[tail] = v
        tail += 1
        v = more.after
    return tail


@kernel
def tell_inside(g: Graph, a: Sown, t: Actions, s: State, begin: int, tail: int) -> int:
    """The sites `order[begin:tail]` tell the others of their AS, which take the nearest exit. Returns the new end of
    `order`.
    """
    outside = tail
    seeds = len(a.site)
    for i in range(begin, outside):
        u = s.order[i]
        here = s.site[u]
        seed = here.seed
        if not g.wide[u] or a.flags[seed] & 2:
            continue
        bound = (np.int64(here.length) << 32) | (np.int64(g.rank[u]) * (seeds + 1))
        for j in range(g.inner[u], g.inner[u + 1]):
            w = g.inner_to[j]
            there = s.site[w]
            if there.done == 2 or (here.bare == 0 and not carried(g, t, u, w, seed, seeds)):
                continue
            km = g.inner_km[j]
            more = s.rest[w]
            if there.done == 3:
                if km > more.metric:
                    continue
                if km == more.metric:
                    s.mask[w] |= s.mask[u]
                    if bound > there.bound:
                        continue
                else:
                    s.mask[w] = s.mask[u]
            else:
                if there.done == 1:
                    unlink(s, w)
                there.done = 3
                s.mask[w] = s.mask[u]
                s.order[tail] = w
                tail += 1
            there.kind = here.kind
            there.length = here.length
            there.external = 0
            there.bound = bound
            there.sender = u
            there.seed = seed
            more.metric = km
            there.bare = here.bare
            there.entered = g.region[u]
    for i in range(outside, tail):
        s.site[s.order[i]].done = 2
        s.site[s.order[i]].bound = -1
    return tail


@kernel
def phase(g: Graph, a: Sown, t: Actions, s: State, kind: int, climbed: int, tail: int, ties: bool) -> int:
    """One class of routes, from the shortest to the longest. Sites `order[:climbed]` have customers' routes and
    `order[climbed:tail]` peers'; both lists are in order of length. Returns how many sites have a route afterwards.
    """
    first, second, crossed = 0, climbed, tail
    for level in range(1, LONGEST + 1):
        begin = tail
        if s.head[level] >= 0:
            tail = arrive(g, s, level, kind, tail)
            if len(g.inner_to):
                tail = tell_inside(g, a, t, s, begin, tail)
        # Who tells whom at this length. One call of `push` for all, since the compiler copies it into every place that
        # calls it.
        for telling in range(4):
            since, until, to = begin, tail, kind
            if telling == 0 and kind == 1:
                continue  # peers' routes go on to customers alone: in the next phase
            if telling == 1:
                to = 3
                if len(g.sibling_to) == 0:
                    continue
            elif telling == 2:
                since, until = first, first
                while kind > 1 and until < climbed and s.site[s.order[until]].length == level:
                    until += 1
                first = until
            elif telling == 3:
                since, until = second, second
                while kind > 1 and until < crossed and s.site[s.order[until]].length == level:
                    until += 1
                second = until
            if until > since:
                push(g, a, t, s, since, until, to, ties)
    return tail

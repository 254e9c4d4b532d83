"""The compiled engine, part one: three phases over integer arrays, in order of path length.

Routes of customers climb level by level, cross one peering, and go down to customers; siblings hand on what they
have; the sites of one AS tell each other and take the nearest exit. Exact for relationships, prepends and every
export action of communities. Local preference set by communities breaks the order of the phases: `settle` corrects
the result then. Touches nothing but the arrays it is given.
"""

# ruff: noqa: PLR0917, PLR0915 - a compiled function takes its arrays by position, and what runs per link calls nothing

import numpy as np

from anypop.routing.engine.arrays import (
    ALLOW,
    DENY,
    DROP,
    FREE,
    KEEP,
    LONGEST,
    NONE,
    PREPEND,
    WIDE,
    Actions,
    Graph,
    Sown,
    State,
)
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
        bound = (a.length[i] << 32) | a.tie[i]
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
    """The sites `order[begin:stop]` tell neighbours: `kind_of` 0 their providers, 1 peers, 2 customers (but for
    leaves: `ask`), 3 siblings. Of what a site hears, the shortest stays, then the sender of the lowest rank; masks of
    equals unite.
    """
    if kind_of == 0:
        start, to, relation = g.up, g.up_to, 4
    elif kind_of == 1:
        start, to, relation = g.peer, g.peer_to, 2
    elif kind_of == 2:
        start, to, relation = g.transit, g.transit_to, 1
    else:
        start, to, relation = g.sibling, g.sibling_to, 8
    group, rank, strips, book, flags = g.group, g.rank, g.strips, t.book, a.flags
    site, rest, mask, head, order = s.site, s.rest, s.mask, s.head, s.order
    seeds = len(a.site)
    for position in range(begin, stop):
        u = order[position]
        if start[u] == start[u + 1]:
            continue
        here = site[u]
        seed = rest[u].seed
        if flags[seed]:
            continue
        tie = np.int64(rank[u]) * (seeds + 1)
        acts = here.bare == 0 and book[group[u]] >= 0
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
        more = rest[v]
        more.seed = -1 - here.sender if here.sender < 0 else rest[here.sender].seed
        more.preference = 300 - 100 * kind
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
        if not g.wide[u] or a.flags[s.rest[u].seed] & 2:
            continue
        here = s.site[u]
        seed = s.rest[u].seed
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
            more.preference = s.rest[u].preference
            more.metric = km
            more.seed = seed
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
                while kind > 0 and until < climbed and s.site[s.order[until]].length == level:
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


@kernel
def lonely(s: State, v: int) -> None:
    """Site v has no route."""
    here = s.site[v]
    here.done = 0
    here.kind = NONE
    here.length = 0
    here.sender = -1
    s.rest[v].seed = -1
    s.rest[v].preference = 0
    s.mask[v] = 0


@kernel
def ask(g: Graph, a: Sown, t: Actions, s: State, ties: bool) -> None:
    """Leaves without a route so far ask their providers, who all have chosen: in the order in which they lie in memory,
    since they are most of the Internet.
    """
    group, rank, up, up_to, region = g.group, g.rank, g.up, g.up_to, g.region
    site, rest, mask, offer = s.site, s.rest, s.mask, s.offer
    seeds = len(a.site)
    for u in g.teller:
        here = site[u]
        if here.done != 2 or a.flags[rest[u].seed] or here.length >= LONGEST:
            offer[u] = FREE
        elif here.bare == 0 and t.book[group[u]] >= 0:
            offer[u] = -1
        else:
            offer[u] = ((np.int64(here.length) + 1) << 32) | (np.int64(rank[u]) * (seeds + 1))
    for v in g.leaf:
        here = site[v]
        if here.done == 2:
            continue
        best = FREE
        sender = -1
        some = np.int64(0)
        for i in range(up[v], up[v + 1]):
            u = up_to[i]
            bound = offer[u]
            if bound < 0:
                extra = toll(g, t, u, group[v], 1, rest[u].seed, seeds, site[u].entered)
                length = np.int64(site[u].length) + 1 + extra
                if extra < 0 or length > LONGEST:
                    continue
                bound = (length << 32) | (np.int64(rank[u]) * (seeds + 1))
            if ties and bound < FREE:
                if bound >> 32 < best >> 32:
                    some = mask[u]
                elif bound >> 32 == best >> 32:
                    some |= mask[u]
            if bound < best:
                best = bound
                sender = u
        if sender < 0:
            lonely(s, v)
            continue
        mask[v] = some
        here.done = 2
        here.bound = -1
        here.kind = 2
        here.length = best >> 32
        here.external = 1
        here.entered = region[v]
        here.sender = sender
        here.bare = 1 if site[sender].bare or g.strips[sender] else 0
        more = rest[v]
        more.seed = rest[sender].seed
        more.preference = 100
        more.metric = 0


@kernel
def spread(g: Graph, a: Sown, t: Actions, s: State, ties: bool) -> None:
    """Propagate all seeds that are on; `s` holds the result. `ties`: also all equally good PoPs."""
    site = s.site
    for v in range(len(site)):
        site[v].done = 0
        site[v].bound = FREE
    s.head[:] = -1
    climbed = 0
    total = 0
    for kind in range(3):
        sow(a, s, kind)
        total = phase(g, a, t, s, kind, climbed, total, ties)
        if kind == 0:
            climbed = total
    ask(g, a, t, s, ties)
    for v in g.teller:
        if site[v].done != 2:
            lonely(s, v)

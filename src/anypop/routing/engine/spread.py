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
        bound = (np.int64(a.length[i]) << 32) | a.tie[i]
        if kind == 1:
            hear(s, v, bound, -1 - i, bit)
            continue
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
def hear(s: State, v: int, bound: int, sender: int, bits: int) -> None:
    """A site is offered a route by a peer, or by us as one."""
    best = s.offer[v]
    if bound >> 32 == best >> 32:
        s.mask[v] |= bits
    elif bound < best:
        s.mask[v] = bits
    if bound < best:
        s.offer[v] = bound
        s.by[v] = sender


@kernel
def tell_peers(g: Graph, a: Sown, t: Actions, s: State, climbed: int, ties: bool) -> None:
    """The sites `order[:climbed]`, which have customers' routes, tell their peers. Those take the best, and wait at its
    length; leaves wait until they ask their providers (`ask`).
    """
    start, to, site, offer, by, mask, group, wide = g.peer, g.peer_to, s.site, s.offer, s.by, s.mask, g.group, g.wide
    seeds = len(a.site)
    some = len(t.act) > 0
    for position in range(climbed):
        u = s.order[position]
        here = site[u]
        seed = here.seed
        if start[u] == start[u + 1] or a.flags[seed]:
            continue
        tie = np.int64(g.rank[u]) * (seeds + 1)
        bound = ((np.int64(here.length) + 1) << 32) | tie
        acts = some and here.bare == 0 and t.book[group[u]] >= 0
        if acts or ties or here.length >= LONGEST:
            for i in range(start[u], start[u + 1]):
                v = to[i]
                length = np.int64(here.length) + 1
                if acts:
                    extra = toll(g, t, u, group[v], 2, seed, seeds, here.entered)
                    if extra < 0:
                        continue
                    length += extra
                if length <= LONGEST and not (wide[v] and passes(g, s, u, group[v])):
                    hear(s, v, int((length << 32) | tie), u, mask[u])
            continue
        for i in range(start[u], start[u + 1]):
            v = to[i]
            best = offer[v]
            if bound < best and not (wide[v] and passes(g, s, u, group[v])):
                offer[v] = bound
                by[v] = u
    for v in range(g.tellers[0]):
        there = site[v]
        bound = offer[v]
        if bound < 0 or bound == FREE:
            continue
        sender = by[v]
        there.done = 1
        there.bound = bound
        there.length = bound >> 32
        there.sender = sender
        there.bare = 0 if sender < 0 else site[sender].bare | g.strips[sender]
        link(s, v, bound >> 32)


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


@kernel
def lonely(s: State, v: int) -> None:
    """Site v has no route."""
    here = s.site[v]
    here.done = 0
    here.kind = NONE
    here.length = 0
    here.sender = -1
    here.seed = -1
    s.mask[v] = 0


@kernel
def ask(g: Graph, a: Sown, t: Actions, s: State, ties: bool) -> None:
    """Leaves that have heard nothing from peers ask their providers, who all have chosen; and all leaves choose. In the
    order in which they lie in memory, since they are most of the Internet.
    """
    group, rank, up, up_to, region, strips = g.group, g.rank, g.up, g.up_to, g.region, g.strips
    site, mask, offer = s.site, s.mask, s.offer
    seeds = len(a.site)
    acting = len(t.act) > 0
    for u in range(g.tellers[0]):
        here = site[u]
        s.by[u] = here.seed << 1 | here.bare | strips[u]
        if here.done != 2 or a.flags[here.seed] or here.length >= LONGEST:
            offer[u] = FREE
        elif acting and here.bare == 0 and t.book[group[u]] >= 0:
            offer[u] = -1
        else:
            offer[u] = ((np.int64(here.length) + 1) << 32) | (np.int64(rank[u]) * (seeds + 1))
    for v in range(g.tellers[0], len(site)):
        best = offer[v]
        if best < 0:  # it has a customer's route: ours
            continue
        kind = 1
        sender = s.by[v]
        some = mask[v]
        if best == FREE:
            kind = 2
            some = np.int64(0)
            for i in range(up[v], up[v + 1]):
                u = up_to[i]
                bound = offer[u]
                if bound < 0:
                    extra = toll(g, t, u, group[v], 1, site[u].seed, seeds, site[u].entered)
                    length = np.int64(site[u].length) + 1 + extra
                    bound = FREE
                    if extra >= 0 and length <= LONGEST:
                        bound = (length << 32) | (np.int64(rank[u]) * (seeds + 1))
                if ties:
                    if bound >> 32 < best >> 32:
                        some = mask[u]
                    elif bound >> 32 == best >> 32:
                        some |= mask[u]
                sender = u if bound < best else sender
                best = min(bound, best)
            if best == FREE:
                lonely(s, v)
                continue
        here = site[v]
        here.done = 2
        here.kind = kind
        here.length = best >> 32
        here.external = 1
        here.entered = region[v]
        here.sender = sender
        if ties:
            mask[v] = some
        if sender < 0:
            here.seed = -1 - sender
            here.bare = 0
        else:
            here.seed = s.by[sender] >> 1
            here.bare = s.by[sender] & 1


@kernel
def spread(g: Graph, a: Sown, t: Actions, s: State, ties: bool) -> None:
    """Propagate all seeds that are on; `s` holds the result. `ties`: also all equally good PoPs."""
    site, offer = s.site, s.offer
    tellers = g.tellers[0]
    for v in range(tellers):
        site[v].done = 0
        site[v].bound = FREE
    for v in a.site:  # a leaf waits for its turn only where we announce to it
        site[v].done = 0
        site[v].bound = FREE
    for v in range(len(site)):
        offer[v] = FREE
    s.head[:] = -1
    climbed = 0
    total = 0
    for kind in range(3):
        sow(a, s, kind)
        if kind == 1:
            tell_peers(g, a, t, s, climbed, ties)
        total = phase(g, a, t, s, kind, climbed, total, ties)
        if kind == 0:
            climbed = total
            for i in range(climbed):
                offer[s.order[i]] = -1
    ask(g, a, t, s, ties)
    for v in range(tellers):
        if site[v].done != 2:
            lonely(s, v)

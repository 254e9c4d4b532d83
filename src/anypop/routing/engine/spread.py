"""The compiled engine, part one: three phases over integer arrays, in order of path length.

Routes of customers climb level by level, cross one peering, and go down to customers; siblings hand on what they
have; the sites of one AS tell each other and take the nearest exit. Exact for relationships, prepends and every
export action of communities. Local preference set by communities breaks the order of the phases: `settle` corrects
the result then. Touches nothing but the arrays it is given.
"""

# ruff: noqa: PLR0917, PLR0915 - a compiled function takes its arrays by position, and what runs per link calls nothing

from anypop.routing.engine.arrays import ALLOW, DENY, KEEP, LONGEST, NONE, PREPEND, Actions, Graph, Sown, State
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
    here = s.site[v]
    if here.before >= 0:
        s.site[here.before].after = here.after
    else:
        s.head[here.length] = here.after
    if here.after >= 0:
        s.site[here.after].before = here.before
    here.done = 0


@kernel
def wait(s: State, v: int, length: int, sender: int, seed: int, tie: int, bare: int) -> None:
    """Site v waits at `length` with this route."""
    here = s.site[v]
    here.done = 1
    here.length = length
    here.sender = sender
    here.seed = seed
    here.tie = tie
    here.bare = bare
    first = s.head[length]
    here.after = first
    here.before = -1
    if first >= 0:
        s.site[first].before = v
    s.head[length] = v


@kernel
def sow(a: Sown, s: State, kind: int) -> None:
    """Our own announcements of one class reach their upstreams."""
    for i in range(len(a.site)):
        v = a.site[i]
        here = s.site[v]
        if not a.on[i] or a.kind[i] != kind or here.done == 2 or a.length[i] > LONGEST:
            continue
        bit = 1 << a.pop[i]
        if here.done == 1 and a.length[i] == here.length:
            s.mask[v] |= bit
            if a.tie[i] < here.tie:
                here.tie = a.tie[i]
                here.sender = -1 - i
                here.seed = i
                here.bare = 0
            continue
        if here.done == 1:
            if a.length[i] > here.length:
                continue
            unlink(s, v)
        wait(s, v, a.length[i], -1 - i, i, a.tie[i], 0)
        s.mask[v] = bit


@kernel
def push(g: Graph, a: Sown, t: Actions, s: State, begin: int, stop: int, kind_of: int, ties: bool) -> None:
    """The sites `order[begin:stop]` tell neighbours: `kind_of` 0 their providers, 1 peers, 2 customers, 3 siblings.
    Of what a site hears, the shortest stays, then the sender of the lowest rank; masks of equals unite.
    """
    if kind_of == 0:
        start, to, relation = g.up, g.up_to, 4
    elif kind_of == 1:
        start, to, relation = g.peer, g.peer_to, 2
    elif kind_of == 2:
        start, to, relation = g.down, g.down_to, 1
    else:
        start, to, relation = g.sibling, g.sibling_to, 8
    group, rank, wide, strips, book, flags = g.group, g.rank, g.wide, g.strips, t.book, a.flags
    site, mask, head, order = s.site, s.mask, s.head, s.order
    seeds = len(a.site)
    for position in range(begin, stop):
        u = order[position]
        if start[u] == start[u + 1]:
            continue
        here = site[u]
        seed = here.seed
        if flags[seed]:
            continue
        tie = rank[u] * (seeds + 1)
        acts = here.bare == 0 and book[group[u]] >= 0
        bare = 1 if here.bare or strips[u] else 0
        length = here.length + 1
        for i in range(start[u], start[u + 1]):
            v = to[i]
            there = site[v]
            if there.done == 2:
                continue
            if acts:
                extra = toll(g, t, u, group[v], relation, seed, seeds, here.entered)
                if extra < 0:
                    continue
                length = here.length + 1 + extra
            if length > LONGEST or (there.done == 1 and length > there.length) or (wide[v] and passes(g, s, u, group[v])):
                continue
            if there.done == 1:
                if length == there.length:
                    if ties:
                        mask[v] |= mask[u]
                    if tie < there.tie:
                        there.tie = tie
                        there.sender = u
                        there.seed = seed
                        there.bare = bare
                    continue
                if not (there.leaf and kind_of == 2):
                    unlink(s, v)
            # The body of `wait` once more: it runs for every site of the graph, and a call costs more than all it does.
            there.done = 1
            there.length = length
            there.sender = u
            there.seed = seed
            there.tie = tie
            there.bare = bare
            if ties:
                mask[v] = mask[u]
            if there.leaf and kind_of == 2:
                continue  # most of the Internet: it need not wait in a list, since it has nobody to tell
            first = head[length]
            there.after = first
            there.before = -1
            if first >= 0:
                site[first].before = v
            head[length] = v


@kernel
def arrive(g: Graph, s: State, level: int, kind: int, tail: int) -> int:
    """All that wait at one length have their routes from outside. Returns the new end of `order`."""
    site, order, region = s.site, s.order, g.region
    v = s.head[level]
    s.head[level] = -1
    while v >= 0:
        here = site[v]
        here.done = 2
        here.kind = kind
        here.preference = 300 - 100 * kind
        here.external = 1
        here.metric = 0
        here.entered = region[v]
        order[tail] = v
        tail += 1
        v = here.after
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
        if not g.wide[u] or a.flags[s.site[u].seed] & 2:
            continue
        here = s.site[u]
        tie = g.rank[u] * (seeds + 1)
        for j in range(g.inner[u], g.inner[u + 1]):
            w = g.inner_to[j]
            there = s.site[w]
            if there.done == 2 or (here.bare == 0 and not carried(g, t, u, w, here.seed, seeds)):
                continue
            km = g.inner_km[j]
            if there.done == 3:
                if km > there.metric:
                    continue
                if km == there.metric:
                    s.mask[w] |= s.mask[u]
                    if tie > there.tie:
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
            there.preference = here.preference
            there.length = here.length
            there.external = 0
            there.metric = km
            there.tie = tie
            there.sender = u
            there.seed = here.seed
            there.bare = here.bare
            there.entered = g.region[u]
    for i in range(outside, tail):
        s.site[s.order[i]].done = 2
    return tail


@kernel
def phase(g: Graph, a: Sown, t: Actions, s: State, kind: int, climbed: int, tail: int, ties: bool) -> int:
    """One class of routes, from the shortest to the longest. Sites `order[:climbed]` have customers' routes and
    `order[climbed:tail]` peers'; both lists are in order of length. Returns how many sites have a route afterwards.
    """
    first, second, crossed = 0, climbed, tail
    inside = len(g.inner_to) > 0
    siblings = len(g.sibling_to) > 0
    for level in range(1, LONGEST + 1):
        begin = tail
        if s.head[level] >= 0:
            tail = arrive(g, s, level, kind, tail)
            if inside:
                tail = tell_inside(g, a, t, s, begin, tail)
            if kind != 1:
                push(g, a, t, s, begin, tail, kind, ties)
            if siblings:
                push(g, a, t, s, begin, tail, 3, ties)
        until = first
        while kind > 0 and until < climbed and s.site[s.order[until]].length == level:
            until += 1
        if until > first:
            push(g, a, t, s, first, until, kind, ties)
            first = until
        until = second
        while kind > 1 and until < crossed and s.site[s.order[until]].length == level:
            until += 1
        if until > second:
            push(g, a, t, s, second, until, kind, ties)
            second = until
    return tail


@kernel
def spread(g: Graph, a: Sown, t: Actions, s: State, ties: bool) -> int:
    """Propagate all seeds that are on. Returns the number of sites that have a route; `s` holds it. `ties`: also all
    equally good PoPs.
    """
    site, mask = s.site, s.mask
    for v in range(len(site)):
        site[v].done = 0
        site[v].sender = -1
        mask[v] = 0
    s.head[:] = -1
    sow(a, s, 0)
    climbed = phase(g, a, t, s, 0, 0, 0, ties)
    sow(a, s, 1)
    crossed = phase(g, a, t, s, 1, climbed, climbed, ties)
    total = phase(g, a, t, s, 2, climbed, crossed, ties)
    region = g.region
    for v in range(len(site)):
        here = site[v]
        if here.done == 1:
            here.done = 2
            here.kind = 2
            here.preference = 100
            here.external = 1
            here.metric = 0
            here.entered = region[v]
            total += 1
        elif here.done == 0:
            here.kind = NONE
            here.seed = -1
            here.length = 0
            here.preference = 0
    return total

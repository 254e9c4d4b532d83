"""The compiled engine, part two: local preference and MED set by communities, servers, reflectors, confederations.

Starts from what `spread` found and lets sites choose again by the full rank (preference, length, MED, outside before
inside, nearest exit, key, fewest reflectors) until nothing changes: a worklist, first the sites whose AS acts on
preference, then whoever hears of a change. Also unites the masks of equally good routes once the choice stands.
Touches nothing but the arrays it is given.
"""

# ruff: noqa: PLR0917 - a compiled function takes its arrays by position, and what runs per link calls little

from anypop.routing.engine.arrays import (
    FREE,
    LONGEST,
    MED,
    NONE,
    PREFER,
    WORST_MED,
    Actions,
    Graph,
    Sown,
    State,
)
from anypop.routing.engine.compiled import kernel
from anypop.routing.engine.tolls import carried, toll
from anypop.routing.internet.sites import Int32


@kernel
def preference(g: Graph, t: Actions, v: int, kind: int, seed: int, seeds: int, entered: int, bare: int) -> int:
    """The local preference of a route at site v: by kind, or the lowest that a community asks for."""
    usual = 300 - 100 * kind
    book = t.book[g.group[v]]
    if bare or book < 0:
        return usual
    here = g.region[v] * 7 + entered
    wanted = -1
    for row in range(t.start[book * seeds + seed], t.start[book * seeds + seed + 1]):
        if t.act[row] == PREFER and (t.table[row] >> here) & 1 and (wanted < 0 or t.amount[row] < wanted):
            wanted = t.amount[row]
    return usual if wanted < 0 else wanted


@kernel
def follow(g: Graph, s: State, u: int, group: int) -> int:
    """Where the way of site u leads: 0 to us without touching the AS `group`, 1 through it, 2 nowhere any more.

    Sites keep senders, not paths. A way that ends at a site without a route is old news: its last sites have not
    chosen again yet. Whoever believed it could find its own old route behind it, and the two would count up to the
    longest path there is.
    """
    for _ in range(LONGEST):
        if s.site[u].done != 2:
            return 2
        if g.group[u] == group:
            return 1
        u = s.site[u].sender
        if u < 0:
            return 0
    return 2


@kernel
def candidate(
    g: Graph, a: Sown, t: Actions, s: State, v: int, source: int, j: int
) -> tuple[int, int, int, int, int, int, int, int, int, int, int, int, int, int]:
    """What site v makes of the j-th route of one `source`: 0 to 4 as `neighbours` has them, 5 our own announcements.

    (1 it is offered, 2 it is old news, 0 neither; local preference; length; 1 when from inside; distance to the exit;
    tie; reflectors on its way; sender; seed; kind; 1 when bare; region where it entered; MED, -1 for none; the
    neighbour AS, -1: we.)
    """
    seeds = len(a.site)
    nothing = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1, -1)
    if source == 5:
        if a.site[j] != v or not a.on[j]:
            return nothing
        lp = preference(g, t, v, a.kind[j], j, seeds, g.region[v], 0)
        return 1, lp, a.length[j], 0, 0, a.tie[j], 0, -1 - j, j, a.kind[j], 0, g.region[v], -1, -1
    u = neighbours(g, source)[1][j]
    here = s.site[u]
    serves = g.serves[u]
    # to a provider or a peer u tells customers' routes alone, unless it is a route server
    if here.done != 2 or (source < 2 and here.kind != 0 and not serves):
        return nothing
    through = follow(g, s, u, -1 if source == 4 else g.group[v])
    if through:
        return through & 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1, -1
    seed = here.seed
    tie = g.rank[u] * (seeds + 1)
    if source == 4:
        if not told_inside(g, s, u, v, j) or a.flags[seed] & 2:
            return nothing
        if here.bare == 0 and not carried(g, t, u, v, seed, seeds):
            return nothing
        border, clusters = u, 0
        while not s.site[border].external:  # it ends: `follow` came to us
            border = s.site[border].sender
            clusters += 1
        km = -1
        for k in range(g.inner[v], g.inner[v + 1]):
            if g.inner_to[k] == border:
                km = g.inner_km[k]
        if km < 0:  # v itself told of it, or has no way there
            return nothing
        if g.member[v] == 0:
            tie = g.rank[border] * (seeds + 1)
        else:
            clusters = 0
        entered = g.region[border]
        lp = preference(g, t, v, here.kind, seed, seeds, entered, here.bare)
        return (
            1, lp, here.length, 1, km, tie, clusters, u, seed, here.kind, here.bare, entered, s.med[u], s.first[u],
        )  # fmt: skip
    if a.flags[seed]:
        return nothing
    relation = 4 if source == 0 else 2 if source == 1 else 1 if source == 2 else 8
    extra = 0
    med = s.med[u] if serves else -1
    if here.bare == 0:
        extra = toll(g, t, u, g.group[v], relation, seed, seeds, here.entered)
        if extra < 0:
            return nothing
        asked = med_of(g, t, u, g.group[v], relation, seed, seeds)
        if asked >= 0:
            med = asked
    kind = here.kind if source == 3 else source
    length = here.length + extra + (0 if serves else 1)
    first = s.first[u] if serves and extra == 0 else g.group[u]
    bare = 1 if here.bare or g.strips[u] else 0
    lp = preference(g, t, v, kind, seed, seeds, g.region[v], bare)
    return 1, lp, length, 0, 0, tie, 0, u, seed, kind, bare, g.region[v], med, first


@kernel
def told_inside(g: Graph, s: State, u: int, v: int, j: int) -> bool:
    """Whether the sessions inside an AS carry the route of site u to v, which has u at place j of its row: what it
    learnt outside; where it is a reflector also what its clients told it, and to clients all. Between members of a
    confederation all that has not passed v's; inside one what came from outside it.
    """
    if g.member[v] != 0:
        if g.member[u] == g.member[v]:
            return bool(s.site[u].external or g.member[s.site[u].sender] != g.member[u])
        w = u
        while not s.site[w].external and g.member[w] != g.member[v]:
            w = s.site[w].sender
        return bool(g.joined[j] and g.member[w] != g.member[v])
    teller, hearer = g.reflects[u], g.reflects[v]
    if teller == 1 and hearer == 1:
        return False
    if s.site[u].external:
        return True
    return bool(teller == 2 and (hearer == 1 or g.reflects[s.site[u].sender] == 1))


@kernel
def med_of(g: Graph, t: Actions, u: int, to: int, relation: int, seed: int, seeds: int) -> int:
    """With which MED site u sends a route of `seed` to the AS `to`: the lowest that a community asks for; -1: none."""
    book = t.book[g.group[u]]
    if book < 0:
        return -1
    found = -1
    for row in range(t.start[book * seeds + seed], t.start[book * seeds + seed + 1]):
        whom = t.whom[row]
        meant = whom - 16 == to if whom >= 16 else (whom & relation) != 0
        if t.act[row] == MED and meant and (found < 0 or t.amount[row] < found):
            found = t.amount[row]
    return found


@kernel
def choose(g: Graph, a: Sown, t: Actions, s: State, v: int, ties_only: bool) -> int:
    """Site v looks at all that its neighbours offer now, stores its choice, and returns 1 when that is news to
    others, plus 2 when it passed over old news and must look again.

    `ties_only`: the choice stands; only the mask of what is equally good is worked out, and the return value says
    whether it grew. Where MEDs are set, v looks four times: for the best preference and length, for the lowest MED of
    each neighbour AS (of all together where v's AS compares always) among those, for the best that has it, and to
    forget those MEDs.
    """
    # A rank is (minus preference, length, 1 when from inside, distance to the exit, tie, reflectors): lower is better.
    best = (1 << 30, 0, 0, 0, 0, 0)
    best_sender, best_seed, best_kind, best_bare, best_entered, best_med, best_first = -1, -1, NONE, 0, 0, -1, -1
    head = 1 << 62
    always = g.judges[v] & 1
    missing = WORST_MED if g.judges[v] & 2 else 0
    mask = 0
    again = 0
    turns = 4 if t.meds[0] else 1
    for turn in range(turns):
        for source in range(6):
            begin, end = 0, len(a.site)
            if source < 5:
                start, _ = neighbours(g, source)
                begin, end = start[v], start[v + 1]
            for j in range(begin, end):
                (
                    offered, lp, length, inside, km, tie, clusters, sender, seed, kind, bare, entered, med, first,
                ) = candidate(g, a, t, s, v, source, j)  # fmt: skip
                again |= offered & 2
                if offered != 1:
                    continue
                if turns > 1:
                    if turn == 0:
                        head = min(head, length - (lp << 10))
                        continue
                    if length - (lp << 10) != head:
                        continue
                    among = 0 if always else first + 1
                    told = missing if med < 0 else med
                    if turn == 1:
                        s.least[among] = min(s.least[among], told)
                        continue
                    if turn == 3:
                        s.least[among] = FREE
                        continue
                    if told != s.least[among]:
                        continue
                rank = (-lp, length, inside, km, tie, clusters)
                if rank[:4] < best[:4]:
                    mask = 0
                if rank[:4] <= best[:4]:
                    mask |= s.mask[sender] if sender >= 0 else a.bit[seed]
                if rank < best:
                    best = rank
                    best_sender, best_seed, best_kind, best_bare = sender, seed, kind, bare
                    best_entered, best_med, best_first = entered, med, first
    if ties_only:
        grew = (s.mask[v] | mask) != s.mask[v]
        s.mask[v] |= mask
        return int(grew)
    news = store(s, v, best, best_sender, best_seed, best_kind, best_bare, best_entered)
    if best_seed >= 0 and (s.med[v] != best_med or s.first[v] != best_first):
        s.med[v] = best_med
        s.first[v] = best_first
        news = 1
    return again + news


@kernel
def store(
    s: State,
    v: int,
    best: tuple[int, int, int, int, int, int],
    sender: int,
    seed: int,
    kind: int,
    bare: int,
    entered: int,
) -> int:
    """Site v takes a route (`seed` -1: has none). Returns 1 when that is news to its neighbours."""
    here = s.site[v]
    more = s.rest[v]
    had = here.done == 2
    if seed < 0:
        here.done = 0
        here.kind = NONE
        here.seed = -1
        here.sender = -1
        here.length = 0
        more.preference = 0
        return int(had)
    news = (
        not had
        or here.sender != sender
        or here.seed != seed
        or here.kind != kind
        or here.length != best[1]
        or here.bare != bare
        or here.entered != entered
    )
    here.done = 2
    here.sender = sender
    here.seed = seed
    here.kind = kind
    here.length = best[1]
    more.preference = -best[0]
    here.external = 1 - best[2]
    more.metric = best[3]
    here.bare = bare
    here.entered = entered
    return int(news)


@kernel
def neighbours(g: Graph, source: int) -> tuple[Int32, Int32]:
    """Those that a route can come from: 0 customers, 1 peers, 2 providers, 3 siblings, 4 sites of the same AS."""
    if source == 0:
        return g.down, g.down_to
    if source == 1:
        return g.peer, g.peer_to
    if source == 2:
        return g.up, g.up_to
    if source == 3:
        return g.sibling, g.sibling_to
    return g.inner, g.inner_to


@kernel
def wake(g: Graph, s: State, v: int, tail: int, waiting: int) -> int:
    """All neighbours of v join the worklist (a ring in `order`, membership in `after`). Returns the new number that
    waits.
    """
    n = len(s.site)
    for source in range(5):
        start, to = neighbours(g, source)
        for j in range(start[v], start[v + 1]):
            u = to[j]
            if s.rest[u].after == 0:
                s.rest[u].after = 1
                s.order[(tail + waiting) % n] = u
                waiting += 1
    return waiting


@kernel
def settle_ranks(g: Graph, a: Sown, t: Actions, s: State, everybody: bool, turn: int, limit: int) -> bool:
    """Let sites choose again by full rank: those whose AS does something to our routes (or `everybody`), then whoever
    hears of a change. False: no rest after `limit` choices (the policies may have none).

    `turn`: who comes first. 0: the first in the graph, 1: the last; 2 and 3: the same, but then always who heard of a
    change last.
    """
    n = len(s.site)
    waiting = 0
    for v in range(n):
        s.rest[v].after = 0
        s.rest[v].preference = 300 - 100 * s.site[v].kind if s.site[v].done == 2 else 0
        s.med[v] = -1
        border = v if s.site[v].external else s.site[v].sender
        s.first[v] = -1
        if s.site[v].done == 2 and s.site[border].sender >= 0:
            s.first[v] = g.group[s.site[border].sender]
    s.least[:] = FREE
    for i in range(n):
        v = n - 1 - i if turn & 1 else i
        if everybody or t.book[g.group[v]] >= 0:
            s.rest[v].after = 1
            s.order[waiting] = v
            waiting += 1
    at = 0
    while waiting > 0:
        if limit == 0:
            return False
        limit -= 1
        v = s.order[at]
        if turn & 2:
            v = s.order[(at + waiting - 1) % n]
        else:
            at = (at + 1) % n
        waiting -= 1
        s.rest[v].after = 0
        found = choose(g, a, t, s, v, False)
        if found & 1:
            waiting = wake(g, s, v, at, waiting)
        if found & 2 and s.rest[v].after == 0:
            s.rest[v].after = 1
            s.order[(at + waiting) % n] = v
            waiting += 1
    return True


@kernel
def settle_masks(g: Graph, a: Sown, t: Actions, s: State) -> None:
    """The PoPs that equally good ways lead to, once the choices of `settle_ranks` stand: grow from our announcements
    until nothing grows.
    """
    n = len(s.site)
    s.mask[:] = 0
    for v in range(n):
        s.rest[v].after = 0
    waiting = 0
    for i in range(len(a.site)):
        v = a.site[i]
        if a.on[i] and s.rest[v].after == 0:
            s.rest[v].after = 1
            s.order[waiting] = v
            waiting += 1
    at = 0
    while waiting > 0:
        v = s.order[at]
        at = (at + 1) % n
        waiting -= 1
        s.rest[v].after = 0
        if s.site[v].done == 2 and choose(g, a, t, s, v, True):
            waiting = wake(g, s, v, at, waiting)

"""The compiled engine, part three: a finished propagation with some sessions changed, by what the change touches alone.

A route's rank is one number that grows along every way (class, length, inside, distance, tie), so a change is worked
out as shortest ways are: who had a route from a changed session loses it, with all that had theirs from him; offers are
taken in the order of their rank; who takes a better one is asked for anew by all behind him (Ramalingam and Reps 1996,
"On the computational complexity of dynamic graph problems"). Equal to `spread`, for all but local preference by
communities, and without masks of ties. Touches nothing but the arrays it is given.
"""

# ruff: noqa: PLR0917, PLR0915 - a compiled function takes its arrays by position, and what runs per link calls little

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anypop.routing.engine.arrays import FREE, LONGEST, NONE, REST, SITE, WIDE, Actions, Graph, Sown, State, UInt8
from anypop.routing.engine.compiled import kernel
from anypop.routing.engine.settle import neighbours
from anypop.routing.engine.tolls import carried, passes, toll
from anypop.routing.internet.sites import Float, Int32, Int64

_UNTOUCHED, _LOST, _FINAL = 0, 1, 2
_SENDERS = 1 << 30  # added to a sender, so that seeds are above 0 too


class Change(NamedTuple):
    """Working space. Per site: `key`, the rank of its route (FREE: none), `child[v]:child[v + 1]` of `child_to`, who
    has his route from it, whether a seed enters there, and how far the change has come with it. `touched`: sites, and
    beside it what they were before. `heap`: offers that wait. A site tells its neighbours once at most, and asks them
    anew when it loses a route or the offer it waited for, so there are never more than links and twice the sites.
    """

    key: Int64
    child: Int32
    child_to: Int32
    sown: UInt8
    step: UInt8
    touched: Int32
    old_site: npt.NDArray[np.void]
    old_rest: npt.NDArray[np.void]
    old_key: Int64
    lost: Int32
    heap: Int64


def fresh_change(g: Graph, seeds: int) -> Change:
    """For one thread at a time."""
    sites = len(g.group)
    links = sum(len(to) for to in (g.down_to, g.up_to, g.peer_to, g.sibling_to, g.inner_to))
    return Change(
        key=np.zeros(sites, np.int64),
        child=np.zeros(sites + 2, np.int32),
        child_to=np.zeros(sites, np.int32),
        sown=np.zeros(sites, np.uint8),
        step=np.zeros(sites, np.uint8),
        touched=np.zeros(sites, np.int32),
        old_site=np.zeros(sites, SITE),
        old_rest=np.zeros(sites, REST),
        old_key=np.zeros(sites, np.int64),
        lost=np.zeros(sites, np.int32),
        heap=np.empty((links + 2 * sites + seeds, 2), np.int64),  # memory that nobody writes to is none
    )


@kernel
def key_of(kind: int, length: int, inside: int, km: int, tie: int) -> int:
    """A rank as one number of 59 bits: lower is better."""
    high = (kind << 25) | (length << 17) | (inside << 16) | km
    return (high << 32) | tie


@kernel
def start_from(g: Graph, a: Sown, s: State, c: Change) -> None:
    """`s` holds a finished propagation of `a` as records: what changes are worked out from."""
    seeds = len(a.site)
    n = len(s.site)
    c.sown[:] = 0
    c.step[:] = _UNTOUCHED
    for i in range(seeds):
        c.sown[a.site[i]] = 1
    c.child[:] = 0
    for v in range(n):
        here = s.site[v]
        c.key[v] = FREE
        if here.done != 2:
            continue
        tie = a.tie[-1 - here.sender]
        if here.sender >= 0:
            tie = g.rank[here.sender] * (seeds + 1)
            c.child[here.sender + 2] += 1
        c.key[v] = key_of(here.kind, here.length, 1 - here.external, s.rest[v].metric, tie)
    for v in range(n):
        c.child[v + 2] += c.child[v + 1]
    # each start is moved up to its end while the rows are filled, so that it ends one place further on
    for v in range(n):
        if s.site[v].done == 2 and s.site[v].sender >= 0:
            u = s.site[v].sender + 1
            c.child_to[c.child[u]] = v
            c.child[u] += 1


@kernel
def put(heap: Int64, size: int, key: int, what: int) -> int:
    """An offer joins the heap. Returns the new size."""
    at = size
    while at > 0 and heap[(at - 1) >> 1, 0] > key:
        heap[at, 0], heap[at, 1] = heap[(at - 1) >> 1, 0], heap[(at - 1) >> 1, 1]
        at = (at - 1) >> 1
    heap[at, 0], heap[at, 1] = key, what
    return size + 1


@kernel
def take(heap: Int64, size: int) -> int:
    """The first offer leaves the heap. Returns the new size."""
    last = size - 1
    key, what = heap[last, 0], heap[last, 1]
    at = 0
    while 2 * at + 1 < last:
        below = 2 * at + 1
        if below + 1 < last and heap[below + 1, 0] < heap[below, 0]:
            below += 1
        if heap[below, 0] >= key:
            break
        heap[at, 0], heap[at, 1] = heap[below, 0], heap[below, 1]
        at = below
    heap[at, 0], heap[at, 1] = key, what
    return last


@kernel
def offered(v: int, u: int, step: int) -> int:
    """An offer of u to v as a number. Its last bit: u may still lose the route, since the change has not come to it."""
    return (v << 32) | ((u + _SENDERS) << 1) | (1 if u >= 0 and step == _UNTOUCHED else 0)


@kernel
def remember(s: State, c: Change, v: int, count: int) -> int:
    """What v was before the change. Returns how many sites are touched."""
    if c.step[v] != _UNTOUCHED:
        return count
    c.step[v] = _LOST
    c.touched[count] = v
    c.old_site[count] = s.site[v]
    c.old_rest[count] = s.rest[v]
    c.old_key[count] = c.key[v]
    return count + 1


@kernel
def behind(s: State, c: Change, u: int, number: int) -> int:
    """Who has his route from u joins those that lose theirs. Returns how many they are."""
    for j in range(c.child[u], c.child[u + 1]):
        v = c.child_to[j]
        if c.step[v] == _UNTOUCHED and s.site[v].sender == u:
            c.lost[number] = v
            number += 1
    return number


@kernel
def lose(s: State, c: Change, number: int, count: int) -> tuple[int, int]:
    """The sites `lost[:number]` lose their routes, and all behind them. Returns how many those are, and how many are
    touched.
    """
    at = 0
    while at < number:
        v = c.lost[at]
        at += 1
        number = behind(s, c, v, number)
        count = remember(s, c, v, count)
        here = s.site[v]
        here.done = 0
        here.kind = NONE
        here.length = 0
        here.sender = -1
        here.seed = -1
        c.key[v] = FREE
    return number, count


@kernel
def best_offer(g: Graph, a: Sown, t: Actions, s: State, c: Change, v: int) -> tuple[int, int]:
    """The rank and the sender of the best that v is offered now; FREE: nothing."""
    seeds = len(a.site)
    best, sender = FREE, -1
    if c.sown[v]:
        for i in range(seeds):
            if a.site[i] == v and a.on[i] and a.length[i] <= LONGEST:
                key = key_of(a.kind[i], a.length[i], 0, 0, a.tie[i])
                if key < best:
                    best, sender = key, -1 - i
    wide = s.site[v].traits & WIDE
    for source in range(5):
        start, to = neighbours(g, source)
        relation = 4 if source == 0 else 2 if source == 1 else 1 if source == 2 else 8
        for j in range(start[v], start[v + 1]):
            u = to[j]
            here = s.site[u]
            if here.done != 2 or (source < 2 and here.kind != 0):
                continue
            seed = here.seed
            tie = g.rank[u] * (seeds + 1)
            if source == 4:
                key = key_of(here.kind, here.length, 1, g.inner_km[j], tie)
                if key >= best or not here.external or a.flags[seed] & 2:
                    continue
                if here.bare == 0 and not carried(g, t, u, v, seed, seeds):
                    continue
            else:
                kind = here.kind if source == 3 else source
                length = here.length + 1
                key = key_of(kind, length, 0, 0, tie)
                if key >= best or a.flags[seed]:
                    continue
                if here.bare == 0:
                    extra = toll(g, t, u, g.group[v], relation, seed, seeds, here.entered)
                    if extra < 0:
                        continue
                    length += extra
                    key = key_of(kind, length, 0, 0, tie)
                if key >= best or length > LONGEST or (wide and passes(g, s, u, g.group[v])):
                    continue
            best, sender = key, u
    return best, sender


@kernel
def settle_down(g: Graph, a: Sown, s: State, c: Change, v: int, u: int, key: int) -> None:
    """Site v takes the offer of u, for good."""
    here = s.site[v]
    more = s.rest[v]
    here.done = 2
    here.sender = u
    here.kind = key >> 57
    here.length = (key >> 49) & 255
    here.external = 1 - ((key >> 48) & 1)
    here.entered = g.region[v]
    here.bare = 0
    more.metric = (key >> 32) & 65535
    if u < 0:
        here.seed = -1 - u
    else:
        here.seed = s.site[u].seed
        here.bare = s.site[u].bare
        if here.external == 0:
            here.entered = g.region[u]
        elif g.strips[u]:
            here.bare = 1
    c.step[v] = _FINAL
    c.key[v] = key


@kernel
def respread(g: Graph, a: Sown, t: Actions, s: State, c: Change, changed: Int32) -> int:
    """`s` becomes what `spread` makes of the seeds `a`, where it holds what it made of them before those whose indexes
    are `changed` were. Returns how many sites it has touched: `touched`.
    """
    seeds = len(a.site)
    heap = c.heap
    size = 0
    count = 0
    lost = 0
    for i in changed:
        v = a.site[i]
        if s.site[v].done == 2 and s.site[v].sender == -1 - i:
            c.lost[lost] = v
            lost += 1
    lost, count = lose(s, c, lost, count)
    for i in changed:
        v = a.site[i]
        if a.on[i] and a.length[i] <= LONGEST:
            key = key_of(a.kind[i], a.length[i], 0, 0, a.tie[i])
            if key < c.key[v]:
                size = put(heap, size, key, offered(v, -1 - i, 0))
    at = 0
    while True:
        while at < lost:
            v = c.lost[at]
            at += 1
            key, u = best_offer(g, a, t, s, c, v)
            if key < FREE:
                size = put(heap, size, key, offered(v, u, c.step[max(u, 0)]))
        if size == 0:
            break
        key, what = heap[0, 0], heap[0, 1]
        size = take(heap, size)
        v = what >> 32
        u = ((what & 0xFFFFFFFF) >> 1) - _SENDERS
        if key >= c.key[v]:
            continue
        if what & 1 and c.step[u] != _UNTOUCHED:  # the sender has lost that route meanwhile
            if s.site[v].done != 2:
                c.lost[0] = v
                at, lost = 0, 1
            continue
        count = remember(s, c, v, count)
        settle_down(g, a, s, c, v, u, key)
        lost, count = lose(s, c, behind(s, c, v, 0), count)
        at = 0
        # v tells its neighbours
        here = s.site[v]
        seed = here.seed
        tie = g.rank[v] * (seeds + 1)
        for source in range(5):
            if source == 4:
                if not here.external or a.flags[seed] & 2:
                    continue
            elif a.flags[seed] or (0 < source < 3 and here.kind != 0):
                continue
            start, to = neighbours(g, source)
            # what the receiver is to v, as a bit, and what its route's class is
            relation = 1 if source == 0 else 2 if source == 1 else 4 if source == 2 else 8
            kind = here.kind if source >= 3 else 2 - source
            for j in range(start[v], start[v + 1]):
                w = to[j]
                if source == 4:
                    key = key_of(kind, here.length, 1, g.inner_km[j], tie)
                    if key >= c.key[w] or (here.bare == 0 and not carried(g, t, v, w, seed, seeds)):
                        continue
                else:
                    length = here.length + 1
                    key = key_of(kind, length, 0, 0, tie)
                    if key >= c.key[w]:
                        continue
                    if here.bare == 0:
                        extra = toll(g, t, v, g.group[w], relation, seed, seeds, here.entered)
                        if extra < 0:
                            continue
                        length += extra
                        key = key_of(kind, length, 0, 0, tie)
                    if key >= c.key[w] or length > LONGEST:
                        continue
                    if s.site[w].traits & WIDE and passes(g, s, v, g.group[w]):
                        continue
                size = put(heap, size, key, offered(w, v, _FINAL))
    return count


@kernel
def take_back(s: State, c: Change, count: int) -> None:
    """As before the change."""
    for i in range(count):
        v = c.touched[i]
        s.site[v] = c.old_site[i]
        s.rest[v] = c.old_rest[i]
        c.key[v] = c.old_key[i]
        c.step[v] = _UNTOUCHED


@kernel
def try_each(
    g: Graph, a: Sown, t: Actions, s: State, c: Change, which: Int32, prepends: Int32, cost: Float, none: Float,
    dearer: Float, moved: Int32,
) -> None:  # fmt: skip
    """Each change alone: seed `which[k]` with so many prepends, -1: withheld. Out: by how much the sum of costs grows,
    and how many sites land elsewhere. `cost` and `none` are those of `tally`.
    """
    for k in range(len(which)):
        i = which[k]
        was_on, was_length = a.on[i], a.length[i]
        a.on[i] = 0 if prepends[k] < 0 else 1
        a.length[i] = 1 + max(prepends[k], 0)
        count = respread(g, a, t, s, c, which[k : k + 1])
        dearer[k] = 0.0
        moved[k] = 0
        for j in range(count):
            v = c.touched[j]
            before = a.pop[c.old_site[j].seed] if c.old_site[j].done == 2 else -1
            after = a.pop[s.site[v].seed] if s.site[v].done == 2 else -1
            if before != after:
                moved[k] += 1
                place = g.site[v]
                dearer[k] += none[place] if after < 0 else cost[place, after]
                dearer[k] -= none[place] if before < 0 else cost[place, before]
        take_back(s, c, count)
        a.on[i], a.length[i] = was_on, was_length

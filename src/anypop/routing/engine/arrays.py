"""The kernels' view of graph, seeds, actions and result: named tuples of integer arrays, and how they are made.

Between the types that people read (`Internet`, `Seed`, `Policies`) and compiled code. Codes used below: kind of a
route 0 customer, 1 peer, 2 provider, 9 none; `whom` of an action: bits 1 customers, 2 peers, 4 providers, 8 siblings,
or 16 + the index of an AS; `table`: bit here * 7 + entered is set when the action holds at a site in region `here`
for a route that entered the AS in region `entered`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anypop.routing.actions import (
    Blackhole,
    ExportTo,
    KeepInRegion,
    LocalPreference,
    Neighbours,
    NoExportTo,
    Prepend,
    SetMed,
    Where,
)
from anypop.routing.engine.seeds import Policies, Seed
from anypop.routing.entries import Dictionary
from anypop.routing.internet.sites import REGIONS, UNKNOWN_REGION, Int8, Int32, Int64, Internet

UInt8 = npt.NDArray[np.uint8]

NONE = 9
LONGEST = 250  # AS hops; the longest real paths with prepends are below 100, and routers refuse a few hundred
MASKED = 63  # PoPs in one mask of ties, a signed number of 64 bits
WIDE = 2  # a trait of a site
FREE = 1 << 62
DENY, ALLOW, PREPEND, KEEP, PREFER, MED, DROP = 0, 1, 2, 3, 4, 5, 6
WORST_MED = (1 << 32) - 1
_BITS = {
    Neighbours.CUSTOMERS: 1,
    Neighbours.PEERS: 2,
    Neighbours.PROVIDERS: 4,
    Neighbours.ALL: 15,
    Neighbours.EVERYONE: 15,
}
_PLACES = UNKNOWN_REGION + 1
_EVERYWHERE = (1 << (_PLACES * _PLACES)) - 1
_NO_EXPORT, _NO_ADVERTISE = (65535, 65281), (65535, 65282)


class Graph(NamedTuple):
    """The graph. `rank[site]`: its place among all by key, which decides ties. `wide[site]`: its AS has more than one
    site. `footprint[group]`: bits of the AS's known regions. `leaf`: sites that tell nobody, most of the Internet;
    `teller`: all others; `transit`: rows of customers that are no leaves. `judges[site]`: how its AS compares MEDs: 1
    also those of different neighbours, 2 a missing one as the worst. `serves[site]`: it is a route server.
    `reflects[site]`: 1 a client of route reflectors of its AS, 2 one of these, 0 its AS has none.
    """

    group: Int32
    region: Int8
    rank: Int32
    wide: UInt8
    footprint: Int32
    down: Int32
    down_to: Int32
    up: Int32
    up_to: Int32
    peer: Int32
    peer_to: Int32
    sibling: Int32
    sibling_to: Int32
    inner: Int32
    inner_to: Int32
    inner_km: Int32
    strips: UInt8
    leaf: Int32
    teller: Int32
    transit: Int32
    transit_to: Int32
    judges: UInt8
    serves: UInt8
    reflects: UInt8


class Sown(NamedTuple):
    """The seeds. `tie`: on the scale of `rank * (seeds + 1)`. `flags`: 1 NO_EXPORT, 2 NO_ADVERTISE. `on`: off means
    not announced. `bit`: of its PoP in the masks of ties; 0 while masks are worked out for other PoPs.
    """

    site: Int32
    kind: Int8
    length: Int32
    tie: Int32
    pop: Int32
    bit: Int64
    flags: UInt8
    on: UInt8


class Actions(NamedTuple):
    """What ASes do to seeds. Rows `start[book[group] * seeds + seed]` to the next start; `book` -1: the AS does
    nothing to any seed. `meds[0]`: some AS sets MEDs.
    """

    book: Int32
    start: Int32
    act: Int8
    amount: Int64
    whom: Int32
    table: Int64
    meds: UInt8


# What a link looks at, 24 bytes per site, so that a link touches one line of the cache.
SITE = np.dtype(
    [
        # What an offer must be below to be taken: length << 32 | rank of its sender. -1: the site has its route; FREE:
        # heard nothing yet. One comparison in the place of three, because what costs time here is the processor's wrong
        # guesses at branches.
        ("bound", np.int64),
        # 0 nothing heard, 1 waits at its length, 2 has its route, 3 has it from inside while its level is worked on
        ("done", np.uint8),
        ("kind", np.int8),
        ("bare", np.uint8),  # the communities were stripped on the way
        # 2: its AS has other sites
        ("traits", np.uint8),
        ("length", np.int16),
        ("entered", np.int8),  # region where the route entered the AS
        ("external", np.uint8),
        ("sender", np.int32),  # a site, or -1 - s: directly from seed s
    ],
    align=True,
)
# What is needed once per site.
REST = np.dtype(
    [
        ("seed", np.int32),
        # the list of the sites that wait at one length; in `settle`: whether the site is on the worklist
        ("after", np.int32),
        ("before", np.int32),
        ("preference", np.int16),
        ("metric", np.uint16),  # distance to the exit, for a route from inside
    ],
    align=True,
)


class State(NamedTuple):
    """The result and the working space. `mask`: per site, bits of all PoPs that equally good ways lead to. `order`:
    sites in the order in which they got their routes. `head`: the first site that waits, per length. `offer`: per site
    what its customers compare, as `bound` in SITE; -1: it makes a difference between them. For `settle`: the `med` and
    the `first` AS of each site's route, and the `least` MED that a site hears from each AS.
    """

    site: npt.NDArray[np.void]
    rest: npt.NDArray[np.void]
    mask: Int64
    order: Int32
    head: Int32
    offer: Int64
    med: Int64
    first: Int32
    least: Int64


def graph_arrays(internet: Internet, policies: Policies) -> Graph:
    """The graph for kernels; shares the arrays of `internet`."""

    def among(asns: frozenset[int]) -> UInt8:
        return np.isin(internet.asn, np.array(sorted(asns), dtype=np.int64)).astype(np.uint8)

    sizes = np.diff(internet.first)
    footprint = np.zeros(len(internet.asns), dtype=np.int32)
    bits = np.where(internet.region < UNKNOWN_REGION, 1 << internet.region.astype(np.int32), 0).astype(np.int32)
    np.bitwise_or.at(footprint, internet.group, bits)
    silent = _silent(internet)
    down = internet.customers
    told = ~silent[down.to]
    return Graph(
        group=internet.group,
        region=internet.region,
        rank=_ranks(internet.key) + 1,  # from 1: before the first there is room for seeds
        wide=(sizes[internet.group] > 1).astype(np.uint8),
        footprint=footprint,
        down=internet.customers.start,
        down_to=internet.customers.to,
        up=internet.providers.start,
        up_to=internet.providers.to,
        peer=internet.peers.start,
        peer_to=internet.peers.to,
        sibling=internet.siblings.start,
        sibling_to=internet.siblings.to,
        inner=internet.internal.start,
        inner_to=internet.internal.to,
        inner_km=internet.internal.km,
        strips=among(policies.strips),
        leaf=np.flatnonzero(silent).astype(np.int32),
        teller=np.flatnonzero(~silent).astype(np.int32),
        transit=np.concatenate([[0], np.cumsum(told)]).astype(np.int32)[down.start],
        transit_to=down.to[told],
        judges=among(policies.always_med) + 2 * among(policies.worst_med),
        serves=among(policies.servers),
        reflects=_reflects(internet, policies),
    )


def _reflects(internet: Internet, policies: Policies) -> UInt8:
    found = np.zeros(len(internet), dtype=np.uint8)
    for asn in {asn for asn, _ in policies.reflectors}:
        sites = internet.sites_of(asn)
        some = [site for site in sites if (asn, internet.city[site]) in policies.reflectors]
        found[sites.start : sites.stop] = 1 if some else 0
        found[some] = 2
    return found


def _silent(internet: Internet) -> npt.NDArray[np.bool_]:
    """Who tells nobody: no customers, no siblings, alone in its AS."""
    silent = np.ones(len(internet), dtype=bool)
    for rows in (internet.customers, internet.siblings, internet.internal):
        silent &= np.diff(rows.start) == 0
    return silent


def bits_of(pop: Int32, first: int = 0) -> Int64:
    """The bits of seeds in the masks of the PoPs from `first` on."""
    here = (pop >= first) & (pop < first + MASKED)
    return np.where(here, np.int64(1) << np.where(here, pop - first, 0).astype(np.int64), 0)


def masks_of(bits: Sequence[int], pops: int) -> tuple[Int64, ...]:
    """Numbers with a bit for each of so many PoPs as masks: at least one."""
    one = (1 << MASKED) - 1
    return tuple(
        np.array([number >> first & one for number in bits], dtype=np.int64) for first in range(0, max(1, pops), MASKED)
    )


def seed_arrays(internet: Internet, seeds: Sequence[Seed]) -> tuple[Sown, tuple[str, ...]]:
    """The seeds for kernels, and the PoPs in the order of their bits."""
    pops = tuple(sorted({seed.pop for seed in seeds}))
    pop = np.array([pops.index(seed.pop) for seed in seeds], dtype=np.int32)
    flags = [
        (1 if _NO_EXPORT in seed.communities else 0) | (2 if _NO_ADVERTISE in seed.communities else 0) for seed in seeds
    ]
    return (
        Sown(
            site=np.array([seed.site for seed in seeds], dtype=np.int32),
            kind=np.array([0 if seed.customer else 1 for seed in seeds], dtype=np.int8),
            length=np.array([1 + seed.prepend for seed in seeds], dtype=np.int32),
            tie=_ties(internet.key, [seed.key for seed in seeds]),
            pop=pop,
            bit=bits_of(pop),
            flags=np.array(flags, dtype=np.uint8),
            on=np.array([seed.announced for seed in seeds], dtype=np.uint8),
        ),
        pops,
    )


def _ranks(key: Int64) -> Int32:
    """The place of each site by key, then by index."""
    ranks = np.empty(len(key), dtype=np.int32)
    ranks[np.argsort(key, kind="stable")] = np.arange(len(key), dtype=np.int32)
    return ranks


def _ties(key: Int64, of_seeds: list[int]) -> Int32:
    """The seeds between the sites: before those of the same key, in order of their own keys, then of their indexes."""
    number = len(of_seeds)
    keys = np.array(of_seeds, dtype=np.int64)
    above = np.searchsorted(np.sort(key), keys, side="left")
    return ((above + 1) * (number + 1) - number + _ranks(keys)).astype(np.int32)


def action_arrays(internet: Internet, seeds: Sequence[Seed], policies: Policies) -> Actions:
    """What each AS's dictionary makes of the seeds' communities."""
    used = sorted({community for seed in seeds for community in seed.communities})
    books: list[list[list[tuple[int, int, int, int]]]] = []
    book = np.full(len(internet.asns), -1, dtype=np.int32)
    if used:
        own = {asn: group for asn in policies.books if (group := internet.group_of(asn)) is not None}
        common = _book(internet, seeds, policies.common)
        if any(common):
            books.append(common)
            book[:] = 0
        for asn, group in own.items():
            rows = _book(internet, seeds, policies.books[asn])
            book[group] = len(books) if any(rows) else -1
            if any(rows):
                books.append(rows)
    flat = [row for rows in books for of_seed in rows for row in of_seed]
    lengths = [len(of_seed) for rows in books for of_seed in rows]
    table = np.array(flat, dtype=np.int64).reshape(-1, 4)
    return Actions(
        book=book,
        start=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        act=table[:, 0].astype(np.int8),
        amount=table[:, 1].copy(),
        whom=table[:, 2].astype(np.int32),
        table=table[:, 3].copy(),
        meds=np.array([(table[:, 0] == MED).any()], dtype=np.uint8),
    )


def _book(internet: Internet, seeds: Sequence[Seed], book: Dictionary) -> list[list[tuple[int, int, int, int]]]:
    return [
        [
            row
            for community in seed.communities
            if community not in (_NO_EXPORT, _NO_ADVERTISE)
            for row in _rows(internet, book, community)
        ]
        for seed in seeds
    ]


def _rows(internet: Internet, book: Dictionary, community: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
    entry = book.lookup(community)
    if entry is None:
        return []
    match entry.action:
        case NoExportTo(neighbour=whom, where=where):
            return [(DENY, 0, _whom(internet, whom), _table(where))]
        case ExportTo(neighbour=whom, where=where):
            return [(ALLOW, 0, _whom(internet, whom), _table(where))]
        case Prepend(count=count, neighbour=whom, where=where):
            return [(PREPEND, count, _whom(internet, whom), _table(where))]
        case KeepInRegion(region=region):
            return [(KEEP, REGIONS.index(region), 15, _EVERYWHERE)]
        case LocalPreference(where=where) as action:
            return [(PREFER, action.on_scale, 15, _table(where))]
        case SetMed(value=value, neighbour=whom):
            return [(MED, value, _whom(internet, whom), _EVERYWHERE)]
        case Blackhole():
            return [(DROP, 0, 15, _EVERYWHERE)]
        case _:
            return []


def _whom(internet: Internet, whom: Neighbours | int | None) -> int:
    if isinstance(whom, Neighbours):
        return _BITS[whom]
    group = internet.group_of(whom) if whom is not None else None
    return 0 if group is None else 16 + group


def _table(where: Where) -> int:
    """Bit here * 7 + entered. An unknown place is covered by `everywhere` alone."""
    if not where.regions and not where.announced:
        return _EVERYWHERE
    bits = 0
    for i, here in enumerate(REGIONS):
        for j in range(_PLACES):
            known = j < len(REGIONS)
            covered = where.covers(here, REGIONS[j] if known else here) and (known or not where.announced)
            bits |= int(covered) << (i * _PLACES + j)
    return bits


def fresh_state(internet: Internet) -> State:
    """Working space for one propagation at a time."""
    sites = len(internet)
    site = np.zeros(sites, SITE)
    site["traits"] = np.where(np.diff(internet.internal.start) > 0, WIDE, 0)
    return State(
        site=site,
        rest=np.zeros(sites, REST),
        mask=np.zeros(sites, np.int64),
        order=np.zeros(sites, np.int32),
        head=np.zeros(LONGEST + 2, np.int32),
        offer=np.zeros(sites, np.int64),
        med=np.zeros(sites, np.int64),
        first=np.zeros(sites, np.int32),
        least=np.zeros(len(internet.asns) + 1, np.int64),
    )

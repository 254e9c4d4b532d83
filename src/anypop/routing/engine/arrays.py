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

from anypop.model.errors import Invalid
from anypop.routing.actions import ExportTo, KeepInRegion, LocalPreference, Neighbours, NoExportTo, Prepend, Where
from anypop.routing.engine.seeds import Policies, Seed
from anypop.routing.entries import Dictionary
from anypop.routing.internet.sites import REGIONS, UNKNOWN_REGION, Int8, Int32, Int64, Internet

UInt8 = npt.NDArray[np.uint8]

NONE = 9
LONGEST = 250  # AS hops; the longest real paths with prepends are below 100, and routers refuse a few hundred
MOST_POPS = 63  # bits of a tie mask, a signed number of 64
LEAF, WIDE = 1, 2  # traits of a site
FREE = 1 << 62
DENY, ALLOW, PREPEND, KEEP, PREFER = 0, 1, 2, 3, 4
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
    site. `footprint[group]`: bits of the AS's known regions.
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


class Sown(NamedTuple):
    """The seeds. `tie`: on the scale of `rank * (seeds + 1)`. `flags`: 1 NO_EXPORT, 2 NO_ADVERTISE. `on`: off means
    not announced.
    """

    site: Int32
    kind: Int8
    length: Int32
    tie: Int32
    pop: Int32
    flags: UInt8
    on: UInt8


class Actions(NamedTuple):
    """What ASes do to seeds. Rows `start[book[group] * seeds + seed]` to the next start; `book` -1: the AS does
    nothing to any seed.
    """

    book: Int32
    start: Int32
    act: Int8
    amount: Int32
    whom: Int32
    table: Int64


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
        # 1 a leaf, that tells nobody: no customers, no siblings, alone in its AS; 2 its AS has other sites
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
    sites in the order in which they got their routes. `head`: the first site that waits, per length.
    """

    site: npt.NDArray[np.void]
    rest: npt.NDArray[np.void]
    mask: Int64
    order: Int32
    head: Int32


def graph_arrays(internet: Internet, strips: frozenset[int] = frozenset()) -> Graph:
    """The graph for kernels; shares the arrays of `internet`."""
    sizes = np.diff(internet.first)
    footprint = np.zeros(len(internet.asns), dtype=np.int32)
    bits = np.where(internet.region < UNKNOWN_REGION, 1 << internet.region.astype(np.int32), 0).astype(np.int32)
    np.bitwise_or.at(footprint, internet.group, bits)
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
        strips=np.isin(internet.asn, np.array(sorted(strips), dtype=np.int64)).astype(np.uint8),
    )


def seed_arrays(internet: Internet, seeds: Sequence[Seed]) -> tuple[Sown, tuple[str, ...]]:
    """The seeds for kernels, and the PoPs in the order of their bits. Raises `Invalid` for more PoPs than a mask has
    bits.
    """
    pops = tuple(sorted({seed.pop for seed in seeds}))
    if len(pops) > MOST_POPS:
        raise Invalid.one("pops", f"{len(pops)} PoPs: ties are worked out for {MOST_POPS} at most")
    flags = [
        (1 if _NO_EXPORT in seed.communities else 0) | (2 if _NO_ADVERTISE in seed.communities else 0) for seed in seeds
    ]
    return (
        Sown(
            site=np.array([seed.site for seed in seeds], dtype=np.int32),
            kind=np.array([0 if seed.customer else 1 for seed in seeds], dtype=np.int8),
            length=np.array([1 + seed.prepend for seed in seeds], dtype=np.int32),
            tie=_ties(internet.key, [seed.key for seed in seeds]),
            pop=np.array([pops.index(seed.pop) for seed in seeds], dtype=np.int32),
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
        amount=table[:, 1].astype(np.int32),
        whom=table[:, 2].astype(np.int32),
        table=table[:, 3].copy(),
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
    silent = np.ones(sites, dtype=bool)
    for rows in (internet.customers, internet.siblings, internet.internal):
        silent &= np.diff(rows.start) == 0
    site["traits"] = np.where(silent, LEAF, np.where(np.diff(internet.internal.start) > 0, WIDE, 0))
    return State(
        site=site,
        rest=np.zeros(sites, REST),
        mask=np.zeros(sites, np.int64),
        order=np.zeros(sites, np.int32),
        head=np.zeros(LONGEST + 2, np.int32),
    )

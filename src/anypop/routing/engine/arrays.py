"""The kernels' view of graph, seeds, actions and result: named tuples of integer arrays, and how they are made.

Between the types that people read (`Internet`, `Seed`, `Policies`) and compiled code. Codes used below: kind of a
route 0 customer, 1 peer, 2 provider, 9 none; `whom` of an action: bits 1 customers, 2 peers, 4 providers, 8 siblings,
or 16 + the index of an AS; `table`: bit here * 7 + entered is set when the action holds at a site in region `here`
for a route that entered the AS in region `entered`.

Kernels number sites otherwise than `Internet` (`order`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anypop.routing.engine.order import depths, in_order, moved, places_of, silent_sites
from anypop.routing.engine.seeds import Policies, Seed
from anypop.routing.internet.sites import (
    UNKNOWN_REGION,
    Adjacency,
    Int8,
    Int32,
    Int64,
    Internet,
)

UInt8 = npt.NDArray[np.uint8]
UInt32 = npt.NDArray[np.uint32]

NONE = 9
LONGEST = 250  # AS hops; the longest real paths with prepends are below 100, and routers refuse a few hundred
MASKED = 63  # PoPs in one mask of ties, a signed number of 64 bits
WIDE = 2  # a trait of a site
FREE = 1 << 62
# A route as a word of 32 bits, the lower the better: class (two bits), length (eight), rank of who sent it.
KIND, LENGTH = 30, 22
RANKS = (1 << LENGTH) - 1
PEER, PROVIDER = 1 << KIND, 2 << KIND
NOTHING = (1 << 32) - 1
DENY, ALLOW, PREPEND, KEEP, PREFER, MED, DROP = 0, 1, 2, 3, 4, 5, 6
WORST_MED = (1 << 32) - 1
NO_EXPORT, NO_ADVERTISE = (65535, 65281), (65535, 65282)


class Graph(NamedTuple):
    """The graph. `site`: which site of the `Internet` each is. The first `tellers[0]` have somebody to tell, all others
    are leaves. `rank`: its place among all by key, which decides ties; `by_rank`: who has it. `downhill[0]`: everybody
    comes after its providers, is alone in its AS, and has no siblings. `alike`: where in the order of sites the next
    begin that have as many providers, and chains above them as long. `wide`: its AS has more than one site.
    `footprint[group]`: bits of the AS's known regions. `transit`: rows of customers that are no leaves. `judges`: how
    its AS compares MEDs: 1 also those of different neighbours, 2 a missing one as the worst. `serves`: it is a route
    server. `reflects`: 1 a client of route reflectors of its AS, 2 one of these, 0 its AS has none. `member`: which
    member of a confederation it is in, 0 in an AS that is none; `joined`, beside `inner_to`: 1 where the two speak
    although they are in two members.
    """

    site: Int32
    tellers: Int32
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
    transit: Int32
    transit_to: Int32
    judges: UInt8
    serves: UInt8
    reflects: UInt8
    member: Int32
    joined: UInt8
    by_rank: Int32
    downhill: UInt8
    alike: Int32


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
        ("seed", np.int32),
    ],
    align=True,
)
# What is needed once per site, and of a leaf never.
REST = np.dtype(
    [
        # the list of the sites that wait at one length; in `settle`: whether the site is on the worklist
        ("after", np.int32),
        ("before", np.int32),
        ("preference", np.int16),  # for `settle`
        ("metric", np.uint16),  # distance to the exit, for a route from inside
    ],
    align=True,
)


class State(NamedTuple):
    """The result and the working space. The result is `word`, the route of each site (NOTHING: none), and `mask`: bits
    of all PoPs that equally good ways lead to. Where a word names no sender, the site has a record in `site`: those
    that tell others, and leaves that we tell. All have one after `records`; `settle` changes these alone.

    While it is worked out: `told`, what each site's customers hear, 0: not the same for all. `gives`: the seed that
    they get, doubled, with 1 when the communities are stripped. `order`: sites in the order in which they got their
    routes. `head`: the first site that waits, per length. For `settle`: the `med` and the `first` AS of each site's
    route, and the `least` MED that a site hears from each AS.
    """

    site: npt.NDArray[np.void]
    rest: npt.NDArray[np.void]
    mask: Int64
    order: Int32
    head: Int32
    word: UInt32
    told: UInt32
    gives: Int32
    med: Int64
    first: Int32
    least: Int64


def graph_arrays(internet: Internet, policies: Policies) -> Graph:
    """The graph for kernels."""
    if len(internet) > RANKS - 1:
        raise ValueError(f"a graph of {len(internet)} sites: no more than {RANKS - 1} can be told apart")
    silent = silent_sites(internet)
    depth = depths(internet, silent)
    site = in_order(internet, silent, depth)
    place = places_of(site)

    def among(asns: frozenset[int]) -> UInt8:
        if not asns:
            return np.zeros(len(site), dtype=np.uint8)
        return np.isin(internet.asn[site], np.array(sorted(asns), dtype=np.int64)).astype(np.uint8)

    sizes = np.diff(internet.first)
    footprint = np.zeros(len(internet.asns), dtype=np.int32)
    bits = np.where(internet.region < UNKNOWN_REGION, 1 << internet.region.astype(np.int32), 0).astype(np.int32)
    np.bitwise_or.at(footprint, internet.group, bits)
    tellers = int(np.count_nonzero(~silent))
    down, up, peer, sibling, inner = (
        moved(rows, site, place)
        for rows in (internet.customers, internet.providers, internet.peers, internet.siblings, internet.internal)
    )
    told = down.to < tellers
    member = _members(internet, policies)[site]
    group = internet.group[site]
    rank = ranks_of(internet.key)[site]
    changes = (np.diff(up.start, 2) != 0) | (np.diff(depth[site]) != 0)
    alone = len(sibling.to) == len(inner.to) == 0
    return Graph(
        site=site,
        tellers=np.array([tellers], dtype=np.int32),
        group=group,
        region=internet.region[site],
        rank=rank,
        wide=(sizes[group] > 1).astype(np.uint8),
        footprint=footprint,
        down=down.start,
        down_to=down.to,
        up=up.start,
        up_to=up.to,
        peer=peer.start,
        peer_to=peer.to,
        sibling=sibling.start,
        sibling_to=sibling.to,
        inner=inner.start,
        inner_to=inner.to,
        inner_km=inner.km,
        strips=among(policies.strips),
        transit=np.concatenate([[0], np.cumsum(told)]).astype(np.int32)[down.start],
        transit_to=down.to[told],
        judges=among(policies.always_med) + 2 * among(policies.worst_med),
        serves=among(policies.servers),
        reflects=_reflects(internet, policies)[site],
        member=member,
        joined=_joined(internet, policies, inner, place),
        by_rank=by_rank_of(rank),
        downhill=np.array([alone and (depth >= 0).all()], dtype=np.uint8),
        alike=np.flatnonzero(np.concatenate([[len(site) > 0], changes, [True]])).astype(np.int32),
    )


def _reflects(internet: Internet, policies: Policies) -> UInt8:
    found = np.zeros(len(internet), dtype=np.uint8)
    for asn in {asn for asn, _ in policies.reflectors}:
        sites = internet.sites_of(asn)
        some = [site for site in sites if (asn, internet.city[site]) in policies.reflectors]
        found[sites.start : sites.stop] = 1 if some else 0
        found[some] = 2
    return found


def _members(internet: Internet, policies: Policies) -> Int32:
    found = np.zeros(len(internet), dtype=np.int32)
    number = {member: i for i, member in enumerate(sorted(set(policies.members.values())), start=1)}
    for (asn, city), member in policies.members.items():
        for site in internet.sites_of(asn):
            if internet.city[site] == city:
                found[site] = number[member]
    return found


def _joined(internet: Internet, policies: Policies, inner: Adjacency, place: Int32) -> UInt8:
    found = np.zeros(len(inner.to), dtype=np.uint8)
    for asn, a, b in policies.joined:
        here, there = ([s for s in internet.sites_of(asn) if internet.city[s] == city] for city in (a, b))
        for site in here:
            row = slice(inner.start[place[site]], inner.start[place[site] + 1])
            found[row] |= np.isin(inner.to[row], place[there]).astype(np.uint8)
    return found


def pops_of(seeds: Sequence[Seed]) -> tuple[str, ...]:
    """The PoPs in the order of their bits."""
    return tuple(sorted({seed.pop for seed in seeds}))


def ranks_of(key: Int64) -> Int32:
    """The rank of each site. From 1: before the first there is room for seeds."""
    return _ranks(key) + np.int32(1)


def by_rank_of(rank: Int32) -> Int32:
    """Who has each rank; the first one nobody has."""
    found = np.zeros(len(rank) + 1, dtype=np.int32)
    found[rank] = np.arange(len(rank), dtype=np.int32)
    return found


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


def seed_arrays(seeds: Sequence[Seed], keys: Int64, place: Int32) -> tuple[Sown, tuple[str, ...]]:
    """The seeds for kernels, and the PoPs in the order of their bits. `keys`: of all sites, the lowest first. `place`:
    when each site comes.
    """
    pops = pops_of(seeds)
    pop = np.array([pops.index(seed.pop) for seed in seeds], dtype=np.int32)
    flags = [
        (1 if NO_EXPORT in seed.communities else 0) | (2 if NO_ADVERTISE in seed.communities else 0) for seed in seeds
    ]
    return (
        Sown(
            site=place[np.array([seed.site for seed in seeds], dtype=np.int32)],
            kind=np.array([0 if seed.customer else 1 for seed in seeds], dtype=np.int8),
            length=np.array([1 + seed.prepend for seed in seeds], dtype=np.int32),
            tie=_ties(keys, [seed.key for seed in seeds]),
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


def _ties(sites: Int64, of_seeds: list[int]) -> Int32:
    """The seeds between the sites: before those of the same key, in order of their own keys, then of their indexes."""
    number = len(of_seeds)
    keys = np.array(of_seeds, dtype=np.int64)
    above = np.searchsorted(sites, keys, side="left")
    return ((above + 1) * (number + 1) - number + _ranks(keys)).astype(np.int32)


def fresh_state(graph: Graph) -> State:
    """Working space for one propagation at a time."""
    sites = len(graph.site)
    site = np.zeros(sites, SITE)
    site["traits"] = np.where(np.diff(graph.inner) > 0, WIDE, 0)
    return State(
        site=site,
        rest=np.zeros(sites, REST),
        mask=np.zeros(sites, np.int64),
        order=np.zeros(sites, np.int32),
        head=np.zeros(LONGEST + 2, np.int32),
        word=np.zeros(sites, np.uint32),
        told=np.zeros(sites, np.uint32),
        gives=np.zeros(sites, np.int32),
        med=np.zeros(sites, np.int64),
        first=np.zeros(sites, np.int32),
        least=np.zeros(len(graph.footprint) + 1, np.int64),
    )

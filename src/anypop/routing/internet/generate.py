"""Realistic graphs for everyone who has no data set: a seed in, relationships and places out.

What it imitates of the measured Internet: a clique of global networks without providers; regional transit networks
whose numbers of customers follow a power law; edge networks with one to three providers, mostly of their own
continent; peerings mostly inside a continent, most of them by a few open peers at exchanges. All of it is invented:
the numbers of the global networks are those of real ones, so that the dictionary of communities applies, but who is
whose neighbour is drawn by lot. Pure: the same arguments give the same graph.
"""

from dataclasses import dataclass

import numpy as np

from anypop.model.errors import Invalid
from anypop.routing.actions import Region
from anypop.routing.internet.places import Places
from anypop.routing.internet.relationships import Ints, Link, Relationships

GLOBAL = (3356, 1299, 2914, 174, 3257, 6461, 6762, 6453, 3491, 5511, 1239, 701, 7018, 3320)
OPEN_PEERS = (6939, 20473)
FIRST_NUMBER = 100_000  # below are the numbers of real networks with dictionaries
# Share of networks, and exchange cities with their weights, per continent (roughly: where registries gave out AS
# numbers).
SHARES = {Region.EU: 0.36, Region.NA: 0.27, Region.AS: 0.16, Region.SA: 0.13, Region.OC: 0.04, Region.AF: 0.04}
EXCHANGES: dict[Region, tuple[str, ...]] = {
    Region.EU: ("FRA", "AMS", "LHR", "CDG", "MAD", "MXP", "ARN", "WAW", "VIE", "PRG", "IST", "DME"),
    Region.NA: ("JFK", "IAD", "ORD", "DFW", "LAX", "SJC", "SEA", "MIA", "ATL", "YYZ", "YVR", "MEX"),
    Region.AS: ("SIN", "HKG", "NRT", "BOM", "ICN", "DXB", "TPE", "BKK"),
    Region.SA: ("GRU", "EZE", "SCL", "BOG"),
    Region.OC: ("SYD", "MEL", "AKL"),
    Region.AF: ("JNB", "NBO", "LOS", "CAI"),
}
_TRANSIT_SHARE = 0.04  # of all networks sell transit
_PEERINGS = 3.0  # links per network, as in the public data of 2023


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """A graph and where its networks are."""

    relationships: Relationships
    places: Places


def generate(ases: int, seed: int) -> Generated:
    """A graph of `ases` networks. Raises `Invalid` for fewer than 30: the global networks alone are 16."""
    if ases < 30:
        raise Invalid.one("ases", f"{ases} networks are too few: at least 30")
    rng = np.random.default_rng(seed)
    fixed = np.array(GLOBAL + OPEN_PEERS, dtype=np.int64)
    asn = np.concatenate([fixed, FIRST_NUMBER + np.arange(ases - len(fixed), dtype=np.int64)])
    regions = list(Region)
    region = rng.choice(len(regions), size=ases, p=np.array([SHARES[r] for r in regions]))
    transits = len(fixed) + max(6, int(ases * _TRANSIT_SHARE))
    region[len(fixed) : len(fixed) + len(regions)] = np.arange(len(regions))  # each continent has a transit network
    cities = _cities(rng, asn, region, len(fixed))
    rows = [_clique(len(GLOBAL)), _upwards(rng, region, len(fixed), transits), _peerings(rng, region, ases)]
    a, b, kind = (np.concatenate([row[i] for row in rows]) for i in range(3))
    pair = (np.minimum(a, b) << 32) | np.maximum(a, b)
    _, index = np.unique(pair, return_index=True)  # the first of a pair stays: links to providers stand before peerings
    index.sort()
    a, b, kind = a[index], b[index], kind[index]
    links = Relationships(
        a=asn[a],
        b=asn[b],
        kind=kind,
        line=np.arange(1, len(a) + 1, dtype=np.int64),
        file=f"generated({ases}, seed {seed})",
    )
    return Generated(relationships=links, places=Places(cities=cities))


def _cities(rng: np.random.Generator, asn: Ints, region: Ints, spanning: int) -> dict[int, tuple[str, ...]]:
    """Networks that span continents are in the first two or three cities of each; all others in one of their
    continent, early ones likelier.
    """
    regions = list(Region)
    found: dict[int, tuple[str, ...]] = {}
    for index in range(spanning):
        found[int(asn[index])] = tuple(city for r in regions for city in EXCHANGES[r][: 2 + int(rng.integers(0, 2))])
    for number, name in enumerate(regions):
        members = np.flatnonzero(region == number)
        members = members[members >= spanning]
        weights = 1.0 / np.arange(1, len(EXCHANGES[name]) + 1)
        drawn = rng.choice(len(EXCHANGES[name]), size=len(members), p=weights / weights.sum())
        for index, city in zip(members.tolist(), drawn.tolist(), strict=True):
            found[int(asn[index])] = (EXCHANGES[name][city],)
    return found


def _clique(size: int) -> tuple[Ints, Ints, Ints]:
    a, b = np.triu_indices(size, k=1)
    return a.astype(np.int64), b.astype(np.int64), np.full(len(a), int(Link.PEER), dtype=np.int64)


def _upwards(rng: np.random.Generator, region: Ints, spanning: int, transits: int) -> tuple[Ints, Ints, Ints]:
    """Providers: only networks that come earlier in the list, so there is no loop. A provider's weight falls with its
    rank: a power law.
    """
    total = len(region)
    providers: list[Ints] = []
    customers: list[Ints] = []
    # Open peers buy from two of the clique.
    for index in range(len(GLOBAL), spanning):
        providers.append(rng.choice(len(GLOBAL), size=2, replace=False).astype(np.int64))
        customers.append(np.full(2, index, dtype=np.int64))
    for number in range(len(SHARES)):
        near = np.flatnonzero(region[spanning:transits] == number) + spanning
        for begin, stop, from_clique in ((spanning, transits, 0.7), (transits, total, 0.12)):
            members = np.flatnonzero(region[begin:stop] == number) + begin
            count = rng.choice([1, 2, 3], size=len(members), p=[0.4, 0.4, 0.2])
            member = np.repeat(members, count)
            clique = rng.random(len(member)) < from_clique
            wide = rng.integers(0, len(GLOBAL), size=len(member))
            rank = np.minimum((len(near) * rng.random(len(member)) ** 2.5).astype(np.int64), len(near) - 1)
            chosen = np.where(clique, wide, near[rank])
            ok = chosen < member
            providers.append(chosen[ok])
            customers.append(member[ok])
            # Nobody stays without a provider.
            lone = np.setdiff1d(members, member[ok])
            providers.append(rng.integers(0, len(GLOBAL), size=len(lone)))
            customers.append(lone)
    a, b = np.concatenate(providers), np.concatenate(customers)
    return a, b, np.full(len(a), int(Link.PROVIDER), dtype=np.int64)


def _peerings(rng: np.random.Generator, region: Ints, ases: int) -> tuple[Ints, Ints, Ints]:
    wanted = int(ases * _PEERINGS)
    open_peers = np.arange(len(GLOBAL), len(GLOBAL) + len(OPEN_PEERS))
    # A tenth of all networks peers with each open peer.
    joined = [np.flatnonzero(rng.random(ases) < 0.1) for _ in open_peers]
    a = [np.full(len(members), peer, dtype=np.int64) for peer, members in zip(open_peers, joined, strict=True)]
    b = [members.astype(np.int64) for members in joined]
    for number in range(len(SHARES)):
        members = np.flatnonzero(region == number)
        members = members[members >= len(GLOBAL)]
        size = int(wanted * len(members) / ases)
        # One side is a big peer (early in the list), the other anybody of the continent.
        big = members[np.minimum((len(members) * rng.random(size) ** 4).astype(np.int64), len(members) - 1)]
        a.append(big)
        b.append(members[rng.integers(0, len(members), size=size)])
    left, right = np.concatenate(a), np.concatenate(b)
    ok = (left != right) & (left >= len(GLOBAL)) & (right >= len(GLOBAL))
    return left[ok], right[ok], np.full(int(ok.sum()), int(Link.PEER), dtype=np.int64)

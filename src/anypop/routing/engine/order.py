"""In which order kernels number the sites of a graph: first those that tell others (one in six), then leaves, like
beside like.

In: an `Internet`. Out: which site comes when, and its links in that order. Those that tell come after their providers,
so that one pass is the whole way down; those with as many providers stand side by side, so that they can be asked
together; what leaves ask for lies in little memory. Decides no route.
"""

import numpy as np

from anypop.routing.internet.sites import Adjacency, Bool, Int32, Internet


def silent_sites(internet: Internet) -> Bool:
    """Who tells nobody: no customers, no siblings, alone in its AS."""
    silent = np.ones(len(internet), dtype=bool)
    for rows in (internet.customers, internet.siblings, internet.internal):
        silent &= np.diff(rows.start) == 0
    return silent


def depths(internet: Internet, silent: Bool) -> Int32:
    """Per site how long the longest chain of providers above it is; -1: it is in a ring of them, or below one. Leaves
    are below everybody.
    """
    rows = internet.customers
    tellers = np.flatnonzero(~silent)
    above = np.repeat(np.arange(len(internet), dtype=np.int32), np.diff(rows.start))
    tells = ~silent[rows.to]
    number = np.cumsum(~silent, dtype=np.int32) - 1  # among those that tell
    above, below = number[above[tells]], number[rows.to[tells]]
    waiting = np.bincount(below, minlength=len(tellers))
    found = np.full(len(tellers), -1, dtype=np.int32)
    fresh = waiting == 0
    level = 0
    while fresh.any():
        found[fresh] = level
        level += 1
        reached = np.bincount(below[fresh[above]], minlength=len(tellers))
        waiting -= reached
        fresh = (reached > 0) & (waiting == 0)
    depth = np.full(len(internet), len(internet), dtype=np.int32)
    depth[tellers] = found
    return depth


def in_order(internet: Internet, silent: Bool, depth: Int32) -> Int32:
    """Which site comes when: who tells others, the providers first, then leaves. Those with as many providers stand
    together, among leaves those of one provider.
    """
    tellers, leaves = np.flatnonzero(~silent), np.flatnonzero(silent)
    providers = np.diff(internet.providers.start)
    tellers = tellers[np.lexsort((providers[tellers], depth[tellers]))]
    peers = np.diff(internet.peers.start)[leaves] > 0
    first = np.zeros(len(leaves), dtype=np.int32)
    some = providers[leaves] > 0
    above = internet.providers.to[internet.providers.start[leaves[some]]]
    first[some] = places_of(np.concatenate([tellers, leaves]))[above]
    return np.concatenate([tellers, leaves[np.lexsort((first, providers[leaves], peers))]]).astype(np.int32)


def places_of(site: Int32) -> Int32:
    """By site when it comes."""
    place = np.empty(len(site), dtype=np.int32)
    place[site] = np.arange(len(site), dtype=np.int32)
    return place


def moved(rows: Adjacency, site: Int32, place: Int32) -> Adjacency:
    """The same links between the same sites, in the order of kernels."""
    number = np.diff(rows.start)[site]
    start = np.zeros(len(site) + 1, dtype=np.int32)
    np.cumsum(number, out=start[1:])
    at = np.repeat(rows.start[:-1][site] - start[:-1], number) + np.arange(start[-1], dtype=np.int32)
    return Adjacency(start=start, to=place[rows.to[at]], km=rows.km[at] if len(rows.km) else rows.km.copy())

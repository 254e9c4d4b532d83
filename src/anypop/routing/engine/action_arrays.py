"""What ASes do to our announcements, as arrays for kernels: seeds and dictionaries in, `Actions` out.

Their codes are said in `arrays`. Pure.
"""

from collections.abc import Sequence

import numpy as np

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
from anypop.routing.engine.arrays import (
    ALLOW,
    DENY,
    DROP,
    KEEP,
    MED,
    NO_ADVERTISE,
    NO_EXPORT,
    PREFER,
    PREPEND,
    Actions,
)
from anypop.routing.engine.seeds import Policies, Seed
from anypop.routing.entries import Dictionary
from anypop.routing.internet.sites import REGIONS, UNKNOWN_REGION, Internet

_BITS = {
    Neighbours.CUSTOMERS: 1,
    Neighbours.PEERS: 2,
    Neighbours.PROVIDERS: 4,
    Neighbours.ALL: 15,
    Neighbours.EVERYONE: 15,
}
_PLACES = UNKNOWN_REGION + 1
_EVERYWHERE = (1 << (_PLACES * _PLACES)) - 1


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
            if community not in (NO_EXPORT, NO_ADVERTISE)
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

"""Catchments that the PoPs' own traffic tells: under which announcement of a prefix which networks came in where.

In: what hosts have seen (`Sources`), and what was announced then, as the text of a plan. Out: for each announcement the
networks and their PoPs, kept in the store. Another announcement begins another catchment; one that was there before is
gone on with. What a host has seen since before the announcement had held for a while is left out: routers of others
need a moment. Blocking.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from threading import Lock

from sqlalchemy import Connection, delete, func, insert, select, update

from anypop.control.refusals import NotFound
from anypop.control.schema import catchment_sources, catchments
from anypop.control.store import Store
from anypop.model.announce import Prefix
from anypop.model.names import CityCode
from anypop.model.sources import Sources

MOST_SOURCES = 100_000  # of one announcement: some ten megabytes
MOST_CATCHMENTS = 50  # of one prefix; the one that was announced last the longest ago goes
KEPT_S = 56 * 86_400.0  # a network that has not come in for so long may be elsewhere by now: one in fifty is


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenCatchment:
    """`plan`: what was announced, as a plan file. `first_at`, `begun_at`: when that was first seen, and last came in
    force; `sources`: how many networks, once for each PoP.
    """

    id: str
    prefix: str
    plan: str
    first_at: float
    begun_at: float
    sources: int


class Catchments:
    """All of them; nothing is kept in memory. Raises `WorldError`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._turn = Lock()

    def take(
        self, pop: CityCode, told: Sources, announced: Mapping[Prefix, str], *, now: float, settle_s: float
    ) -> None:
        """What a host of `pop` has seen. `announced`: the plan of each prefix that is. Taken twice it is the same."""
        seen = {one.prefix: one.sources for one in told.seen}
        with self._turn, self._store.writing(synchronous=False) as link:
            for prefix, plan in announced.items():
                number, begun_at = _current(link, str(prefix), plan, now)
                if now - told.for_s >= begun_at + settle_s:
                    _add(link, number, pop, sorted(map(str, set(seen.get(prefix, ())))), now)

    def listed(self) -> list[SeenCatchment]:
        """The one that came in force last first."""
        counts = (
            select(catchment_sources.c.catchment_id, func.count().label("sources"))
            .group_by(catchment_sources.c.catchment_id)
            .subquery()
        )
        query = (
            select(catchments, func.coalesce(counts.c.sources, 0).label("sources"))
            .join_from(catchments, counts, counts.c.catchment_id == catchments.c.id, isouter=True)
            .order_by(catchments.c.begun_at.desc(), catchments.c.id)
        )
        with self._store.reading() as link:
            return [SeenCatchment(**row) for row in link.execute(query).mappings()]

    def landed(self, ref: str) -> dict[str, list[str]]:
        """The networks of one, by PoP. Raises `NotFound`."""
        rows = catchment_sources.c
        with self._store.reading() as link:
            if link.execute(select(catchments.c.id).where(catchments.c.id == ref)).first() is None:
                raise NotFound(f"no catchment {ref}")
            query = select(rows.pop, rows.source).where(rows.catchment_id == ref).order_by(rows.pop, rows.source)
            found: dict[str, list[str]] = {}
            for pop, source in link.execute(query):
                found.setdefault(pop, []).append(source)
            return found


def _current(link: Connection, prefix: str, plan: str, now: float) -> tuple[str, float]:
    """The catchment of what is announced now, and since when that is."""
    table, ref = catchments, hashlib.sha256(f"{prefix}\n{plan}".encode()).hexdigest()[:32]
    own = table.c.prefix == prefix
    known = link.execute(select(table.c.id, table.c.begun_at).where(own).order_by(table.c.begun_at.desc())).all()
    if known and known[0].id == ref:
        return ref, known[0].begun_at
    if ref in {row.id for row in known}:
        link.execute(update(table).where(table.c.id == ref).values(begun_at=now))
    else:
        link.execute(insert(table).values(id=ref, prefix=prefix, plan=plan, first_at=now, begun_at=now))
        if gone := [row.id for row in known[MOST_CATCHMENTS - 1 :]]:
            link.execute(delete(table).where(table.c.id.in_(gone)))
    return ref, now


def _add(link: Connection, ref: str, pop: CityCode, sources: list[str], now: float) -> None:
    table, rows = catchment_sources, catchment_sources.c
    mine = rows.catchment_id == ref
    link.execute(delete(table).where(mine, rows.at < now - KEPT_S))
    for part in _parts(sources):
        link.execute(delete(table).where(mine, rows.pop == pop, rows.source.in_(part)))
        room = MOST_SOURCES - link.execute(select(func.count()).select_from(table).where(mine)).scalar_one()
        if fitting := part[: max(room, 0)]:
            link.execute(
                insert(table), [{"catchment_id": ref, "pop": pop, "source": s, "at": now} for s in fitting]
            )  # fmt: skip


def _parts(sources: list[str]) -> Iterator[list[str]]:
    """A statement takes some thousand values at most."""
    for first in range(0, len(sources), 500):
        yield sources[first : first + 500]

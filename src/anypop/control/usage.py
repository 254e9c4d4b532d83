"""What was used, and what it cost: out of the meters that the store has kept, at the prices of each moment.

In: whose, and from when to when. Out: for each workload seconds and costs by currency, exact: reckoned in decimals. A
meter that still runs counts up to now. What ran while another price book was in force is priced by that one.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache, lru_cache

from sqlalchemy import ColumnElement, Connection, RowMapping, func, insert, select

from anypop.control import acts, schema
from anypop.control.audit import Noted
from anypop.control.meters import Item
from anypop.control.saving import put_setting
from anypop.control.store import Store
from anypop.control.usage_months import SETTLED_S, Kind, Whose, due, keep, micros, used_between
from anypop.model.errors import WorldError
from anypop.plan.price import PriceBook, default_book_text, item_hourly, read_price_book

HOUR_S = 3600
_BOOK = "price_book"
_TABLE = schema.usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A meter's time, cut to what was asked for. `runs`: it has not ended."""

    workload_id: str
    stack_id: str
    slug: str
    item: Item
    name: str = ""
    cpu_millis: int
    memory_bytes: int
    begun_at: float
    ended_at: float
    runs: bool


@dataclass(slots=True, kw_only=True)
class Used:
    """Of one workload. `seconds`: by item, of all its instances together. `gib_seconds`: of its volumes, seconds times
    their sizes. `unpriced_s`: of instances that fitted no size of the book then.
    """

    workload_id: str
    stack_id: str
    slug: str = ""
    running: int = 0
    seconds: dict[Item, Decimal] = field(default_factory=dict)
    costs: dict[str, Decimal] = field(default_factory=dict)
    gib_seconds: Decimal = Decimal(0)
    unpriced_s: Decimal = Decimal(0)


def in_force(
    since: float, until: float, books: Sequence[tuple[float, PriceBook]]
) -> Iterator[tuple[PriceBook, float, float]]:
    """Each book, in its order, with the begin and the end of what the span has of its time: nothing, where the end is
    not the later one. `books`: since when each was in force, the oldest first; before the first, that one too.
    """
    for n, (at, book) in enumerate(books):
        begun = since if n == 0 else max(since, at)
        yield book, begun, min(until, books[n + 1][0]) if n + 1 < len(books) else until


@lru_cache(maxsize=1024)  # what runs has one end: now
def moment(at: float) -> Decimal:
    """A clock's microseconds, not the binary fraction nearest to them."""
    return Decimal(micros(at)).scaleb(-6)


def cut(row: RowMapping, *, since: float, until: float) -> Period:
    """Of a row that began before `until`, what is in that time."""
    return Period(
        workload_id=row["workload_id"], stack_id=row["stack_id"], slug=row["slug"], item=row["item"], name=row["name"],
        cpu_millis=row["cpu_millis"], memory_bytes=row["memory_bytes"], begun_at=max(row["begun_at"], since),
        ended_at=until if row["ended_at"] is None else min(row["ended_at"], until), runs=row["ended_at"] is None,
    )  # fmt: skip


def _add(found: dict[str, Used], kind: Kind, seconds: Decimal, book: PriceBook) -> None:
    sums = found.setdefault(
        kind.workload_id, Used(workload_id=kind.workload_id, stack_id=kind.stack_id, slug=kind.slug)
    )
    sums.seconds[kind.item] = sums.seconds.get(kind.item, Decimal(0)) + seconds
    if kind.item == "volume":
        sums.gib_seconds += seconds * kind.memory_bytes / 2**30
    hourly = item_hourly(book, kind.item, kind.cpu_millis, kind.memory_bytes, kind.storage_class)
    if hourly is None:
        sums.unpriced_s += seconds
    else:
        sums.costs[book.currency] = sums.costs.get(book.currency, Decimal(0)) + seconds * hourly / HOUR_S


def _running(link: Connection, whose: Whose, until: float) -> dict[str, int]:
    """Of each workload how many instances that began before are there now."""
    now = (_TABLE.c.item == "instance", _TABLE.c.ended_at.is_(None), _TABLE.c.begun_at < until)
    which = select(_TABLE.c.workload_id, func.count()).where(*whose.of(_TABLE), *now)
    return {row[0]: row[1] for row in link.execute(which.group_by(_TABLE.c.workload_id))}


class Metering:
    """The store's side. Blocking. Raises `WorldError`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def used(
        self, *, stacks: Collection[str], since: float, until: float, workload: str = "", fallback: PriceBook
    ) -> list[Used]:
        """By workload. `workload`: its id or slug, also of one that is gone; default: all. `until`: past. `fallback`:
        the book where none was ever written down.
        """
        self._keep_months(until - SETTLED_S)
        whose, books = Whose(list(stacks), workload), self.books(fallback)
        found: dict[str, Used] = {}
        with self._store.reading() as link:
            for book, begun, ended in in_force(since, until, books):
                for kind, micros in used_between(link, whose, begun, ended).items():
                    _add(found, kind, Decimal(micros).scaleb(-6), book)
            running = _running(link, whose, until)
        for one in found.values():
            one.running = running.get(one.workload_id, 0)
        return sorted(found.values(), key=lambda u: (u.stack_id, u.slug, u.workload_id))

    def _keep_months(self, until: float) -> None:
        """Each in a transaction of its own: steps of control write meanwhile."""
        with self._store.reading() as link:
            more = due(link, until) is not None
        # nobody's act, whoever asks; and where nothing can be written, more is read
        with suppress(WorldError), acts.acting(None):
            while more:
                with self._store.writing() as link:
                    more = keep(link, until)

    def periods(
        self, *, stacks: Collection[str], since: float, until: float, fallback: PriceBook
    ) -> tuple[Iterator[Period], list[tuple[float, PriceBook]]]:
        """What ran in that time, cut to it; and the price books with the times since which each was in force."""
        rows = self._rows([*Whose(list(stacks)).of(_TABLE), _TABLE.c.begun_at < until], since)
        return (cut(row, since=since, until=until) for row in rows), self.books(fallback)

    def rows(self, *, stack: str, since: float, workloads: Collection[str] | None = None) -> Sequence[RowMapping]:
        """What was not over before `since`, of these workloads or of all, as it was written down."""
        which: list[ColumnElement[bool]] = [_TABLE.c.stack_id == stack]
        if workloads is not None:
            which.append(_TABLE.c.workload_id.in_(workloads))
        return self._rows(which, since)

    def _rows(self, which: list[ColumnElement[bool]], since: float) -> Sequence[RowMapping]:
        there = _TABLE.c.ended_at.is_(None) | (_TABLE.c.ended_at > since)
        with self._store.reading() as link:
            return link.execute(select(_TABLE).where(*which, there).order_by(_TABLE.c.id)).mappings().all()

    def books(self, fallback: PriceBook) -> list[tuple[float, PriceBook]]:
        """Since when each was in force, the oldest first."""
        with self._store.reading() as link:
            texts = link.execute(select(schema.price_books).order_by(schema.price_books.c.at)).all()
        return [(at, _book(text)) for at, text in texts] or [(0.0, fallback)]

    def stacks_of(self, account_id: str) -> list[str]:
        """Those of which something was metered, also when they and their account are gone."""
        query = select(_TABLE.c.stack_id).where(_TABLE.c.account_id == account_id).distinct()
        with self._store.reading() as link:
            return sorted(link.execute(query).scalars())

    def put_book(self, text: str, at: float) -> None:
        """Put another price book in force, from now on."""
        noted = Noted(subject=_BOOK, was=self._store.setting(_BOOK), became=text)
        with self._store.writing(noted=noted) as link:
            put_setting(link, _BOOK, text)
            if _newest(link) is None:
                _write_down(link, default_book_text(), 0.0)
            _write_down(link, text, at)

    def begin(self, text: str, at: float) -> None:
        """Write down with which book control starts, where it is another than before. The first one holds for all that
        was before it.
        """
        with self._store.reading() as link:
            known = _newest(link)
        if known is None or known[1] != text:
            with self._store.writing() as link:
                _write_down(link, text, at if known is not None else 0.0)


@cache
def _book(text: str) -> PriceBook:
    return read_price_book(text)


def _newest(link: Connection) -> tuple[float, str] | None:
    table = schema.price_books
    found = link.execute(select(table.c.at, table.c.book).order_by(table.c.at.desc()).limit(1)).first()
    return (found.at, found.book) if found is not None else None


def _write_down(link: Connection, text: str, at: float) -> None:
    """Behind the one before it, also where the clock was set back meanwhile."""
    table, known = schema.price_books, _newest(link)
    if known is not None and known[0] >= at:
        at = known[0] + 1e-3
    link.execute(insert(table), {"at": at, "book": text})

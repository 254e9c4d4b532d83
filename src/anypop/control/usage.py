"""What was used, and what it cost: out of the meters that the store has kept, at the prices of each moment.

In: whose, and from when to when. Out: for each workload seconds and costs by currency, exact: reckoned in decimals. A
meter that still runs counts up to now. What ran while another price book was in force is priced by that one.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache, lru_cache

from sqlalchemy import ColumnElement, Connection, RowMapping, insert, select

from anypop.control import schema
from anypop.control.audit import Noted
from anypop.control.meters import Item
from anypop.control.saving import put_setting
from anypop.control.store import Store
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


def used(periods: Iterable[Period], books: Sequence[tuple[float, PriceBook]]) -> list[Used]:
    """By workload. `books`: since when each was in force, the oldest first; before the first, that one too."""
    found: dict[str, Used] = {}
    for one in periods:
        sums = found.setdefault(one.workload_id, Used(workload_id=one.workload_id, stack_id=one.stack_id))
        sums.slug = one.slug
        sums.running += one.runs and one.item == "instance"
        for seconds, book in parts(one, books):
            sums.seconds[one.item] = sums.seconds.get(one.item, Decimal(0)) + seconds
            if one.item == "volume":
                sums.gib_seconds += seconds * one.memory_bytes / 2**30
            hourly = item_hourly(book, one.item, one.cpu_millis, one.memory_bytes, one.name)
            if hourly is None:
                sums.unpriced_s += seconds
            else:
                sums.costs[book.currency] = sums.costs.get(book.currency, Decimal(0)) + seconds * hourly / HOUR_S
    return sorted(found.values(), key=lambda u: (u.stack_id, u.slug, u.workload_id))


def parts(one: Period, books: Sequence[tuple[float, PriceBook]]) -> Iterator[tuple[Decimal, PriceBook]]:
    """The period, divided where another book came into force."""
    for book, begun, ended in in_force(one, books):
        if ended > begun:
            yield moment(ended) - moment(begun), book


def in_force(one: Period, books: Sequence[tuple[float, PriceBook]]) -> Iterator[tuple[PriceBook, float, float]]:
    """Each book, in its order, with the begin and the end of what the period has of its time: nothing, where the end is
    not the later one.
    """
    for n, (since, book) in enumerate(books):
        begun = one.begun_at if n == 0 else max(one.begun_at, since)
        yield book, begun, min(one.ended_at, books[n + 1][0]) if n + 1 < len(books) else one.ended_at


@lru_cache(maxsize=1024)  # what runs has one end: now
def moment(at: float) -> Decimal:
    """A clock's microseconds, not the binary fraction nearest to them."""
    return Decimal(f"{at:.6f}")


def cut(row: RowMapping, *, since: float, until: float) -> Period:
    """Of a row that began before `until`, what is in that time."""
    return Period(
        workload_id=row["workload_id"], stack_id=row["stack_id"], slug=row["slug"], item=row["item"], name=row["name"],
        cpu_millis=row["cpu_millis"], memory_bytes=row["memory_bytes"], begun_at=max(row["begun_at"], since),
        ended_at=until if row["ended_at"] is None else min(row["ended_at"], until), runs=row["ended_at"] is None,
    )  # fmt: skip


class Metering:
    """The store's side. Blocking. Raises `WorldError`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def used(
        self, *, stacks: Collection[str], since: float, until: float, workload: str = "", fallback: PriceBook
    ) -> list[Used]:
        """`workload`: its id or slug, also of one that is gone; default: all. `fallback`: the book where none was ever
        written down.
        """
        return used(*self.periods(stacks=stacks, since=since, until=until, workload=workload, fallback=fallback))

    def periods(
        self, *, stacks: Collection[str], since: float, until: float, workload: str = "", fallback: PriceBook
    ) -> tuple[Iterator[Period], list[tuple[float, PriceBook]]]:
        """What ran in that time, cut to it; and the price books with the times since which each was in force."""
        which: list[ColumnElement[bool]] = [_TABLE.c.stack_id.in_(stacks), _TABLE.c.begun_at < until]
        if workload:
            which.append((_TABLE.c.workload_id == workload) | (_TABLE.c.slug == workload))
        rows = self._rows(which, since)
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

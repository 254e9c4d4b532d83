"""For how long each kind of thing was used, kept of each month that is over: a span costs what is in it, not what ever
was.

In: the meters' rows, an open connection to the store. Out: of a span, microseconds by workload and kind. Kept are of
each month how many of a kind were there when it began, and for how long all of them ran in it. A span is its whole
months as they are kept, and at its two ends what began and ended there. No price is in what is kept, so another price
book changes none of it. Where something is written of a time that is kept, as the clock was set back, all is made anew.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, delete, func, select

from anypop.control import schema
from anypop.control.meters import Item
from anypop.control.saving import USAGE_KEPT, put_setting, usage_kept_until
from anypop.control.statements import insertion, send

SETTLED_S = 3600  # a step writes moments that are past by its own length: seconds, on a disk that hangs minutes
_METERS, _MONTHS = schema.usage, schema.usage_months
_LIFE = [_METERS.c[c] for c in (
    "workload_id", "stack_id", "slug", "item", "cpu_millis", "memory_bytes", "name", "begun_at", "ended_at"
)]  # fmt: skip
_AT_ONCE = 5000  # rows


class Kind(NamedTuple):
    """What of a workload has one price at any moment. Of a volume `memory_bytes` is its size."""

    workload_id: str
    stack_id: str
    slug: str
    item: Item
    cpu_millis: int
    memory_bytes: int
    storage_class: str


def month_of(text: str, now: float) -> tuple[float, float]:
    """Begin and end of a month (UTC), of `2026-11`; of the present one for an empty text. Raises `ValueError`."""
    at = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC) if text else datetime.fromtimestamp(now, UTC)
    begin = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
    return begin.timestamp(), end.timestamp()


Life = tuple[Kind, float, float | None]
"""When it began and ended."""


class Whose(NamedTuple):
    """`workload`: its id or slug; empty: all of these stacks."""

    stacks: Sequence[str]
    workload: str = ""

    def of(self, table: Table) -> list[ColumnElement[bool]]:
        which: list[ColumnElement[bool]] = [table.c.stack_id.in_(self.stacks)]
        if self.workload:
            which.append((table.c.workload_id == self.workload) | (table.c.slug == self.workload))
        return which


def used_between(link: Connection, whose: Whose, since: float, until: float) -> Counter[Kind]:
    """Microseconds; what there is none of is left out."""
    found: Counter[Kind] = Counter()
    if since >= until:
        return found
    begin, end = month_of("", since)
    kept = usage_kept_until(link)
    first, last = since if since == begin else end, min(kept, month_of("", until)[0])
    if first <= last:
        _before(found, link, whose, (since, first))
        _whole(found, link, whose, first, last)
        _after(found, link, whose, (last, last, until))
    elif end <= kept and end - until < since - begin:
        _before(found, link, whose, (since, end), until)
    else:
        _after(found, link, whose, (min(kept, begin), since, until))
    return +found


def _whole(found: Counter[Kind], link: Connection, whose: Whose, since: float, until: float) -> None:
    kind = [_MONTHS.c[name] for name in Kind._fields]
    query = select(*kind, func.sum(_MONTHS.c.micros)).group_by(*kind)
    for row in link.execute(query.where(*whose.of(_MONTHS), _MONTHS.c.begun_at >= since, _MONTHS.c.begun_at < until)):
        found[Kind(*row[:-1])] += int(row[-1])


def _after(found: Counter[Kind], link: Connection, whose: Whose, span: tuple[float, float, float]) -> None:
    """From the second moment to the third: what was there at the first, and what began and ended since."""
    at, since, until = span
    if since >= until:
        return
    first, last = micros(since), micros(until)
    _there(found, link, whose, at, last - first)
    ended = (_METERS.c.begun_at < at, _METERS.c.ended_at > at, _METERS.c.ended_at < until)
    for kind, begun_at, ended_at in _lives(link, whose, *ended):
        found[kind] += _overlap(begun_at, ended_at, first, last) - (last - first)
    for kind, begun_at, ended_at in _lives(link, whose, _METERS.c.begun_at >= at, _METERS.c.begun_at < until):
        found[kind] += _overlap(begun_at, ended_at, first, last)


def _before(
    found: Counter[Kind], link: Connection, whose: Whose, span: tuple[float, float], until: float | None = None
) -> None:
    """From the first moment to `until`, by default the second: what was there at the second, and what began and ended
    before. `until` is no later.
    """
    since, at = span
    if since >= at:
        return
    first, last = micros(since), micros(at if until is None else until)
    _there(found, link, whose, at, last - first)
    ended = _METERS.c.ended_at
    begun = (_METERS.c.begun_at > since, _METERS.c.begun_at < at, ended.is_(None) | (ended > at))
    for kind, begun_at, _ in _lives(link, whose, *begun):
        found[kind] -= min(last, micros(begun_at)) - first
    for kind, begun_at, ended_at in _lives(link, whose, ended > since, ended <= at):
        found[kind] += _overlap(begun_at, ended_at, first, last)


def _there(found: Counter[Kind], link: Connection, whose: Whose, at: float, each: int) -> None:
    kind = [_MONTHS.c[name] for name in Kind._fields]
    for row in link.execute(select(*kind, _MONTHS.c.there).where(*whose.of(_MONTHS), _MONTHS.c.begun_at == at)):
        found[Kind(*row[:-1])] += row[-1] * each


def _lives(link: Connection, whose: Whose, *which: ColumnElement[bool]) -> Iterator[Life]:
    return _read(link.execute(select(*_LIFE).where(*whose.of(_METERS), *which)))


def _read(rows: Iterable[Any]) -> Iterator[Life]:
    for workload, stack, slug, item, cpu, memory, name, begun_at, ended_at in rows:
        storage_class = name.rpartition(" ")[2] if item == "volume" else ""
        yield Kind(workload, stack, slug, item, cpu, memory, storage_class), begun_at, ended_at


def due(link: Connection, until: float) -> tuple[float, float] | None:
    """The month that is to be kept next, where it was over by `until`."""
    begun = usage_kept_until(link) or link.execute(select(func.min(_METERS.c.begun_at))).scalar_one_or_none()
    month = month_of("", begun) if begun is not None else None
    return month if month is not None and month[1] <= until else None


def keep(link: Connection, until: float) -> bool:
    """In a transaction: keep one month more, where one was over by `until`, which is past. Whether there was one."""
    if (month := due(link, until)) is None:
        return False
    begin, end = month
    first, last = micros(begin), micros(end)
    there: Counter[tuple[float, Kind]] = Counter()
    ran: Counter[Kind] = Counter()
    ended = _METERS.c.ended_at
    lasting = select(*_LIFE).where(_METERS.c.begun_at < end, ended.is_(None) | (ended > begin))
    for kind, begun_at, ended_at in _read(link.execute(lasting.execution_options(yield_per=_AT_ONCE))):
        ran[kind] += _overlap(begun_at, ended_at, first, last)
        there[begin, kind] += begun_at < begin
        there[end, kind] += ended_at is None or ended_at > end
    # of the month that follows only what is there at its begin; in its turn it is written anew
    link.execute(delete(_MONTHS).where(_MONTHS.c.begun_at >= usage_kept_until(link)))
    rows = [
        {"begun_at": at, **kind._asdict(), "there": count, "micros": ran[kind] if at == begin else 0}
        for (at, kind), count in there.items()
        if count or at == begin
    ]
    if rows:
        send(link, insertion(_MONTHS, tuple(rows[0]), link.dialect), rows)
    put_setting(link, USAGE_KEPT, repr(end))
    return True


def _overlap(begun_at: float, ended_at: float | None, first: int, last: int) -> int:
    end = last if ended_at is None else min(last, micros(ended_at))
    return max(0, end - max(first, micros(begun_at)))


def micros(at: float) -> int:
    """A clock's microseconds, not the binary fraction nearest to them."""
    return int(f"{at:.6f}".replace(".", ""))

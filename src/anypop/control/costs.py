"""What a month costs so far, and what it will have cost at its end if everything goes on as it is now. Pure.

In: the metered periods of the month, the price books with their times, when it is and when the month ends. Out: sums by
workload and PoP, and of those figures for any later moment. Each moment that is past has the price of the book that was
in force then; what is to come has that of the last one. A forecast is no promise: what starts or ends later is not in
it. Sums are exact, in whatever order they are made, so that one part can be taken out and put in anew: they are never
divided, and `EXACT` rounds none.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal, localcontext
from typing import NamedTuple, get_args

from anypop.control.meters import Item
from anypop.control.usage import HOUR_S, Period, Used, in_force, moment
from anypop.plan.price import PriceBook, item_hourly

EXACT = Context(prec=200)  # a moment has 16 digits, a price some 30, and there are fewer than 10**50 of them
PopOf = Callable[[Period], str | None]
Books = Sequence[tuple[float, PriceBook]]
_ZERO, _ONE = Decimal(0), Decimal(1)
_UNPRICED, _BYTES = "unpriced", "bytes"


class Span(NamedTuple):
    """Of many parts of periods together what is known at each moment: `over + rate * moment - begun`. `parts` have a
    length, `running` go on.
    """

    parts: int
    running: int
    over: Decimal
    rate: Decimal
    begun: Decimal

    def at(self, now: Decimal) -> Decimal:
        return self.over + self.rate * now - self.begun


Key = tuple[str, str]
"""What is summed: the time of an item, or what else has a name; of costs nothing but the currency."""
Sums = dict[Key, Span]


def put_in(sums: Sums, others: Mapping[Key, Span]) -> None:
    for key, more in others.items():
        two, one = more, sums.get(key)
        if one is not None:
            two = Span(
                one.parts + two.parts, one.running + two.running, one.over + two.over, one.rate + two.rate,
                one.begun + two.begun,
            )  # fmt: skip
        sums[key] = two


def take_out(sums: Sums, others: Mapping[Key, Span]) -> None:
    """What was put in before."""
    for key, two in others.items():
        one = sums[key]
        left = Span(
            one.parts - two.parts, one.running - two.running, one.over - two.over, one.rate - two.rate,
            one.begun - two.begun,
        )  # fmt: skip
        if left.parts or left.running:
            sums[key] = left
        else:
            del sums[key]


@dataclass(slots=True, kw_only=True)
class WorkloadSums:
    """`pops`: by PoP; None: what is in no single one, as an anycast address. `whole`: the month's costs at its end by
    currency, which changes with the sums alone; not yet divided, so it only says which workload costs more.
    """

    workload_id: str
    stack_id: str
    slug: str = ""
    pops: dict[str | None, Sums] = field(default_factory=dict)
    whole: dict[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Amounts by currency. `hourly`: what runs now costs so much in an hour, at the present prices. `unpriced_s`:
    instances that fitted no size of the book then ran so long, and cost nothing.
    """

    so_far: Mapping[str, Decimal]
    hourly: Mapping[str, Decimal]
    forecast: Mapping[str, Decimal]
    running: int
    instance_s: Decimal
    unpriced_s: Decimal


def summed(periods: Iterable[Period], books: Books, *, ends: float, goes_on: bool, pop_of: PopOf) -> list[WorkloadSums]:
    """By workload. `ends`: of the month; `goes_on`: it is not over, and what runs has no end yet."""
    found: dict[str, WorkloadSums] = {}
    prices: dict[tuple[object, ...], Decimal | None] = {}  # instances of one size have one price

    def price_of(book: PriceBook, one: Period) -> Decimal | None:
        key = (id(book), one.item, one.cpu_millis, one.memory_bytes, one.name if one.item == "volume" else "")
        if key not in prices:
            prices[key] = item_hourly(book, one.item, one.cpu_millis, one.memory_bytes, one.name)
        return prices[key]

    for one in periods:
        parts: Sums = {}
        for part in _parts(one, books, goes_on=goes_on):
            rate = price_of(part.book, one)
            with localcontext(EXACT):
                put_in(parts, {(one.item, ""): part.span(_ONE)})
                if one.item == "volume":
                    put_in(parts, {(_BYTES, ""): part.span(Decimal(one.memory_bytes))})
                put_in(parts, {("", part.book.currency): part.span(rate)} if rate is not None else {
                    (_UNPRICED, ""): part.span(_ONE)
                })  # fmt: skip
        if parts:
            workload = found.setdefault(
                one.workload_id, WorkloadSums(workload_id=one.workload_id, stack_id=one.stack_id)
            )
            workload.slug = one.slug
            with localcontext(EXACT):
                put_in(workload.pops.setdefault(pop_of(one), {}), parts)
    end = moment(ends)
    for workload in found.values():
        whole = total(workload.pops.values())
        with localcontext(EXACT):
            workload.whole = {currency: span.at(end) for (what, currency), span in whole.items() if not what}
    return list(found.values())


class _Part(NamedTuple):
    """Of one period the time of one book. What goes on has no length yet where it begins at its end, which is now."""

    book: PriceBook
    begun: float
    ended: float
    runs: bool

    def span(self, rate: Decimal) -> Span:
        first, last = moment(self.begun), moment(self.ended)
        over, parts = rate * (last - first), int(self.ended > self.begun)
        return Span(parts, 1, over, rate, rate * last) if self.runs else Span(parts, 0, over, _ZERO, _ZERO)


def _parts(one: Period, books: Books, *, goes_on: bool) -> Iterator[_Part]:
    for n, (book, begun, ended) in enumerate(in_force(one.begun_at, one.ended_at, books), start=1):
        runs = goes_on and one.runs and n == len(books)
        if ended > begun or runs:
            yield _Part(book, min(begun, ended), ended, runs)


def figures(sums: Mapping[Key, Span], *, until: float, ends: float) -> Costs:
    """At `until`, which is no earlier than any moment of the sums, and at the month's end."""
    with localcontext(EXACT):
        now, end = moment(until), moment(ends)
        costs = {currency: span for (what, currency), span in sums.items() if not what}
        time, unpriced = sums.get(("instance", "")), sums.get((_UNPRICED, ""))
        return Costs(
            so_far={currency: span.at(now) / HOUR_S for currency, span in costs.items() if span.parts},
            hourly={currency: span.rate for currency, span in costs.items() if span.running},
            forecast={currency: span.at(end) / HOUR_S for currency, span in costs.items()},
            running=time.running if time is not None else 0,
            instance_s=time.at(now) if time is not None else _ZERO,
            unpriced_s=unpriced.at(now) if unpriced is not None else _ZERO,
        )


def used_until(one: WorkloadSums, until: float) -> Used:
    """What a workload has used by then, which is no earlier than any moment of its sums."""
    sums, now = total(one.pops.values()), moment(until)
    found = Used(workload_id=one.workload_id, stack_id=one.stack_id, slug=one.slug)
    with localcontext(EXACT):
        for item in get_args(Item):
            if (span := sums.get((item, ""))) is not None:
                found.seconds[item] = span.at(now)
        if (instances := sums.get(("instance", ""))) is not None:
            found.running = instances.running
        for (what, currency), span in sums.items():
            if not what and span.parts:
                found.costs[currency] = span.at(now) / HOUR_S
        if (written := sums.get((_BYTES, ""))) is not None:
            found.gib_seconds = written.at(now) / 2**30
        if (unpriced := sums.get((_UNPRICED, ""))) is not None:
            found.unpriced_s = unpriced.at(now)
    return found


def total(many: Iterable[Mapping[Key, Span]]) -> Sums:
    """All of them together."""
    whole: Sums = {}
    with localcontext(EXACT):
        for sums in many:
            put_in(whole, sums)
    return whole

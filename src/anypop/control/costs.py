"""What a month costs so far, and what it will have cost at its end if everything goes on as it is now. Pure.

In: the metered periods of the month, the price books with their times, when it is and when the month ends. Out: costs
by workload and PoP, in decimals. Each moment that is past has the price of the book that was in force then; what is to
come has that of the last one. A forecast is no promise: what starts or ends later is not in it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from anypop.control.usage import HOUR_S, Period, parts
from anypop.plan.price import PriceBook, item_hourly

Sums = dict[str, Decimal]  # by currency
PopOf = Callable[[Period], str | None]


@dataclass(slots=True, kw_only=True)
class Costs:
    """`hourly`: what runs now costs so much in an hour, at the present prices. `unpriced_s`: instances that fitted no
    size of the book then ran so long, and cost nothing.
    """

    so_far: Sums = field(default_factory=dict)
    hourly: Sums = field(default_factory=dict)
    forecast: Sums = field(default_factory=dict)
    running: int = 0
    instance_s: Decimal = Decimal(0)
    unpriced_s: Decimal = Decimal(0)


@dataclass(slots=True, kw_only=True)
class WorkloadCosts:
    """`pops`: by PoP; None: what is in no single one, as an anycast address."""

    workload_id: str
    stack_id: str
    slug: str = ""
    pops: dict[str | None, Costs] = field(default_factory=dict)


def month_of(text: str, now: float) -> tuple[float, float]:
    """Begin and end of a month (UTC), of `2026-11`; of the present one for an empty text. Raises `ValueError`."""
    at = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC) if text else datetime.fromtimestamp(now, UTC)
    begin = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
    return begin.timestamp(), end.timestamp()


def costs(
    periods: Iterable[Period], books: Sequence[tuple[float, PriceBook]], *, left_s: float, pop_of: PopOf
) -> list[WorkloadCosts]:
    """By workload. `left_s`: from now to the end of the month; 0 for one that is over."""
    found: dict[str, WorkloadCosts] = {}
    present = books[-1][1]
    left = Decimal(f"{max(0.0, left_s):.6f}")
    prices: dict[tuple[object, ...], Decimal | None] = {}  # instances of one size have one price

    def price_of(book: PriceBook, one: Period) -> Decimal | None:
        key = (id(book), one.item, one.cpu_millis, one.memory_bytes, one.name if one.item == "volume" else "")
        if key not in prices:
            prices[key] = item_hourly(book, one.item, one.cpu_millis, one.memory_bytes, one.name)
        return prices[key]

    for one in periods:
        workload = found.setdefault(one.workload_id, WorkloadCosts(workload_id=one.workload_id, stack_id=one.stack_id))
        workload.slug = one.slug
        sums = workload.pops.setdefault(pop_of(one), Costs())
        for seconds, book in parts(one, books):
            if one.item == "instance":
                sums.instance_s += seconds
            price = price_of(book, one)
            if price is None:
                sums.unpriced_s += seconds
            else:
                _add(sums.so_far, book.currency, seconds * price / HOUR_S)
        if one.runs and left:
            sums.running += one.item == "instance"
            if (price := price_of(present, one)) is not None:
                _add(sums.hourly, present.currency, price)
    for workload in found.values():
        for sums in workload.pops.values():
            sums.forecast = dict(sums.so_far)
            for currency, hourly in sums.hourly.items():
                _add(sums.forecast, currency, hourly * left / HOUR_S)
    return sorted(found.values(), key=lambda w: (w.stack_id, w.slug, w.workload_id))


def total(found: Iterable[Costs]) -> Costs:
    """All of them together."""
    whole = Costs()
    for one in found:
        for name in ("so_far", "hourly", "forecast"):
            for currency, amount in getattr(one, name).items():
                _add(getattr(whole, name), currency, amount)
        whole.running += one.running
        whole.instance_s += one.instance_s
        whole.unpriced_s += one.unpriced_s
    return whole


def _add(sums: Sums, currency: str, amount: Decimal) -> None:
    sums[currency] = sums.get(currency, Decimal(0)) + amount

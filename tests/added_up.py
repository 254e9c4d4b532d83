"""What was used, added up period by period: what every quicker way must be equal to."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from anypop.control.usage import HOUR_S, Period, Used, in_force, moment
from anypop.plan.price import PriceBook, item_hourly


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
    for book, begun, ended in in_force(one.begun_at, one.ended_at, books):
        if ended > begun:
            yield moment(ended) - moment(begun), book

"""The price of a workload, line by line, before anything starts.

In: a workload and a price book, which the operator can replace (`plan/pricebook.yaml` is the default). Out: a quote, exact to the cent:
reckoned in decimals, turned into floats at the very end. Nothing here meters what was really used.
"""

from dataclasses import dataclass
from decimal import Decimal

from anypop.model.plan import Quote
from anypop.model.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A size of instance: what it has and its price for an hour."""

    name: str
    cpu_millis: int
    memory_bytes: int
    hourly: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBook:
    """Prices in `currency`. `hours_per_month` makes a month of hours (730 = 365 x 24 / 12)."""

    currency: str
    hours_per_month: int
    anycast_hourly: Decimal
    sizes: tuple[Size, ...]


def read_price_book(text: str) -> PriceBook:
    """A price book from YAML text. Raises `Invalid` with all its problems."""
    raise NotImplementedError


def default_price_book() -> PriceBook:
    """The price book that comes with Anypop."""
    raise NotImplementedError


def quote(workload: Workload, book: PriceBook) -> Quote:
    """What `workload` costs while all its instances run. Raises `Invalid` where an instance fits no size."""
    raise NotImplementedError


def in_words(priced: Quote) -> str:
    """One line for people: `0.86 USD an hour, about 627 USD a month`."""
    raise NotImplementedError

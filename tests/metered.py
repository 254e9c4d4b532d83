"""The tables of meters in memory, and what control does with them: for tests of what was used and what it cost."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, insert
from sqlalchemy.pool import StaticPool

from anypop.control import schema
from anypop.control.meters import Item, Meter
from anypop.control.saving import save_meters
from anypop.control.state import State
from anypop.control.usage import Metering, Used
from anypop.model.names import StackId, WorkloadId
from anypop.model.table import settled, with_entries, without_keys
from anypop.plan.price import default_book_text, default_price_book
from tests.added_up import used

BOOK = default_price_book()
SINCE = datetime(2023, 11, 1, tzinfo=UTC).timestamp()
EUROS = default_book_text().replace("currency: USD", "currency: EUR")
DEAR = default_book_text().replace("anycast_hourly: 0.14", "anycast_hourly: 7.0000001")
NAMES: Mapping[Item, str] = {"instance": "web-eu-{}-0", "anycast": "", "volume": "v0 {} standard"}


class Place:
    """The tables of meters in memory, a state and a clock: what control does with them, and no more."""

    def __init__(self) -> None:
        self._engine = create_engine("sqlite://", poolclass=StaticPool)
        for table in (schema.usage, schema.usage_months, schema.settings, schema.price_books):
            table.create(self._engine)
        self.now, self.state = SINCE - 100.0, State()
        self.book(default_book_text(), 0.0)
        self.metering = Metering(self)  # type: ignore[arg-type]

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self._engine.begin() as link:
            yield link

    writing = reading

    def book(self, text: str, at: float) -> None:
        with self.reading() as link:
            link.execute(insert(schema.price_books), {"at": at, "book": text})

    def change(self, *, begin: tuple[Meter, ...] = (), end: tuple[Any, ...] = ()) -> None:
        meters = with_entries(without_keys(self.state.meters, end), {one.key: one for one in begin})
        after = replace(self.state, meters=settled(self.state.meters, meters))
        with self.reading() as link:
            save_meters(link, self.state, after, self.now)
        self.state = after

    def meter(self, number: int, item: Item, city: str, size: int) -> Meter:
        return Meter(
            workload_id=WorkloadId(f"w{number}"), stack_id=StackId(f"s{number % 2}"), account_id="a",
            slug=f"web{number}", item=item, name=NAMES.get(item, "").format(city), cpu_millis=1000 * size,
            memory_bytes=size * 7 << 27, begun_at=self.now,
        )  # fmt: skip

    def added_up(self, since: float, until: float) -> list[Any]:
        """All rows of that time, one by one."""
        return shown(used(*self.metering.periods(stacks=["s0", "s1"], since=since, until=until, fallback=BOOK)))


def shown(found: Iterable[Used]) -> list[Any]:
    """As figures; without what there is none of."""
    return [figures for one in found if (figures := _figures(one))]


def _figures(one: Used) -> Any:
    """Divided, so only nearly the same on two ways. What there is none of is left out."""
    if not any(one.seconds.values()) and not one.running:
        return None
    seconds = {item: round(float(value), 5) for item, value in one.seconds.items() if value}
    costs = {currency: pytest.approx(float(cost)) for currency, cost in one.costs.items()}
    rest = pytest.approx(float(one.gib_seconds)), round(float(one.unpriced_s), 5)
    return one.workload_id, one.slug, one.running, seconds, costs, *rest

"""Sums that are kept up, of a month and of all time, are those of adding up everything anew, whatever has happened in
between; and asking again costs what has changed.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, insert
from sqlalchemy.pool import StaticPool

from anypop.control import schema
from anypop.control.costs import Costs, figures, total, used_until
from anypop.control.kept_sums import KeptSums
from anypop.control.meters import Item, Meter
from anypop.control.saving import save_meters
from anypop.control.state import State
from anypop.control.usage import Metering, Used
from anypop.model.names import StackId, WorkloadId
from anypop.model.table import settled, with_entries, without_keys
from anypop.plan.price import default_book_text, default_price_book
from tests.counted import calls

BOOK = default_price_book()
SINCE = datetime(2023, 11, 1, tzinfo=UTC).timestamp()
LATEST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
ENDS = datetime(2023, 12, 1, tzinfo=UTC).timestamp()
EUROS = default_book_text().replace("currency: USD", "currency: EUR")
DEAR = default_book_text().replace("anycast_hourly: 0.14", "anycast_hourly: 7.0000001")
NAMES: Mapping[Item, str] = {"instance": "web-eu-{}-0", "anycast": "", "volume": "v0 {} standard"}


class Place:
    """The tables of meters in memory, a state and a clock: what control does with them, and no more."""

    def __init__(self) -> None:
        self._engine = create_engine("sqlite://", poolclass=StaticPool)
        for table in (schema.usage, schema.price_books):
            table.create(self._engine)
        self.now, self.state = SINCE - 100.0, State()
        self.book(default_book_text(), 0.0)
        self.kept, self.ever = self.anew(), KeptSums(Metering(self), lambda: self.now, by_pop=False)  # type: ignore[arg-type]

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self._engine.begin() as link:
            yield link

    def book(self, text: str, at: float) -> None:
        with self.reading() as link:
            link.execute(insert(schema.price_books), {"at": at, "book": text})

    def anew(self) -> KeptSums:
        return KeptSums(Metering(self), lambda: self.now)  # type: ignore[arg-type]

    def change(self, *, begin: tuple[Meter, ...] = (), end: tuple[Any, ...] = ()) -> None:
        meters = with_entries(without_keys(self.state.meters, end), {one.key: one for one in begin})
        after = replace(self.state, meters=settled(self.state.meters, meters))
        with self.reading() as link:
            save_meters(link, self.state, after, self.now)
        self.state = after

    def meter(self, number: int, item: Item, city: str, size: int) -> Meter:
        return Meter(
            workload_id=WorkloadId(f"w{number}"), stack_id=StackId(f"s{number % 2}"), account_id="a",
            slug=f"web{number}", item=item, name=NAMES[item].format(city), cpu_millis=1000 * size,
            memory_bytes=size * 7 << 27, begun_at=self.now,
        )  # fmt: skip

    def told(self, costs: KeptSums, dearest: int = 0) -> Any:
        """Everything that is told, as figures."""
        found = costs.told(
            self.state, ["s0", "s1"], since=SINCE, ends=ENDS, fallback=BOOK, dearest=dearest
        )  # fmt: skip

        def shown(sums: Any) -> Costs:
            return figures(sums, until=found.until, ends=ENDS)

        return (
            found.count,
            shown(total(found.pops.values())),
            {pop: shown(sums) for pop, sums in found.pops.items()},
            [
                (one.workload_id, one.slug, {pop: shown(sums) for pop, sums in one.pops.items()})
                for one in found.workloads
            ],
        )

    def used(self) -> list[Any]:
        """By the sums that are kept since ever."""
        found = self.ever.told(self.state, ["s0", "s1"], since=0.0, ends=LATEST, fallback=BOOK)
        return [shown for one in found.workloads if (shown := _figures(used_until(one, found.until)))]

    def used_anew(self) -> list[Any]:
        found = Metering(self).used(  # type: ignore[arg-type]
            stacks=["s0", "s1"], since=0.0, until=self.now, fallback=BOOK
        )
        return [shown for one in found if (shown := _figures(one))]


def _figures(one: Used) -> Any:
    """Divided, so only nearly the same on two ways. What there is none of is left out."""
    if not any(one.seconds.values()) and not one.running:
        return None
    seconds = {item: round(float(value), 5) for item, value in one.seconds.items() if value}
    costs = {currency: pytest.approx(float(cost)) for currency, cost in one.costs.items()}
    rest = pytest.approx(float(one.gib_seconds)), round(float(one.unpriced_s), 5)
    return one.workload_id, one.slug, one.running, seconds, costs, *rest


acts = st.one_of(
    st.tuples(
        st.just("begin"), st.integers(0, 3), st.sampled_from(["instance", "anycast", "volume"]),
        st.sampled_from(["ams", "lhr"]), st.sampled_from([1, 2, 400]),
    ),
    st.tuples(st.just("end"), st.integers(0, 3), st.sampled_from(["instance", "anycast", "volume"])),
    st.tuples(st.just("wait"), st.integers(0, 10**12)), st.tuples(st.just("ask"), st.integers(0, 2)),
    st.tuples(st.just("book"), st.sampled_from([EUROS, DEAR])), st.tuples(st.just("back"), st.integers(1, 10**8)),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.lists(acts, max_size=25))
def test_what_is_kept_up_is_what_is_added_up_anew(history: list[tuple[Any, ...]]) -> None:
    """Meters begin, end and change their size, prices and currencies change, the clock is set back, the month ends."""
    place = Place()
    books = 0
    for what, *given_ in [*history, ("ask", 0)]:
        match what, given_:
            case "begin", [number, item, city, size]:
                place.change(begin=(place.meter(number, item, city, size),))
            case "end", [number, item]:
                place.change(
                    end=tuple(k for k in place.state.meters if k[0] == f"w{number}" and k[1] == item)
                )  # fmt: skip
            case "wait", [micros]:
                place.now += micros / 1e6
            case "back", [micros]:
                place.now -= micros / 1e6
            case "book", [text]:
                books += 1
                place.book(text, max(place.now, SINCE) + books * 1e-3)
            case "ask", [dearest] if place.now >= SINCE:
                assert place.told(place.kept, dearest) == place.told(place.anew(), dearest)
                assert place.used() == place.used_anew()


def test_asking_again_costs_what_has_changed() -> None:
    """One of two hundred workloads ends: its rows alone are read, and nothing of the others is added up."""
    place = Place()
    place.now = SINCE + 3600
    place.change(
        begin=tuple(place.meter(n, "instance", city, 1) for n in range(200) for city in ("ams", "lhr", "jfk", "lax"))
    )
    place.now += 60
    first = calls(lambda: place.told(place.kept, 3))
    place.change(end=((WorkloadId("w7"), "instance", "web-eu-ams-0"),))
    place.now += 60
    again = calls(lambda: place.told(place.kept, 3))
    assert again < first / 10
    assert place.told(place.kept) == place.told(place.anew())

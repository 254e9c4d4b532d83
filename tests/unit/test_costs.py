"""Months and costs: pure."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anypop.control.costs import Costs, Sums, figures, summed, total
from anypop.control.usage import Period
from anypop.control.usage_months import month_of
from anypop.plan.price import default_price_book
from anypop.portal import price_form
from tests.added_up import used

BOOK = default_price_book()
TINY = Decimal("1e-20")  # decimals of 28 digits, some dozens of them
DEARER = replace(BOOK, anycast_hourly=Decimal(7), sizes=tuple(replace(s, hourly=s.hourly * 3) for s in BOOK.sizes))


@pytest.mark.parametrize(
    ("text", "now", "begin", "end"),
    [
        ("", (2024, 2, 29, 23, 59), (2024, 2, 1), (2024, 3, 1)), ("2023-12", (2024, 1, 1), (2023, 12, 1), (2024, 1, 1)),
        ("", (2024, 1, 1), (2024, 1, 1), (2024, 2, 1)),
    ],
)  # fmt: skip
def test_a_month_is_one_of_utc(text: str, now: tuple[int, ...], begin: tuple[int, ...], end: tuple[int, ...]) -> None:
    def at(parts: tuple[int, ...]) -> float:
        return datetime(*parts, tzinfo=UTC).timestamp()  # type: ignore[arg-type, misc]

    assert month_of(text, at(now)) == (at(begin), at(end))


NOW, ENDS = 10_000.0, 10_060.0
moments = st.integers(0, 10_000_000).map(lambda micros: micros / 1000)


@given(spans=st.lists(st.tuples(moments, moments, st.sampled_from("abc"), st.booleans()), max_size=12), change=moments)
def test_costs_are_those_of_usage_however_they_are_divided(
    spans: list[tuple[float, float, str, bool]], change: float
) -> None:
    """To the last digit: by PoP, by workload, over a change of prices."""
    periods = [
        Period(
            workload_id=name, stack_id="s", slug=name, item="instance" if runs else "anycast", name=f"{name}-eu-ams-0",
            cpu_millis=2000, memory_bytes=1 << 30, begun_at=min(a, b), ended_at=NOW if runs else max(a, b), runs=runs,
        )
        for a, b, name, runs in spans
    ]  # fmt: skip
    books = [(0.0, BOOK), (change, DEARER)]
    found = summed(
        periods, books, ends=ENDS, goes_on=True, pop_of=lambda one: one.name[0] if one.item == "instance" else None
    )
    known = {one.workload_id: one.costs for one in used(periods, books) if one.costs}
    parts = {one.workload_id: at_now(one.pops.values()).so_far for one in found}
    assert {workload for workload, sums in parts.items() if sums} == known.keys()
    assert all(abs(parts[w]["USD"] - known[w]["USD"]) < TINY for w in known)
    whole = at_now(sums for one in found for sums in one.pops.values())
    hourly = sum(runs for *_, runs in spans) * Decimal("0.27")
    assert whole.hourly.get("USD", Decimal(0)) == hourly
    assert abs(whole.forecast.get("USD", Decimal(0)) - whole.so_far.get("USD", Decimal(0)) - hourly / 60) < TINY


def at_now(many: Iterable[Sums]) -> Costs:
    return figures(total(many), until=NOW, ends=ENDS)


@given(st.decimals(min_value=0, max_value=10_000, places=9).map(float))
def test_a_price_is_shown_so_that_it_comes_back_as_the_same_one(value: float) -> None:
    assert float(price_form.price(value)) == value and "e" not in price_form.price(value)

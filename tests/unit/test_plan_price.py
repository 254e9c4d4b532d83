"""Prices: the article's quote to the cent, sizes by what is asked for, and a price book that says all that is wrong
with it.
"""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.model.errors import Invalid
from anypop.model.workload import Target, Workload
from anypop.plan.price import about, default_price_book, in_words, quote, read_price_book
from tests.worlds import AMS, JFK, LAX, LHR, workload

GIB = 1 << 30


def sized(cpu_millis: int, memory_bytes: int, **more: Any) -> Workload:
    plain = workload(**more)
    return replace(plain, containers=(replace(plain.containers[0], cpu_millis=cpu_millis, memory_bytes=memory_bytes),))


def test_the_articles_workload_costs_what_the_article_says() -> None:
    """Eight SP-2 instances in four PoPs and one anycast address: 0.86 USD an hour, 627.80 USD a month."""
    targets = (Target(name="na1", cities=(JFK, LAX), replicas=2), Target(name="eu1", cities=(AMS, LHR), replicas=2))
    priced = quote(sized(2000, 4 * GIB, targets=targets), default_price_book())
    assert (priced.currency, priced.hourly, priced.monthly) == ("USD", 0.86, 627.8)
    assert [(line.item, line.quantity, line.unit_hourly, line.hourly, line.monthly) for line in priced.lines] == [
        ("SP-2 instance, target na1 (JFK, LAX)", 4, 0.09, 0.36, 262.8),
        ("SP-2 instance, target eu1 (AMS, LHR)", 4, 0.09, 0.36, 262.8),
        ("anycast address", 1, 0.14, 0.14, 102.2),
    ]
    assert in_words(priced) == "0.86 USD an hour, 627.80 USD a month"
    assert about(priced) == "about 627 USD a month"


@pytest.mark.parametrize(
    ("cpu", "gib", "size"),
    [
        (1, 1, "SP-1"),
        (1000, 2, "SP-1"),
        (1001, 2, "SP-2"),
        (1000, 3, "SP-2"),
        (2000, 8, "SP-3"),
        (4000, 1, "SP-4"),
        (48000, 256, "SP-8"),
    ],
)
def test_an_instance_takes_the_smallest_size_that_fits(cpu: int, gib: int, size: str) -> None:
    """By CPU and by memory, whichever needs more."""
    assert quote(sized(cpu, gib * GIB), default_price_book()).lines[0].item.startswith(f"{size} ")


def test_an_instance_larger_than_the_largest_size_is_told_so() -> None:
    """No size has 49 vCPU."""
    with pytest.raises(Invalid, match="49 vCPU and 2 GiB; no size has both"):
        quote(sized(49000, 2 * GIB), default_price_book())


@settings(deadline=None)
@given(st.integers(0, 20), st.integers(0, 20), st.booleans())
def test_the_lines_add_up_to_the_total(first: int, second: int, anycast: bool) -> None:
    """The sum of the lines, in cents of cents, is the total."""
    targets = (Target(name="a", cities=(JFK, LAX), replicas=first), Target(name="b", cities=(LHR,), replicas=second))
    priced = quote(sized(2000, 4 * GIB, targets=targets, anycast=anycast), default_price_book())
    assert round(sum(line.monthly for line in priced.lines), 6) == round(priced.monthly, 6)
    assert round(priced.hourly * 730, 6) == round(priced.monthly, 6)


def test_a_wrong_price_book_is_told_all_that_is_wrong_with_it() -> None:
    """Unknown field, negative price, no amount, missing currency: one answer."""
    text = """
    hours_per_month: 730
    anycast_hourly: -1
    discount: 5
    sizes: [{name: tiny, cpu: lots, memory: 1Gi, hourly: 0.01}]
    """
    with pytest.raises(Invalid) as caught:
        read_price_book(text)
    assert {p.path for p in caught.value.problems} == {"currency", "anycast_hourly", "discount", "sizes[0].cpu"}
    with pytest.raises(Invalid, match="no YAML"):
        read_price_book("sizes: [")
    with pytest.raises(Invalid):
        read_price_book("")


def test_an_operators_own_book_is_used() -> None:
    """Other sizes, another currency, a month of 720 hours; YAML numbers are taken at their word."""
    book = read_price_book(
        "{currency: EUR, hours_per_month: 720, anycast_hourly: 0, sizes: [{name: all, cpu: 8, memory: 16Gi, hourly: "
        "0.1}]}"
    )
    priced = quote(sized(100, GIB), book)
    assert (priced.currency, priced.monthly) == ("EUR", 576.0)


def test_a_prefix_of_its_own_is_priced() -> None:
    """By the book's own entry; a book without it lets it cost nothing, and the line says that it is there."""
    wanted = workload(replicas=1, local_only=True)
    found = quote(wanted, default_price_book()).lines[-1]
    assert (found.item, found.quantity, found.unit_hourly) == ("covering prefix of its own (local only)", 1, 0.18)
    free = read_price_book(
        "{currency: EUR, hours_per_month: 720, anycast_hourly: 0, sizes: "
        "[{name: all, cpu: 8, memory: 16Gi, hourly: 1}]}"
    )
    assert quote(wanted, free).lines[-1].hourly == 0
    assert not any("local only" in line.item for line in quote(workload(replicas=1), default_price_book()).lines)

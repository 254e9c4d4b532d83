"""What a span has used, by the months that are kept, is what all its rows say one by one; and costs what is in it."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from anypop.control import schema
from anypop.control.usage_months import month_of
from tests.counted import calls
from tests.metered import BOOK, DEAR, EUROS, SINCE, Place, shown

DAY = 86_400
items = st.sampled_from(["instance", "anycast", "volume", "prefix", "address"])
acts = st.one_of(
    st.tuples(
        st.just("begin"), st.integers(0, 3), items, st.sampled_from(["ams", "lhr"]), st.sampled_from([1, 2, 400])
    ),
    st.tuples(st.just("end"), st.integers(0, 3), items),
    st.tuples(st.just("wait"), st.integers(0, 50 * DAY * 10**6)),
    st.tuples(st.just("next month"), st.sampled_from([0, 1, 3600 * 10**6])),
    st.tuples(st.just("back"), st.integers(1, 70 * DAY * 10**6)),
    st.tuples(st.just("book"), st.sampled_from([EUROS, DEAR])),
    st.tuples(st.just("ask"), st.floats(0, 1), st.floats(0, 1)),
)  # fmt: skip


def asked(place: Place, since: float, until: float) -> list[Any]:
    return shown(place.metering.used(stacks=["s0", "s1"], since=since, until=until, fallback=BOOK))


@settings(max_examples=30, deadline=None)
@given(st.lists(acts, max_size=20))
def test_any_span_is_what_its_rows_say(history: list[tuple[Any, ...]]) -> None:
    """Meters begin, end and change over months, at their very bounds too; prices change, the clock is set back; what
    was asked before is asked of what was kept by then.
    """
    place, books, first = Place(), 0, SINCE - 100.0
    for what, *given_ in [*history, ("ask", 0.0, 1.0), ("ask", 0.3, 0.9)]:
        match what, given_:
            case "begin", [number, item, city, size]:
                place.change(begin=(place.meter(number, item, city, size),))
            case "end", [number, item]:
                place.change(end=tuple(k for k in place.state.meters if k[0] == f"w{number}" and k[1] == item))
            case "wait", [micros]:
                place.now += micros / 1e6
            case "next month", [more]:
                place.now = month_of("", place.now)[1] + more / 1e6
            case "back", [micros]:
                place.now -= micros / 1e6
            case "book", [text]:
                books += 1
                place.book(text, max(place.now, SINCE) + books * 1e-3)
            case "ask", [a, b]:
                first = min(first, place.now)
                moments = sorted(first + share * (place.now - first) for share in (a, b))
                for since, until in (
                    (0.0, moments[1]),
                    (moments[0], moments[1]),
                    (month_of("", moments[0])[0], place.now),
                ):
                    if since < until:
                        assert asked(place, since, until) == place.added_up(since, until)


def test_an_old_span_costs_no_more_when_much_happened_since() -> None:
    """Two weeks of the first month, asked after a year in which each of a hundred workloads began and ended each month:
    as many calls as after the first two months.
    """
    place = Place()
    span = (SINCE + 5 * DAY, SINCE + 19 * DAY)
    cost: list[int] = []
    for month in range(12):
        place.now = datetime(2023 + (10 + month) // 12, (10 + month) % 12 + 1, 3, tzinfo=UTC).timestamp()
        place.change(begin=tuple(place.meter(n, "instance", "ams", 1) for n in range(100)))
        place.now += 10 * DAY
        place.change(end=tuple(place.state.meters))
        place.now += 10 * DAY
        asked(place, SINCE, place.now)
        if month in (1, 11):
            cost.append(calls(lambda: asked(place, *span)))
    assert cost[1] <= cost[0] * 1.1
    assert asked(place, *span) == place.added_up(*span) != []


def test_where_the_clock_was_set_back_into_a_kept_month_all_is_made_anew() -> None:
    """What ended in a month that was kept as if it had run on is told as ended; and the months stand again."""
    place = Place()
    place.change(begin=(place.meter(0, "instance", "ams", 1),))
    place.now = SINCE + 70 * DAY
    asked(place, 0.0, place.now)
    place.now = SINCE + 10 * DAY
    place.change(end=tuple(place.state.meters))
    place.now = SINCE + 80 * DAY
    assert asked(place, 0.0, place.now) == place.added_up(0.0, place.now)
    with place.reading() as link:
        assert link.execute(select(func.sum(schema.usage_months.c.micros))).scalar_one() == (10 * DAY + 100) * 10**6

"""How many instances a load asks for: more at once, fewer late, and never by what is not known."""

from dataclasses import replace
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.model.names import CityCode, WorkloadId
from anypop.model.reasons import Reason
from anypop.model.scaling import Scale, Scaled
from anypop.model.workload import Target
from anypop.plan.scaling import LOOKS, Look, Seen, ordinals, ordinals_of, replicas_of, scaled, seen_with
from tests.examples import examples

LOOK_S, DOWN_AFTER_S = 15.0, 300.0


def now(replicas: int, *, acted_at: float = 0.0, reason: Reason = Reason.LOAD_STEADY) -> Scaled:
    return Scaled(
        workload_id=WorkloadId("w"), target="eu", pop=CityCode("AMS"), replicas=replicas, acted_at=acted_at,
        reason=reason,
    )  # fmt: skip


def look(load: float | None, *, at: float = 1000.0, least: int = 1, most: int = 6) -> Look:
    return Look(at=at, least=least, most=most, load=load)


def after(was: Scaled, one: Look, *, watched: bool = True) -> Scaled:
    seen: tuple[Seen, ...] = ()
    for _ in range(LOOKS if watched else 1):
        seen = seen_with(seen, one)
    return scaled(was, one, seen, DOWN_AFTER_S)


def count(was: Scaled, one: Look, *, watched: bool = True) -> tuple[int, Reason]:
    made = after(was, one, watched=watched)
    return made.replicas, made.reason


def test_above_the_threshold_as_many_are_added_as_bring_it_below_at_once() -> None:
    assert count(now(1), look(2.4)) == (3, Reason.LOAD_ROSE)
    assert count(now(2), look(2.0)) == (2, Reason.LOAD_STEADY), "at the threshold is not above it"
    made = after(now(1), look(2.4, at=77.0))
    assert (made.acted_at, made.last, made.since) == (77.0, Reason.LOAD_ROSE, 77.0)


def test_one_look_is_enough_to_add_and_five_minutes_are_not_waited_for() -> None:
    assert count(now(1, acted_at=999.0), look(1.5), watched=False) == (2, Reason.LOAD_ROSE)


def test_there_are_never_more_than_the_most_and_that_is_said() -> None:
    assert count(now(5), look(9.0)) == (6, Reason.LOAD_ROSE)
    made = after(now(6), look(9.0))
    assert (made.replicas, made.reason, made.message) == (6, Reason.AT_MOST_REPLICAS, "maxReplicas is 6")
    assert after(made, look(5.9)).reason is Reason.AT_MOST_REPLICAS, (
        "around the threshold it is not said anew each time"
    )
    assert after(made, look(5.3)).reason is Reason.LOAD_STEADY


def test_those_that_start_count_and_nobody_is_added_beside_them() -> None:
    assert count(now(2), replace(look(5.0), starting=1)) == (2, Reason.LOAD_STEADY)
    assert count(now(2), look(5.0)) == (5, Reason.LOAD_ROSE)


def test_what_does_not_come_to_serve_is_made_up_for_and_no_more_than_the_load_needs() -> None:
    assert count(now(2), replace(look(2.0), unwell=1)) == (3, Reason.LOAD_ROSE)
    assert count(now(3), replace(look(2.0), unwell=1)) == (3, Reason.LOAD_STEADY)
    assert count(now(6), replace(look(1.0, most=20), unwell=6)) == (6, Reason.LOAD_STEADY), (
        "none of all serves: no help"
    )


def test_fewer_only_where_those_that_stay_are_a_tenth_below() -> None:
    assert count(now(2), look(0.9)) == (1, Reason.LOAD_FELL)
    assert count(now(2), look(0.91)) == (2, Reason.LOAD_STEADY)
    assert count(now(6), look(1.0)) == (2, Reason.LOAD_FELL), "at once as far as it goes"
    assert count(now(3), look(0.0, least=2)) == (2, Reason.LOAD_FELL)


def test_not_before_five_minutes_after_the_last_change() -> None:
    assert count(now(3, acted_at=1000.0 - DOWN_AFTER_S + 1), look(0.1)) == (3, Reason.LOAD_STEADY)
    assert count(now(3, acted_at=1000.0 - DOWN_AFTER_S), look(0.1)) == (1, Reason.LOAD_FELL)


def test_the_busiest_of_the_last_looks_counts_and_there_have_to_be_enough() -> None:
    seen: tuple[Seen, ...] = ((0.0, 2.6), (15.0, 0.1), (30.0, 0.1), (45.0, 0.1))
    assert scaled(now(4), look(0.1), seen, DOWN_AFTER_S).replicas == 3
    assert scaled(now(4), look(0.1), seen[1:], DOWN_AFTER_S).replicas == 4, "control has just started"


def test_a_look_that_does_not_know_all_begins_them_anew() -> None:
    known = seen_with(seen_with((), look(1.0)), look(1.0))
    assert len(known) == 2
    assert seen_with(known, look(None)) == ()
    assert seen_with(known, replace(look(1.0), blind=("web-eu-ams-1",))) == ()


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (look(None), Reason.LOAD_UNKNOWN),
        (replace(look(0.1), blind=("web-eu-ams-1",)), Reason.LOAD_UNKNOWN),
        (replace(look(0.1), held="AMS is drained"), Reason.SCALING_HELD),
        (replace(look(0.1), frozen="AMS is drained"), Reason.SCALING_HELD),
        (replace(look(9.0), frozen="AMS is drained"), Reason.SCALING_HELD),
        (replace(look(0.1), not_ready=frozenset({0})), Reason.SCALING_HELD),
        (replace(look(9.0), unplaced=1), Reason.NO_ROOM),
        (replace(look(9.0), allowed=0), Reason.OVER_QUOTA),
    ],
)
def test_nothing_is_done_against(one: Look, reason: Reason) -> None:
    assert count(now(3), one) == (3, reason)
    assert after(now(3), one).message


def test_one_that_does_not_serve_may_go_and_those_that_stay_serve() -> None:
    assert count(now(3), replace(look(1.5), not_ready=frozenset({2}))) == (2, Reason.LOAD_FELL)


def test_a_quota_lets_in_what_fits() -> None:
    assert count(now(1), replace(look(5.0), allowed=2)) == (3, Reason.LOAD_ROSE)


def test_what_is_said_again_is_no_news() -> None:
    once = after(now(2), look(1.9))
    assert after(once, look(1.8)) is once


def test_a_declaration_bounds_what_was_decided() -> None:
    target = Target(name="eu", cities=(CityCode("AMS"),), replicas=2, scale=Scale(most=4, percent=50))
    assert [replicas_of(target, now(n)) for n in (1, 3, 9)] == [2, 3, 4]
    assert replicas_of(target, None) == 2
    assert replicas_of(replace(target, scale=None), now(4)) == 2


def test_the_lowest_threshold_counts() -> None:
    assert Scale(most=2, percent=50).threshold(1000) == 500
    assert Scale(most=2, percent=50, millis=300).threshold(1000) == 300
    assert Scale(most=2, percent=1).threshold(10) == 1


@settings(max_examples=examples(300), deadline=None)
@given(
    st.lists(st.floats(0.0, 12.0), min_size=1, max_size=4),
    st.integers(1, 4),
    st.integers(0, 6),
    st.integers(1, 10),
)
def test_it_stays_within_bounds_waits_and_comes_to_rest(loads: list[float], least: int, more: int, begins: int) -> None:
    """Whatever the load was, once it is constant so is the number; before, five minutes lie between two that go."""
    most = least + more
    one, at = now(min(max(begins, least), most)), 0.0
    seen: tuple[Seen, ...] = ()
    went, numbers = list[float](), list[int]()
    for load in [load for load in loads for _ in range(60)]:
        at += LOOK_S
        told = look(load, at=at, least=least, most=most)
        seen = seen_with(seen, told)
        made = scaled(one, told, seen, DOWN_AFTER_S)
        assert least <= made.replicas <= most
        if made.replicas < one.replicas:
            assert at - one.acted_at >= DOWN_AFTER_S
            assert load <= 0.9 * made.replicas + 1e-6
            went.append(at)
        if load > one.replicas:
            assert made.replicas >= min(most, ceil(load - 1e-6)), "not one by one"
        one = made
        numbers.append(one.replicas)
    assert all(later - earlier >= DOWN_AFTER_S for earlier, later in pairwise(went))
    assert len(set(numbers[-30:])) == 1


def who(was: Scaled, one: Look) -> list[int]:
    """Which there are after a look."""
    made = after(was, one)
    return [*ordinals(made.replicas, made.left_out)]


def fell(load: float, *flows: int) -> Look:
    return replace(look(load, at=1000.0), flows=tuple(enumerate(flows)))


def test_who_drains_cheapest_goes_and_of_those_that_are_alike_the_highest() -> None:
    assert who(now(4), fell(1.5, 900, 20, 400, 600)) == [0, 3], "the fewest connections, twice"
    assert who(now(3), fell(0.5, 12, 9, 7)) == [0], "a handful more or less is no difference"
    assert who(now(3), replace(look(0.5), flows=((0, 900), (2, 3)))) == [0], "of one nothing is known: by number"
    assert who(now(3), replace(look(0.5), flows=())) == [0]


def test_a_gap_is_filled_first_and_nobody_who_stays_gets_another_number() -> None:
    made = after(now(4), fell(1.5, 0, 900, 0, 900))
    assert (made.replicas, made.left_out) == (2, (0, 2))
    again = scaled(made, look(2.5), (), DOWN_AFTER_S)
    assert [*ordinals(again.replicas, again.left_out)] == [0, 1, 3]
    assert after(again, look(5.5)).left_out == ()
    target = Target(name="eu", cities=(CityCode("AMS"),), replicas=1, scale=Scale(most=6, percent=50))
    assert [*ordinals_of(target, made)] == [1, 3] and [*ordinals_of(target, None)] == [0]


def test_only_those_that_stay_have_to_serve() -> None:
    """One that is ill and has no connections is just the one that may go."""
    ill = replace(fell(0.5, 0, 900), not_ready=frozenset({0}))
    assert who(now(2), ill) == [1]
    assert count(now(2), replace(ill, flows=((0, 900), (1, 0)))) == (2, Reason.SCALING_HELD)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 7), st.lists(st.integers(0, 2000), min_size=8, max_size=8)), max_size=12))
def test_whoever_stays_keeps_its_number_through_any_story(story: list[tuple[float, list[int]]]) -> None:
    one = now(2)
    for n, (load, flows) in enumerate(story):
        before = set(ordinals(one.replicas, one.left_out))
        one = after(one, replace(look(load, at=1000.0 * (n + 1)), flows=tuple(enumerate(flows))))
        there = set(ordinals(one.replicas, one.left_out))
        assert len(there) == one.replicas and (there <= before or before <= there)

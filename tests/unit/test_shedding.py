"""A PoP above its set load keeps less of its new connections, and takes them back when it has room."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.judge.shedding import LEAST, MORE, MOST_LESS, STEP_S, has_room, keeps_now
from tests.examples import examples


def step(keeps: int, load: float | None, *, room: bool = True, since_s: float | None = None) -> int:
    return keeps_now(keeps, load=load, limit=80, room=room, since_s=since_s)


def test_a_pop_above_its_load_sheds_as_much_as_is_too_much() -> None:
    assert step(100, 90.0) == 88
    assert step(100, 200.0) == 100 - MOST_LESS, "and no more than so much at once"
    assert step(50, 90.0) == 44


def test_a_pop_sheds_only_to_one_that_has_room() -> None:
    assert step(100, 99.0, room=False) == 100
    assert (has_room(60.0, 80), has_room(70.0, 80), has_room(80.0, None), has_room(None, 80)) == (
        True,
        False,
        True,
        False,
    )


def test_what_nobody_knows_changes_nothing() -> None:
    assert step(60, None) == 60
    assert step(100, None) == 100


def test_each_step_waits_until_the_one_before_can_be_measured() -> None:
    assert step(88, 95.0, since_s=STEP_S - 1) == 88
    assert step(88, 95.0, since_s=STEP_S) < 88


def test_a_part_is_never_shed() -> None:
    assert step(LEAST + 5, 1000.0) == LEAST
    assert step(LEAST, 1000.0) == LEAST
    assert step(10, 90.0) == 10, "what a person has set lower is not raised above a limit"


def test_it_comes_back_in_small_steps_and_not_before_there_is_room() -> None:
    assert step(60, 75.0) == 60, "below the limit, and not well below"
    assert step(60, 50.0) == 60 + MORE
    assert step(98, 10.0) == 100


@settings(max_examples=examples(200), deadline=None)
@given(st.integers(1, 300), st.integers(20, 95), st.integers(0, 30))
def test_nothing_swings(demand: int, limit: int, rests: int) -> None:
    """Whatever is asked of a PoP, it comes to rest within half an hour: below its limit, or at the least that it keeps;
    and then it changes nothing any more. Established connections go away a step later than new ones.
    """
    keeps, served, seen = 100, 100.0, []
    for _ in range(60):
        served = max(keeps, served - (100 - rests))
        keeps = keeps_now(keeps, load=demand * served / 100, limit=limit, room=True, since_s=STEP_S)
        seen.append(keeps)
    assert len(set(seen[-10:])) == 1
    assert demand * keeps / 100 <= limit or keeps == LEAST


@pytest.mark.parametrize("keeps", range(0, 101, 5))
def test_it_is_always_a_percentage(keeps: int) -> None:
    assert all(0 <= step(keeps, float(load)) <= 100 for load in range(0, 400, 7))

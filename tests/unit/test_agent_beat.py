"""Regular work is done together, and neither later nor more often than it may be."""

from hypothesis import given
from hypothesis import strategies as st

from anypop.agent.beat import BEAT_S, SLOTS, slot_of, until_beat

MOMENTS = st.floats(min_value=0, max_value=1e9)


@given(now=MOMENTS, beats=st.integers(1, 60), slot=st.integers(0, SLOTS - 1), late_s=st.floats(0, 0.2))
def test_work_keeps_its_period_and_its_slot_however_late_a_timer_rings(
    now: float, beats: int, slot: int, late_s: float
) -> None:
    """The first wait leads to the slot; from there on each is the period, less what the timer was late."""
    wait_s = beats * BEAT_S
    first = until_beat(now, wait_s, slot)
    assert 0 < first <= wait_s + 0.02
    at = now + first
    again = until_beat(at + late_s, wait_s, slot)
    phase = (at + late_s + again - slot * BEAT_S / SLOTS) / BEAT_S
    assert abs(phase - round(phase)) < 0.05
    assert first < 0.02 or abs(again + late_s - wait_s) < 0.02


def test_what_waits_for_less_than_a_beat_waits_alone_and_many_are_spread() -> None:
    """A few go with the agent's own work."""
    assert until_beat(12.34, 0.03, 4) == 0.03
    taken = [slot_of(number) for number in range(1000)]
    assert taken[0] == taken[1] == 0
    assert set(taken) == set(range(SLOTS)) and max(map(taken.count, set(taken))) < 110


@given(moments=st.lists(MOMENTS, min_size=2, max_size=5))
def test_all_that_is_done_each_second_is_done_at_one_moment(moments: list[float]) -> None:
    """Whenever it began: two kinds of such work wake the agent once a second, not twice."""
    phases = [(now + until_beat(now, 1.0)) % 1.0 for now in moments]
    assert all(min(phase, 1 - phase) < 0.02 for phase in phases)

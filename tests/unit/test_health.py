"""The health machine: rise slower than fall, deaths at once, damping that doubles."""

from hypothesis import given
from hypothesis import strategies as st

from anypop.judge.health import FIRST_COOL_S, LONGEST_COOL_S, Event, Health, Stage, Thresholds, after
from anypop.model.reasons import Reason

THREE = Thresholds(rise=1, fall=3)


def fed(
    health: Health, events: list[Event], *, now: float = 0.0, every_s: float = 1.0, thresholds: Thresholds = THREE
) -> Health:
    """The health after `events`, one each `every_s`."""
    for n, event in enumerate(events):
        health = after(health, event, thresholds, now + n * every_s)
    return health


def test_a_new_process_is_healthy_at_its_first_answer() -> None:
    """One success lifts a pending process; before it, failures change nothing."""
    pending = fed(Health(), [Event.FAILURE] * 50)
    assert pending.stage is Stage.PENDING
    assert pending.healthy is False
    assert pending.reason is Reason.PROBE_PENDING
    assert fed(pending, [Event.SUCCESS]).healthy is True


def test_failures_in_a_row_are_needed_to_fall() -> None:
    """Two failures of three, with a success between, do not fall; three in a row do."""
    healthy = Health(stage=Stage.HEALTHY)
    assert fed(healthy, [Event.FAILURE, Event.FAILURE, Event.SUCCESS, Event.FAILURE, Event.FAILURE]).healthy is True
    assert fed(healthy, [Event.FAILURE] * 3).stage is Stage.UNHEALTHY


@given(st.integers(1, 5), st.integers(1, 8))
def test_rise_is_slower_than_fall(rise: int, fall: int) -> None:
    """Whatever the thresholds, coming back takes more outcomes in a row than falling did (invariant 17)."""
    thresholds = Thresholds(rise=rise, fall=fall)
    fallen = fed(Health(stage=Stage.HEALTHY), [Event.FAILURE] * fall, thresholds=thresholds)
    assert fallen.stage is Stage.UNHEALTHY
    assert fed(fallen, [Event.SUCCESS] * fall, thresholds=thresholds).healthy is False
    assert fed(fallen, [Event.SUCCESS] * (rise + fall), thresholds=thresholds).healthy is True


def test_a_death_counts_at_once() -> None:
    """A process that is gone is not healthy, however few failures were seen."""
    assert after(Health(stage=Stage.HEALTHY), Event.DEATH, THREE, 0).stage is Stage.PENDING


def test_unknown_is_not_a_verdict() -> None:
    """What a new agent finds running is neither healthy nor sick until a probe has said so."""
    unknown = Health(stage=Stage.UNKNOWN)
    assert unknown.healthy is None
    assert fed(unknown, [Event.FAILURE] * 2).healthy is None
    assert fed(unknown, [Event.FAILURE] * 3).healthy is False
    assert fed(unknown, [Event.SUCCESS]).healthy is True


def test_the_third_fall_cools_down_and_each_further_one_twice_as_long() -> None:
    """Two falls are free; then the way back waits 10 s, 20 s, 40 s ... up to 15 minutes."""
    health, now, waits = Health(stage=Stage.HEALTHY), 0.0, []
    for _ in range(12):
        health = after(health, Event.DEATH, THREE, now)
        fell = now
        while health.stage is not Stage.HEALTHY:
            now += 0.5
            health = after(health, Event.SUCCESS, THREE, now)
            assert health.stage in (Stage.HEALTHY, Stage.COOLING)
        waits.append(now - fell)
    assert waits[:2] == [0.5, 0.5]
    assert waits[2:6] == [FIRST_COOL_S, 2 * FIRST_COOL_S, 4 * FIRST_COOL_S, 8 * FIRST_COOL_S]
    assert waits[-1] == LONGEST_COOL_S


def test_long_peace_forgets_old_falls() -> None:
    """After ten quiet minutes the count of falls starts anew."""
    health = Health(stage=Stage.HEALTHY, falls=9, fell_at=0.0, cool_until=100.0)
    assert after(health, Event.DEATH, THREE, 100 + 599).falls == 10
    assert after(health, Event.DEATH, THREE, 100 + 601).falls == 1


@given(st.lists(st.sampled_from(list(Event)), max_size=60), st.integers(1, 3), st.integers(1, 4))
def test_nothing_is_healthy_without_a_success_last(events: list[Event], rise: int, fall: int) -> None:
    """Healthy means: since the last death at least one success, and fewer than `fall` failures in a row since the
    last success.
    """
    health = fed(Health(), events, every_s=700, thresholds=Thresholds(rise=rise, fall=fall))
    if health.healthy:
        last_death = max((n for n, e in enumerate(events) if e is Event.DEATH), default=-1)
        since = events[last_death + 1 :]
        assert Event.SUCCESS in since
        assert since[-fall:] != [Event.FAILURE] * fall

"""The clock by which ages are measured: it never jumps, whatever is done to the machine's."""

from pathlib import Path

import pytest

import anypop
from anypop.model.steady import LED_PART, SteadyClock
from tests.control_world import Clock

SOURCE = Path(anypop.__file__).parent


@pytest.mark.parametrize("step", [-3577.0, 86_400.0])
def test_a_wall_clock_that_is_set_changes_no_age(step: float) -> None:
    """Ten seconds are ten, within the twentieth by which the clock is led to the wall."""
    wall, monotonic = Clock(1_700_000_000.0), Clock(5.0)
    clock = SteadyClock(wall, monotonic)
    before = clock()
    wall.now += step + 10
    monotonic.now += 10
    assert 10 * (1 - LED_PART) <= clock() - before <= 10 * (1 + LED_PART)


def test_it_comes_back_to_the_wall() -> None:
    """A minute's difference is made up for in twenty minutes, and never overshot."""
    wall, monotonic = Clock(1_700_000_000.0), Clock(5.0)
    clock = SteadyClock(wall, monotonic)
    wall.now -= 60
    told = [clock()]
    for _ in range(130):
        wall.now += 10
        monotonic.now += 10
        told.append(clock())
    assert told == sorted(told) and told[-1] == pytest.approx(wall.now)


def test_it_starts_at_the_wall() -> None:
    assert SteadyClock(lambda: 1_700_000_000.0, lambda: 1.0)() == 1_700_000_000.0


def test_nothing_that_judges_reads_the_wall_itself() -> None:
    """In control, the agent, the judge and the API the wall's time is only what a `SteadyClock` is made from, and how
    far it is ahead of the steady one where another program tells times by it.
    """
    fine = ("SteadyClock(time.time, time.monotonic)", "time.time() - time.monotonic()")
    found = {
        f"{path.relative_to(SOURCE)}: {line.strip()}"
        for part in ("judge", "plan", "control", "agent", "api", "model")
        for path in (SOURCE / part).rglob("*.py")
        for line in path.read_text().splitlines()
        if "time.time" in line and not any(one in line for one in fine)
    }
    assert found == set()

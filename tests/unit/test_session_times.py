"""Times of BIRD's sessions: what BIRD works out anew for each answer is no loss of a session."""

from datetime import datetime, timedelta

import pytest

from anypop.agent.act.bgp.protocols import read_sessions
from anypop.agent.act.bgp.session_times import SessionTimes
from anypop.agent.decide.flaps import looked

UP_AT = datetime(2026, 11, 25, 21, 38, 42)
NAMES = {"u4_a": ("a", 4), "u4_b": ("b", 4)}


def answer(a: datetime, b: datetime = UP_AT) -> str:
    """As BIRD 2 prints it."""
    lines = ["BIRD 2.0.12 ready.", "Name       Proto      Table      State  Since         Info"]
    for name, at in (("u4_a", a), ("u4_b", b)):
        since = at.isoformat(sep=" ", timespec="milliseconds")
        lines += [
            f"{name}       BGP        ---        up     {since}  Established",
            "  BGP state:          Established",
        ]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("later", "ahead", "losses"),
    [
        (timedelta(milliseconds=-1), 0.0, 0),  # another second, by what BIRD rounds
        (timedelta(hours=1), 3600.0, 0),  # somebody has set the clock
        (timedelta(hours=-5, milliseconds=1), -18000.001, 0),
        (timedelta(seconds=1.2), 0.0, 1),  # lost, and up again before anybody looked
        (timedelta(hours=1, seconds=2), 3600.0, 1),
    ],
)
def test_a_session_is_lost_when_its_time_has_moved_against_the_monotonic_clock(
    later: timedelta, ahead: float, losses: int
) -> None:
    """One millisecond, or a clock that was set, is none; what is told stays the same then."""
    times = SessionTimes()
    first = times.kept(answer(UP_AT), 1000.0)
    second = times.kept(answer(UP_AT + later, UP_AT + timedelta(seconds=ahead)), 1000.0 + ahead)
    known = looked({}, read_sessions(first, NAMES), now=0)
    known = looked(known, read_sessions(second, NAMES), now=1)
    assert {way: uplink.losses for way, uplink in known.items()} == {("a", 4): losses, ("b", 4): 0}
    assert (second == first) == (losses == 0)


def test_times_of_sessions_that_are_gone_are_forgotten() -> None:
    times = SessionTimes()
    told = times.kept(answer(UP_AT), 0.0)
    times.kept("BIRD 2.0.12 ready.", 0.0)
    assert times.kept(answer(UP_AT + timedelta(milliseconds=1)), 0.0) != told

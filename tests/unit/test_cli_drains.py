"""`anypop drain` on the command line: how a moment is written, and what a person reads of a drain."""

from datetime import UTC, datetime, timedelta

import pytest

from anypop.cli.drains import lines, moment_of
from anypop.cli.failure import Failure

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("90m", timedelta(minutes=90)),
        ("2h", timedelta(hours=2)),
        ("1.5d", timedelta(hours=36)),
        ("30s", timedelta(0, 30)),
    ],
)
def test_a_moment_may_be_told_from_now(text: str, after: timedelta) -> None:
    assert moment_of(text, NOW) == NOW + after


def test_a_moment_has_its_time_zone_or_is_refused_with_the_form() -> None:
    assert moment_of("2026-05-01T14:00:00+02:00", NOW) == NOW
    for text in ("2026-05-01T14:00:00", "tomorrow", "-2h", "h"):
        with pytest.raises(Failure, match="with its time zone"):
            moment_of(text, NOW)


def test_a_held_prefix_and_a_stuck_vantage_are_told_with_their_numbers() -> None:
    told = lines(
        {
            "target": "LHR",
            "stage": "withdrawing",
            "held": [{"prefix": "203.0.113.0/24", "says": "kept announced", "left": 0, "floor": 1}],
            "before": [{"prefix": "203.0.113.0/24", "vantage": "london", "pop": "LHR"}],
            "after": [{"prefix": "203.0.113.0/24", "vantage": "london", "pop": "AMS"}],
            "stuck": ["paris (203.0.113.0/24)"],
        }
    )
    assert told[1:] == [
        "held: 203.0.113.0/24 kept announced (0 other PoPs, floor 1)",
        "london: LHR -> AMS",
        "still reached by paris (203.0.113.0/24), although withdrawn",
    ]

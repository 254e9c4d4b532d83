"""What a host tells between two passes is what it would tell if all of it were put together anew."""

from typing import Any

import pytest

from anypop.agent.decide import retold
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.report import report_of
from anypop.agent.decide.retold import Retold
from anypop.model.report import Report
from tests.simulate.lives import live
from tests.simulate.networks import HOSTS_CARRY_FROM, MACHINES_FROM

SEEDS = (3, 8, HOSTS_CARRY_FROM + 1, MACHINES_FROM + 3)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_report_that_is_told_again_is_the_one_that_would_be_made(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In whole lives with faults, drains, restarts and moves, at every moment at which a host tells something."""
    made, again = list[Report](), 0

    def counted(*seen: Any, **given: Any) -> Report:
        made.append(report_of(*seen, **given))
        return made[-1]

    def checked(self: Retold, seen: Facts, *, at: float, **given: Any) -> Report:
        nonlocal again
        before = len(made)
        told = plain(self, seen, at=at, **given)
        again += len(made) == before
        assert told == report_of(seen, at=at, **given)
        return told

    plain = Retold.report
    monkeypatch.setattr(retold, "report_of", counted)
    monkeypatch.setattr(Retold, "report", checked)
    life = live(seed)
    assert not life.broken, life.broken
    assert again > 20, f"{again} told again, {len(made)} made"

"""The objective of anycast: what counts as landed, what as a flip, and what a vantage that cannot ask tells."""

import pytest

from anypop.control.metrics.slo import Objective, extra_s
from anypop.model.names import CityCode, WorkloadId
from anypop.model.rollout import Landing

LHR, AMS, JFK = CityCode("LHR"), CityCode("AMS"), CityCode("JFK")
WEB = WorkloadId("w")
CITIES = {"london": LHR, "paris": CityCode("CDG")}
EXPECTED = {"london": LHR, "paris": AMS}


def landing(vantage: str, pop: CityCode | None, *, asked: int = 3) -> Landing:
    return Landing(vantage=vantage, pop=pop, answered=asked if pop else 0, asked=asked)


def seen(objective: Objective) -> dict[str, tuple[bool, int]]:
    return {one.vantage: (one.landed, one.flips) for _, one in objective.each()}


def test_a_change_of_pop_is_a_flip_and_silence_is_none() -> None:
    """Whoever cannot ask is not counted at all; whoever gets no answer has landed nowhere."""
    objective = Objective()

    def look(london: Landing, paris: Landing) -> dict[str, tuple[bool, int]]:
        objective.saw(WEB, [london, paris], EXPECTED, CITIES, at=1.0)
        return seen(objective)

    assert look(landing("london", LHR), landing("paris", AMS)) == {"london": (True, 0), "paris": (True, 0)}
    assert look(landing("london", JFK), landing("paris", AMS)) == {"london": (False, 1), "paris": (True, 0)}
    assert look(landing("london", None), landing("paris", AMS)) == {"london": (False, 1), "paris": (True, 0)}
    assert look(landing("london", LHR), landing("paris", AMS, asked=0)) == {"london": (True, 1)}
    assert objective.shares(WEB) == {LHR: 1.0}
    assert look(landing("london", JFK), landing("paris", LHR)) == {"london": (False, 2), "paris": (False, 0)}
    assert objective.shares(WEB) == {AMS: 0.5, LHR: 0.5}
    assert look(landing("london", None), landing("paris", None)) == {}
    objective.keep([])
    assert seen(objective) == {} and objective.at == {}


def test_the_extra_way_is_that_of_light_and_never_less_than_none() -> None:
    """London to New York is 5,540 km: 55 ms there and back, more than to London itself."""
    assert extra_s(LHR, JFK, LHR) == pytest.approx(0.0554, rel=0.02)
    assert extra_s(LHR, LHR, JFK) == 0 and extra_s(LHR, None, LHR) == 0 and extra_s(LHR, LHR, LHR) == 0

"""Changes of scopes in waves: what each wave waits for, what takes all of them back, and what is known afterwards."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from anypop.model import codec
from anypop.model.announce import Mode, Scope
from anypop.model.names import CityCode, WorkloadId
from anypop.model.reasons import Reason
from anypop.model.rollout import Landing, Rollout, RolloutKind, RolloutPhase, ScopeChange, ScopeWave, Strategy
from anypop.plan.rollout import next_due, wants_look
from anypop.plan.scope_waves import advance_scopes, after_absence, awaits_restoration, ended, landed_back
from tests.worlds import AMS, JFK, LAX, LHR

CHANGE = ScopeChange(pop=AMS, upstream="telia", scope=Scope(prepend=2))
WAVES = (ScopeWave(changes=(CHANGE,), expected=(("london", (LHR,)),)), ScopeWave(changes=(replace(CHANGE, pop=LHR),)))


def scopes(**more: Any) -> Rollout:
    plain = Rollout(
        id="r", workload_id=WorkloadId("id-web"), kind=RolloutKind.SCOPES, scopes=WAVES,
        strategy=Strategy(bake_s=2, deadline_s=60),
        created_at=100, wave_at=100,
    )  # fmt: skip
    return replace(plain, **more)


def look(name: str, answered: int = 5, pop: CityCode | None = AMS) -> Landing:
    return Landing(vantage=name, pop=pop, answered=answered, asked=5)


def test_scopes_go_wave_by_wave_once_all_is_out() -> None:
    """What is missing is said; then it bakes; without vantages the announcements are all there is to see."""
    at = advance_scopes(scopes(), ["LHR does not announce to telia yet"], 101)
    assert (at.message, at.well_since) == ("LHR does not announce to telia yet", None)
    at = advance_scopes(at, [], 103)
    assert (at.well_since, at.reason) == (103, Reason.BAKING)
    assert advance_scopes(at, [], 104.9).wave == 0
    at = advance_scopes(at, [], 105)
    assert (at.wave, at.wave_at) == (1, 105)
    at = advance_scopes(advance_scopes(at, [], 106), [], 108)
    assert (at.phase, at.reason) == (RolloutPhase.DONE, Reason.ROLLED_OUT)
    assert [(r.seconds, r.seen, r.differs) for r in at.results] == [(5, (), ()), (3, (), ())]


def test_scopes_wait_for_vantages_to_land_as_predicted_for_the_bake_time() -> None:
    """A look from before the wave says nothing; where nothing is predicted any PoP will do, with all its answers."""
    at = scopes(baseline=(look("london"), look("oslo")))
    assert advance_scopes(at, [], 101).message == "the vantages have not looked yet"
    early = replace(at, seen=(look("london", pop=LHR), look("oslo")), seen_at=99)
    assert advance_scopes(early, [], 101).message == "the vantages have not looked yet"
    away = replace(at, seen=(look("london"), look("oslo", 4, LAX)), seen_at=101)
    assert advance_scopes(away, [], 102).message == "london lands in AMS, predicted LHR; oslo gets 4 of 5 answers"
    nowhere = replace(at, seen=(look("london", 0, None), look("oslo")), seen_at=101)
    assert "lands in no PoP" in advance_scopes(nowhere, [], 102).message
    there = replace(at, seen=(look("london", pop=LHR), look("oslo", pop=LAX)), seen_at=101)
    at = advance_scopes(there, [], 102)
    assert at.well_since == 102
    assert advance_scopes(at, [], 110).wave == 0, "the look is older than what must hold"
    assert advance_scopes(replace(at, seen_at=103.9), [], 110).wave == 0
    at = advance_scopes(replace(at, seen_at=104), [], 110)
    assert at.wave == 1 and at.results[0].seen == there.seen


def test_one_that_could_not_ask_proves_no_prediction_and_is_not_said_to_land_nowhere() -> None:
    """Even where nowhere is what is predicted. Of whom nothing is to be proven, nothing is waited for."""
    blind = Landing(vantage="london", pop=None, answered=0, asked=0)
    at = scopes(baseline=(look("london"), look("oslo")), seen=(blind, look("oslo", pop=LAX)), seen_at=101)
    assert advance_scopes(at, [], 102).message == "london could not ask"
    nowhere = replace(at, scopes=(replace(WAVES[0], expected=(("london", ()),)), *WAVES[1:]))
    assert advance_scopes(nowhere, [], 102).message == "london could not ask"
    free = replace(at, scopes=(replace(WAVES[0], expected=()), *WAVES[1:]), baseline=(blind, look("oslo")))
    assert advance_scopes(free, [], 102).message == ""


def test_scopes_that_do_not_come_out_as_predicted_are_taken_back_at_the_deadline() -> None:
    """Sixty seconds after its wave began, with all that differs."""
    at = scopes(wave=1, wave_at=200)
    assert advance_scopes(at, ["LHR is silent"], 259.9).phase is RolloutPhase.RUNNING
    at = advance_scopes(at, ["LHR is silent"], 260)
    assert (at.phase, at.reason, at.message) == (RolloutPhase.REVERTED, Reason.NOT_AS_PREDICTED, "LHR is silent")
    assert at.results[-1].differs == ("LHR is silent",)
    assert advance_scopes(replace(scopes(), phase=RolloutPhase.PAUSED), ["x"], 999).phase is RolloutPhase.PAUSED


def test_who_had_lost_answers_before_and_is_predicted_nothing_may_lose_them() -> None:
    """Only a vantage that got all its answers can be worse; one for which nothing is predicted, that is. One that is
    gone is worse.
    """
    at = scopes(wave=1, baseline=(look("london"), look("oslo", 2), look("paris", 0, None)))
    fine = replace(at, seen=(look("london"), look("oslo", 1), look("paris", 0, None)), seen_at=101)
    assert advance_scopes(fine, [], 102).reason is Reason.BAKING
    gone = replace(at, seen=(look("oslo", 1), look("paris", 0, None)), seen_at=101)
    assert advance_scopes(gone, [], 102).message == "london does not look any more"
    first = replace(fine, wave=0, seen=(look("london", 4, LHR), *fine.seen[1:]))
    assert advance_scopes(first, [], 102).message == "london gets 4 of 5 answers"


def test_to_land_nowhere_may_be_what_is_predicted() -> None:
    """An empty prediction is one: then an answer is the difference."""
    waves = (replace(WAVES[0], expected=(("london", ()),)),)
    at = scopes(scopes=waves, baseline=(look("london"),), seen=(look("london", 0, None),), seen_at=101)
    assert advance_scopes(at, [], 102).reason is Reason.BAKING
    there = replace(at, seen=(look("london"),))
    assert advance_scopes(there, [], 102).message == "london lands in AMS, predicted no PoP"


def test_vantages_that_never_look_again_end_it_badly() -> None:
    """Nothing differs, and nothing says that it holds: it is not left as it is for ever."""
    at = scopes(baseline=(look("london"),), seen=(look("london", pop=LHR),), seen_at=101)
    at = advance_scopes(at, [], 102)
    assert next_due(at, 102) == 104 and next_due(at, 161) == 164
    assert advance_scopes(at, [], 163.9).phase is RolloutPhase.RUNNING
    at = advance_scopes(at, [], 164)
    assert (at.phase, at.message) == (RolloutPhase.REVERTED, "the vantages do not look any more")
    never = scopes(baseline=(look("london"),))
    assert advance_scopes(never, [], 160).message == "the vantages have not looked yet"
    assert advance_scopes(never, [], 160).phase is RolloutPhase.REVERTED


def test_the_deadline_is_a_due_moment() -> None:
    """Nobody need report for it to end."""
    assert next_due(scopes(), 100) == 160
    assert next_due(scopes(phase=RolloutPhase.PAUSED), 100) is None
    assert next_due(scopes(phase=RolloutPhase.DONE), 100) is None


def test_what_is_taken_back_is_restored_once_it_has_landed_as_before_for_the_bake_time() -> None:
    """A look from before the end does not count, one that lands elsewhere begins anew, and after the deadline the
    answer is no.
    """
    before = (look("london"), look("oslo", 2, LAX), look("paris", 0, None))
    at = ended(scopes(baseline=before), RolloutPhase.REVERTED, Reason.NOT_AS_PREDICTED, ("x",), 200)
    assert wants_look(at) is False and awaits_restoration(at)
    assert landed_back(at, before, 199) is at
    at = landed_back(at, before, 201)
    assert (at.restored, at.well_since, at.seen) == (None, 201, before)
    away = (look("london", pop=JFK), *before[1:])
    at = landed_back(at, away, 202)
    assert (at.restored, at.well_since) == (None, None)
    at = landed_back(at, before, 203)
    assert landed_back(at, before, 205).restored is True
    assert wants_look(landed_back(at, before, 205)) is None
    assert landed_back(at, away, 259.9).restored is None
    assert landed_back(at, away, 260).restored is False
    for worse in ((look("london", 4), *before[1:]), before[1:], ()):
        assert landed_back(at, worse, 260).restored is False, worse
    assert landed_back(landed_back(at, away, 260), before, 261).restored is False, "it is said once"


def test_nobody_looks_after_what_was_not_taken_back() -> None:
    """A rollout that is done or went with its workload, one without vantages, one that is paused."""
    seen = (look("london"),)
    for phase in (RolloutPhase.DONE, RolloutPhase.PAUSED, RolloutPhase.SUPERSEDED):
        assert wants_look(scopes(baseline=seen, phase=phase)) is None
    gone = scopes(baseline=seen, phase=RolloutPhase.ABORTED, reason=Reason.WORKLOAD_DELETED, ended_at=100)
    assert wants_look(gone) is None and landed_back(gone, seen, 110) is gone
    assert wants_look(scopes()) is None and wants_look(scopes(phase=RolloutPhase.REVERTED, ended_at=100)) is None
    assert wants_look(scopes(baseline=seen)) is False


def test_time_in_which_control_was_away_ends_nothing() -> None:
    """Hosts and vantages are heard first; what still differs then ends it. The next wave has its own time again."""
    at = after_absence(scopes(baseline=(look("london"),)), 500)
    assert advance_scopes(at, ["AMS is silent"], 500).phase is RolloutPhase.RUNNING
    assert next_due(at, 500) == 520
    assert advance_scopes(at, ["AMS is silent"], 520).phase is RolloutPhase.REVERTED
    through = replace(at, seen=(look("london", pop=LHR),), seen_at=505, well_since=501)
    assert advance_scopes(through, [], 505).patient_until == 0
    early = after_absence(scopes(), 110)
    assert advance_scopes(early, ["AMS is silent"], 159).phase is RolloutPhase.RUNNING
    back = ended(scopes(baseline=(look("london"),)), RolloutPhase.ABORTED, Reason.ASKED_BY_OPERATOR, (), 200)
    assert landed_back(back, (), 300).restored is False
    assert landed_back(after_absence(back, 300), (), 319).restored is None
    for other in (scopes(phase=RolloutPhase.DONE), scopes(kind=RolloutKind.UPDATE), landed_back(back, (), 300)):
        assert after_absence(other, 500) is other


def test_all_of_it_is_stored() -> None:
    """And what an earlier version stored, without results, can be read."""
    at = ended(
        scopes(baseline=(look("london"),), seen=(look("london"),), seen_at=101),
        RolloutPhase.REVERTED,
        Reason.PAUSED,
        ("x",),
        130,
    )
    at = replace(at, restored=False, patient_until=5)
    assert codec.from_json(Rollout, codec.to_json(at)) == at
    data = codec.to_data(scopes())
    for name in ("results", "restored", "patient_until"):
        del data[name]
    assert codec.from_data(Rollout, data) == scopes()


# whole courses: one vantage, announcements that take effect a second after they were made, a look every half second


OFF = Scope(mode=Mode.WITHHOLD)
COURSE = tuple(
    ScopeWave(changes=(ScopeChange(pop=pop, upstream="u", scope=OFF),), expected=(("v", (lands,)),))
    for pop, lands in ((AMS, LHR), (LHR, JFK))
)


@dataclass(slots=True)
class Story:
    """`place`: where the vantage lands, by the PoPs that are withheld and the time; `answers`: how many of five it
    gets.
    """

    place: Callable[[frozenset[CityCode], float], CityCode | None]
    answers: Callable[[frozenset[CityCode]], int] = lambda shown: 5
    now: float = 0.0
    rules: list[tuple[float, frozenset[CityCode]]] = field(default_factory=lambda: [(-10.0, frozenset[CityCode]())])
    stored: bool = False

    def run(self) -> Rollout:
        """To the end, and to where it is known what the taking back left."""
        at = scopes(
            scopes=COURSE, strategy=Strategy(bake_s=2, deadline_s=10), created_at=0, wave_at=0, baseline=self.look()
        )
        self.rules.append((0, self._wanted(at)))
        while not at.phase.ended or awaits_restoration(at):
            assert self.now < 60, "it does not come to an end"
            self.now += 0.5
            at = (
                replace(at, seen=self.look(), seen_at=self.now)
                if not at.phase.ended
                else landed_back(at, self.look(), self.now)
            )
            missing = [f"{city} still announces" for city in sorted(self.rules[-1][1] - self.shown())]
            at = advance_scopes(at, missing, self.now)
            if self.rules[-1][1] != self._wanted(at):
                self.rules.append((self.now, self._wanted(at)))
            if self.stored:
                at = codec.from_json(Rollout, codec.to_json(at))
        return at

    def shown(self) -> frozenset[CityCode]:
        return next(rules for at, rules in reversed(self.rules) if self.now >= at + 1)

    def look(self) -> tuple[Landing, ...]:
        return (look("v", self.answers(self.shown()), self.place(self.shown(), self.now)),)

    def _wanted(self, at: Rollout) -> frozenset[CityCode]:
        if at.phase in (RolloutPhase.REVERTED, RolloutPhase.ABORTED):
            return frozenset()
        return frozenset(c.pop for wave in at.scopes[: at.wave + 1] for c in wave.changes)


def as_predicted(shown: frozenset[CityCode], now: float) -> CityCode | None:
    return JFK if LHR in shown else LHR if AMS in shown else AMS


@pytest.mark.parametrize("stored", [False, True])
def test_waves_wait_for_what_the_vantages_see(stored: bool) -> None:
    """Each holds for two seconds before the next begins. Stored and read back after each step it is the same."""
    story = Story(as_predicted, stored=stored)
    at = story.run()
    assert at.phase is RolloutPhase.DONE and len(at.results) == 2
    assert all(result.seconds >= 3 for result in at.results) and story.rules[-1][1] == {AMS, LHR}


def test_a_right_outcome_that_does_not_last_is_a_wrong_one() -> None:
    """The vantage passes through the predicted PoP and ends elsewhere."""
    story = Story(lambda shown, now: AMS if not shown else LHR if now < 2.5 else LAX)
    at = story.run()
    assert at.phase is RolloutPhase.REVERTED and at.results[-1].differs == ("v lands in LAX, predicted LHR",)


def test_the_second_wave_takes_the_first_one_back_too() -> None:
    """All that was touched comes back in one step, and the vantages land as before."""
    story = Story(lambda shown, now: None if LHR in shown else as_predicted(shown, now))
    at = story.run()
    assert (at.phase, at.restored) == (RolloutPhase.REVERTED, True)
    assert [rules for _, rules in story.rules][1:] == [{AMS}, {AMS, LHR}, frozenset()]
    assert [result.differs for result in at.results] == [(), ("v lands in no PoP, predicted JFK",)]


def test_lost_answers_are_a_difference() -> None:
    """A PoP that is reached and does not answer is no repair."""
    at = Story(as_predicted, answers=lambda shown: 4 if shown else 5).run()
    assert at.phase is RolloutPhase.REVERTED and at.results[-1].differs == ("v gets 4 of 5 answers",)


def test_what_stays_away_is_told() -> None:
    """Taken back, and the vantage lands elsewhere all the same: after another deadline that is said."""
    story = Story(lambda shown, now: AMS if not shown and now < 5 else LAX)
    at = story.run()
    assert (at.phase, at.restored) == (RolloutPhase.REVERTED, False)

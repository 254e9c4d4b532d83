"""Rollouts: what may change when, when a wave is through, and what ends one badly."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.model.machine import Power
from anypop.model.names import CityCode, HostName, InstanceName, WorkloadId
from anypop.model.plan import Incarnation
from anypop.model.reasons import Reason
from anypop.model.report import ContainerReport, FamilyReport, InstanceReport, Phase
from anypop.model.rollout import Landing, Rollout, RolloutKind, RolloutPhase, Strategy
from anypop.plan.evidence import looked, worse
from anypop.plan.rollout import Seen, advance, changes_at, next_due, progress, wants_look, waves_of
from tests.worlds import AMS, JFK, LAX, LHR

OLD, NEW = "old-template", "new-template"
WEB = WorkloadId("id-web")
NOBODY: frozenset[InstanceName] = frozenset()
STRATEGY = Strategy(bake_s=2, deadline_s=60, failing_s=5)
BEGAN = 100.0


def rollout(**more: Any) -> Rollout:
    plain = Rollout(
        id="r", workload_id=WEB, kind=RolloutKind.UPDATE, revision=2, previous=1, strategy=STRATEGY,
        waves=((AMS,), (LHR, JFK)), created_at=BEGAN, wave_at=BEGAN,
    )  # fmt: skip
    return replace(plain, **more)


def one(
    city: CityCode,
    template: str = OLD,
    *,
    n: int = 0,
    life: int = 0,
    healthy: bool = True,
    trusted: bool = True,
    **report: Any,
) -> Seen:
    """An incarnation in a city as its host tells of it."""
    name = InstanceName(f"web-all-{city.lower()}-{n}")
    incarnation = Incarnation(
        workload_id=WEB, target="all", pop=city, host=HostName(city), ordinal=n, name=name, index=n,
        uid=f"{name}/{template}/{life}",
        link=2 * n + life, life=life, template=template, revision=2 if template == NEW else 1,
    )  # fmt: skip
    facts: dict[str, Any] = {
        "phase": Phase.RUNNING, "healthy": healthy, "reason": Reason.PROBE_PASSED if healthy else Reason.PROBE_FAILED,
        "containers": (container(),),
    }  # fmt: skip
    return Seen(
        incarnation=incarnation,
        trusted=trusted,
        report=InstanceReport(name=name, uid=incarnation.uid, template=template, **(facts | report)),
    )


def container(**more: Any) -> ContainerReport:
    return ContainerReport(**({"name": "app", "phase": Phase.RUNNING, "reason": Reason.RUNNING} | more))


def step(before: Rollout, *seen: Seen, now: float = BEGAN, going: Iterable[Seen] = ()) -> Rollout:
    return advance(before, NEW, seen, {s.incarnation.name for s in going}, now)


EVERYWHERE = (AMS, LHR, JFK)


# waves


def test_one_pop_goes_first_then_twice_as_many_each_time() -> None:
    """The one with the fewest instances first, ties by name."""
    pops = {CityCode(c): n for n, c in enumerate("ABCDEFGHIJ", 1)}
    assert [len(w) for w in waves_of(pops)] == [1, 2, 4, 3]
    assert waves_of({LHR: 1, AMS: 1, JFK: 1}) == ((AMS,), (JFK, LHR))
    assert waves_of({LHR: 2, AMS: 1}) == ((AMS,), (LHR,))
    assert waves_of({}) == ()


def test_a_pop_without_instances_is_no_first_wave() -> None:
    """It proves nothing: it comes with the last ones."""
    assert waves_of({AMS: 0, LHR: 2, JFK: 1, LAX: 3}) == ((JFK,), (LHR, LAX, AMS))
    assert waves_of({AMS: 0, LHR: 0}) == ((AMS, LHR),)


@given(st.dictionaries(st.sampled_from([CityCode(a + b) for a in "ABCDE" for b in "ABCDE"]), st.integers(0, 3)))
def test_every_pop_is_in_exactly_one_wave(pops: dict[CityCode, int]) -> None:
    """And each wave is at most as large as all before it and one more, as long as there are instances."""
    waves = waves_of(pops)
    assert sorted(city for wave in waves for city in wave) == sorted(pops)
    filled = [sum(pops[c] > 0 for c in wave) for wave in waves]
    assert all(count <= sum(filled[:n]) + 1 for n, count in enumerate(filled))


def test_only_the_waves_so_far_may_change() -> None:
    """While it runs; not paused, not ended, and never by a change of scopes."""
    assert [changes_at(rollout(), c) for c in (AMS, LHR, JFK, LAX)] == [True, False, False, False]
    assert [changes_at(rollout(wave=1), c) for c in (AMS, LHR, JFK, LAX)] == [True, True, True, False]
    for phase in RolloutPhase:
        assert changes_at(rollout(phase=phase), AMS) == (phase is RolloutPhase.RUNNING)
    assert not changes_at(rollout(kind=RolloutKind.SCOPES), AMS)


# the way of a good rollout


def test_a_rollout_goes_wave_by_wave_to_its_end() -> None:
    """Changed and healthy, old one gone, baked; then the next wave; then done with the time of its end."""
    old = [one(c) for c in EVERYWHERE]
    ams = one(AMS, NEW, life=1)
    at = step(rollout(), *old)
    assert (at.phase, at.wave, at.reason, at.well_since) == (RolloutPhase.RUNNING, 0, Reason.ROLLING_OUT, None)
    at = step(at, *old, one(AMS, NEW, life=1, healthy=False), now=101)
    assert at.watched == ((ams.incarnation.uid, 101),) and not at.ready
    at = step(at, *old, ams, now=103)
    assert at.ready == {ams.incarnation.uid} and not at.watched and at.well_since is None, "the old one still lives"
    at = step(at, ams, *old[1:], going=[ams], now=104)
    assert at.well_since is None, "the old one still drains"
    at = step(at, ams, *old[1:], now=105)
    assert (at.well_since, at.reason, at.wave) == (105, Reason.BAKING, 0)
    assert step(at, ams, *old[1:], now=106.9).wave == 0
    at = step(at, ams, *old[1:], now=107)
    assert (at.wave, at.wave_at, at.well_since, at.reason) == (1, 107, None, Reason.ROLLING_OUT)
    new = [ams, one(LHR, NEW, life=1), one(JFK, NEW, life=1)]
    at = step(at, *new, now=110)
    at = step(at, *new, now=112)
    assert (at.phase, at.reason, at.ended_at) == (RolloutPhase.DONE, Reason.ROLLED_OUT, 112)
    assert step(at, *new, now=999) == at


def test_a_wave_that_is_worse_again_bakes_anew() -> None:
    """The bake time is one of rest: whoever is touched in it begins it again."""
    at = step(rollout(waves=((AMS,),)), one(AMS, NEW, life=1), now=100)
    assert at.well_since == 100
    at = step(at, one(AMS, NEW, life=1), one(AMS, n=1), now=101)
    assert at.well_since is None
    at = step(at, one(AMS, NEW, life=1), one(AMS, NEW, n=1), now=103)
    assert (at.well_since, at.phase) == (103, RolloutPhase.RUNNING)


def test_a_slot_with_two_is_not_through() -> None:
    """Also where both are made from the same, and both are well."""
    at = step(rollout(), one(AMS, NEW), one(AMS, NEW, life=1))
    assert len(at.ready) == 2 and at.well_since is None


def test_other_pops_are_not_waited_for() -> None:
    """An old incarnation of a later wave keeps nothing back."""
    at = step(rollout(), one(AMS, NEW), one(LHR), one(JFK, healthy=False), now=100)
    assert step(at, one(AMS, NEW), one(LHR), one(JFK, healthy=False), now=102).wave == 1


@pytest.mark.parametrize("phase", [p for p in RolloutPhase if p is not RolloutPhase.RUNNING])
def test_what_does_not_run_does_not_move(phase: RolloutPhase) -> None:
    """Paused or ended: the same rollout comes back, whatever is seen."""
    still = rollout(phase=phase)
    assert step(still, one(AMS, NEW, healthy=False, phase=Phase.FAILED, reason=Reason.PULL_FAILED), now=9999) == still


# what ends it badly


def test_one_that_does_not_become_healthy_ends_it_at_the_deadline() -> None:
    """Counted from the moment its host was heard of; not a moment before; with its name and the last thing that it
    said.
    """
    sick = one(AMS, NEW, life=1, healthy=False, message="connection refused")
    at = step(rollout(), one(AMS), sick, now=110)
    assert step(at, one(AMS), sick, now=169.9).phase is RolloutPhase.RUNNING
    at = step(at, one(AMS), sick, now=170)
    assert (at.phase, at.reason, at.ended_at) == (RolloutPhase.REVERTED, Reason.DOES_NOT_BECOME_HEALTHY, 170)
    assert "web-all-ams-0" in at.message and "after 60 s" in at.message and "connection refused" in at.message


def test_one_that_answers_in_fewer_families_than_those_it_replaces_is_not_ready_and_ends_it() -> None:
    """Also where the old one had to go first, because of a volume, so that its host cannot compare the two; where those
    before did not answer there either, or the change is that it has the other family no more, all is well.
    """

    def answers(*well: int, of: tuple[int, ...] = (4, 6)) -> dict[str, Any]:
        passed = {True: Reason.PROBE_PASSED, False: Reason.PROBE_FAILED}
        return {"families": tuple(FamilyReport(version=v, healthy=v in well, reason=passed[v in well]) for v in of)}

    old = [one(AMS, **answers(4, 6)), one(LHR, **answers(4, 6))]
    at = step(rollout(), *old)
    half = one(AMS, NEW, life=1, **answers(4))
    at = step(at, half, now=101)
    assert (at.ready, at.well_since) == (frozenset(), None)
    at = step(at, half, now=161)
    assert (at.phase, at.reason) == (RolloutPhase.REVERTED, Reason.DOES_NOT_BECOME_HEALTHY)
    assert "web-all-ams-0: does not answer in IPv6, in which those that it replaces do, after 60 s" in at.message
    for before, after in ((answers(4), answers(4)), (answers(4, 6), answers(4, of=(4,))), (answers(4), answers(4, 6))):
        at = step(step(rollout(), one(AMS, **before)), one(AMS, NEW, life=1, **after), now=101)
        assert at.ready == {one(AMS, NEW, life=1).incarnation.uid}


def test_one_that_its_host_never_speaks_of_ends_it_too() -> None:
    """A host that reports and says nothing of the new incarnation does not obey."""
    silent = replace(one(AMS, NEW, life=1), report=None)
    at = step(step(rollout(), silent, now=100), silent, now=160)
    assert (at.phase, at.reason) == (RolloutPhase.REVERTED, Reason.DOES_NOT_BECOME_HEALTHY)
    assert "says nothing of it" in at.message


@pytest.mark.parametrize("reason", [Reason.PULL_FAILED, Reason.CREATE_FAILED])
def test_one_that_cannot_be_made_ends_it_after_a_short_while(reason: Reason) -> None:
    """A registry may hiccup: a failure that passes in five seconds is none."""
    failed = one(
        AMS, NEW, life=1, healthy=False, phase=Phase.FAILED, reason=reason, message="no such image", containers=()
    )
    waits = one(AMS, NEW, life=1, healthy=False, phase=Phase.STARTING, reason=Reason.PULLING, containers=())
    at = step(rollout(), one(AMS), failed, now=100)
    assert at.failing == ((failed.incarnation.uid, 100),)
    at = step(at, one(AMS), waits, now=103)
    at = step(at, one(AMS), failed, now=104)
    assert step(at, one(AMS), failed, now=108.9).phase is RolloutPhase.RUNNING
    at = step(at, one(AMS), failed, now=109)
    assert (at.phase, at.reason) == (RolloutPhase.REVERTED, Reason.DOES_NOT_START)
    assert "no such image" in at.message


def test_one_that_ends_and_starts_again_ends_it_at_once() -> None:
    """By its count of restarts or by a container that has ended; the last exit code and reason are told."""
    again = container(restarts=1, last_exit_code=137, last_reason=Reason.OUT_OF_MEMORY)
    at = step(rollout(), one(AMS), one(AMS, NEW, life=1, healthy=False, containers=(again,)), now=101)
    assert (at.phase, at.reason) == (RolloutPhase.REVERTED, Reason.RESTARTS)
    assert Reason.OUT_OF_MEMORY.says in at.message and "exit code 137" in at.message
    ended = container(phase=Phase.FAILED, reason=Reason.EXITED, exit_code=3)
    at = step(
        rollout(),
        one(AMS),
        one(AMS, NEW, life=1, healthy=False, phase=Phase.FAILED, containers=(container(), ended)),
        now=101,
    )
    assert (at.phase, at.reason) == (RolloutPhase.REVERTED, Reason.RESTARTS)
    assert "exit code 3" in at.message


def test_a_restart_that_somebody_asked_for_is_no_fault_of_the_change() -> None:
    """It neither ends the rollout nor counts as ready meanwhile: the instance proves itself again, in time."""
    at = step(rollout(), one(AMS, NEW, life=1), now=101)
    assert at.ready
    asked = container(restarts=1, last_reason=Reason.RESTART_ASKED)
    for phase, reason in (
        (Phase.STARTING, Reason.STARTING), (Phase.STARTING, Reason.PROBE_PENDING), (Phase.FAILED, Reason.RESTART_ASKED),
    ):  # fmt: skip
        comes = one(AMS, NEW, life=1, healthy=False, phase=phase, reason=reason, containers=(asked,))
        after = step(at, comes, now=102)
        assert (after.phase, after.ready, after.wave) == (RolloutPhase.RUNNING, frozenset(), 0)
        late = step(after, comes, now=163)
        assert (late.phase, late.reason) == (RolloutPhase.REVERTED, Reason.DOES_NOT_BECOME_HEALTHY)
    back = step(at, one(AMS, NEW, life=1, containers=(asked,)), now=104)
    assert (back.phase, len(back.ready)) == (RolloutPhase.RUNNING, 1)
    ill = one(AMS, NEW, life=1, healthy=False, containers=(asked,))
    assert step(at, ill, now=102).phase is RolloutPhase.REVERTED, "one that runs and answers no more is another matter"


def test_one_that_was_healthy_and_is_no_longer_ends_it() -> None:
    """While baking, and in any wave before the one under way."""
    at = step(rollout(), one(AMS, NEW), now=100)
    at = step(at, one(AMS, NEW), one(LHR), one(JFK), now=102)
    assert at.wave == 1
    at = step(at, one(AMS, NEW, healthy=False), one(LHR), one(JFK), now=103)
    assert (at.phase, at.reason) == (RolloutPhase.REVERTED, Reason.DOES_NOT_BECOME_HEALTHY)
    assert "was healthy and is no longer" in at.message


def test_one_whose_agent_was_restarted_proves_itself_again() -> None:
    """Not asked is neither well nor worse: nothing goes on and nothing is reverted, until it answers or the deadline
    is over.
    """
    at = step(rollout(), one(AMS, NEW), now=100)
    not_asked = one(AMS, NEW, healthy=False, reason=Reason.PROBE_PENDING)
    waits = step(at, not_asked, one(LHR), one(JFK), now=102.5)
    assert (waits.phase, waits.wave, waits.ready) == (RolloutPhase.RUNNING, 0, frozenset())
    again = step(waits, one(AMS, NEW), one(LHR), one(JFK), now=103)
    assert again.ready and again.phase is RolloutPhase.RUNNING
    assert step(waits, not_asked, one(LHR), one(JFK), now=162.4).phase is RolloutPhase.RUNNING
    late = step(waits, not_asked, one(LHR), one(JFK), now=162.5)
    assert (late.phase, late.reason) == (RolloutPhase.REVERTED, Reason.DOES_NOT_BECOME_HEALTHY)


def test_the_trouble_of_others_ends_nothing() -> None:
    """Old incarnations may be sick, end and restart; and so may those that had this template before it began."""
    trouble: dict[str, Any] = {
        "healthy": False,
        "phase": Phase.FAILED,
        "containers": (container(restarts=9, phase=Phase.FAILED),),
    }
    before = one(AMS, NEW, n=1, **trouble)
    at = rollout(held=frozenset({before.incarnation.uid}))
    seen = (one(AMS, **trouble), before, one(LHR, **trouble))
    for now in range(100, 1000, 50):
        at = step(at, *seen, now=now)
        assert at.phase is RolloutPhase.RUNNING
    at = step(at, one(AMS, NEW, life=1), before, one(LHR, **trouble), now=1000)
    assert at.well_since == 1000, "and nobody waits for their health"


def test_one_that_was_there_before_must_be_healthy_to_take_over_again() -> None:
    """A newer one serves beside it: it may have restarted, but it has no longer than the deadline."""
    again: dict[str, Any] = {"containers": (container(restarts=9, phase=Phase.FAILED),)}
    before, beside = one(AMS, NEW, healthy=False, **again), one(AMS, "a third", life=1)
    at = rollout(held=frozenset({before.incarnation.uid}))
    at = step(at, before, beside, now=100)
    assert step(at, before, beside, now=159.9).phase is RolloutPhase.RUNNING
    late = step(at, before, beside, now=160)
    assert (late.phase, late.reason) == (RolloutPhase.REVERTED, Reason.DOES_NOT_BECOME_HEALTHY)
    unmade = one(AMS, NEW, healthy=False, phase=Phase.FAILED, reason=Reason.CREATE_FAILED, containers=())
    assert step(step(at, unmade, beside, now=110), unmade, beside, now=130).phase is RolloutPhase.RUNNING
    well = one(AMS, NEW, **again)
    assert step(step(at, well, beside, now=150), before, beside, now=151).phase is RolloutPhase.RUNNING
    at = step(at, well, beside, now=150)
    assert at.ready == {well.incarnation.uid} and at.phase is RolloutPhase.RUNNING
    at = step(step(at, well, now=151), one(LHR), one(JFK), well, now=153)
    assert at.wave == 1


def test_what_has_nothing_to_go_back_to_goes_on_and_says_what_is_wrong() -> None:
    """Neither the deadline nor a restart ends it; it is done when all are healthy."""
    sick = one(AMS, NEW, life=1, healthy=False, containers=(container(restarts=3),))
    at = rollout(previous=0, waves=((AMS,),))
    for now in range(100, 400, 30):
        at = step(at, one(AMS), sick, now=now)
    assert (at.phase, at.reason) == (RolloutPhase.RUNNING, Reason.RESTARTS)
    assert "web-all-ams-0" in at.message
    well = one(AMS, NEW, life=1, containers=(container(restarts=3),))
    at = step(step(at, well, now=500), well, now=502)
    assert (at.phase, at.reason, at.message) == (RolloutPhase.DONE, Reason.ROLLED_OUT, "")


# silence


def test_a_silent_host_neither_fails_nor_finishes_it() -> None:
    """Its clock does not run; the wave goes on without it; the last one waits for it and says so."""
    silent = one(LHR, NEW, life=1, healthy=False, trusted=False)
    at = rollout(wave=1, waves=((AMS,), (LHR,), (JFK,)))
    at = step(at, one(AMS, NEW), one(LHR, trusted=False), silent, one(JFK), now=100)
    assert not at.watched and at.phase is RolloutPhase.RUNNING
    at = step(at, one(AMS, NEW), one(LHR, trusted=False), silent, one(JFK), now=10_000)
    assert (at.wave, at.phase) == (2, RolloutPhase.RUNNING)
    rest = (one(AMS, NEW), one(LHR, trusted=False), silent, one(JFK, NEW))
    at = step(step(at, *rest, now=10_001), *rest, now=20_000)
    assert (at.phase, at.message) == (RolloutPhase.RUNNING, "waits for LHR: no report")
    back = (one(AMS, NEW), one(LHR, NEW, life=1), one(JFK, NEW))
    at = step(step(at, *back, now=20_001), *back, now=20_003)
    assert at.phase is RolloutPhase.DONE


def test_a_host_that_returns_has_the_whole_deadline() -> None:
    """What was silent is watched anew from the moment it is heard of again."""
    sick, gone = one(AMS, NEW, life=1, healthy=False), one(AMS, NEW, life=1, healthy=False, trusted=False)
    at = step(step(rollout(), sick, now=100), gone, now=150)
    assert not at.watched
    at = step(at, sick, now=155)
    assert step(at, sick, now=214.9).phase is RolloutPhase.RUNNING
    assert step(at, sick, now=215).phase is RolloutPhase.REVERTED


def test_silence_keeps_what_was_ready() -> None:
    """One that was healthy and whose host is silent is not called worse, and is ready when it is back."""
    at = step(rollout(waves=((AMS,),)), one(AMS, NEW), now=100)
    at = step(at, one(AMS, NEW, trusted=False), now=102)
    assert (at.phase, at.ready) == (RolloutPhase.DONE, frozenset({one(AMS, NEW).incarnation.uid}))


# no room for two


def test_only_one_at_a_time_goes_before_its_successor() -> None:
    """The first by name, while another of its PoP is healthy; nobody while one is being changed."""
    both = (one(AMS), one(AMS, n=1))
    assert step(rollout(), *both).may_stop_first == {both[0].incarnation.uid}
    assert step(rollout(), *both, going=[both[1]]).may_stop_first == frozenset()
    beside = one(AMS, NEW, life=1, healthy=False)
    assert step(rollout(), *both, beside).may_stop_first == frozenset()
    overtaken = one(AMS, "a third", life=1)
    assert step(rollout(), *both, overtaken).may_stop_first == frozenset()
    starting = one(AMS, NEW, n=1, life=1, healthy=False)
    assert step(rollout(), one(AMS), starting).may_stop_first == frozenset()
    assert step(rollout(), one(AMS), one(AMS, NEW, n=1, life=1)).may_stop_first == {one(AMS).incarnation.uid}


def test_the_last_healthy_one_of_a_pop_goes_first_only_where_enough_other_pops_are() -> None:
    """Of three PoPs two must stay; one that is sick serves nobody and may go."""
    alone = one(AMS)
    assert step(rollout(), alone, one(LHR), one(JFK)).may_stop_first == {alone.incarnation.uid}
    assert step(rollout(), alone, one(LHR), one(JFK, healthy=False)).may_stop_first == frozenset()
    assert step(rollout(), alone, one(LHR), one(JFK, trusted=False)).may_stop_first == frozenset()
    assert step(rollout(waves=((AMS,),)), alone).may_stop_first == frozenset()
    sick = one(AMS, healthy=False)
    assert step(rollout(waves=((AMS,),)), sick).may_stop_first == {sick.incarnation.uid}


def test_a_silent_host_may_stop_nothing_first() -> None:
    """Nothing is known of it, not even that it would obey; the next one by name may."""
    quiet, heard = one(AMS, trusted=False), one(AMS, n=1)
    quiet = replace(quiet, incarnation=replace(quiet.incarnation, host=HostName("AMS-2")))
    assert step(rollout(), quiet, heard, one(AMS, n=2)).may_stop_first == {heard.incarnation.uid}


def test_the_leave_ends_with_the_wave() -> None:
    """While it bakes nobody has it."""
    assert step(rollout(may_stop_first=frozenset({"x"})), one(AMS, NEW)).may_stop_first == frozenset()


# out of a revision that is ill


def test_the_way_back_waits_for_nothing_of_what_has_fallen_ill_everywhere() -> None:
    """What runs everywhere and was good answers no more: what it goes back to has to become healthy, nothing else."""
    ill = [one(c, healthy=False, containers=(container(restarts=3),)) for c in EVERYWHERE]
    at = step(rollout(waves=(EVERYWHERE,), previous=0), *ill)
    assert (at.phase, at.reason) == (RolloutPhase.RUNNING, Reason.ROLLING_OUT)
    assert all(changes_at(at, c) for c in EVERYWHERE)
    new = [one(c, NEW, life=1) for c in EVERYWHERE]
    at = step(at, *ill, *new, now=102)
    assert at.ready == {s.incarnation.uid for s in new}
    at = step(step(at, *new, now=103), *new, now=105)
    assert (at.phase, at.reason) == (RolloutPhase.DONE, Reason.ROLLED_OUT)


def test_one_that_has_fallen_ill_makes_room_for_what_comes_back_though_nobody_else_serves() -> None:
    """There is nothing to lose: not even with a drain on, or a silent host elsewhere."""
    ill = [one(c, healthy=False) for c in EVERYWHERE]
    at = step(rollout(waves=(EVERYWHERE,), previous=0), *ill)
    assert at.may_stop_first == {ill[0].incarnation.uid}
    silent = [ill[0], one(LHR, healthy=False, trusted=False), one(JFK, healthy=False)]
    assert step(rollout(waves=(EVERYWHERE,), previous=0), *silent).may_stop_first == {ill[0].incarnation.uid}


def test_a_bad_change_is_taken_back_to_what_was_ill_before_it() -> None:
    """That it was ill is no reason to stay with what is worse; and its illness is none of the change's doing."""
    ill = [one(c, healthy=False) for c in EVERYWHERE]
    at = step(rollout(), *ill, one(AMS, NEW, life=1, healthy=False), now=101)
    assert at.phase is RolloutPhase.RUNNING
    at = step(at, *ill, one(AMS, NEW, life=1, healthy=False, containers=(container(restarts=1),)), now=102)
    assert (at.phase, at.reason) == (RolloutPhase.REVERTED, Reason.RESTARTS)


def off(seen: Seen) -> Seen:
    return replace(seen, incarnation=replace(seen.incarnation, power=Power.OFF))


def test_an_update_says_whom_it_waits_for_until_his_owner_has_him_in_service() -> None:
    """A new one that is off proves nothing, and nobody goes for it; of a workload with volumes one that is off is
    missing among those that serve while another is stopped.
    """
    new, old = one(AMS, NEW, life=1), one(AMS)
    waits = step(rollout(), off(new), old)
    assert (waits.phase, waits.reason, waits.message) == (
        RolloutPhase.RUNNING, Reason.ROLLING_OUT, "waits for web-all-ams-0: powered off, or in rescue",
    )  # fmt: skip
    assert step(waits, off(new), old, now=10_000) == waits, "no deadline ends it"
    assert "waits" not in step(waits, new, old).message
    serves = replace(one(AMS), has_volume=True)
    other, rests = (replace(one(LHR, healthy=up), has_volume=True) for up in (True, False))
    assert step(rollout(waves=((AMS,),)), serves, off(rests)).message == (
        "waits until enough others serve, so that one may be stopped: web-all-lhr-0: powered off, or in rescue"
    )
    goes = step(rollout(waves=((AMS,),)), serves, other)
    assert goes.may_stop_first == frozenset([serves.incarnation.uid])
    assert goes.message.endswith("; others serve meanwhile")


# vantages


def look(name: str, answered: int = 5, pop: CityCode | None = AMS) -> Landing:
    return few(name, answered, 5, pop)


def few(name: str, answered: int, asked: int, pop: CityCode | None = AMS) -> Landing:
    return Landing(vantage=name, pop=pop, answered=answered, asked=asked)


def test_vantages_are_worse_only_where_they_were_whole() -> None:
    """One that was broken before, or is new, says nothing about the change."""
    before = (look("london"), look("oslo", 4))
    assert worse(before, (look("london"), look("oslo", 0), look("new", 0))) == []
    assert worse(before, (look("london", 1),)) == ["london gets 1 of 5 answers"]


@pytest.mark.parametrize("asked", [1, 2, 3, 5, 12])
def test_one_lost_answer_takes_nothing_back(asked: int) -> None:
    """However few are asked in a look: it is asked again, and whoever gets its answers then has fared well."""
    at = step(rollout(baseline=(few("london", asked, asked), few("oslo", asked, asked))), one(AMS, NEW), now=100)
    at, looks = looked(at, (few("london", asked - 1, asked), few("oslo", asked, asked)), 103), 1
    while wants_look(at) is False:
        waits = step(at, one(AMS, NEW), now=110)
        assert (waits.wave, waits.phase, waits.reason) == (0, RolloutPhase.RUNNING, Reason.BAKING)
        at, looks = looked(at, (few("london", asked, asked), few("oslo", asked, asked)), 103 + looks), looks + 1
    assert step(at, one(AMS, NEW), now=115).wave == 1
    assert looks == -(-12 // asked), "nobody is asked for longer than it takes"


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_answers_that_go_on_missing_take_it_back(lost: int) -> None:
    """In each look of three questions: four lost answers are evidence, which no look can have alone."""
    at, looks = step(rollout(baseline=(few("london", 3, 3),)), one(AMS, NEW), now=100), 0
    while wants_look(at) is False:
        assert step(at, one(AMS, NEW), now=110).wave == 0
        looks += 1
        at = looked(at, (few("london", 3 - lost, 3),), 102 + looks)
    assert looks == -(-4 // lost)
    over = step(at, one(AMS, NEW), now=115)
    assert (over.phase, over.reason) == (RolloutPhase.REVERTED, Reason.VANTAGES_WORSE)
    assert over.message == f"london gets {looks * (3 - lost)} of {looks * 3} answers"


def test_a_doubt_does_not_outlive_its_wave() -> None:
    """What was lost before a wave was well, or in the last one, is no evidence against this one; a vantage that says
    nothing when it is asked again keeps its doubt.
    """
    at = step(rollout(baseline=(few("london", 3, 3),)), one(AMS, NEW), now=100)
    early = looked(looked(at, (few("london", 1, 3),), 99), (few("london", 2, 3),), 103)
    assert early.seen == (few("london", 2, 3),)
    assert looked(early, (), 104).seen == early.seen
    assert looked(replace(early, well_since=None), (few("london", 2, 3),), 105).seen == (few("london", 2, 3),)
    assert looked(replace(early, well_since=104), (few("london", 2, 3),), 105).seen == (few("london", 2, 3),)


def test_a_wave_waits_for_the_vantages_to_look_and_is_taken_back_when_they_fare_worse() -> None:
    """A look that began before all was well does not count; one after it does."""
    at = step(rollout(baseline=(look("london"),)), one(AMS, NEW), now=100)
    early = replace(at, seen=(look("london", 0),), seen_at=99)
    early = step(early, one(AMS, NEW), now=110)
    assert (early.wave, early.phase) == (0, RolloutPhase.RUNNING)
    worse = replace(at, seen=(look("london", 1),), seen_at=103)
    at_end = step(worse, one(AMS, NEW), now=110)
    assert (at_end.phase, at_end.reason) == (RolloutPhase.REVERTED, Reason.VANTAGES_WORSE)
    assert "london gets 1 of 5" in at_end.message
    assert step(replace(worse, previous=0), one(AMS, NEW), now=110).wave == 1
    good = replace(at, seen=(look("london"),), seen_at=103)
    assert step(good, one(AMS, NEW), now=110).wave == 1


def test_one_that_could_not_ask_is_no_evidence_against_a_change() -> None:
    """However often it tries: the wave waits for it as for one that does not tell, and goes on at its deadline."""
    at = step(rollout(baseline=(few("london", 3, 3), few("oslo", 3, 3))), one(AMS, NEW), now=100)
    for n in range(5):
        at = looked(at, (few("london", 0, 0, None), few("oslo", 3, 3)), 103 + n)
        assert worse(at.baseline, at.seen) == []
        waits = step(at, one(AMS, NEW), now=110 + n)
        assert (waits.wave, waits.phase) == (0, RolloutPhase.RUNNING)
        assert wants_look(at) is False, "it may come back, and then it counts"
    assert step(looked(at, (few("london", 3, 3), few("oslo", 3, 3)), 120), one(AMS, NEW), now=121).wave == 1
    lost = at
    for n in range(2):
        lost = looked(lost, (few("london", 0, 3), few("oslo", 3, 3)), 120 + n)
    lost = step(lost, one(AMS, NEW), now=122)
    assert lost.reason is Reason.VANTAGES_WORSE
    assert step(at, one(AMS, NEW), now=160).wave == 1


def test_one_that_could_not_ask_before_a_change_says_nothing_later() -> None:
    assert worse((few("london", 0, 0, None),), (few("london", 0, 3, None),)) == []


def test_who_could_not_ask_leaves_a_doubt_as_it_was() -> None:
    at = step(rollout(baseline=(few("london", 3, 3),)), one(AMS, NEW), now=100)
    at = looked(looked(at, (few("london", 2, 3),), 103), (few("london", 0, 0, None),), 104)
    assert at.seen == (few("london", 2, 3),)
    assert looked(at, (few("london", 3, 3),), 105).seen == (few("london", 5, 6),)


def test_vantages_that_never_look_hold_it_up_no_longer_than_the_deadline() -> None:
    """A lab that was taken down must not keep a rollout for ever."""
    at = step(rollout(baseline=(look("london"),)), one(AMS, NEW), now=100)
    assert step(at, one(AMS, NEW), now=159.9).wave == 0
    assert step(at, one(AMS, NEW), now=160).wave == 1


def test_a_vantage_that_says_nothing_is_no_pass() -> None:
    """Inconclusive is neither well nor worse: a look without it does not let the wave through before the deadline, and
    those that look go on counting.
    """
    at = step(rollout(baseline=(look("london"), look("oslo"))), one(AMS, NEW), now=100)
    for seen in ((), (look("oslo"),)):
        half = replace(at, seen=seen, seen_at=103)
        waits = step(half, one(AMS, NEW), now=110)
        assert (waits.wave, waits.phase, waits.reason) == (0, RolloutPhase.RUNNING, Reason.BAKING)
        assert wants_look(waits) is False, "they are asked again"
        assert step(half, one(AMS, NEW), now=160).wave == 1, "a vantage that is gone for good keeps nobody for ever"
    worse = step(replace(at, seen=(look("oslo", 0),), seen_at=103), one(AMS, NEW), now=110)
    assert (worse.phase, worse.reason) == (RolloutPhase.REVERTED, Reason.VANTAGES_WORSE)
    broken_before = step(rollout(baseline=(look("london"), look("oslo", 2))), one(AMS, NEW), now=100)
    told = replace(broken_before, seen=(look("london"),), seen_at=103)
    assert step(told, one(AMS, NEW), now=110).wave == 1, "it proves nothing either way"


def test_what_vantages_see_counts_after_the_deadline_too() -> None:
    """A look that comes in as late as the deadline passes is a look all the same."""
    at = step(rollout(baseline=(look("london"),)), one(AMS, NEW), now=100)
    late = step(replace(at, seen=(look("london", 0),), seen_at=159), one(AMS, NEW), now=161)
    assert (late.phase, late.reason) == (RolloutPhase.REVERTED, Reason.VANTAGES_WORSE)


# when to look again


def test_the_next_moment_is_the_first_at_which_it_may_say_something_else() -> None:
    """Each deadline that lies ahead, and none that is past; a paused one needs no waking."""
    assert next_due(rollout(), 100) is None
    assert next_due(rollout(watched=(("a", 100), ("b", 90))), 101) == 150
    assert next_due(rollout(watched=(("a", 100),), failing=(("a", 101),)), 101) == 106
    assert next_due(rollout(well_since=100), 100) == 102
    assert next_due(rollout(well_since=100), 102) == 160
    assert next_due(rollout(well_since=100, phase=RolloutPhase.PAUSED), 100) is None


bits = st.booleans()
slots = st.lists(st.tuples(st.sampled_from(EVERYWHERE), st.integers(0, 1), bits, bits, bits, bits, bits), max_size=5)


@settings(deadline=None)
@given(st.lists(slots, min_size=1, max_size=8), st.lists(st.floats(0, 50), min_size=8, max_size=8), st.integers(0, 1))
def test_who_looks_at_every_due_moment_sees_all_there_is_to_see(
    history: list[list[tuple[CityCode, int, bool, bool, bool, bool, bool]]], gaps: list[float], previous: int
) -> None:
    """Between two reports nothing changes at a moment that `next_due` does not name: looking more often finds the
    same.
    """
    seldom = often = rollout(previous=previous)
    now = BEGAN
    for rows, gap in zip(history, gaps, strict=False):
        seen = [
            one(
                city, NEW if new else OLD, n=n, life=life, healthy=healthy, trusted=trusted,
                **({"phase": Phase.FAILED, "reason": Reason.PULL_FAILED, "containers": ()} if failed else {}),
            )
            for city, n, new, life, healthy, trusted, failed in rows
        ]  # fmt: skip
        end = now + gap
        seldom, often = step(seldom, *seen, now=now), step(often, *seen, now=now)
        while (due := next_due(seldom, now)) is not None and due <= end:
            seldom = step(seldom, *seen, now=due)
            now = due
            often = step(often, *seen, now=due)
        for moment in (end - gap / 3, end):
            if moment >= now:
                often = step(often, *seen, now=moment)
                now = moment
        seldom = step(seldom, *seen, now=end)
        now = end
        assert seldom == often
        assert seldom.phase in (RolloutPhase.RUNNING, RolloutPhase.DONE, *([RolloutPhase.REVERTED] if previous else []))


@settings(deadline=None)
@given(slots)
def test_the_same_seen_again_changes_nothing(rows: list[tuple[CityCode, int, bool, bool, bool, bool, bool]]) -> None:
    """A step is taken again from what is stored: at the same moment it is the same."""
    seen = [one(c, NEW if new else OLD, n=n, life=life, healthy=h, trusted=t) for c, n, new, life, h, t, _ in rows]
    once = step(rollout(strategy=replace(STRATEGY, bake_s=1)), *seen, now=110)
    assert step(once, *seen, now=110) == once


def test_progress_counts_slots_that_run_a_revision_alone() -> None:
    """A slot with two incarnations is not there yet."""
    incarnations = [s.incarnation for s in (one(AMS, NEW), one(LHR, NEW, life=1), one(LHR), one(JFK))]
    assert progress(2, incarnations) == (1, 3)
    assert progress(1, incarnations) == (1, 3)
    assert progress(1, []) == (0, 0)

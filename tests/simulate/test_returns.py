"""A host of a PoP that is cut off for longer than `lost_after_s`, and comes back: who of a slot stays."""

from collections.abc import Callable
from random import Random

import pytest

from anypop.model.plan import Incarnation
from anypop.model.reasons import Reason
from tests.simulate import people
from tests.simulate.host import Host
from tests.simulate.lives import Act, Platform, live
from tests.simulate.people import evicts_where_it_serves

LOST_AFTER_S = 20.0


def _seed() -> int:
    """A platform with two hosts in London of which a silent one is soon lost."""
    for seed in range(1000):
        network = Platform(seed).control.state.network
        if len(list(network.hosts())) > len(network.pops) and network.lost_after_s == LOST_AFTER_S:
            return seed
    raise AssertionError("no such platform")


class _Story:
    """One instance in London alone, whose host is cut off from control from second 8 to second 60."""

    def __init__(self) -> None:
        self.uid = ""
        self.began = 0.0

    def only_london(self, platform: Platform, dice: Random) -> None:
        people.changes(platform, 0, "cities", ["LHR"])
        people.changes(platform, 0, "replicas", 1)

    def home(self, platform: Platform) -> Host:
        return next(h for h in platform.hosts.values() if h.pop == "LHR" and (not self.uid or self.uid in h.ready))

    def other(self, platform: Platform) -> Host:
        return next(h for h in platform.hosts.values() if h.pop == "LHR" and self.uid not in h.ready)

    def cut_off(self, platform: Platform, dice: Random) -> None:
        (self.uid,) = [uid for h in platform.hosts.values() if h.pop == "LHR" for uid in h.ready]
        home = self.home(platform)
        self.began = home.well_since[self.uid]
        home.wire.cut = True
        platform.agents[home.name].line.lost()

    def heard_again(self, platform: Platform, dice: Random) -> None:
        self.home(platform).wire.heal()

    def lives(self, platform: Platform) -> list[Incarnation]:
        return [p.incarnation for p in platform.control.state.incarnations.values()]

    def told(self, then: Act, before: Act | None = None) -> str:
        steps = [(6.0, self.only_london), *([(11.0, before)] if before else []), (12.0, self.cut_off)]
        return live(_seed(), script=[*steps, (60.0, self.heard_again), (75.0, then)]).broken


@pytest.fixture
def story() -> _Story:
    return _Story()


def test_it_keeps_its_copy_where_the_one_placed_elsewhere_never_answered(story: _Story) -> None:
    """Nobody stopped it meanwhile, and the other one is given up."""

    def no_registry(platform: Platform, dice: Random) -> None:
        for host in platform.hosts.values():
            host.registry_away = not host.ready

    def then(platform: Platform, dice: Random) -> None:
        assert [i.uid for i in story.lives(platform)] == [story.uid]
        assert story.home(platform).well_since[story.uid] == story.began
        assert platform.control.state.tombstones == {} or {
            t.reason for t in platform.control.state.tombstones.values()
        } == {Reason.REVERTED}

    assert story.told(then, no_registry) == ""


def test_its_copy_goes_where_the_one_placed_elsewhere_answers(story: _Story) -> None:
    """And it has gone on until its host was heard."""

    def then(platform: Platform, dice: Random) -> None:
        (lives,) = story.lives(platform)
        assert lives.uid != story.uid and platform.hosts[lives.host].answers(lives.uid)
        assert not any(host.runs(story.uid) for host in platform.hosts.values())

    assert story.told(then) == ""


def test_its_copy_stays_where_the_one_placed_elsewhere_answered_once_and_died(story: _Story) -> None:
    """What counts is who answers when the host is heard again."""

    def dies_later(platform: Platform, dice: Random) -> None:
        def loses_power() -> None:
            (moved,) = story.lives(platform)
            assert moved.uid != story.uid and platform.hosts[moved.host].answers(moved.uid)
            platform.hosts[moved.host].power_off()

        platform.world.after(30.0, loses_power)

    def then(platform: Platform, dice: Random) -> None:
        assert [i.uid for i in story.lives(platform)] == [story.uid]
        assert story.home(platform).well_since[story.uid] == story.began

    assert story.told(then, dies_later) == ""


@pytest.mark.parametrize("works", [True, False])
def test_a_host_that_is_given_up_and_goes_on_serves_until_its_successor_does(works: bool) -> None:
    """Where none can be made it goes on; readmitted, it is as before."""
    story = _Story()

    def evicted(platform: Platform, dice: Random) -> None:
        (story.uid,) = [uid for h in platform.hosts.values() if h.pop == "LHR" for uid in h.ready]
        story.other(platform).registry_away = not works
        evicts_where_it_serves(platform, dice)

    def then(platform: Platform, dice: Random) -> None:
        lives = {i.uid: platform.hosts[i.host].answers(i.uid) for i in story.lives(platform)}
        if works:
            assert story.uid not in lives and [*lives.values()] == [True]
        else:
            assert lives.pop(story.uid) and [*lives.values()] == [False]

    def readmitted(platform: Platform, dice: Random) -> None:
        evicts_where_it_serves(platform, dice)

    def at_last(platform: Platform, dice: Random) -> None:
        assert len(story.lives(platform)) == 1 and (works or story.lives(platform)[0].uid == story.uid)

    script: list[tuple[float, Act | Callable[[Platform, Random], None]]] = [
        (6.0, story.only_london), (14.0, evicted), (34.0, then), (35.0, readmitted), (50.0, at_last),
    ]  # fmt: skip
    assert live(_seed(), script=script).broken == ""

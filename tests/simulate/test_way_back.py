"""The way back out of a revision that was good and has fallen ill everywhere: nothing of it is waited for."""

from random import Random

import pytest

from anypop.control import rollouts
from anypop.model.rollout import RolloutPhase
from tests.simulate import people, scenes
from tests.simulate.lives import Platform, live
from tests.simulate.networks import HOSTS_CARRY_FROM


def _all_fall_ill(platform: Platform, dice: Random) -> None:
    """And stay so until the end: what answers later was made later."""
    current = people.declared(platform, 0)
    assert current is not None and current.good == current.version, "it has come everywhere"
    for host in platform.hosts.values():
        for uid in sorted(host.ready):
            host.falls_ill(uid)


def _back(platform: Platform, dice: Random) -> None:
    current = people.declared(platform, 0)
    assert current is not None
    platform.control.ask("one: back", rollouts.roll_back(current.id, 1, by="a person"))


def _is_back(platform: Platform, dice: Random) -> None:
    current = people.declared(platform, 0)
    assert current is not None and current.workload.containers[0].image == "good:1"
    assert {r.phase for r in platform.control.state.rollouts_of(current.id).values()} == {RolloutPhase.DONE}
    lives = [p.incarnation for p in platform.control.state.incarnations_of(current.id).values()]
    assert {i.pop for i in lives} == set(platform.cities)
    assert all(i.template == current.workload.template and platform.hosts[i.host].answers(i.uid) for i in lives)


@pytest.mark.parametrize("first", [0, HOSTS_CARRY_FROM])
def test_a_workload_goes_back_though_all_of_it_is_ill(first: int) -> None:
    """With and without a backbone, and where a host has no room for two at once."""
    roomy = next(seed for seed in range(first, first + 100) if not scenes.tight(Platform(seed)))
    tight = next(seed for seed in range(first, first + 100) if scenes.tight(Platform(seed)))
    script = [
        (5.0, scenes.change(0, "image", "good:2")), (40.0, _all_fall_ill), (45.0, _back), (90.0, _is_back),
    ]  # fmt: skip
    for seed in (roomy, tight):
        assert live(seed, script=script).broken == ""

"""Lives in which an invariant broke once, with the cause of each: seeds that found something, and short stories where
the seed alone would lose its point when what lives draw from changes.
"""

from random import Random

import pytest

from tests.simulate import faults, scenes
from tests.simulate.lives import Platform, live

SEEDS = {
    5116: "a store from before an update to what can be made: what hosts are told to take down is all that serves",
    20198: "the last that answers dies while the step that announces it is under way; one without probes is damped",
    20331: "a prefix turns bad while two workloads share it, which ends later",
    20630: "an agent dies after it has started a container, which then ends: it is not started once more",
    21089: "the newer one is ill and keeps the traffic, and the older one, which has left its group, goes",
    1020310: "a host that has come back settles longer than others, while its neighbour carries to another city",
    1020458: "all that would take what a dial sends away have come back and settle",
    2000245: "an update of machines with volumes to an image that answers in one family never came to an end",
    1020211: "a host that carries dies while the step that announces what it carries is under way",
}


@pytest.mark.parametrize("seed", SEEDS)
def test_it_holds_now(seed: int) -> None:
    life = live(seed)
    assert life.broken == "", SEEDS[seed]


def test_what_a_host_says_of_its_own_is_believed_though_somebody_has_it_forged() -> None:
    """A host that cannot make its container has its link alone, and another city takes its place: who lies for it about
    others says nothing of its own.
    """

    def full(platform: Platform, dice: Random) -> None:
        host = platform.hosts[min(platform.hosts)]
        host.disk_full = True
        for uid in sorted(host.ready):
            host.die(uid)

    def elsewhere(platform: Platform, dice: Random) -> None:
        own = platform.hosts[min(platform.hosts)].pop
        scenes.change(0, "cities", [city for city in platform.cities if city != own])(platform, dice)

    def forged(platform: Platform, dice: Random) -> None:
        host = platform.hosts[min(platform.hosts)]
        assert host.links and not host.containers, "a link alone"
        faults.somebody_forges(platform, next(Random(n) for n in range(100) if _lies(platform, n) == host.name))

    script = [(5.0, full), (7.0, elsewhere), (7.5, forged), (9.0, scenes.nothing)]
    assert live(829, script=script).broken == ""


def _lies(platform: Platform, seed: int) -> str:
    """Who these dice make lie, with a generation that can be; nobody: with one that never was."""
    dice = Random(seed)
    liar = dice.sample(sorted(platform.hosts), 2)[0]
    return str(liar) if dice.random() >= 0.3 else ""

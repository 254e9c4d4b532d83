"""Drains, updates, scales and ways back that are asked for within a moment commute; and a way back out of a revision
that was good once and answers nowhere now is open: nothing holds it up.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import pytest

from anypop.control.rolling import begun, with_revision
from anypop.control.rollouts import roll_back
from anypop.control.state import Revision, State
from anypop.model.names import HostName
from anypop.model.rollout import RolloutPhase
from anypop.model.workload import Workload
from anypop.plan.template import template_of
from tests.drained_worlds import HOSTS, STRATEGY, WEB, Platform, a_network
from tests.worlds import KEY

Act = Callable[[Platform], None]


def a_platform(*, cpu_millis: int = 4000, replicas: int = 1) -> Platform:
    """Revision 1 ran everywhere, 2 does now."""
    made = Platform(network=a_network(cpu_millis=cpu_millis))
    made.deploy(1, replicas=replicas)
    made.settle()
    made.deploy(2, replicas=replicas)
    made.until_settled(lambda: not made.state.active_rollouts())
    assert (images(made), made.state.workloads[WEB].good) == ({"image:2"}, 2)
    return made


def images(platform: Platform) -> set[str]:
    """What the incarnations that are there are made from."""
    known = {
        r.workload.template: r.workload.containers[0].image
        for n in range(1, platform.state.workloads[WEB].version + 1)
        if (r := platform.state.revision(WEB, n)) is not None
    }
    return {known[p.incarnation.template] for p in platform.state.incarnations.values()}


def _declares(platform: Platform, changed: Callable[[Workload], Workload]) -> None:
    """Another revision, which differs from what is declared at this moment in one thing."""

    def alter(state: State, now: float) -> State:
        current = state.workloads[WEB]
        made = changed(replace(current.workload, revision=current.version + 1))
        newest = Revision(workload=replace(made, template=template_of(made, KEY)), document={}, created_at=now)
        state = with_revision(state, current, newest, now)
        return begun(state, WEB, previous=current.good, by="", strategy=STRATEGY, now=now)

    platform.change(alter)


def updates(platform: Platform) -> None:
    def changed(workload: Workload) -> Workload:
        (container,) = workload.containers
        return replace(workload, containers=(replace(container, image="image:3"),))

    _declares(platform, changed)


def scales(platform: Platform) -> None:
    _declares(platform, lambda w: replace(w, targets=tuple(replace(t, replicas=2) for t in w.targets)))


def rolls_back(platform: Platform) -> None:
    platform.change(roll_back(WEB, 1, by=""))


def drains(platform: Platform) -> None:
    platform.drain("LHR", deadline_s=3.0, calm_s=0.5)


ACTS: tuple[Act, ...] = (drains, updates, scales, rolls_back)


def in_this_order(acts: tuple[Act, ...], *, late: HostName, cpu_millis: int) -> dict[str, object]:
    """What is there in the end, when London is back. Somebody serves all the while, whichever host obeys late."""
    platform = a_platform(cpu_millis=cpu_millis)
    for act in acts:
        act(platform)
        assert platform.serving(), f"nobody serves after {act.__name__}"
        platform.later(0.3, reports=[h for h in HOSTS if h != late])
        assert platform.serving(), f"nobody serves a moment after {act.__name__}"
    for _ in range(12):
        platform.later(0.6, reports=HOSTS)
        assert platform.serving()
    platform.undrain("LHR")
    platform.until_settled(lambda: not platform.state.active_drains() and not platform.state.active_rollouts())
    platform.settle()
    state = platform.state
    return {
        "slots": sorted(p.incarnation.name for p in state.incarnations.values()),
        "images": images(platform),
        "left": len(state.tombstones),
        "scopes": {(a.prefix, a.upstream, a.scope) for i in state.orders.values() for a in i.order.announcements},
        "serving": {name[:3] for name in platform.serving()},
    }


EVERY_ORDER = tuple(permutations(ACTS))


@pytest.mark.parametrize(
    ("late", "cpu_millis", "orders"),
    [
        pytest.param(HOSTS[0], 4000, EVERY_ORDER, id="with room for two"),
        pytest.param(HOSTS[1], 2000, EVERY_ORDER[::5], id="without"),
    ],
)
def test_a_drain_an_update_a_scale_and_a_way_back_commute(
    late: HostName, cpu_millis: int, orders: tuple[tuple[Act, ...], ...]
) -> None:
    """In each of their orders the end is the same but for the one thing in which two of them contradict each
    other: the later of update and way back says which image it is.
    """
    ends = {acts: in_this_order(acts, late=late, cpu_millis=cpu_millis) for acts in orders}
    first = ends[orders[0]]
    assert first["slots"] == [f"web-all-{city}-{n}" for city in ("ams", "lhr") for n in (0, 1)]
    assert (first["left"], first["serving"]) == (0, {"AMS", "LHR"})
    for acts, end in ends.items():
        last = "image:3" if acts.index(updates) > acts.index(rolls_back) else "image:1"
        assert end == first | {"images": {last}}, [act.__name__ for act in acts]


@pytest.mark.parametrize("cpu_millis", [1000, 4000])
def test_the_way_back_out_of_a_revision_that_answers_nowhere_is_open(cpu_millis: int) -> None:
    """It was good once, and is ill everywhere now: nobody waits for its health, with room for two or without."""
    platform = a_platform(cpu_millis=cpu_millis)
    platform.bad = {"image:2"}
    platform.settle()
    assert not platform.serving()
    rolls_back(platform)
    platform.until_settled(lambda: not platform.state.active_rollouts())
    platform.settle()
    assert images(platform) == {"image:1"}
    assert {name[:3] for name in platform.serving()} == {"AMS", "LHR"}


@pytest.mark.parametrize("cpu_millis", [1000, 4000])
def test_an_update_that_fails_reverts_to_a_revision_that_is_ill_by_now(cpu_millis: int) -> None:
    """What it goes back to answers no more than what it leaves: the revert is not held up by that, and it ends."""
    platform = a_platform(cpu_millis=cpu_millis)
    platform.bad = {"image:2", "image:3"}
    platform.settle()
    updates(platform)
    rollout = platform.state.rollout_of(WEB)
    assert rollout is not None
    platform.until_settled(lambda: platform.state.rollouts[rollout.id].phase is RolloutPhase.REVERTED)
    platform.settle(1.0, 60)
    assert images(platform) == {"image:2"}
    platform.bad = set()
    platform.until_settled(lambda: not platform.state.active_rollouts())
    assert {name[:3] for name in platform.serving()} == {"AMS", "LHR"}

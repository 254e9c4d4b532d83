"""Properties of `converge`, against a fake PoP host that refuses what must never happen (see `tests.agent_world`)."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.agent.announcing import reason_for
from anypop.agent.converge import converge, next_due
from anypop.agent.naming import short
from anypop.agent.observed import Observed
from anypop.agent.steps import AddLink, CreateContainer, PullImage, SetNextHops, SetSpeaker, Step, StopContainer
from anypop.model.order import Grant, InstanceOrder, Order
from anypop.model.reasons import Reason
from tests.agent_world import COVERS, HEALTHY_AFTER_S, FakeHost, instance, order, web
from tests.examples import examples

Choose = Callable[[int], int]


def first(_: int) -> int:
    return 0


def settle(host: FakeHost, *, choose: Choose = first, kill_after: frozenset[int] = frozenset(), limit: int = 400) -> int:
    """Pass after pass until nothing is left to do and no time is waited for; lanes advance in any order. The number of steps taken.

    `kill_after`: counts of steps after which the agent is killed and a new one looks anew.
    """
    taken = 0
    for _ in range(limit):
        assert host.page is not None
        observed = host.observe()
        steps = converge(host.page.order, observed, host.now)
        if not steps:
            due = next_due(host.page.order, observed, host.now)
            pending = [v for v in observed.health.values() if v.healthy is None or v.reason is Reason.PROBE_PENDING]
            if due is None and not pending:
                return taken
            host.now = due if due is not None and not pending else host.now + HEALTHY_AFTER_S
            continue
        lanes: dict[str, list[Step]] = {}
        for step in steps:
            lanes.setdefault(step.lane, []).append(step)
        while lanes:
            lane = sorted(lanes)[choose(len(lanes))]
            host.apply(lanes[lane].pop(0))
            if not lanes[lane]:
                del lanes[lane]
            taken += 1
            if taken in kill_after:
                host.kill()
                break
            if lanes and choose(4) == 3:
                break  # an event woke another pass meanwhile: the rest is decided anew
        host.now += 0.01
    raise AssertionError(f"does not settle; the last steps: {host.applied[-8:]}")


def worlds() -> st.SearchStrategy[list[Order]]:
    """Stories of one PoP: orders that add, remove, replace and withhold, each obeyed until nothing is left to do."""

    @st.composite
    def story(draw: st.DrawFn) -> list[Order]:
        running: dict[tuple[int, int], InstanceOrder] = {}
        orders, lives = [], 0
        for generation in range(1, draw(st.integers(2, 4)) + 1):
            removed = []
            for place in list(running):
                if draw(st.booleans()) and draw(st.booleans()):
                    removed.append(running.pop(place))
            for n in range(4):
                place = (n % 2, n)
                if place not in running and draw(st.booleans()):
                    lives += 1
                    running[place] = instance(n, workload=n % 2, life=lives)
            withheld = draw(st.sampled_from([(), (), ("one",), ("two",)]))
            orders.append(order(generation, *running.values(), removed=tuple(removed), withheld=withheld))
        return orders

    return story()


@settings(max_examples=examples(50), deadline=None)
@given(worlds(), st.data())
def test_kill_after_any_step_converges_to_the_same_end(orders: list[Order], data: st.DataObject) -> None:
    """Killing the agent after any steps, with lanes in any order, ends in the same world as an undisturbed run (invariant 12)."""
    calm, rough = FakeHost(), FakeHost()
    for each in orders:
        assert calm.obey(each) is None
        assert rough.obey(each) is None
        settle(calm)
        kills = data.draw(st.frozensets(st.integers(1, 40), max_size=4))
        settle(rough, choose=lambda n: data.draw(st.integers(0, n - 1)), kill_after=kills)
        assert rough.picture() == calm.picture()


@settings(max_examples=25, deadline=None)
@given(worlds())
def test_a_converged_world_needs_no_steps(orders: list[Order]) -> None:
    """A converged world gives no steps, also to an agent that has just been started, except for reloading the firewall it cannot see."""
    host = FakeHost()
    for each in orders:
        host.obey(each)
        settle(host)
        assert converge(each, host.observe(), host.now) == []
        host.kill()
        host.remembers_firewall = True
        assert converge(each, host.observe(), host.now) == []


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_sickness_and_deaths_never_withdraw_without_a_grant(data: st.DataObject) -> None:
    """However instances die and fall sick, and speakers die, what was announced stays so until the governor grants its withdrawal."""
    host = FakeHost()
    everyone = [instance(n) for n in range(3)]
    host.obey(order(1, *everyone))
    settle(host)
    announced = host.speaker
    for _ in range(data.draw(st.integers(1, 6))):
        who = data.draw(st.sampled_from(everyone))
        match data.draw(st.sampled_from(["die", "sick", "well", "kill", "bird"])):
            case "die":
                host.die(who.uid)
            case "sick":
                host.sick.add(who.uid)
            case "well":
                host.sick.discard(who.uid)
            case "bird":
                host.bird_dies()
                settle(host)
            case _:
                host.kill()
        host.now += 0.05
        if data.draw(st.booleans()):
            settle(host)
        assert host.speaker == announced


def test_a_grant_withdraws_what_nobody_answers_for() -> None:
    """With every instance sick, a refused grant keeps the prefix, an allowed one withdraws it; recovery announces it again."""
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    assert host.speaker is not None
    host.sick.add(instance(0).uid)
    refused = Grant(prefix=COVERS[0], allowed=False, reason=Reason.LAST_ANNOUNCER)
    host.obey(order(2, instance(0), grants=(refused,)))
    settle(host)
    assert any(e.prefix == COVERS[0] for e in host.speaker.exports)
    host.obey(order(3, instance(0), grants=(replace(refused, allowed=True),)))
    settle(host)
    assert not any(e.prefix == COVERS[0] for e in host.speaker.exports)
    host.sick.clear()
    settle(host)
    assert any(e.prefix == COVERS[0] for e in host.speaker.exports)


def test_a_speaker_that_dies_goes_on_where_it_was() -> None:
    """What is held although every instance is sick is held by the next BIRD too; what was never announced is not announced by it."""
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    held = host.speaker
    host.sick.add(instance(0).uid)
    host.obey(order(2, instance(0), instance(1, workload=1)))
    host.sick.add(instance(1, workload=1).uid)
    settle(host)
    host.bird_dies()
    settle(host)
    assert host.speaker == held
    host.obey(order(3, instance(0), instance(1, workload=1), grants=(Grant(prefix=COVERS[0], allowed=True, reason=Reason.GRANTED),)))
    host.bird_dies()
    settle(host)
    assert host.speaker is not None
    assert not any(e.prefix in COVERS for e in host.speaker.exports)


def test_a_newcomer_in_a_shared_prefix_is_told_as_what_it_is() -> None:
    """While an instance that shares the prefix has never answered, the prefix stays announced and the reason is its first probe."""
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    newcomer = replace(instance(1, workload=1), anycast=(COVERS[0][2],))
    both = order(2, instance(0), newcomer)
    host.obey(both)
    for step in converge(both, host.observe(), host.now):
        host.apply(step)
    assert reason_for(COVERS[0], both, host.observe()) == (Reason.PROBE_PENDING, True)
    settle(host)
    assert reason_for(COVERS[0], both, host.observe()) == (Reason.SESSION_DOWN, False)
    host.sick.add(newcomer.uid)
    assert reason_for(COVERS[0], both, host.observe()) == (Reason.AWAITING_GRANT, True)


def test_the_last_instances_leave_in_order() -> None:
    """Prefer less, withdraw, drain, route away, stop, remove, unbind: in this order, none before its time."""
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    host.applied.clear()
    host.obey(order(2, removed=(instance(0),)))
    settle(host)
    words = [_word(s) for s in host.applied if _word(s)]
    assert words == ["graceful", "withdrawn", "BeginDrain", "RemoveRoute", "RemoveExternal", "RemoveExternal", "StopContainer",
                     "RemoveContainer", "DeleteNamespace"]  # fmt: skip


def _word(step: Step) -> str:
    if isinstance(step, SetSpeaker):
        mine = [e for e in step.config.exports if e.prefix == COVERS[0]]
        return "graceful" if mine and all(e.graceful for e in mine) else "" if mine else "withdrawn"
    name = type(step).__name__
    return "" if name in ("SetFirewall", "RemoveCover", "SetNextHops") else name


def test_one_of_two_drains_without_losing_its_own_flows() -> None:
    """An instance that leaves while another serves gets weight 1 beside 100, then goes; nothing is withdrawn."""
    host = FakeHost()
    host.obey(order(1, instance(0), instance(2)))
    settle(host)
    announced = host.speaker
    host.applied.clear()
    host.obey(order(2, instance(0), removed=(instance(2),)))
    settle(host)
    weights = [{m.short: m.weight for m in s.members} for s in host.applied if isinstance(s, SetNextHops)]
    assert weights == [{short(instance(0).uid): 100, short(instance(2).uid): 1}, {short(instance(0).uid): 100}]
    assert host.speaker == announced


def test_a_new_incarnation_waits_for_its_predecessor() -> None:
    """A replaced instance of the same name and addresses is wired only after the old one has left them (invariant 15)."""
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    host.obey(order(2, instance(0, life=1), removed=(instance(0),)))
    assert host.page is not None
    assert not any(isinstance(s, AddLink) for s in converge(host.page.order, host.observe(), host.now))
    settle(host)
    assert list(host.links) == [short(instance(0, life=1).uid)]
    assert host.speaker is not None
    assert any(e.prefix == COVERS[0] and not e.graceful for e in host.speaker.exports)


def test_a_bad_image_holds_up_nobody_else() -> None:
    """While one image cannot be had, every other instance is made (invariant 16)."""
    host = FakeHost(images={"web:1"})
    host.obey(order(1, instance(0), instance(1, workload=1, containers=(web("bad:1"),))))
    assert host.page is not None
    steps = converge(host.page.order, host.observe(), host.now)
    assert [s.instance.name for s in steps if isinstance(s, CreateContainer)] == [instance(0).name]
    assert [s.image for s in steps if isinstance(s, PullImage)] == ["bad:1"]
    busy = replace(host.observe(), busy=frozenset({"image bad:1"}))
    assert not any(isinstance(s, PullImage) for s in converge(host.page.order, busy, host.now))


def test_a_lost_namespace_restarts_what_lived_in_it() -> None:
    """A container whose namespace lost its name cannot be wired again: it is stopped first, then everything is made anew."""
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    key = short(instance(0).uid)
    host.namespaces.discard(key)
    host.links.pop(key)
    assert host.page is not None
    steps = [s for s in converge(host.page.order, host.observe(), host.now) if s.lane == instance(0).name]
    assert isinstance(steps[0], StopContainer)
    settle(host)
    assert host.links[key]


def test_a_silent_speaker_blocks_neither_kernel_nor_containers() -> None:
    """While BIRD does not answer, nothing is asked of it, and nothing is unbound that it may still announce."""
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    host.obey(order(2, instance(2), removed=(instance(0),)))
    assert host.page is not None
    steps = converge(host.page.order, replace(host.observe(), speaker_answers=False), host.now)
    assert not any(isinstance(s, SetSpeaker | StopContainer) for s in steps)
    assert any(isinstance(s, CreateContainer | PullImage) for s in steps)


@pytest.mark.parametrize("generation", [0, 1])
def test_a_stale_order_is_refused(generation: int) -> None:
    """An older generation, or the same one with other words, is refused (invariant 5)."""
    host = FakeHost()
    host.obey(order(1, instance(0)))
    assert host.obey(order(generation, instance(0), instance(2))) is Reason.STALE_GENERATION


def test_unknown_health_changes_nothing() -> None:
    """An agent that has just been started keeps members whose health it does not know yet, beside one that it does."""
    host = FakeHost()
    host.obey(order(1, instance(0), instance(2)))
    settle(host)
    whole = host.observe()
    assert host.page is not None
    for known in ({}, {instance(0).uid: whole.health[instance(0).uid]}):
        seen: Observed = replace(whole, health=known)
        assert converge(host.page.order, seen, host.now) == []

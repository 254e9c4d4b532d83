"""Properties of `converge`, against a fake PoP host that refuses what must never happen (see `tests.agent_world`)."""

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.agent.decide import memory
from anypop.agent.decide.announcements import reason_for
from anypop.agent.decide.converge import converge, next_due
from anypop.agent.decide.elements import ContainerState, Ending, Past
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.report import report_of
from anypop.agent.decide.steps import (
    AddLink,
    CreateContainer,
    PullImage,
    RemoveContainer,
    SetNextHops,
    SetSpeaker,
    StartContainer,
    Step,
    instance_lane,
)
from anypop.agent.naming import short
from anypop.model.order import Grant, InstanceOrder, Order
from anypop.model.reasons import Reason
from tests.agent_world import COVERS, HOST, POP, FakeHost, instance, order, settle, web
from tests.examples import examples


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
    """Killing the agent after any steps, with lanes in any order, ends in the same world as an undisturbed run
    (invariant 12).
    """
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
    """A converged world gives no steps, also to an agent that has just been started, except for reloading the
    firewall it cannot see.
    """
    host = FakeHost()
    for each in orders:
        host.obey(each)
        settle(host)
        assert converge(host.facts(), host.now) == []
        checked = host.memory
        host.kill()
        host.memory = memory.checked(router_ready=True, firewall_holds=True, memory=replace(host.memory, firewall=checked.firewall))
        assert converge(host.facts(), host.now) == []


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_sickness_and_deaths_never_withdraw_without_a_grant(data: st.DataObject) -> None:
    """However instances die and fall sick, and speakers die, what was announced stays so until the governor grants
    its withdrawal.
    """
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
    """With every instance sick, a refused grant keeps the prefix, an allowed one withdraws it; recovery announces it
    again.
    """
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
    """What is held although every instance is sick is held by the next BIRD too; what was never announced is not
    announced by it.
    """
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
    """While an instance that shares the prefix has never answered, the prefix stays announced and the reason is its
    first probe.
    """
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    newcomer = replace(instance(1, workload=1), anycast=(COVERS[0][2],))
    both = order(2, instance(0), newcomer)
    host.obey(both)
    for step in converge(host.facts(), host.now):
        host.apply(step)
    assert reason_for(COVERS[0], host.facts()) == (Reason.PROBE_PENDING, True)
    settle(host)
    assert reason_for(COVERS[0], host.facts()) == (Reason.SESSION_DOWN, False)
    host.sick.add(newcomer.uid)
    assert reason_for(COVERS[0], host.facts()) == (Reason.AWAITING_GRANT, True)


def test_the_last_instances_leave_in_order() -> None:
    """Prefer less, withdraw, drain, route away, stop, remove, unbind: in this order, none before its time."""
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    host.applied.clear()
    host.obey(order(2, removed=(instance(0),)))
    settle(host)
    words = [_word(s) for s in host.applied if _word(s)]
    assert words == ["graceful", "withdrawn", "BeginDrain", "RemoveRoute", "RemoveExternal", "RemoveExternal", "RemoveContainer",
                     "DeleteNamespace"]  # fmt: skip


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
    """A replaced instance of the same name and addresses is wired only after the old one has left them (invariant
    15).
    """
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    host.obey(order(2, instance(0, life=1), removed=(instance(0),)))
    assert not any(isinstance(s, AddLink) for s in converge(host.facts(), host.now))
    settle(host)
    assert list(host.links) == [short(instance(0, life=1).uid)]
    assert host.speaker is not None
    assert any(e.prefix == COVERS[0] and not e.graceful for e in host.speaker.exports)


def test_a_bad_image_holds_up_nobody_else() -> None:
    """While one image cannot be had, every other instance is made (invariant 16)."""
    host = FakeHost(memory=memory.Memory(images={"web:1": 0.0}))
    host.obey(order(1, instance(0), instance(1, workload=1, containers=(web("bad:1"),))))
    steps = converge(host.facts(), host.now)
    assert [s.instance.name for s in steps if isinstance(s, CreateContainer)] == [instance(0).name]
    assert [s.image for s in steps if isinstance(s, PullImage)] == ["bad:1"]
    assert not any(isinstance(s, PullImage) for s in converge(host.facts(busy=frozenset({"image bad:1"})), host.now))


def test_a_lost_namespace_restarts_what_lived_in_it() -> None:
    """A container whose namespace lost its name cannot be wired again: it is stopped first, then everything is made
    anew.
    """
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    key = short(instance(0).uid)
    host.namespaces.discard(key)
    host.links.pop(key)
    steps = [s for s in converge(host.facts(), host.now) if s.lane == instance_lane(instance(0).name, instance(0).uid)]
    assert isinstance(steps[0], RemoveContainer)
    settle(host)
    assert host.links[key]


def test_a_silent_speaker_blocks_neither_kernel_nor_containers() -> None:
    """While BIRD does not answer, nothing is asked of it, and nothing is unbound that it may still announce."""
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    host.obey(order(2, instance(2), removed=(instance(0),)))
    steps = converge(host.facts(speaker_answers=False), host.now)
    assert not any(isinstance(s, SetSpeaker | RemoveContainer) for s in steps)
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
    health = host.observe().health
    for known in ({}, {instance(0).uid: health[instance(0).uid]}):
        assert converge(host.facts(health=known), host.now) == []


def test_what_ended_is_made_afresh_and_knows_its_past() -> None:
    """After its rest a container that ended is removed and made anew, with the count of its lives and how the last
    one ended; that outlives the agent, and a second agent goes on counting.
    """
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    key = (instance(0).uid, "web")
    for lives, code in ((1, 3), (2, 137)):
        host.applied.clear()
        host.die(instance(0).uid, code=code)
        died = host.now
        assert not any(isinstance(s, RemoveContainer) for s in converge(host.facts(), host.now)), "it rests first"
        settle(host)
        words = [type(s) for s in host.applied if isinstance(s, RemoveContainer | CreateContainer | StartContainer)]
        assert words == [RemoveContainer, CreateContainer, StartContainer]
        host.kill()
        assert host.containers[key].state is ContainerState.RUNNING
        assert host.containers[key].past == Past(restarts=lives, last=Ending(reason=Reason.EXITED, code=code, at=died))


def test_a_restart_waits_a_little_to_learn_how_the_last_life_ended() -> None:
    """While the runtime does not know yet why a container ended, its successor waits, but not for ever."""
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    host.die(instance(0).uid)
    key = (instance(0).uid, "web")
    host.containers[key] = replace(host.containers[key], exit_code=None)
    host.now += 1
    assert converge(host.facts(), host.now) == []
    assert next_due(host.facts(), host.now) is not None
    settle(host)
    assert host.containers[key].past.restarts == 1


def _cost_s(count: int) -> float:
    """CPU seconds of one pass that has nothing to do, over `count` instances of two workloads: the least of three."""
    host = FakeHost()
    host.obey(order(1, *(instance(n, workload=n % 2) for n in range(count))))
    settle(host)
    costs = []
    for _ in range(3):
        observed = host.observe()
        begun = time.process_time()
        assert host.page is not None
        facts = Facts(host.page.order, observed)
        assert converge(facts, host.now) == []
        report_of(facts, pop=POP, host=HOST, generation=1, at=host.now, refused=None, drift=(), errors=())
        costs.append(time.process_time() - begun)
    return min(costs)


def test_a_pass_costs_work_in_proportion_to_the_instances() -> None:
    """Four times as many instances cost about four times as much, never sixteen (invariant 24)."""
    small, large = _cost_s(50), _cost_s(200)
    assert large < 8 * small, f"50 instances: {small * 1000:.1f} ms, 200: {large * 1000:.1f} ms"

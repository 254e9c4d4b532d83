"""Restarts in place that somebody asked for: each happens once, and those of a PoP one after the other."""

from dataclasses import replace

import pytest

from anypop.agent.decide.converge import converge, next_due
from anypop.agent.decide.elements import ContainerState
from anypop.agent.decide.report import report_of
from anypop.agent.decide.restarts import COMES_BACK_S, waits_for
from anypop.agent.decide.steps import RemoveContainer, instance_lane
from anypop.control.declare import restart
from anypop.control.refusals import Precondition
from anypop.model.order import InstanceOrder
from anypop.model.report import Report
from tests.agent_world import HOST, POP, FakeHost, instance, order, settle
from tests.drained_worlds import HOSTS, WEB, Platform, a_network

AMS_HOST, LHR_1, LHR_2 = HOSTS


def asked(*instances: InstanceOrder, times: int = 1) -> tuple[InstanceOrder, ...]:
    return tuple(replace(i, restarts=times) for i in instances)


def report(host: FakeHost) -> Report:
    facts = host.facts()
    return report_of(facts, pop=POP, host=HOST, generation=1, at=host.now, refused=None, drift=(), errors=())


def ends(host: FakeHost) -> list[str]:
    """Whose containers are about to be removed."""
    return [s.uid for s in converge(host.facts(), host.now) if isinstance(s, RemoveContainer)]


def running(host: FakeHost, uid: str) -> bool:
    return any(c.uid == uid and c.state is ContainerState.RUNNING for c in host.containers.values())


@pytest.fixture
def host() -> FakeHost:
    """Two instances of one workload serve, and two of another."""
    made = FakeHost()
    made.obey(order(1, instance(0), instance(1), instance(2, workload=1), instance(3, workload=1)))
    settle(made)
    return made


ONES, OTHERS = (instance(0), instance(1)), (instance(2, workload=1), instance(3, workload=1))


def test_all_that_are_asked_at_once_go_one_after_the_other(host: FakeHost) -> None:
    """Of each workload by itself; and it is told for whom one waits. In the end each was started anew once."""
    host.obey(order(2, *asked(*ONES, *OTHERS)))
    assert ends(host) == [instance(0).uid, instance(2, workload=1).uid]
    (note,) = [i.message for i in report(host).instances if i.uid == instance(1).uid]
    assert instance(0).name in note and "waits" in note
    settle(host)
    for one in (*ONES, *OTHERS):
        assert running(host, one.uid)
        assert [(c.asked, c.past.restarts) for c in host.containers.values() if c.uid == one.uid] == [(1, 1)]
    settle(host)
    assert not ends(host)


@pytest.mark.parametrize("killed_after", range(1, 12))
def test_an_agent_that_dies_in_between_asks_nobody_twice_and_no_two_at_once(host: FakeHost, killed_after: int) -> None:
    """The guard of the fake host watches that; here, that it comes to the same end."""
    host.obey(order(2, *asked(*ONES), *OTHERS))
    settle(host, kill_after=frozenset({killed_after}))
    settle(host)
    made = [(c.asked, c.state) for c in host.containers.values() if c.uid in {i.uid for i in ONES}]
    assert made == [(1, ContainerState.RUNNING)] * 2


@pytest.mark.parametrize("known", [True, False])
def test_one_that_does_not_come_back_is_waited_for_a_minute(host: FakeHost, known: bool) -> None:
    """Then the other one's owner has what he asked for; who looks at that moment finds something to do. So it is where
    the agent died between its end and its new start, and does not know why there was an end.
    """
    host.obey(order(2, *asked(*ONES), *OTHERS))
    for _ in range(6):  # its program answers no more from the moment at which it is ended
        for step in converge(host.facts(), host.now):
            host.apply(step)
        host.sick.add(instance(0).uid)
        host.now += 0.3
    if not known:
        for key, seen in host.containers.items():
            host.containers[key] = replace(seen, past=replace(seen.past, last=None))
    assert running(host, instance(0).uid) and not ends(host)
    facts = host.facts()
    assert waits_for(asked(instance(1))[0], facts, host.now) is not None
    (begun,) = [c.started_at for c in host.containers.values() if c.uid == instance(0).uid]
    assert begun is not None
    host.now = begun + COMES_BACK_S / 2
    due = next_due(host.facts(), host.now)
    assert due is not None and due <= begun + COMES_BACK_S
    host.now = begun + COMES_BACK_S
    assert ends(host) == [instance(1).uid]


def test_one_that_serves_nobody_waits_for_nobody_and_goes_first(host: FakeHost) -> None:
    """And one that is all that serves waits for nobody either, while no other is started anew."""
    host.sick.add(instance(1).uid)
    host.now += 1
    settle(host)
    host.obey(order(2, *asked(*ONES), *OTHERS))
    assert ends(host) == [instance(1).uid]
    settle(host)
    assert [c.asked for c in host.containers.values() if c.uid in {i.uid for i in ONES}] == [1, 1]
    host.obey(order(3, *asked(instance(0), times=2), *asked(instance(1)), *OTHERS))
    assert ends(host) == [instance(0).uid]
    settle(host)


def test_one_whose_time_to_end_goes_on_is_waited_for(host: FakeHost) -> None:
    """Its lane is at work, and it may serve until its last moment: whoever was asked later waits, whatever its name."""
    host.obey(order(2, instance(0), *asked(instance(1)), *OTHERS))
    assert ends(host) == [instance(1).uid]
    host.obey(order(3, *asked(*ONES), *OTHERS))
    busy = frozenset({instance_lane(instance(1).name, instance(1).uid)})
    assert not [s for s in converge(host.facts(busy=busy), host.now) if isinstance(s, RemoveContainer)]


def a_platform() -> Platform:
    """One instance on each host."""
    made = Platform(network=a_network(cpu_millis=1000))
    made.deploy(replicas=2, cities=("LHR",))
    made.settle()
    return made


def on(platform: Platform, host: str) -> str:
    (uid,) = [p.incarnation.uid for p in platform.state.incarnations.values() if p.incarnation.host == host]
    return uid


def test_a_restart_is_refused_where_another_host_of_the_pop_does_that_and_nobody_would_be_left() -> None:
    """Until the other one serves again; of a silent host nothing is known, and nobody waits for it."""
    platform = a_platform()
    first, second = on(platform, LHR_1), on(platform, LHR_2)
    platform.change(restart(first))
    with pytest.raises(Precondition, match="LHR-1 is being started anew"):
        platform.change(restart(second))
    platform.change(restart(first))  # twice, if somebody wants that
    platform.ran[LHR_1][first] = 0
    platform.later(0.1, reports=[LHR_1])
    with pytest.raises(Precondition):
        platform.change(restart(second))
    platform.later(0.5, reports=[LHR_1, LHR_2])
    platform.change(restart(second))
    assert {p.incarnation.restarts for p in platform.state.incarnations.values()} == {2, 1}
    silent = a_platform()
    silent.change(restart(on(silent, LHR_1)))
    for _ in range(20):
        silent.later(1.0, reports=[LHR_2])
    silent.change(restart(on(silent, LHR_2)))
    assert WEB in silent.state.workloads

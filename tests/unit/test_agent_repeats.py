"""What dies unseen, and what succeeds in vain: both rest longer and longer."""

from typing import Any

from anypop.agent.decide.converge import converge
from anypop.agent.decide.elements import NO_PAST, ContainerSeen, ContainerState
from anypop.agent.decide.memory import NOTHING, looked, order_changed, taken
from anypop.agent.decide.repeats import rested
from anypop.agent.decide.report import report_of
from anypop.agent.decide.steps import MakeNamespace, StartContainer
from tests.agent_world import HOST, POP, FakeHost, instance, order, settle


def test_a_death_that_nobody_saw_counts_in_the_row() -> None:
    """A process that ends before any look has seen it run rests as every other crash loop does."""
    one = instance(0)
    memory, now, rests = NOTHING, 1000.0, []
    for life in range(4):
        seen = ContainerSeen(
            id=f"c{life}", instance=one.name, uid=one.uid, container="web", state=ContainerState.EXITED, exit_code=1,
            past=memory.pasts.get((one.uid, "web"), NO_PAST),
        )  # fmt: skip
        for _ in range(3):  # seen more than once, it is still one death
            memory = looked(memory, containers=(seen,), speaker=None, pins=(), uids=(one.uid,), now=now)
        rests.append(round(memory.restart_at(seen.key) - now, 3))
        now = memory.restart_at(seen.key)
    assert rests == [0.1, 0.2, 0.4, 0.8]
    assert memory.pasts[one.uid, "web"].restarts == 4


def test_what_succeeds_and_changes_nothing_is_done_less_and_less_often() -> None:
    """A step that is asked for again right after it was done is done once more, then after 0.2 s, 0.4 s ... 10 s at
    most; other steps of its lane do not wait, and one that helped in between begins anew.
    """
    vain, other = MakeNamespace(uid="1", lane="a"), MakeNamespace(uid="2", lane="a")
    memory, now, done = NOTHING, 1000.0, 0
    while now < 1060:
        if rested([vain], memory.asked, now):
            done += 1
            memory = taken([vain], memory, (), now)
        else:
            assert rested([vain, other], memory.asked, now) == [vain, other]
            memory = taken([], memory, (), now)
        now += 0.05
    assert 10 <= done <= 13
    assert memory.asked["a"].until - now <= 10
    memory = taken([], memory, (), now + 11)
    assert not memory.asked
    for at in (2000.0, 2000.1):
        assert rested([vain], memory.asked, at)
        memory = taken([vain], memory, (), at)
    assert not rested([vain], memory.asked, 2000.2)
    assert order_changed((), memory, dropped=("a",)).asked == {}


def test_a_host_on_which_starts_do_nothing_is_left_in_peace_and_heals() -> None:
    """A runtime that says yes and starts nothing is asked some ten times in half a minute, told about, and when it does
    what it says the instance comes up.
    """

    class Deaf(FakeHost):
        deaf = True

        def _start(self, step: StartContainer) -> None:
            if not self.deaf:
                super()._start(step)

    host, one = Deaf(), instance(0)
    host.obey(order(1, one))
    host.deaf = False
    settle(host)
    host.die(one.uid)
    host.deaf, until = True, host.now + 30
    host.applied.clear()
    while host.now < until:
        facts = host.facts()
        steps = converge(facts, host.now)
        host.memory = taken(steps, host.memory, (), host.now)
        for step in steps:
            host.apply(step)
        host.now += 0.02
    assert 3 < sum(isinstance(step, StartContainer) for step in host.applied) < 12
    about: dict[str, Any] = {"pop": POP, "host": HOST, "generation": 1, "at": host.now, "refused": None, "drift": ()}
    (told,) = report_of(host.facts(), **about, errors=()).errors
    assert told.endswith("StartContainer: done again and again, and nothing has changed")
    host.deaf = False
    settle(host)
    assert host.is_well(one.uid)

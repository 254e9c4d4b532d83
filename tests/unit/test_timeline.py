"""Where the time of a deployment went: milestones on the host, and how they are told."""

from dataclasses import replace

from anypop.agent.decide import memory, milestones
from anypop.agent.decide.converge import converge, next_due
from anypop.agent.decide.report import report_of
from anypop.cli.screen import Shown
from anypop.cli.table import Table
from anypop.cli.timeline import shown
from anypop.model.report import Milestone
from tests.agent_world import HEALTHY_AFTER_S, HOST, POP, FakeHost, instance, order


def _run(host: FakeHost) -> None:
    """Passes until nothing is left to do, as the agent makes them; BIRD exports at once what it is told."""
    for _ in range(60):
        sent = frozenset((e.prefix, e.upstream) for e in host.speaker.exports) if host.speaker else frozenset()
        facts = host.facts(exported=sent)
        host.memory = replace(host.memory, milestones=milestones.reached(facts, host.now))
        steps = converge(facts, host.now)
        host.memory = memory.taken(steps, host.memory, (), host.now)
        for step in steps:
            host.now += 0.001
            host.apply(step)
        due = next_due(facts, host.now)
        host.now = max(host.now + 0.01, min(due or 0, host.now + HEALTHY_AFTER_S))


def test_every_milestone_has_its_first_time_in_their_order() -> None:
    """From the order to the first neighbour; a later death changes none of them."""
    host, one = FakeHost(), instance(0)
    host.obey(order(1, one))
    _run(host)
    told = milestones.told(one.uid, host.memory.milestones)
    assert [reached.milestone for reached in told] == list(Milestone)
    assert [reached.at for reached in told] == sorted(reached.at for reached in told)
    healthy = next(reached.at for reached in told if reached.milestone is Milestone.HEALTHY)
    assert healthy >= next(r.at for r in told if r.milestone is Milestone.STARTED) + HEALTHY_AFTER_S
    host.die(one.uid)
    _run(host)
    assert milestones.told(one.uid, host.memory.milestones) == told
    report = report_of(
        host.facts(), pop=POP, host=HOST, generation=1, at=host.now, refused=None, drift=(), errors=()
    )  # fmt: skip
    assert report.instances[0].milestones == told


def test_of_what_was_found_running_nobody_knows() -> None:
    """An agent that began later tells no times that it has not seen."""
    host, one, two = FakeHost(), instance(0), instance(1)
    host.obey(order(1, one))
    _run(host)
    host.kill()
    host.obey(order(2, one, two))
    _run(host)
    assert milestones.told(one.uid, host.memory.milestones) == ()
    assert len(milestones.told(two.uid, host.memory.milestones)) == len(Milestone)
    host.obey(order(3, one, removed=(two,)))
    _run(host)
    assert not host.memory.milestones


def test_a_timeline_is_a_table_of_milliseconds() -> None:
    """Steps that nobody has reached have no column, and whose clocks they are is said."""
    steps = [
        {"step": step, "at": "2026-01-01T00:00:00.000000Z", "by": by, "after_ms": ms}
        for step, by, ms in (("accepted", "control", 0.0), ("planned", "control", 3.4), ("ordered", "LHR", 21.6))
    ]
    one = {"name": "web-eu-lhr-0", "uid": "u", "host": "LHR", "revision": 1, "complete": False, "steps": steps}
    lines: list[Shown] = shown(
        {
            "workload": "web", "revision": 1, "acceptedAt": "2026-01-01T00:00:00.000000Z", "instances": [one],
            "clocks": [{"host": "LHR", "ahead_ms": -2.2}],
        }
    )  # fmt: skip
    table = lines[1]
    assert isinstance(table, Table)
    assert list(table.rows[0])[:5] == ["web-eu-lhr-0", "LHR", "0", "3", "22"]
    assert "LHR -2 ms" in str(lines[-1])
    assert "not reached yet" in str(lines[-2])

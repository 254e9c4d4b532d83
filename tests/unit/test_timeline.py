"""Where the time of a deployment went: milestones on the host, and how they are told."""

from dataclasses import replace

from anypop.agent.decide import memory, milestones
from anypop.agent.decide.converge import converge, next_due
from anypop.agent.decide.report import decides, report_of
from anypop.agent.decide.steps import StartContainer
from anypop.cli import waterfall
from anypop.cli.screen import Shown
from anypop.cli.table import Table
from anypop.cli.timeline import shown
from anypop.model import traces
from anypop.model.report import Milestone, Report
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


def test_the_way_of_an_instance_is_in_no_hurry_and_its_end_is() -> None:
    """Of all that happens until it runs, control is told in a hurry when it is healthy and serves, and not before; and
    at once when it dies.
    """
    host = FakeHost()
    host.obey(order(1, instance(0)))

    def told() -> Report:
        facts = host.facts(exported=frozenset())
        return report_of(facts, pop=POP, host=HOST, generation=1, at=host.now, refused=None, drift=(), errors=())

    reports = [told()]
    for _ in range(60):
        facts = host.facts(exported=frozenset())
        host.memory = replace(host.memory, milestones=milestones.reached(facts, host.now))
        for step in converge(facts, host.now):
            host.apply(step)
            reports.append(told())
        host.now = host.now + HEALTHY_AFTER_S / 4
        reports.append(told())
    first = next(n for n, report in enumerate(reports) if report.instances[0].healthy)
    on_its_way = [replace(decides(report), sessions=(), prefixes=()) for report in reports[:first]]
    assert len({replace(report, at=0) for report in reports[:first]}) > 3
    assert len(set(on_its_way)) == 1
    assert decides(reports[first]) != decides(reports[first - 1])
    host.die(instance(0).uid)
    assert decides(told()) != decides(reports[-1])


def test_a_pull_and_the_time_until_an_answer_are_steps_of_their_own() -> None:
    """The image is here before its container is made; a process that is started anew is asked anew."""
    host, one = FakeHost(), instance(0)
    host.obey(order(1, one))
    _run(host)
    at = {reached.milestone: reached.at for reached in milestones.told(one.uid, host.memory.milestones)}
    assert at[Milestone.NAMESPACE] <= at[Milestone.PULLED] <= at[Milestone.CREATED]
    assert at[Milestone.STARTED] < at[Milestone.PROBED]
    assert at[Milestone.HEALTHY] > at[Milestone.PROBED] + HEALTHY_AFTER_S / 2
    early = {stone: at[stone] for stone in Milestone if at[stone] < at[Milestone.HEALTHY]}
    again = memory.step_done(
        StartContainer(uid=one.uid, container="web", lane="x"),
        replace(host.memory, milestones={one.uid: early}),
        host.now,
    )
    assert Milestone.PROBED not in again.milestones[one.uid] and Milestone.PULLED in again.milestones[one.uid]


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


FOUND = {
    "workload": "web", "revision": 2, "acceptedAt": "2026-01-31T10:00:00.500000Z",
    "instances": [
        {"name": "web-0", "uid": "u", "host": "AMS", "complete": True,
         "steps": [{"step": "accepted", "after_ms": 0.0}, {"step": "planned", "after_ms": 100.0},
                   {"step": "created", "after_ms": 350.5}, {"step": "told", "after_ms": 400.0}]},
        {"name": "web-1", "uid": "v", "host": "LHR", "complete": False, "steps": []},
    ],
}  # fmt: skip


def test_a_waterfall_has_a_bar_from_each_step_to_the_next() -> None:
    head, planned, created, told, other = list(waterfall.lines(FOUND))
    assert (head, other) == ("web-0 at AMS: 400 ms", "web-1 at LHR: nothing yet, not complete")
    assert [line.count("█") for line in (planned, created, told)] == [12, 30, 6]
    assert created.index("█") == planned.rindex("█") + 1 and "250 ms" in created


def test_a_trace_has_the_deploy_its_instances_and_their_steps() -> None:
    """As OTLP says: ids as hexadecimal, times as text in nanoseconds, the parent of each."""
    (resource,) = traces.trace(FOUND, map(str, range(100)))["resourceSpans"]
    root, one, *steps = resource["scopeSpans"][0]["spans"]
    assert (root["name"], root["traceId"], root["spanId"], "parentSpanId" in root) == ("deploy web", "0", "1", False)
    assert (one["name"], one["parentSpanId"], one["startTimeUnixNano"]) == (
        "instance web-0",
        "1",
        root["startTimeUnixNano"],
    )
    assert root["startTimeUnixNano"] == "1769853600500000000"
    assert [(s["name"], s["parentSpanId"]) for s in steps] == [
        (n, one["spanId"]) for n in ("planned", "created", "told")
    ]
    assert steps[0]["endTimeUnixNano"] == steps[1]["startTimeUnixNano"] == "1769853600600000000"
    assert one["endTimeUnixNano"] == root["endTimeUnixNano"] == steps[-1]["endTimeUnixNano"]

"""Traces of deployments: control sends each to its collectors, once, when it is over; read there by OpenTelemetry's own
library. A control in this process, a collector behind a socket.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anypop.model.log_sinks import LogSink
from anypop.model.report import Milestone, Reached
from tests.control_world import FakeAgent, World
from tests.otlp_receiver import OtlpReceiver
from tests.wait import wait_until

PLATFORM = "/anypop/v1/log-sinks"
FUN = "/workload/v1/stacks/default/workloads/fun"
PATIENCE_S = 20


@pytest.fixture
def collector() -> Iterator[OtlpReceiver]:
    made = OtlpReceiver()
    yield made
    made.close()


@pytest.fixture
def world(tmp_path: Path, collector: OtlpReceiver) -> Iterator[World]:
    with World(tmp_path) as made:
        quick(made)
        sink = {"name": "traces", "kind": "otlp-traces", "address": f"{collector.address}/v1/traces"}
        made.send("PUT", PLATFORM, {"sinks": [{**sink, "authorization": "Bearer hush"}]})
        yield made


def quick(world: World) -> None:
    world.platform.traces._again_s, world.platform.traces.after_s = (0.01, 0.01), 0.1


def come(world: World, agents: list[FakeAgent], to: Milestone) -> None:
    """Everything is ordered, and has come as far."""
    world.settle(agents)
    stones = [*Milestone][: [*Milestone].index(to) + 1]
    for agent in agents:
        told = tuple(Reached(milestone=stone, at=world.clock() + n / 10) for n, stone in enumerate(stones))
        agent.report(instances=tuple(replace(one, milestones=told) for one in agent.seen().instances))


def nobody_is_followed(world: World) -> bool:
    return not world.platform.traces._following


def spans(message: Any) -> list[Any]:
    (resource,) = message.resource_spans
    (scope,) = resource.scope_spans
    return [*scope.spans]


def test_a_deployment_is_sent_once_when_it_is_over_and_every_revision_of_its_own(
    world: World, collector: OtlpReceiver
) -> None:
    """Not while something of it is under way, not again after a restart, and not for what starts nothing."""
    agents = world.agents()
    world.create("fun")
    come(world, agents[:1], Milestone.TOLD)
    come(world, agents, Milestone.HEALTHY)
    assert collector.posts == 0
    come(world, agents, Milestone.TOLD)
    wait_until(lambda: collector.messages, timeout_s=PATIENCE_S, reason="the trace has come")
    root, *others = spans(collector.messages[0])
    assert (root.name, root.parent_span_id, len(root.trace_id)) == ("deploy fun", b"", 16)
    instances = [s for s in others if s.parent_span_id == root.span_id]
    assert len(instances) == 4 and {s.trace_id for s in others} == {root.trace_id}
    steps = [s.name for s in others if s.parent_span_id == instances[0].span_id]
    assert steps == ["planned", *Milestone]
    assert collector.headers[0]["authorization"] == "Bearer hush"
    (shown,) = world.get(PLATFORM)["sinks"]
    wait_until(lambda: nobody_is_followed(world), timeout_s=PATIENCE_S, reason="it is kept that it was sent")
    assert world.get(PLATFORM)["sinks"][0]["hosts"] == [{"host": "control", "sent": 1, "lost": 0, "message": ""}]
    assert shown["authorized"] and "hush" not in str(shown)
    world.restart()
    quick(world)
    come(world, agents, Milestone.TOLD)
    world.clock.now += 1
    world.send("PATCH", FUN, {"workload": {"metadata": {"labels": {"a": "b"}}}})
    come(world, agents, Milestone.TOLD)
    wait_until(lambda: nobody_is_followed(world), timeout_s=PATIENCE_S, reason="a label is no deployment")
    assert collector.posts == 1
    world.clock.now += 1
    world.send("PATCH", FUN, {"workload": world.replicas(3)})
    come(world, agents, Milestone.ROUTED)
    wait_until(lambda: len(collector.messages) == 2, timeout_s=PATIENCE_S, reason="some are never told, and it is over")
    assert len([s for s in spans(collector.messages[1]) if s.name.startswith("instance ")]) == 2, "what it made alone"


def test_a_collector_that_does_not_answer_costs_nothing_else_and_is_told(world: World, collector: OtlpReceiver) -> None:
    """Three tries, then it is lost and counted; what is refused for good is not tried again."""
    agents = world.agents()
    collector.answers = [503, 503, 503, 400]
    for number, slug in enumerate(("fun", "more"), 1):
        world.create(slug, anycast=False)
        come(world, agents, Milestone.TOLD)

        def lost(number: int = number) -> bool:
            return bool(world.get(PLATFORM)["sinks"][0]["hosts"][0]["lost"] == number)

        wait_until(lost, timeout_s=PATIENCE_S, reason="it is counted as lost")
    assert "answers 400" in world.get(PLATFORM)["sinks"][0]["hosts"][0]["message"] and collector.posts == 4
    assert {one["phase"] for one in world.instances("fun")} == {"RUNNING"}


def test_no_traces_of_a_tenant_go_inside(world: World, collector: OtlpReceiver) -> None:
    """Neither by what is written, nor by where a name leads; and of a stack only its own deployments go anywhere."""
    world.send("PUT", PLATFORM, {"sinks": []})
    stack = f"/anypop/v1/stacks/{world.stack.id}/log-sinks"
    inside = {"name": "t", "kind": "otlp-traces", "address": f"{collector.address}/v1/traces"}
    assert world.call("PUT", stack, json={"sinks": [inside]}).status_code == 400
    led = f"{collector.address.replace('127.0.0.1', 'localhost')}/v1/traces"
    theirs = world.platform.accounts.create_stack(world.platform.accounts.create_account("t").id, "t", "t")
    for of in (world.stack.id, theirs.id):
        world.platform.log_sinks.put(of, [LogSink(id=of, name="t", stack=of, kind="otlp-traces", address=led)])
    agents = world.agents()
    world.create("fun")
    come(world, agents, Milestone.TOLD)
    told = world.platform.traces.counted
    wait_until(lambda: told(world.stack.id).lost == 1, timeout_s=PATIENCE_S, reason="it was tried")
    assert "loopback address: nothing is sent there" in told(world.stack.id).error
    assert collector.posts == 0 and told(theirs.id) == told(theirs.id).__class__(id=theirs.id)


def test_a_receiver_of_traces_has_nothing_of_logs_and_no_host_hears_of_it(world: World) -> None:
    assert world.platform.log_sinks.request(world.platform.hosts()[0]).sinks == ()
    sink = {"name": "t", "kind": "otlp-traces", "address": "https://otel.example.net/v1/traces", "level": "error"}
    assert "neither" in world.call("PUT", PLATFORM, json={"sinks": [sink]}).text

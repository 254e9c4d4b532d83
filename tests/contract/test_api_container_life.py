"""The life of containers by the Workload API: what is declared comes back as it was sent, is ordered, and is shown of
instances.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.control_world import World, a_body

BASE = "/workload/v1/stacks/default/workloads"
LIFE: dict[str, Any] = {
    "startupProbe": {"httpGet": {"path": "/up", "port": 80}, "periodSeconds": 1, "failureThreshold": 60},
    "lifecycle": {
        "postStart": {"exec": {"command": ["/warm"]}},
        "preStop": {"httpGet": {"path": "/bye", "port": 80, "scheme": "HTTP"}},
    },
    "terminationMessagePath": "/dev/why",
    "terminationMessagePolicy": "FALLBACK_TO_LOGS_ON_ERROR",
}
RUNTIME = {"containers": {"terminationGracePeriodSeconds": "45", "shareProcessNamespace": True}}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        yield made


def body() -> dict[str, Any]:
    made = a_body("life", cities=("LHR",), replicas=1, **LIFE)
    spec = made["workload"]["spec"]
    spec["initContainers"] = {
        "a": {"image": "registry.example/a:1", "env": {"TOKEN": {"secretValue": "hush"}}},
        "b": {"image": "registry.example/b:1", "resources": {"requests": {"memory": "1Gi"}}},
    }
    spec["runtime"] = RUNTIME
    return made


def test_what_is_declared_comes_back_and_is_ordered(world: World) -> None:
    """No warning, no default beside it, no secret; a client that writes back what it read changes nothing."""
    answer = world.call("POST", BASE, json=body())
    assert answer.status_code == 200, answer.text
    assert answer.headers.get_list("warning") == []
    spec = answer.json()["workload"]["spec"]
    assert {field: spec["containers"]["web"][field] for field in LIFE} == LIFE
    assert spec["runtime"] == RUNTIME
    assert spec["initContainers"] == {
        "a": {"image": "registry.example/a:1", "env": {"TOKEN": {}}, "resources": {}},
        "b": {"image": "registry.example/b:1", "resources": {"requests": {"memory": "1Gi"}}},
    }
    agents = world.agents()
    world.settle(agents)
    (ordered,) = [i for a in agents for i in world.platform.core.state.orders[a.host].order.instances]
    assert [(c.name, c.memory_bytes, c.secrets) for c in ordered.init] == [
        ("a", 4 << 30, (("TOKEN", "hush"),)), ("b", 1 << 30, ())
    ]  # fmt: skip
    assert (ordered.payload.grace_s, ordered.payload.shared_processes) == (45, True)
    world.restart()
    read = world.get(f"{BASE}/life")["workload"]
    assert "hush" not in str(read)
    world.send("PUT", f"{BASE}/life", {"workload": read})
    world.settle()
    (again,) = [i for a in world.agents() for i in world.platform.core.state.orders[a.host].order.instances]
    assert (again.template, again.uid, again.init) == (ordered.template, ordered.uid, ordered.init)


def test_instances_show_their_init_containers(world: World) -> None:
    """As they are declared, and as they stand; a container has the logs of its own."""
    world.send("POST", BASE, body())
    world.settle()
    shown = world.get(f"{BASE}/life/instances/life-eu-lhr-0")["instance"]
    assert list(shown["initContainers"]) == ["a", "b"]
    statuses = [(s["name"], s["phase"], s["ready"]) for s in shown["initContainerStatuses"]]
    assert statuses == [("a", "STOPPED", True), ("b", "STOPPED", True)]
    assert shown["initContainerStatuses"][0]["terminated"]["exitCode"] == 0
    assert shown["runtime"] == RUNTIME
    logs = world.call("GET", f"{BASE}/life/instances/life-eu-lhr-0/logs", params={"container_name": "c"})
    assert (logs.status_code, "it has web, a, b" in logs.text) == (404, True)


def test_what_changes_under_a_process_makes_no_new_one(world: World) -> None:
    """Grace period, preStop and startup probe; a postStart hook makes a new incarnation."""
    world.send("POST", BASE, body())
    world.settle()
    before = world.get(f"{BASE}/life/instances/life-eu-lhr-0")["instance"]["id"]
    web = {
        "startupProbe": {"httpGet": None, "tcpSocket": {"port": 80}},
        "lifecycle": {"preStop": {"httpGet": None, "exec": {"command": ["/bye"]}}},
    }
    patch: dict[str, Any] = {"spec": {"containers": {"web": web}, "runtime": {"containers": {}}}}
    patch["spec"]["runtime"]["containers"]["terminationGracePeriodSeconds"] = "7"
    world.send("PATCH", f"{BASE}/life", {"workload": patch})
    world.settle()
    instances = world.get(f"{BASE}/life/instances")["results"]
    assert [i["id"] for i in instances] == [before]
    (ordered,) = [i for a in world.agents() for i in world.platform.core.state.orders[a.host].order.instances]
    assert ordered.payload.grace_s == 7
    other: dict[str, Any] = {"lifecycle": {"postStart": {"exec": {"command": ["/other"]}}}}
    world.send("PATCH", f"{BASE}/life", {"workload": {"spec": {"containers": {"web": other}}}})
    world.settle()
    templates = {i.template for a in world.agents() for i in world.platform.core.state.orders[a.host].order.instances}
    assert templates - {ordered.template}
    state = world.platform.core.state
    (declared,) = state.workloads.values()
    rollout = state.rollout_of(declared.id)
    assert rollout is not None
    assert rollout.strategy.deadline_s == 60 + 60, "its startup probe gives a process a minute beside the usual one"
    world.send("PUT", "/anypop/v1/stacks/default/workloads/life/strategy", {"deadline_s": 10})
    rollout = world.platform.core.state.rollout_of(declared.id)
    assert rollout is None or rollout.strategy.deadline_s == 10 + 60

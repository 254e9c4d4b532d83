"""What a workload says of the life of its containers: what becomes of it, what is refused, what is never shown."""

import json
from typing import Any, cast

import pytest
from sqlalchemy import RowMapping

from anypop.control.rows import of_revision, to_revision
from anypop.control.state import Revision
from anypop.model.codec import from_json, to_json
from anypop.model.errors import Invalid
from anypop.model.names import CityCode, StackId, WorkloadId
from anypop.model.order import Containers
from anypop.model.sealing import with_secrets
from anypop.model.workload import Probe, ProbeKind
from anypop.plan.life import taken
from anypop.plan.parse import Parsed, parse
from tests.worlds import LHR


def read(
    container: dict[str, Any], *, init: dict[str, Any] | None = None, runtime: dict[str, Any] | None = None
) -> Parsed:
    spec: dict[str, Any] = {"containers": {"web": {"image": "web:1", **container}}}
    if init is not None:
        spec["initContainers"] = init
    if runtime is not None:
        spec["runtime"] = {"containers": runtime}
    selector = {"key": "cityCode", "operator": "in", "values": [LHR]}
    body = {
        "name": "fun",
        "spec": spec,
        "targets": {"eu": {"spec": {"deployments": {"minReplicas": 1, "selectors": [selector]}}}},
    }
    return parse(
        body, workload_id=WorkloadId("w"), stack_id=StackId("s"), stack_slug="stack", cities=[CityCode(LHR)]
    )  # fmt: skip


def test_hooks_are_asked_as_probes_are() -> None:
    lifecycle = {
        "postStart": {"exec": {"command": ["/warm", "up"]}},
        "preStop": {"httpGet": {"path": "bye", "port": 8080, "httpHeaders": {"a": "b"}}},
    }
    web = read({"lifecycle": lifecycle}).workload.containers[0]
    assert web.post_start == Probe(kind=ProbeKind.EXEC, command=("/warm", "up"))
    assert web.pre_stop == Probe(kind=ProbeKind.HTTP, port=8080, path="/bye", headers=(("a", "b"),))
    assert read({"lifecycle": {"preStop": {"tcpSocket": {"port": 7}}}}).workload.containers[0].pre_stop == Probe(
        kind=ProbeKind.TCP, port=7
    )
    assert read({"lifecycle": {}}).workload.containers[0].pre_stop is None


@pytest.mark.parametrize(
    ("declared", "path", "from_log"),
    [
        ({}, "", False),
        ({"terminationMessagePath": "/why"}, "/why", False),
        ({"terminationMessagePolicy": "FILE"}, "/dev/termination-log", False),
        ({"terminationMessagePolicy": "FALLBACK_TO_LOGS_ON_ERROR"}, "/dev/termination-log", True),
    ],
)
def test_a_message_is_read_where_one_is_asked_for(declared: dict[str, Any], path: str, from_log: bool) -> None:
    web = read(declared).workload.containers[0]
    assert (web.message_path, web.message_from_log) == (path, from_log)


def test_nothing_of_it_is_without_effect_any_more() -> None:
    """No warning is left for these, and a grace period of zero is not the same as none."""
    probe = {"tcpSocket": {"port": 80}, "failureThreshold": 30}
    found = read(
        {"startupProbe": probe, "terminationMessagePath": "/why"},
        runtime={"terminationGracePeriodSeconds": "0", "shareProcessNamespace": True},
    )
    assert found.unacted == ()
    workload = found.workload
    assert (workload.grace_s, workload.shared_processes) == (0, True)
    assert workload.containers[0].startup is not None
    assert read({}).workload.grace_s is None


def test_init_containers_run_in_the_order_of_their_names_which_is_told() -> None:
    found = read({}, init={"second": {"image": "b:1"}, "first": {"image": "a:1"}})
    assert [c.name for c in found.workload.init] == ["first", "second"]
    (told,) = found.unacted
    assert (told.path, "first, second" in told.message) == ("spec.initContainers", True)
    assert read({}, init={"first": {"image": "a:1"}, "second": {"image": "b:1"}}).unacted == ()


def test_an_instance_takes_what_runs_at_once() -> None:
    """An init container that asks for nothing has what the others have later; one that asks for more, more."""
    requests = {"resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}}
    plain = read(requests, init={"first": {"image": "a:1"}}).workload
    assert (plain.init[0].cpu_millis, plain.init[0].memory_bytes) == (500, 1 << 30)
    assert taken(plain) == (500, 1 << 30)
    larger = {"image": "a:1", "resources": {"requests": {"memory": "3Gi"}}}
    assert taken(read(requests, init={"first": larger}).workload) == (500, 3 << 30)


def test_secrets_of_init_containers_are_neither_shown_nor_written_down() -> None:
    """Not in the document, not in the revision's row; sealed in an order like all others."""
    found = read({}, init={"first": {"image": "a:1", "env": {"T": {"secretValue": "hush"}, "P": {"value": "x"}}}})
    assert found.document["spec"]["initContainers"]["first"] == {
        "image": "a:1", "env": {"T": {}, "P": {"value": "x"}}, "resources": {}
    }  # fmt: skip
    assert [(s.path, s.value) for s in found.secrets] == [("spec.initContainers.first.env.T.secretValue", "hush")]
    row = of_revision(Revision(workload=found.workload, document=found.document, secrets=found.secrets, created_at=1.0))
    assert "hush" not in json.dumps(row)
    assert to_revision(cast(RowMapping, row), found.secrets, {}).workload == found.workload
    payload = Containers.of(found.workload)
    assert payload.init[0].secrets == (("T", "hush"),)
    sealed = with_secrets(payload, lambda _: "sealed")
    assert "hush" not in to_json(sealed).decode()
    assert sealed.init[0].secrets == (("T", "sealed"),)
    assert from_json(Containers, to_json(payload)) == payload


def test_a_hook_that_would_never_run_is_refused() -> None:
    with pytest.raises(Invalid) as caught:
        read({"lifecycle": {"preStop": {"tcpSocket": {"port": 1}}}}, runtime={"terminationGracePeriodSeconds": "0"})
    (problem,) = caught.value.problems
    assert (problem.path, "would never run" in problem.message) == ("spec.containers.web.lifecycle.preStop", True)

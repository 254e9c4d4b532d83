"""`top`: control's series put together by instance; what is not known is not shown as nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli_calls import Caller
from tests.fake_control import FakeControl

PATH = "/workload/v1/stacks/default/metrics"


def series(instance: str, name: str, value: str, **more: str) -> dict[str, Any]:
    metric = {"name": name, "pop": "LHR", "workload": "web", "instance_name": instance, **more}
    return {"metric": metric, "values": [{"unixTime": "1", "value": value}]}


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Caller:
    control = FakeControl()
    results = [
        series("web-0", "cpu", "0.25"),
        series("web-0", "memory", "1048576"),
        series("web-1", "cpu", "1.5"),
        series("web-1", "bandwidth", "8000", direction="in"),
    ]
    control.answers["GET", PATH] = (
        200,
        {"data": {"matrix": {"results": results}}, "warnings": ["host AMS tells nothing now"]},
    )
    return Caller(tmp_path, control.transport, monkeypatch)


def test_the_busiest_comes_first_and_what_is_not_known_is_a_dash(call: Caller) -> None:
    ran = call("top")
    assert [line.split() for line in ran.out.splitlines()[1:]] == [
        ["web-1", "1.500", "-", "8.0", "-"],
        ["web-0", "0.250", "1.0", "-", "-"],
    ]
    assert ran.err.count("host AMS tells nothing now") == 1
    by_memory = json.loads(call("top", "--sort", "memory", "-o", "json").out)
    assert [row["instance"] for row in by_memory] == ["web-0", "web-1"]
    assert "memory_bytes" not in by_memory[1]
    assert call("top", "--sort", "name").code == 2

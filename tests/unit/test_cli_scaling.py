"""How people ask for numbers that follow their load, and how they read them."""

from pathlib import Path
from typing import Any

import pytest

from anypop.cli import scaling, views
from anypop.cli.bounds import deployments
from tests.cli_calls import Caller
from tests.fake_control import FakeControl

CREATE = ["workload", "create", "web", "--image", "registry.test/web:1", "--target", "eu1=AMS,LHR", "--yes"]
ROW = {
    "target": "eu1", "pop": "AMS", "replicas": 3, "least": 2, "most": 6, "serve": 3, "threshold_millis": 500,
    "mean_millis": 412, "reason": "load-steady", "says": "has as many as its load asks for",
    "changed_at": "2026-01-31T10:00:00.000000Z",
}  # fmt: skip


@pytest.fixture
def control() -> FakeControl:
    return FakeControl()


@pytest.fixture
def call(control: FakeControl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Caller:
    return Caller(tmp_path, control.transport, monkeypatch)


def declared(control: FakeControl) -> dict[str, Any]:
    found: dict[str, Any] = control.changes()[0][2]["workload"]["targets"]["eu1"]["spec"]["deployments"]
    return found


def test_create_declares_bounds_and_a_threshold(call: Caller, control: FakeControl) -> None:
    assert call(*CREATE, "--min", "2", "--max", "6", "--cpu", "50%").code == 0
    sent = declared(control)
    assert (sent["minReplicas"], sent["maxReplicas"]) == (2, 6)
    assert sent["scaleSettings"] == {"metrics": [{"metric": "cpu", "averageUtilization": 50}]}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--max", "6"), "--max: says how far their number follows the load; add --cpu 50%"),
        (("--max", "6", "--cpu", "half%"), "--cpu half%: write 50%"),
        (("--max", "6", "--cpu", "0%"), "--cpu 0%: write 50%"),
    ],
)
def test_what_cannot_be_understood_is_told_before_anything_is_sent(
    call: Caller, control: FakeControl, words: tuple[str, ...], said: str
) -> None:
    refused = call(*CREATE, *words)
    assert (refused.code, control.changes()) == (2, [])
    assert said in refused.err


def test_cores_are_a_threshold_too() -> None:
    assert deployments(4, "500m") == {
        "maxReplicas": 4,
        "scaleSettings": {"metrics": [{"metric": "cpu", "averageValue": "500m"}]},
    }
    assert deployments(0, "") == {}


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        (("3",), {"minReplicas": 3}),
        (("--min", "3"), {"minReplicas": 3}),
        (("--max", "8"), {"maxReplicas": 8}),
        (("3", "--fixed"), {"minReplicas": 3, "maxReplicas": None, "scaleSettings": None}),
        (
            ("--min", "2", "--max", "6", "--cpu", "40%"),
            {
                "minReplicas": 2,
                "maxReplicas": 6,
                "scaleSettings": {"metrics": [{"metric": "cpu", "averageUtilization": 40}]},
            },
        ),
    ],
)
def test_scale_patches_what_was_said(
    call: Caller, control: FakeControl, words: tuple[str, ...], sent: dict[str, Any]
) -> None:
    assert call(*CREATE, "--min", "2", "--max", "6", "--cpu", "50%").code == 0
    path = "/anypop/v1/stacks/default/workloads/web/preview"
    control.answers["POST", path] = (200, {"changes": [], "new_processes": False})
    ran = call("workload", "scale", "web", *words, "--yes")
    assert ran.code == 0, ran.err
    asked = next(body for method, at, body in control.requests if at == path)
    assert asked["workload"] == {"targets": {"eu1": {"spec": {"deployments": sent}}}}
    told = "target eu1 follows its load: 3 is the least in each of its cities" in ran.err
    assert told is (words in (("3",), ("--min", "3")))


@pytest.mark.parametrize("words", [(), ("3", "--min", "2"), ("3", "--fixed", "--max", "4")])
def test_scale_has_to_be_told_one_thing(call: Caller, control: FakeControl, words: tuple[str, ...]) -> None:
    assert call("workload", "scale", "web", *words, "--yes").code == 2
    assert control.changes() == []


def test_a_quote_says_what_it_may_cost_at_most() -> None:
    line = {"item": "SP-1", "quantity": 2, "most": 6, "unit_hourly": 0.1, "hourly": 0.2, "monthly": 146.0}
    price = {"currency": "USD", "lines": [line], "hourly": 0.2, "monthly": 146.0}
    follows = price | {"most_hourly": 0.6, "most_monthly": 438.0}
    rows = views.quote(follows).rows
    assert rows[0][1] == "2 to 6"
    assert rows[-1][0] == ("at most, when the load asks for it", "bold")
    assert rows[-1][-1] == ("438.00", "bold")
    assert len(views.quote(price).rows) == 2
    assert (views.months(price), views.months(follows)) == ("146.00", "146.00 (at most 438.00)")


def test_a_row_says_how_many_of_how_many_and_why() -> None:
    (row,) = scaling.table([ROW]).rows
    assert row[:6] == ["eu1", "AMS", "3", "2", "6", "412m of 500m"]
    assert row[-1] == "has as many as its load asks for"
    unknown = {key: value for key, value in ROW.items() if key != "mean_millis"} | {"message": "web-eu1-ams-1"}
    (row,) = scaling.table([unknown]).rows
    assert (row[5], row[-1]) == ("? of 500m", "has as many as its load asks for: web-eu1-ams-1")
    assert scaling.part([]) == []

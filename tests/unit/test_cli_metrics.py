"""`anypop metrics`: what is asked for, and what people see of the answers."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from anypop.cli import metrics
from tests.cli_calls import Caller

CHART = {
    "chart": "cpu", "unit": "cores", "step": 60.0, "source": "agents", "age": 3.2, "missing": ["host LHR: away"],
    "series": [{"labels": {"stack": "default", "workload": "web"}, "points": [[0, 0.5], [60, 0.25], [120, 1.0]]}],
}  # fmt: skip


def test_a_chart_is_told_with_its_source_and_its_age() -> None:
    """The newest, the least, the largest; of nothing it is said that there is nothing."""
    assert metrics.told_by(CHART) == "cpu in cores, from the agents; the newest sample is 3 s old"
    table = metrics.curves(CHART)
    assert table.rows == [["default", "web", "1", "0.25", "1", "3"]]
    empty: dict[str, Any] = {"chart": "cpu", "unit": "cores", "source": "store", "series": []}
    assert "nothing was measured" in metrics.told_by(empty) and metrics.curves(empty).rows == []


def test_objectives_name_who_lands_elsewhere_and_what_is_not_known() -> None:
    known = {
        "stack": "default", "workload": "web", "objective": 0.95, "vantages": 0.5, "extra_ms": 27.7,
        "elsewhere": [{"vantage": "london", "expected": "LHR", "pop": "JFK"}, {"vantage": "rio", "expected": "MIA"}],
    }  # fmt: skip
    (row,) = metrics.objectives([known]).rows
    assert row[2:] == ["50.0 %", "95.0 %", "?", "27.7", "?", "?", "london in JFK, not LHR; rio in nowhere, not MIA"]


def test_targets_are_listed_by_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list that Prometheus gets; an object would be of another server than control."""
    found: Any = [
        {"targets": ["c:8443"], "labels": {"__metrics_path__": "/anypop/v1/metrics"}},
        {"targets": ["c:8443"], "labels": {"__metrics_path__": "/x", "pop": "LHR", "host": "LHR-1"}},
    ]
    assert [row[1] for row in metrics.scraped(found).rows] == ["control", "LHR-1"]

    def answer(asked: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"access_token": "t"} if "token" in asked.url.path else found)

    listed = Caller(tmp_path, httpx.MockTransport(answer), monkeypatch)
    ran = listed("metrics", "targets")
    assert ran.code == 0 and "LHR-1" in ran.out, ran.err
    found = {"results": []}
    assert listed("metrics", "targets").code != 0


@pytest.mark.parametrize("argv", [["metrics", "query"], ["metrics", "query", "cpu", "--by"], ["metrics", "moon"]])
def test_what_is_missing_is_said_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str]
) -> None:
    assert Caller(tmp_path, None, monkeypatch)(*argv).code == 2

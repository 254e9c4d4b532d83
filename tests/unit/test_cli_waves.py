"""`announce ... --waves`: the same change as without, PoP by PoP, as a rollout that control carries out."""

import json
from pathlib import Path
from typing import Any

import pytest

from anypop.cli import rollouts
from tests.cli_calls import Caller
from tests.fake_control import FakeControl
from tests.unit.test_cli_commands import CREATE


@pytest.fixture
def control() -> FakeControl:
    return FakeControl()


@pytest.fixture
def call(control: FakeControl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Caller:
    monkeypatch.setattr(rollouts, "POLL_S", 0.01)
    made = Caller(tmp_path, control.transport, monkeypatch)
    assert made(*CREATE).code == 0
    return made


def asked(control: FakeControl) -> Any:
    (body,) = [body for method, path, body in control.changes() if path.endswith("/rollouts")]
    return body


@pytest.mark.parametrize(
    ("words", "scope"),
    [
        (("scope", "--community", "209:7100"), {"communities": ["209:7100"]}),
        (("withhold",), {"mode": "withhold"}),
        (("prepend", "--count", "2"), {"prepend": 2}),
    ],
)
def test_each_pop_is_a_wave_in_the_order_in_which_it_is_named(
    control: FakeControl, call: Caller, words: tuple[str, ...], scope: dict[str, Any]
) -> None:
    """Nothing is predicted, so every vantage may land anywhere; the note goes with each rule."""
    ran = call(
        "announce",
        words[0],
        "web",
        *words[1:],
        "--pop",
        "LAX,JFK",
        "--waves",
        "--bake",
        "0.5",
        "--note",
        "why",
        "-o",
        "json",
    )
    assert ran.code == 0, ran.err
    body = asked(control)
    assert [[rule["pop"] for rule in wave["rules"]] for wave in body["waves"]] == [["LAX"], ["JFK"]]
    assert all(wave["expected"] == {} for wave in body["waves"]) and body["strategy"]["bake_s"] == 0.5
    for rule in (rule for wave in body["waves"] for rule in wave["rules"]):
        assert rule["note"] == "why" and scope.items() <= rule["scope"].items()
    told = json.loads(ran.out)
    assert (told["applied"], told["rolled_back"], len(told["changes"])) == (True, False, 2)
    assert [wave["pop"] for wave in told["waves"]] == ["LAX", "JFK"]
    assert "wave 1 of 2: LAX" in ran.err and "well after 2.5 s: amsterdam AMS" in ran.err


def test_without_waves_all_changes_at_once(control: FakeControl, call: Caller) -> None:
    """One request for all of it, and a bake time is refused."""
    assert call("announce", "withhold", "web", "--pop", "LAX,JFK").code == 0
    assert [method for method, path, _ in control.changes() if "/web/" in path] == ["PATCH"]
    ran = call("announce", "reset", "web", "--bake", "3")
    assert ran.code == 2 and "--bake needs --waves" in ran.err
    assert call("announce", "reset", "web", "--waves").code == 0
    assert asked(control)["strategy"] == {"deadline_s": 60.0, "bake_s": 2.0}


def test_a_change_in_waves_that_is_taken_back_is_a_failure(control: FakeControl, call: Caller) -> None:
    """Exit code 1, with who lands as before."""
    begin = control.waves.begin

    def aborted(body: Any) -> dict[str, Any]:
        return control.waves.abort(begin(body)["id"])

    control.waves.begin = aborted  # type: ignore[method-assign]
    ran = call("announce", "withhold", "web", "--pop", "JFK", "--waves")
    assert ran.code == 1 and "the change was taken back" in ran.err and "every vantage lands as before" in ran.err
    assert "1 announcement as before" in ran.out and control.rules == {}


def test_a_change_in_waves_is_shown_by_rollout_commands(call: Caller) -> None:
    """With what each wave came to."""
    assert call("announce", "withhold", "web", "--pop", "JFK", "--waves").code == 0
    assert "as it should be after 2.5 s" in call("rollout", "show", "web", "00000001").out
    assert call("rollout", "wait", "web", "00000001").code == 0

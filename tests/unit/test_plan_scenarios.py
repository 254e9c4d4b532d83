"""Every scenario still gets the answers that were recorded for it."""

from pathlib import Path

import pytest

from tests.scenarios.runner import run, scenarios


@pytest.mark.parametrize("path", scenarios(), ids=lambda p: p.stem)
def test_a_scenario_gets_its_recorded_answers(path: Path) -> None:
    """A difference is a change of behaviour: record it by `python -m tests.scenarios.runner` only when it is meant."""
    text = path.read_text()
    assert run(text) == text

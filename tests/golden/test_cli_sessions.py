"""Recorded sessions of the command line: tables, progress and messages as people see them.

To record anew after a wanted change: ANYPOP_RECORD=1 pytest tests/golden/test_cli_sessions.py, then read the
difference.
"""

import os
from pathlib import Path

import pytest

from tests.cli_calls import Caller
from tests.fake_control import FakeControl

SESSIONS = sorted((Path(__file__).parent / "cli").glob("*.txt"))


@pytest.mark.parametrize("path", SESSIONS, ids=lambda path: path.stem)
def test_a_recorded_session_reads_the_same_today(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command prints what was recorded, on the same stream, with the same exit code."""
    monkeypatch.chdir(path.parent)  # sessions name the files beside them
    today = Caller(tmp_path, FakeControl().transport, monkeypatch).replay(path.read_text())
    if os.environ.get("ANYPOP_RECORD"):
        path.write_text(today)
    assert today == path.read_text()

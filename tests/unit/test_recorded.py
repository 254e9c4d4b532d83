"""A program on record that is asked about again and again: the same as one that is looked up anew each time."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from anypop.host import process
from anypop.host.recorded import Recorded
from tests.wait import wait_until


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "sleeper.pid"
    process.spawn(["sleep", "1000"], pid_file=file, log=tmp_path / "out")
    yield file
    process.end(file, grace_s=1)


def test_it_is_what_runs_until_it_ends_also_when_another_takes_its_place(sleeper: Path, tmp_path: Path) -> None:
    recorded = Recorded(sleeper)
    wait_until(lambda: recorded.pid() is not None, timeout_s=10, reason="it is on record")
    first = recorded.pid()
    assert first == process.alive(sleeper) and recorded.stopped_pid() is None
    assert first is not None
    os.kill(first, signal.SIGSTOP)
    wait_until(lambda: recorded.stopped_pid() == first, timeout_s=10, reason="it is stopped")
    assert recorded.pid() == first
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: recorded.pid() is None, timeout_s=10, reason="it is dead, be it waited for or not")
    second = process.spawn(["sleep", "1000"], pid_file=sleeper, log=tmp_path / "out")
    wait_until(lambda: recorded.pid() == second, timeout_s=10, reason="the next one is on record")
    process.end(sleeper, grace_s=1)
    assert recorded.pid() is None and not sleeper.exists()


def test_a_number_that_is_somebody_elses_by_now_is_not_it(tmp_path: Path) -> None:
    """By the time at which the recorded one had started; a file that nobody can read names nobody."""
    file = tmp_path / "other.pid"
    recorded = Recorded(file)
    assert recorded.pid() is None
    with subprocess.Popen(["sleep", "1000"]) as other:
        file.write_text(f"{other.pid} 1\n")
        assert recorded.pid() is None
        file.write_text("nobody\n")
        assert recorded.pid() is None
        process.write_pid(file, other.pid)
        assert recorded.pid() == other.pid
        other.kill()
    assert recorded.pid() is None

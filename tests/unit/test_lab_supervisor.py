"""The supervisor's patience, and programs that are on record before they begin."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from anypop.host import process
from anypop.lab.supervisor import LONGEST_S, STEADY_S, Past, died, started
from tests.wait import wait_until

DIES_BEFORE_ITS_RECORD = """
import os, signal, sys
from pathlib import Path
from anypop.host import process
process.write_pid = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
process.spawn(["sleep", "60"], pid_file=Path(sys.argv[1]), log=Path(sys.argv[2]))
"""


def test_who_dies_after_a_steady_life_is_started_at_once_and_who_dies_at_once_later_and_later() -> None:
    """Each wait is twice the one before, up to half a minute; ten seconds of life, and the count begins anew."""
    past, now, waits = Past(), 1000.0, []
    for _ in range(12):
        past = died(past, now)
        waits.append(round(past.due - now, 3))
        assert died(past, now + 0.01) == past or past.due <= now + 0.01, "looking again changes nothing"
        now = past.due
        past = started(died(past, now), now)
        now += 0.1
    assert waits[:4] == [0.0, 0.2, 0.4, 0.8]
    assert max(waits) == waits[-1] == LONGEST_S
    assert died(past, now + STEADY_S).due == now + STEADY_S


def test_what_was_started_is_on_record_although_who_started_it_died_at_once(tmp_path: Path) -> None:
    """SIGKILL right after the fork: the program writes its record itself, with the very number and time."""
    pid_file = tmp_path / "it.pid"
    argv = [sys.executable, "-c", DIES_BEFORE_ITS_RECORD, str(pid_file), str(tmp_path / "it.log")]
    assert subprocess.run(argv, check=False).returncode == -signal.SIGKILL
    wait_until(lambda: process.alive(pid_file) is not None, timeout_s=20, reason="it is on record")
    pid = process.alive(pid_file)
    assert pid is not None
    wait_until(
        lambda: Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x0060\x00",
        timeout_s=20,
        reason="it is the program",
    )
    assert process.start_time(pid) == int(pid_file.read_text().split()[1])
    os.kill(pid, signal.SIGKILL)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["it.log", "it.pid"]

"""Who comes first for a processor: also where the kernel shares processors out by session."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from anypop.host.priority import run_at, run_before

SHARES_BY_SESSION = Path("/proc/self/autogroup").exists()


@pytest.fixture
def ended() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def _waits(ended: ExitStack, *, leads: bool) -> int:
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, start_new_session=leads)
    ended.enter_context(process)  # closes what it reads, which ends it
    return process.pid


def _session(pid: int) -> int | None:
    """The niceness of a process's session; None: this kernel knows none."""
    return int(Path(f"/proc/{pid}/autogroup").read_text().split()[-1]) if SHARES_BY_SESSION else None


def test_who_leads_a_session_takes_it_along(ended: ExitStack) -> None:
    """Else the niceness would count within it alone, where nobody else is; who is before that already stays there."""
    pid = _waits(ended, leads=True)
    run_at(7, pid)
    assert (os.getpriority(os.PRIO_PROCESS, pid), _session(pid)) == (7, 7 if SHARES_BY_SESSION else None)
    run_before(9, pid)
    assert (os.getpriority(os.PRIO_PROCESS, pid), _session(pid)) == (7, 7 if SHARES_BY_SESSION else None)


def test_who_leads_none_moves_nobody_else(ended: ExitStack) -> None:
    """An agent that somebody starts in a shell is in that shell's session."""
    pid, before = _waits(ended, leads=False), _session(os.getpid())
    run_at(7, pid)
    assert (os.getpriority(os.PRIO_PROCESS, pid), _session(os.getpid())) == (7, before)


def test_what_cannot_be_had_is_gone_without(ended: ExitStack) -> None:
    """A process that has ended meanwhile is no error either."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    run_before(-20, gone.pid)

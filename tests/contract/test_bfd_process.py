"""The process that has a host's BFD: who of it outlives whom. Neighbours wait for 150 ms or less, so there is always a
worker, whichever of its processes is killed.
"""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from anypop.agent.act.bgp.bfd import Bfd
from anypop.agent.bfd import files, orphans
from anypop.host import process
from tests.wait import wait_until


class Running:
    """`python -m anypop.agent.bfd FOLDER`, without a session: it needs no network."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.pid_file = folder, folder / "bfd.pid"
        files.write_wanted(folder, folder / "bird.ctl", ())

    def start(self) -> None:
        argv = [sys.executable, "-m", "anypop.agent.bfd", str(self.folder)]
        process.spawn(argv, pid_file=self.pid_file, log=self.folder / "bfd.out")

    def worker(self) -> int:
        return files.read_told(self.folder).worker

    def kill(self) -> None:
        """The first process alone."""
        pid = process.alive(self.pid_file)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: process.alive(self.pid_file) is None, timeout_s=20, reason="it is dead")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    one = Running(tmp_path)
    one.start()
    try:
        wait_until(lambda: one.worker() != 0, timeout_s=20, reason="a worker has begun")
        yield one
    finally:
        process.end(one.pid_file, group=True)
        orphans.end(tmp_path)


def test_a_worker_outlives_its_parent_until_the_next_one_is_ready(running: Running) -> None:
    before = running.worker()
    assert orphans.found(running.folder) == []
    running.kill()
    assert orphans.found(running.folder) == [before], "it goes on alone"
    running.start()
    wait_until(lambda: running.worker() != before, timeout_s=20, reason="the next one's worker has begun")
    assert process.start_time(before) is None, "and never beside another"
    assert orphans.found(running.folder) == []


def test_ending_it_leaves_nobody_when_the_parent_is_dead_already(running: Running) -> None:
    worker = running.worker()
    running.kill()
    Bfd(running.folder, running.folder / "bird.ctl").end()
    wait_until(lambda: process.start_time(worker) is None, timeout_s=20, reason="the worker is gone")

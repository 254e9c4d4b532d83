"""Worker processes: started when needed, ended when idle, too much refused in words, and no work outlives its time or
its parent.
"""

import asyncio
import math
import operator
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from anypop.api.workers import NICENESS, Limits, Workers
from anypop.control.refusals import Busy
from anypop.model.errors import WorldError
from tests.wait import wait_until


def there(pid: int) -> bool:
    """Whether a process runs (one that is dead and not yet buried does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def run(story: Callable[[Workers], Awaitable[None]], **limits: Any) -> list[int]:
    """A story with workers of its own; the processes that were there at its end, which then must go."""

    async def told() -> list[int]:
        workers = Workers(Limits(**limits))
        try:
            await story(workers)
            return workers.pids
        finally:
            workers.close()

    left = asyncio.run(told())
    wait_until(lambda: not any(map(there, left)), timeout_s=10, reason="no worker outlives its pool")
    return left


async def until(predicate: Callable[[], bool], reason: str) -> None:
    """On the loop, which goes on meanwhile."""
    async with asyncio.timeout(10):
        while not predicate():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)
    assert predicate(), reason


def test_a_worker_is_started_when_needed_and_used_again() -> None:
    """None at first; the same for the next question; it leaves the processor to others."""

    async def story(workers: Workers) -> None:
        assert workers.pids == []
        assert await workers.run(operator.neg, 5, account="a") == -5
        (pid,) = workers.pids
        own = os.getpriority(os.PRIO_PROCESS, 0)  # of this run, which somebody may have given another priority
        assert pid != os.getpid() and os.getpriority(os.PRIO_PROCESS, pid) == min(own + NICENESS, 19)
        with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
            await workers.run(math.sqrt, -1, account="a")  # what the work raises comes back, and the process stays
        assert await workers.run(operator.neg, 6, account="a") == -6 and workers.pids == [pid]

    assert len(run(story)) == 1


def test_an_idle_worker_ends() -> None:
    """And the next question gets a new one."""

    async def story(workers: Workers) -> None:
        await workers.run(operator.neg, 1, account="a")
        (pid,) = workers.pids
        await until(lambda: not there(pid), "the idle worker ends")
        assert workers.pids == []
        assert await workers.run(operator.neg, 2, account="a") == -2 and workers.pids != [pid]

    run(story, idle_s=0.1)


def test_what_takes_too_long_is_ended_and_harms_no_other() -> None:
    """Refused in words; its process is gone, the one beside it goes on."""

    async def story(workers: Workers) -> None:
        await workers.run(operator.neg, 1, account="a")
        other = asyncio.create_task(workers.run(time.sleep, 0.05, account="b"))
        await asyncio.sleep(0)
        began = time.monotonic()
        with pytest.raises(WorldError, match=r"took more than 3 s"):
            await workers.run(time.sleep, 60, account="a")
        assert time.monotonic() - began < 20
        await other
        assert len(workers.pids) == 1
        assert await workers.run(operator.neg, 3, account="a") == -3

    run(story, timeout_s=3)


def test_too_much_at_once_is_refused_and_no_account_keeps_the_others_out() -> None:
    """Each account has its own limit, all together another; what waits is done in its turn."""

    async def story(workers: Workers) -> None:
        asked = [asyncio.create_task(workers.run(time.sleep, 0.3, account="greedy")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="2 questions of this account"):
            await workers.run(time.sleep, 0, account="greedy")
        asked.append(asyncio.create_task(workers.run(time.sleep, 0, account="modest")))
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="3 questions are being worked out"):
            await workers.run(time.sleep, 0, account="late")
        await asyncio.gather(*asked)
        assert len(workers.pids) == 1  # one worker did it all
        await workers.run(time.sleep, 0, account="greedy")

    run(story, workers=1, asked=3, each=2)


def test_a_worker_that_dies_is_told_and_replaced() -> None:
    """Killed for its memory, for example."""

    async def story(workers: Workers) -> None:
        with pytest.raises(WorldError, match="has died"):
            await workers.run(os._exit, 1, account="a")
        assert await workers.run(operator.neg, 4, account="a") == -4

    run(story)


def test_work_that_nobody_waits_for_any_more_is_ended() -> None:
    """Control stops, or whoever asked is gone."""

    async def story(workers: Workers) -> None:
        await workers.run(operator.neg, 1, account="a")
        (pid,) = workers.pids
        task = asyncio.create_task(workers.run(time.sleep, 60, account="a"))
        await until(lambda: bool(workers._busy), "it works")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not there(pid), "the work is ended")
        assert await workers.run(operator.neg, 5, account="a") == -5

    run(story)


PARENT = """
import asyncio, time
from anypop.api.workers import Workers
async def main():
    workers = Workers()
    await workers.run(len, "ab", account="a")
    task = asyncio.create_task(workers.run(time.sleep, 600, account="a"))
    while not workers._busy:
        await asyncio.sleep(0.01)
    print(*workers.pids, flush=True)
    await task
if __name__ == "__main__":
    asyncio.run(main())
"""


def test_a_worker_does_not_outlive_a_parent_that_was_killed(tmp_path: Path) -> None:
    """kill -9 leaves nobody to clean up."""
    (tmp_path / "parent.py").write_text(PARENT)
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdout is not None
        pid = int(child.stdout.readline())
        assert there(pid)
        child.send_signal(signal.SIGKILL)
    wait_until(lambda: not there(pid), timeout_s=10, reason="the worker ends with its parent")

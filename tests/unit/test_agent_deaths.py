"""The death of a large process, told by its threads before its memory has been given back; and what is no death."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from anypop.agent.decide.elements import Key
from anypop.agent.observe.deaths import DeathWatch
from anypop.host import process
from tests.wait import wait_until

KEY = ("uid", "vm")
# a thread that stays, and one that ends when a line comes
TWO_THREADS = """\
import sys, threading, time
threading.Thread(target=lambda: time.sleep(3600), daemon=True).start()
ends = threading.Thread(target=sys.stdin.readline)
ends.start()
print("ready", flush=True)
ends.join()
print("ended", flush=True)
time.sleep(3600)
"""


@pytest.fixture
def large() -> Iterator[subprocess.Popen[str]]:
    """A process of three threads."""
    with subprocess.Popen(
        [sys.executable, "-c", TWO_THREADS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as found:
        try:
            assert found.stdout is not None
            assert found.stdout.readline() == "ready\n"
            yield found
        finally:
            found.kill()


def open_files() -> int:
    """Of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def told_to(watched: Callable[[DeathWatch, asyncio.Event], Awaitable[None]]) -> list[int]:
    """The deaths that a watch tells of meanwhile, by their pids."""
    told = list[int]()

    async def test() -> None:
        heard = asyncio.Event()

        def died(_: Key, pid: int, __: bool) -> None:
            told.append(pid)
            heard.set()

        watch = DeathWatch(died)
        try:
            async with asyncio.timeout(60):
                await watched(watch, heard)
        finally:
            watch.close()

    asyncio.run(test())
    return told


def test_a_large_process_is_told_dead_before_the_kernel_tells_it_of_the_whole(
    large: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole process is never told of here, as if its memory were given back for ever; once its thread has told,
    nothing is left open.
    """
    really = os.pidfd_open
    try:
        os.close(really(max(process.threads(large.pid)), os.O_EXCL))
    except OSError:
        pytest.skip("this kernel is older than 6.9: threads tell nothing")
    monkeypatch.setattr(os, "pidfd_open", lambda pid, flags=0: really(pid if flags else os.getpid(), flags))

    async def watched(watch: DeathWatch, heard: asyncio.Event) -> None:
        before = open_files()
        watch.set({KEY: large.pid}, [KEY])
        os.kill(large.pid, signal.SIGKILL)
        await heard.wait()
        assert open_files() == before

    assert told_to(watched) == [large.pid]


def test_a_thread_that_ends_by_itself_is_no_death(large: subprocess.Popen[str]) -> None:
    """The process goes on, and its own end is told once."""
    assert large.stdin is not None
    assert large.stdout is not None
    assert not process.is_dying(large.pid)

    async def watched(watch: DeathWatch, heard: asyncio.Event) -> None:
        assert large.stdin is not None
        assert large.stdout is not None
        watch.set({KEY: large.pid}, [KEY])
        large.stdin.write("\n")
        large.stdin.flush()
        assert large.stdout.readline() == "ended\n"
        await asyncio.to_thread(
            wait_until, lambda: len(process.threads(large.pid)) == 2, timeout_s=60, reason="the thread has ended"
        )
        watch.set({KEY: large.pid}, [KEY])
        assert not heard.is_set()
        large.kill()
        await heard.wait()

    assert told_to(watched) == [large.pid]
    assert process.is_dying(large.pid)

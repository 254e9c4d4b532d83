"""A process beside the agent, kept by it: a real one, which notes what it is told."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from anypop.agent import kept_process
from anypop.agent.kept_process import KeptProcess, end, pid_file
from anypop.host import process
from tests.wait import wait_until

PROGRAM = """\
import signal, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
def told(*_):
    with (folder / "heard").open("a") as heard:
        heard.write((folder / "word").read_text() + " ")
while (folder / "later").exists():
    time.sleep(0.01)
signal.signal(signal.SIGHUP, told)
told()
while True:
    time.sleep(0.01)
"""


class Side:
    """What the resolver and the shipper are in the agent."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.word, self.writes, self.errors = folder, "one", 0, list[str]()
        self.needed: bool | None = True
        self.fails = False
        self.kept = KeptProcess(folder, "side", "side_program", needed=lambda: self.needed, write=self._write)

    def _write(self) -> bool:
        self.writes += 1
        file = self.folder / "word"
        news = not file.exists() or file.read_text() != self.word
        file.write_text(self.word)
        if self.fails:
            raise OSError("no room")
        return news

    def pid(self) -> int | None:
        return process.alive(pid_file(self.folder, "side"))

    def heard(self) -> list[str]:
        with contextlib.suppress(OSError):
            return (self.folder / "heard").read_text().split()
        return []

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.kept.run(lambda: self.errors.append(self.kept.error)))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def looked(self) -> None:
        """It has looked once more, for nothing."""
        before = self.writes
        self.kept.due()
        await until(lambda: self.writes > before, "it looks when it is due")


async def until(said: Callable[[], bool], reason: str) -> None:
    await asyncio.to_thread(wait_until, said, timeout_s=30, reason=reason)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "side_program.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    monkeypatch.setattr(kept_process, "_REST_S", 0.01)
    yield tmp_path / "side"
    end(tmp_path / "side", "side")


def test_it_is_told_of_what_is_new_and_of_nothing_else(folder: Path) -> None:
    """Also when writing went wrong halfway, and by an agent after the one that wrote."""

    async def story() -> None:
        side = Side(folder)
        async with side.running():
            await until(lambda: side.heard() == ["one"], "it has begun")
            pid = side.pid()
            await side.looked()
            side.word = "two"
            side.kept.due()
            await until(lambda: side.heard() == ["one", "two"], "it is told, and was not told without news")
            side.word, side.fails = "three", True
            await side.looked()
            await until(lambda: side.errors == ["no room"], "the trouble is told")
            side.fails = False
            await side.looked()
            await until(lambda: side.heard() == ["one", "two", "three"], "what was new before the trouble is told")
            await until(lambda: side.errors == ["no room", ""], "the trouble is over")
        after = Side(folder)
        after.word, after.needed = "three", None
        async with after.running():
            after.kept.due()
            assert side.pid() == pid, "what is not known yet ends nothing"
            after.needed = True
            await after.looked()
            await until(lambda: len(side.heard()) == 4, "who wrote before may have died before it told")
            await after.looked()
            after.needed = False
            after.kept.due()
            await until(lambda: side.pid() is None, "nobody needs it")
        assert side.heard() == ["one", "two", "three", "three"]

    asyncio.run(story())


def test_one_that_died_or_is_of_another_version_is_replaced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has only begun hears of nothing that would end it: it reads its files later."""

    folder.mkdir()
    (folder / "later").touch()

    async def story() -> None:
        side = Side(folder)
        async with side.running():
            await until(lambda: side.pid() is not None, "it is started")
            first = side.pid()
            side.word = "two"
            await side.looked()
            await side.looked()
            assert side.pid() == first, "no signal has ended it"
            (folder / "later").unlink()
            await until(lambda: side.heard() == ["two"], "it reads what is there when it comes to it")
            os.kill(first or 0, signal.SIGKILL)
            await until(lambda: side.heard() == ["two", "two"], "it is started anew at once")
            second = side.pid()
        monkeypatch.setattr(kept_process, "version", lambda _: "another")
        newer = Side(folder)
        newer.word = "two"
        async with newer.running():
            await until(lambda: side.pid() not in (None, second), "it is replaced")
            third = side.pid()
            await until(lambda: len(side.heard()) == 3, "the new one has begun")
            await newer.looked()
            assert side.pid() == third, "once"

    asyncio.run(story())

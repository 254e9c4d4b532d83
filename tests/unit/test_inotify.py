"""The kernel's word that a file was written is heard, once for much that is written, and only for what was asked."""

import asyncio
import select
import time
from pathlib import Path

import pytest

from anypop.agent.observe import speaker_log
from anypop.agent.observe.speaker_log import SpeakerLog
from anypop.host.inotify import MODIFIED, Inotify
from anypop.model.errors import WorldError
from tests.wait import until


def rested(watched: SpeakerLog) -> bool:
    """All that was written so far has been told."""
    events = watched._events
    return events is not None and events._again is None and not select.select([events._handle], [], [], 0)[0]


def test_what_bird_writes_is_told_soon_and_a_flood_of_it_a_few_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a log that is begun anew under the same name; of other files in the folder nothing is told."""
    monkeypatch.setattr(speaker_log, "REST_S", 0.05)
    log, calls = tmp_path / "bird" / "bird.log", list[int]()

    def flood() -> None:
        with log.open("a") as file:
            for _ in range(2000):
                file.write("a line\n")
                file.flush()

    async def run() -> None:
        watched = SpeakerLog(log, lambda: calls.append(1))
        try:
            assert watched.watches
            log.with_name("other.conf").write_text("x")
            began = time.monotonic()
            await asyncio.to_thread(flood)
            await until(lambda: bool(calls), "it was told")
            await until(lambda: rested(watched), "what was written during the rest has been told as well")
            assert len(calls) <= 2 + (time.monotonic() - began) / speaker_log.REST_S
            calls.clear()
            log.rename(log.with_suffix(".old"))
            log.write_text("anew")
            await until(lambda: bool(calls), "the next log is told of too")
            await until(lambda: rested(watched), "nothing is left to be told")
            calls.clear()
            log.with_name("other.conf").write_text("y")
            log.with_name("last").write_text("z")
            await until(lambda: rested(watched), "nothing is left to be told")
            assert not calls
        finally:
            watched.close()

    asyncio.run(run())


def test_a_folder_that_is_not_there_is_told_and_nothing_stays_open(tmp_path: Path) -> None:
    """Whoever watches then looks by himself."""

    async def run() -> None:
        before = _open_files()
        watched = Inotify(lambda *_: None)
        try:
            with pytest.raises(WorldError):
                watched.add(tmp_path / "none", MODIFIED)
        finally:
            watched.close()
        assert _open_files() == before

    asyncio.run(run())


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_kernel_that_gives_no_watch_leaves_the_log_to_be_looked_at(tmp_path: Path) -> None:
    """A file stands where the folder should be: nothing is watched, and nothing fails."""
    (tmp_path / "bird").write_text("no folder")

    async def run() -> None:
        watched = SpeakerLog(tmp_path / "bird" / "bird.log", lambda: None)
        assert not watched.watches
        watched.close()

    asyncio.run(run())

"""Logs: what is shown of conmon's entries, where the last lines begin, and how a log is followed."""

import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anypop.agent.decide.log_lines import LogLines, last_lines
from anypop.agent.observe.log_reader import read_log
from anypop.model.streams import LogRequest

AT = "2026-01-31T10:00:0{}.123456789+00:00"


def entry(text: str, second: int = 0, *, whole: bool = True, stream: str = "stdout") -> bytes:
    return f"{AT.format(second)} {stream} {'F' if whole else 'P'} {text}\n".encode()


def wanted(**more: object) -> LogRequest:
    return LogRequest(uid="u", container="web", **more)  # type: ignore[arg-type]


def shown(log: bytes, **more: object) -> bytes:
    lines = LogLines(wanted(**more))
    return lines.take(log) + lines.end()


def test_a_log_is_shown_without_what_conmon_adds() -> None:
    assert shown(entry("one") + entry("two", stream="stderr") + entry("")) == b"one\ntwo\n\n"


def test_a_line_that_was_written_in_parts_is_one_and_has_one_moment() -> None:
    log = entry("half ", whole=False) + entry("line", 1) + entry("next", 2)
    assert shown(log) == b"half line\nnext\n"
    assert shown(log, timestamps=True) == f"{AT.format(0)} half line\n{AT.format(2)} next\n".encode()


def test_older_lines_are_left_out_and_the_end_is_exact() -> None:
    log = entry("old", 1) + entry("new", 3) + entry("newer", 4)
    since = 1769853602.0  # 10:00:02
    assert shown(log, since=since) == b"new\nnewer\n"
    assert shown(log, most_bytes=5) == b"old\nn"
    lines = LogLines(wanted(most_bytes=4))
    lines.take(log)
    assert lines.over


def test_what_is_no_entry_is_shown_as_it_is() -> None:
    assert shown(b"conmon has gone mad\n\xff\xfe\n") == b"conmon has gone mad\n\xff\xfe\n"


TEXT = "ab \u00e9"
# conmon writes no part without a text
PARTS = st.one_of(
    st.tuples(st.text(alphabet=TEXT, max_size=5), st.just(True)),
    st.tuples(st.text(alphabet=TEXT, min_size=1, max_size=5), st.just(False)),
)


@given(st.lists(PARTS, max_size=12), st.integers(0, 14))
def test_the_last_lines_are_those_that_the_whole_log_ends_with(parts: list[tuple[str, bool]], tail: int) -> None:
    """Whatever the log, its tail is what the whole one, cut at ends of lines, ends with."""
    log = b"".join(entry(text, whole=whole) for text, whole in parts)
    at, lacking = last_lines(log, tail)
    lines = shown(log).splitlines(keepends=True)
    assert shown(log[at:]) == b"".join(lines[len(lines) - min(tail, len(lines)) :])
    assert lacking == max(0, tail - len(lines))


@given(st.binary(max_size=200), st.integers(1, 50))
def test_the_pieces_in_which_a_log_is_read_change_nothing(log: bytes, size: int) -> None:
    lines = LogLines(wanted())
    told = b"".join(lines.take(log[at : at + size]) for at in range(0, len(log), size)) + lines.end()
    assert told == shown(log)


def read(folder: Path, pid: int = 0, **more: object) -> bytes:
    async def all_of_it() -> bytes:
        return b"".join([piece async for piece in read_log(folder, wanted(**more), pid)])

    return asyncio.run(all_of_it())


def test_the_full_log_before_this_one_is_read_first(tmp_path: Path) -> None:
    (tmp_path / "ctr.log.1").write_bytes(entry("one") + entry("two"))
    (tmp_path / "ctr.log").write_bytes(entry("three"))
    assert read(tmp_path) == b"one\ntwo\nthree\n"
    assert read(tmp_path, tail=2) == b"two\nthree\n"
    assert read(tmp_path, tail=1) == b"three\n"
    assert read(tmp_path, tail=0) == b""
    (tmp_path / "ctr.log.1").unlink()
    (tmp_path / "ctr.log.1").hardlink_to(tmp_path / "ctr.log")  # as it is for a moment when one has just been full
    assert read(tmp_path) == b"three\n"


def test_no_log_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path)


def test_a_log_is_followed_over_a_new_one_and_to_the_end_of_its_process(tmp_path: Path) -> None:
    """Nothing is lost when the log is begun anew, and it ends after the process and what was written last."""
    log = tmp_path / "ctr.log"
    log.write_bytes(entry("old") + entry("one"))

    async def test() -> list[bytes]:
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:  # noqa: ASYNC220
            told: list[bytes] = []
            pieces = read_log(tmp_path, wanted(follow=True, tail=1), process.pid)
            told.append(await anext(pieces))
            with log.open("ab") as file:
                file.write(entry("two"))
            told.append(await asyncio.wait_for(anext(pieces), 60))
            with log.open("ab") as file:
                file.write(entry("three"))
            (tmp_path / "new").write_bytes(entry("four"))
            (tmp_path / "new").replace(log)
            told.append(await asyncio.wait_for(anext(pieces), 60))
            told.append(await asyncio.wait_for(anext(pieces), 60))
            process.communicate(b"\n")
            with log.open("ab") as file:
                file.write(entry("five"))
            told += [piece async for piece in pieces]
            return told

    assert asyncio.run(test()) == [b"one\n", b"two\n", b"three\n", b"four\n", b"five\n"]


def test_who_stops_early_leaves_no_file_open(tmp_path: Path) -> None:
    """In the middle of the full log before this one, with and without an end of what is followed."""
    (tmp_path / "ctr.log.1").write_bytes(entry("x" * 90) * 2000)
    (tmp_path / "ctr.log").write_bytes(entry("three"))

    async def some_of_it(**more: object) -> None:
        async with contextlib.aclosing(read_log(tmp_path, wanted(**more), os.getpid())) as pieces:
            await anext(pieces)

    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - their number alone
    for _ in range(3):
        asyncio.run(some_of_it())
        asyncio.run(some_of_it(follow=True))
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208

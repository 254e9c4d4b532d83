"""Logs searched at their host: the newest lines that fit, over many containers; and watched as they grow."""

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import AsyncGenerator, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anypop.agent import log_streams
from anypop.agent.decide.log_choice import LONGEST_LINE, Choice
from anypop.agent.log_names import BEFORE, LOG
from anypop.agent.observe import log_past, log_present
from anypop.model.log_text import Level, understood
from anypop.model.streams import LARGEST_FRAME, FindRequest, WatchLogsRequest

BEGIN = 1_769_853_600  # 2026-01-31T10:00:00Z
NS = 1_000_000_000


def moment(at: int) -> str:
    return f"{datetime.fromtimestamp(at // NS, UTC):%Y-%m-%dT%H:%M:%S}.{at % NS:09d}+00:00"


def entry(text: str, at: int, *, kind: str = "F", stream: str = "stdout") -> bytes:
    return f"{moment(at)} {stream} {kind} {text}\n".encode()


def at(number: int) -> int:
    return BEGIN * NS + number * 1_000_000


def rows_of(frames: list[bytes]) -> list[Any]:
    assert all(len(frame) <= LARGEST_FRAME for frame in frames)
    return [json.loads(line) for line in b"".join(frames).splitlines()]


async def _found(wanted: FindRequest, where: Mapping[tuple[str, str], list[Path]]) -> list[Any]:
    def folders(uids: frozenset[str]) -> Mapping[tuple[str, str], list[Path]]:
        return {key: value for key, value in where.items() if key[0] in uids}

    return rows_of([frame async for frame in log_streams.find(wanted, folders)])


def found(where: Mapping[tuple[str, str], list[Path]], **more: Any) -> tuple[list[str], bool]:
    """The texts, the newest first, and whether there are more."""
    uids = more.pop("uids", tuple({uid for uid, _ in where}))
    *lines, end = asyncio.run(_found(FindRequest(uids=uids, **more), where))
    assert end[0] == "end"
    return [line[6] for line in lines], end[1]


def one(folder: Path, content: bytes, before: bytes = b"") -> dict[tuple[str, str], list[Path]]:
    folder.mkdir(exist_ok=True)
    (folder / LOG).write_bytes(content)
    if before:
        (folder / BEFORE).write_bytes(before)
    return {("u", "web"): [folder]}


def test_the_newest_lines_come_first_and_more_is_told(tmp_path: Path) -> None:
    where = one(tmp_path / "a", b"".join(entry(f"line {n}", at(n)) for n in range(1000)))
    lines, cut = found(where, most=3)
    assert (lines, cut) == (["line 999", "line 998", "line 997"], True)
    assert found(where, most=1000)[1] is False


def test_what_is_of_one_moment_is_never_parted(tmp_path: Path) -> None:
    """So whoever asks for what is older than the last line's moment misses nothing."""
    where = one(tmp_path / "a", b"".join(entry(f"line {n}", at(n // 4)) for n in range(40)))
    seen: list[str] = []
    until = None
    for _ in range(40):
        *lines, end = asyncio.run(_found(FindRequest(uids=("u",), most=3, until=until), where))
        seen += [line[6] for line in lines]
        until = lines[-1][1] if lines else None
        if not end[1]:
            break
    assert seen == [f"line {n}" for n in reversed(range(40))]


def test_text_level_and_time_are_asked_together(tmp_path: Path) -> None:
    said = [
        (1, 'INFO all is well'), (2, '{"level":"error","msg":"Disk full","disk":"sda"}'), (3, "ERROR disk full too"),
        (4, '{"severity":50,"message":"the disk again"}'), (5, "no level, but errors and disk in its text"),
    ]  # fmt: skip
    where = one(tmp_path / "a", b"".join(entry(text, at(n)) for n, text in said))
    texts = dict(said)
    assert found(where, text="DISK")[0] == [texts[n] for n in (5, 4, 3, 2)]
    assert found(where, text="disk", level=Level.ERROR)[0] == [texts[n] for n in (4, 3, 2)]
    assert found(where, level=Level.INFO, since=at(1), until=at(3))[0] == [texts[2], texts[1]]
    assert found(where, text="nothing") == ([], False)


def test_a_search_goes_back_to_the_full_log_and_to_the_life_before(tmp_path: Path) -> None:
    where = one(tmp_path / "now", entry("now", at(3)), before=entry("full", at(2)))
    one(tmp_path / "life", entry("earlier", at(1)))
    assert found({("u", "web"): [tmp_path / "now", tmp_path / "life"]})[0] == ["now", "full", "earlier"]
    (tmp_path / "now" / LOG).replace(tmp_path / "now" / BEFORE)
    (tmp_path / "now" / LOG).hardlink_to(tmp_path / "now" / BEFORE)  # for a moment both names lead to one
    assert found(where)[0] == ["now"]


def test_containers_are_merged_by_time_and_others_are_not_there(tmp_path: Path) -> None:
    where = {}
    for number, uid in enumerate(("a", "b", "c")):
        one(tmp_path / uid, b"".join(entry(f"{uid} {n}", at(3 * n + number)) for n in range(5)))
        where[uid, "web"] = [tmp_path / uid]
    assert found(where, uids=("a", "c"), most=4)[0] == ["c 4", "a 4", "c 3", "a 3"]
    assert found(where, uids=("nobody",)) == ([], False)
    assert found(where, container="db") == ([], False)


def test_parts_are_one_line_and_of_a_long_one_the_beginning_is_shown(tmp_path: Path) -> None:
    parts = [entry("x" * 8000, at(1), kind="P") for _ in range(4)]
    where = one(
        tmp_path / "a", b"".join([entry("half ", at(0), kind="P"), entry("needle", at(0)), *parts, entry("y", at(2))])
    )
    lines, _ = found(where)
    assert lines[1] == "half needle"
    assert lines[0].startswith("x" * LONGEST_LINE) and "(15617 bytes more)" in lines[0]
    assert found(where, text="half needle")[0] == ["half needle"]


def test_what_is_being_written_and_what_is_no_entry_is_no_line(tmp_path: Path) -> None:
    where = one(tmp_path / "a", b"garbage\n" + entry("whole", at(1)) + entry("half", at(2))[:-3])
    assert found(where)[0] == ["whole"]


def test_a_needle_in_a_large_log_is_found_without_reading_every_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred thousand lines; work is counted, not time: no line but those of the needle's piece is looked at."""
    looked = 0
    takes = Choice.takes

    def counted(self: Choice, when: int, text: str) -> bool:
        nonlocal looked
        looked += 1
        return takes(self, when, text)

    monkeypatch.setattr(Choice, "takes", counted)
    lines = [entry(f"request {n} was answered in so many milliseconds", at(n)) for n in range(100_000)]
    lines[50_000] = entry("the Needle", at(50_000))
    where = one(tmp_path / "a", b"".join(lines))
    assert found(where, text="needle") == (["the Needle"], False)
    assert looked < 1000
    looked = 0
    assert found(where, since=at(70_000), until=at(70_010))[0] == [
        lines[n].decode().split(" ", 3)[3].strip() for n in reversed(range(70_000, 70_010))
    ]
    assert looked < 2500, "what is older and newer is passed over by halves"


@given(
    st.lists(st.sampled_from(["a", "bb", "x" * 9000, "", "é ü", '{"level":"warn"}']), max_size=40), st.integers(1, 50)
)
def test_from_either_end_the_lines_are_the_same(texts: list[str], most: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        where = one(Path(folder) / "a", b"".join(entry(text, at(n)) for n, text in enumerate(texts)))
        lines, cut = found(where, most=most)
        assert lines == list(reversed(texts))[:most]
        assert cut == (len(texts) > most)


def test_a_search_that_takes_too_long_says_how_far_it_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_streams, "MOST_S", 0.0)
    where = one(tmp_path / "a", b"".join(entry("x" * 100, at(n)) for n in range(20_000)))
    *lines, end = asyncio.run(_found(FindRequest(uids=("u",), text="y"), where))
    assert lines == [] and end[1] is True
    assert at(0) < end[2] < at(20_000), "older ones may be asked for from there on"


@pytest.mark.parametrize(
    ("text", "level", "message"),
    [
        ('{"level":"WARN","msg":"m","time":"t","a":{"b":1}}', Level.WARNING, "m"),
        ('{"log.level":"error","message":"m","@timestamp":"t"}', Level.ERROR, "m"),
        ('{"severity":3,"body":"m","ts":1769853600.5}', Level.ERROR, "m"),
        ('{"level":30,"msg":"m","time":1769853600000}', Level.INFO, "m"),
        ('{"level":true,"msg":"m"}', None, "m"),
        ('ts=1 level=debug msg="m"', Level.DEBUG, 'ts=1 level=debug msg="m"'),
        ("2026/01/31 10:00:00 [error] 7#7: m", Level.ERROR, "2026/01/31 10:00:00 [error] 7#7: m"),
        ("WARNING: m", Level.WARNING, "WARNING: m"),
        ("no errors, INFORMATION or warnings here", None, "no errors, INFORMATION or warnings here"),
        ("{broken", None, "{broken"),
        ("[" * 5000, None, "[" * 5000),
        ('{"a":' * 3000 + "1" + "}" * 3000, None, '{"a":' * 3000 + "1" + "}" * 3000),
        ('{"n":1e999,"msg":"m"}', None, "m"),
        ('{"n":' + "9" * 5000 + "}", None, '{"n":' + "9" * 5000 + "}"),
    ],
)  # fmt: skip
def test_lines_are_understood_or_left_as_they_are(text: str, level: Level | None, message: str) -> None:
    said = understood(text)
    assert (said.level, said.message) == (level, message)
    json.dumps(dict(said.fields), allow_nan=False)


# watched


class Watched:
    """One watch, read row by row."""

    def __init__(self, rows: AsyncGenerator[bytes, None]) -> None:
        self._frames, self._rest = rows, b""

    async def until(self, text: str) -> list[Any]:
        rows: list[Any] = []
        async with asyncio.timeout(20):
            async for frame in self._frames:
                *whole, self._rest = (self._rest + frame).split(b"\n")
                rows += [json.loads(line) for line in whole]
                if any(row[0] == "line" and row[6] == text for row in rows):
                    return rows
        raise AssertionError(rows)


@contextlib.contextmanager
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(log_present, "PACE_S", 0.0)
    monkeypatch.setattr(log_present, "NEW_ONES_S", 0.01)
    yield


def test_logs_are_watched_over_a_full_one_and_a_container_that_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = one(tmp_path / "a", entry("old", at(0)))

    async def run() -> None:
        watched = Watched(log_streams.watch(WatchLogsRequest(uids=("u",), since=at(1)), lambda _: where))
        log = tmp_path / "a" / LOG
        with log.open("ab") as file:
            file.write(entry("one", at(1)))
        assert [row[6] for row in await watched.until("one")] == ["one"]
        with log.open("ab") as file:
            file.write(entry("last of the full one", at(2)))
        log.rename(tmp_path / "a" / BEFORE)
        log.write_bytes(entry("first of the next", at(3)))
        rows = await watched.until("first of the next")
        assert [row[6] for row in rows] == ["last of the full one", "first of the next"]
        where.update({("u", "db"): one(tmp_path / "b", entry("began later", at(4)))["u", "web"]})
        assert (await watched.until("began later"))[-1][2:4] == ["u", "db"]
        await watched._frames.aclose()

    with quick(monkeypatch):
        asyncio.run(run())


def test_who_writes_more_than_anybody_reads_is_cut_and_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = one(tmp_path / "a", entry("old", at(0)))

    async def run() -> None:
        watched = Watched(log_streams.watch(WatchLogsRequest(uids=("u",), since=at(0)), lambda _: where))
        await watched.until("old")
        with (tmp_path / "a" / LOG).open("ab") as file:
            file.write(b"".join(entry("x" * 100, at(n)) for n in range(1, 30_000)) + entry("the end", at(30_000)))
        rows = await watched.until("the end")
        (skipped,) = (row for row in rows if row[0] == "skipped")
        assert skipped[3] > log_present.MOST_BEHIND
        assert sum(row[0] == "line" for row in rows) < 2 * log_present.MOST_AT_ONCE / 100
        await watched._frames.aclose()

    with quick(monkeypatch):
        asyncio.run(run())


def test_a_moment_between_is_found_by_halves(tmp_path: Path) -> None:
    content = b"".join(entry("x" * (n % 300), at(n)) for n in range(5000))
    file = tmp_path / "log"
    file.write_bytes(content)
    fd = os.open(file, os.O_RDONLY)
    try:
        for number in (0, 1, 2500, 4999):
            place = content.index(moment(at(number)).encode())
            assert 0 <= log_past.begin_of(fd, at(number)) - place <= 2 * log_past.WINDOW
        assert log_past.begin_of(fd, None) == len(content)
    finally:
        os.close(fd)

"""What consoles of virtual machines say, as it is written down, read again by what reads logs of containers."""

import asyncio
from pathlib import Path

import pytest

from anypop.agent.act.instances.messages import end_of_log
from anypop.agent.decide.log_choice import Choice
from anypop.agent.guests.console_log import LONGEST_PART, ConsoleLog
from anypop.agent.log_names import BEFORE, LOG
from anypop.agent.observe.log_files import LogFiles
from anypop.agent.observe.log_past import files_of, past
from anypop.agent.observe.log_reader import read_log
from anypop.model.streams import LogRequest

NOW = 1_769_853_600.123456


def log_in(folder: Path, most: int = 1 << 20) -> ConsoleLog:
    return ConsoleLog(folder, most, clock=lambda: NOW)


def shown(folder: Path, *, timestamps: bool = False) -> bytes:
    async def read() -> bytes:
        wanted = LogRequest(uid="u", container="vm", timestamps=timestamps)
        return b"".join([piece async for piece in read_log(folder, wanted, 0)])

    return asyncio.run(read())


def found(folder: Path, text: str) -> list[str | None]:
    async def read() -> list[str | None]:
        return [line.text async for line in past(files_of([folder]), Choice(text=text)) if line.text is not None]

    return asyncio.run(read())


def test_lines_are_read_and_found_as_those_of_containers(tmp_path: Path) -> None:
    """Whatever the pieces were in which they came, with whatever is in them; a CR LF parted in two is one end."""
    log = log_in(tmp_path)
    for piece in (b"\x1b[1mBoo", b"ting\x1b[0m\xff\r", b"\n\r\n", b"login: "):
        log.take(piece)
    assert shown(tmp_path, timestamps=True) == (
        b"2026-01-31T10:00:00.123456000+00:00 \x1b[1mBooting\x1b[0m\xff\n2026-01-31T10:00:00.123456000+00:00 \n"
    )
    assert found(tmp_path, "booting") == ["\x1b[1mBooting\x1b[0m\ufffd"]
    log.settle()
    assert shown(tmp_path).endswith(b"\nlogin: "), "what waits for an answer is seen"
    log.take(b"root\r\n")
    assert shown(tmp_path).endswith(b"\nlogin: root\n") and found(tmp_path, "in: ro") == ["login: root"]
    log.close()


def test_the_last_words_before_an_end_are_whole(tmp_path: Path) -> None:
    """They are what tells why a guest never boots."""
    log = log_in(tmp_path)
    log.take(b"Loading initrd\nKernel panic - not syncing")
    log.settle()
    log.settle(over=True)
    log.close()
    log_in(tmp_path).take(b"new\n")
    assert end_of_log(tmp_path) == "Loading initrd\nKernel panic - not syncing\nnew"


@pytest.mark.parametrize("settled", [False, True])
def test_a_line_goes_on_in_the_next_process(tmp_path: Path, settled: bool) -> None:
    log = log_in(tmp_path)
    log.take(b"one\nha")
    if settled:
        log.settle()
    log.take(b"lf")
    log.close()  # it is killed: nothing more is done
    log_in(tmp_path).take(b"way\n")
    assert shown(tmp_path) == b"one\nhalfway\n"
    before = (tmp_path / "unfinished").read_bytes()
    log_in(tmp_path).take(b"three\n")
    (tmp_path / "unfinished").write_bytes(b"\x01" + before)
    log_in(tmp_path).take(b"four\n")
    assert shown(tmp_path) == b"one\nhalfway\nthree\nfour\n", "what is of another moment is not put in front"


def test_a_line_without_an_end_is_written_in_parts(tmp_path: Path) -> None:
    """So that it takes no memory."""
    log, long = log_in(tmp_path), b"x" * (3 * LONGEST_PART)
    log.take(long[:-5])
    assert len(shown(tmp_path)) >= 2 * LONGEST_PART
    log.take(long[-5:] + b"\n" + long + b"\n")
    assert shown(tmp_path) == long + b"\n" + long + b"\n"


def test_a_full_log_is_begun_anew_and_the_one_before_is_kept(tmp_path: Path) -> None:
    """By this process alone, and beside an agent that follows the logs of containers."""
    folder = tmp_path / "overlay-containers" / "id" / "userdata"
    log, files = log_in(folder, 1000), LogFiles()
    files.folder = tmp_path

    async def say() -> None:
        files.open()
        files.follow(["id"])
        for number in range(100):
            log.take(b"line %d\n" % number)
            await asyncio.sleep(0)

    try:
        asyncio.run(say())
        seen = files.seen("id")
    finally:
        files.close()
    assert seen is not None and seen.turns > 2 and seen.size <= 2000
    lines = [entry.split()[-1] for name in (BEFORE, LOG) for entry in (folder / name).read_bytes().splitlines()]
    assert lines == [b"%d" % number for number in range(100 - len(lines), 100)] and len(lines) > 20


def test_a_full_disk_holds_nobody_up(tmp_path: Path) -> None:
    """What is said meanwhile is lost."""
    log = log_in(tmp_path)
    log.take(b"one\n")
    log._log = (full := open("/dev/full", "wb", buffering=0)).fileno()  # noqa: SIM115, PTH123
    log.take(b"two\nthr")
    log._log = log_in(tmp_path)._log
    log.take(b"ee\n")
    assert shown(tmp_path) == b"one\nthree\n"
    full.close()

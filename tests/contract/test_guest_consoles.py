"""The process that stays with virtual machines, at a real QEMU's serial port and at a socket that speaks like it."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from anypop.agent.guests import files
from anypop.agent.guests.wanted import Guest
from anypop.agent.log_names import LOG
from anypop.agent.observe.log_reader import read_log
from anypop.host import process
from anypop.model.streams import LogRequest
from tests.serial_guest import HELLO, QemuGuest, SerialGuest, SocketGuest
from tests.wait import wait_until

UID, TIME_S = "u-1", 30.0
MOST_RSS_KIB = 30 << 10


class Beside:
    """`python -m anypop.agent.guests` and one guest."""

    def __init__(self, folder: Path, guest: SerialGuest) -> None:
        self.folder, self.guest, self.kept = folder / "guests", guest, folder / "kept"
        self.pid_file = self.folder / "guests.pid"
        told = Guest(uid=UID, console=str(guest.console), kept=str(self.kept), log_bytes=1 << 16)
        files.write_guests(self.folder, [told])

    def start(self) -> None:
        argv = [sys.executable, "-m", "anypop.agent.guests", str(self.folder), "1"]
        process.spawn(argv, pid_file=self.pid_file, log=self.folder / "guests.out")

    def kill(self) -> None:
        pid = process.alive(self.pid_file)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: process.alive(self.pid_file) is None, timeout_s=20, reason="it is dead")

    def attach(self) -> socket.socket:
        path = files.folder_of(self.folder, UID) / files.ATTACH

        def attached() -> socket.socket | None:
            made = socket.socket(socket.AF_UNIX)
            with contextlib.suppress(OSError):
                made.connect(str(path))
                made.settimeout(TIME_S)
                return made
            made.close()
            return None

        return wait_until(attached, timeout_s=TIME_S, reason="a console can be attached")

    def lines(self, folder: Path | None = None) -> list[bytes]:
        """As `anypop logs` shows them."""

        async def read() -> bytes:
            wanted = LogRequest(uid=UID, container="vm")
            found = folder or files.folder_of(self.folder, UID)
            return b"".join([piece async for piece in read_log(found, wanted, 0)])

        return asyncio.run(read()).splitlines()

    def said(self, line: bytes) -> None:
        log = files.folder_of(self.folder, UID) / LOG
        wait_until(
            lambda: log.exists() and line in self.lines(), timeout_s=TIME_S, reason=f"{line!r} is in the log"
        )  # fmt: skip


def until(console: socket.socket, text: bytes) -> bytes:
    """What it shows, to the end of `text`."""
    shown = b""
    while text not in shown:
        piece = console.recv(4096)
        assert piece, f"it ended after {shown!r}"
        shown += piece
    return shown


@pytest.fixture(params=[SocketGuest, QemuGuest])
def beside(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Beside]:
    one = Beside(tmp_path, request.param(tmp_path))
    one.start()
    try:
        one.attach().close()  # it is there: what QEMU says while nobody listens is lost
        one.guest.start()
        yield one
    finally:
        process.end(one.pid_file)
        one.guest.end()


def test_a_console_goes_both_ways_and_its_log_outlives_every_death(beside: Beside) -> None:
    """Two consoles see what either types; a line that is half said when the process is killed is one line; a new life
    of the guest begins a new log, and the one before is kept.
    """
    with beside.attach() as first, beside.attach() as second:
        until(first, HELLO)
        until(second, HELLO)
        first.sendall(b"one\x1b[1m\xff\r\n")
        until(second, b"one\x1b[1m\xff\r\n")
        second.sendall(b"half ")
        until(first, b"half ")
    beside.said(b"one\x1b[1m\xff")
    rss = int(Path(f"/proc/{process.alive(beside.pid_file)}/statm").read_text().split()[1]) * 4
    assert rss < MOST_RSS_KIB
    beside.kill()
    beside.start()
    with beside.attach() as third:
        wait_until(lambda: _echoes(third, b"."), timeout_s=TIME_S, reason="QEMU is found again")
        third.sendall(b" way\r\n")
        until(third, b" way\r\n")
        beside.guest.end()
        beside.guest.start()
        until(third, HELLO)  # it stays attached
    beside.said(HELLO.strip())
    whole, new = beside.lines(beside.kept), beside.lines()
    assert whole[:2] == [HELLO.strip(), b"one\x1b[1m\xff"]
    assert len(whole) == 3 and whole[2].startswith(b"half .") and whole[2].endswith(b" way")
    assert new == [HELLO.strip()]


def _echoes(console: socket.socket, typed: bytes) -> bool:
    console.sendall(typed)
    console.settimeout(0.2)
    try:
        return console.recv(4096) != b""
    except TimeoutError:
        return False
    finally:
        console.settimeout(TIME_S)

"""The console of one guest: its serial port, its log, and the consoles that people attach.

In: QEMU's socket, and a socket of its own for consoles. Out: what the guest says, into the log and to each console;
what is typed there, to the guest. It connects anew when QEMU is new; attached consoles stay meanwhile. QEMU is never
held up: all that comes is read at once, and a console that does not keep up is cut off. It holds a few lines, no more.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

from anypop.agent.act.instances import kept_logs
from anypop.agent.guests import files
from anypop.agent.guests.console_log import ConsoleLog
from anypop.agent.guests.wanted import Guest
from anypop.agent.log_names import BEFORE, LOG
from anypop.host import own_socket

SHOWN = 8 << 10  # bytes of what was said before, for a console that comes
MOST_BEHIND = 256 << 10  # bytes that a console may be behind
MOST_TYPED = 16 << 10  # bytes on their way to the guest before those who type are waited with
MOST_ATTACHED = 8
QUIET_S = 0.5  # then what has been said is written, be it a line or not
SOON_S, SOON_TIMES, LATER_S = 0.05, 1200, 1.0  # QEMU is looked for often for a minute, and then less


class Console:
    """One guest's. `run` until cancelled."""

    def __init__(self, folder: Path, guest: Guest, clock: Callable[[], float]) -> None:
        self._folder, self._guest, self._clock = folder, guest, clock
        self._own = files.folder_of(folder, guest.uid)
        self._log: ConsoleLog | None = None
        self._port: asyncio.Transport | None = None
        self._attached: set[_Attached] = set()
        self._said = b""
        self._quiet: asyncio.TimerHandle | None = None
        self._waits = False  # who types has to wait
        self.news = asyncio.Event()  # QEMU may be there now

    async def run(self) -> None:
        self._own.mkdir(parents=True, exist_ok=True, mode=0o700)
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(lambda: _Attached(self), sock=_listening(self._own / files.ATTACH))
        try:
            while True:
                port = await self._found()
                try:
                    await port.over.wait()
                    if self._log is not None:
                        self._log.settle(over=True)
                finally:  # of this process it may be, and QEMU goes on
                    self._end()
        finally:
            server.close()
            for one in list(self._attached):
                one.cut_off()

    async def _found(self) -> "_Port":
        """QEMU's side of the serial port, once it is there."""
        loop, tries = asyncio.get_running_loop(), 0
        while True:
            with contextlib.suppress(OSError):
                made = _connected(Path(self._guest.console))
                try:
                    self._begin()
                    transport, port = await loop.create_unix_connection(lambda: _Port(self), sock=made)
                except BaseException:
                    made.close()
                    raise
                transport.set_write_buffer_limits(high=MOST_TYPED)
                self._port = transport
                return port
            tries += 1
            self.news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SOON_S if tries < SOON_TIMES else LATER_S):
                    await self.news.wait()
                    tries = 0

    def _begin(self) -> None:
        """Go on with the log; a new life begins a new one, and that of the life before is kept. On a full disk there is
        none, and consoles show what is said.
        """
        with contextlib.suppress(OSError):
            self._open_log()

    def _open_log(self) -> None:
        if files.begins_life(self._folder, self._guest):
            self._said = b""
            if (self._own / LOG).exists():
                kept_logs.keep_at(Path(self._guest.kept), self._own)
                for name in (LOG, BEFORE):
                    (self._own / name).unlink(missing_ok=True)
        self._log = ConsoleLog(self._own, self._guest.log_bytes, self._clock)

    def _end(self) -> None:
        self._port = None
        self.held_up(now=False)
        if self._quiet is not None:
            self._quiet.cancel()
        if self._log is not None:
            self._log.close()
            self._log = None

    def said(self, piece: bytes) -> None:
        """By the guest."""
        if self._log is not None:
            self._log.take(piece)
            if self._quiet is not None:
                self._quiet.cancel()
            if self._log.unfinished:
                self._quiet = asyncio.get_running_loop().call_later(QUIET_S, self._log.settle)
        self._said = (self._said + piece)[-SHOWN:]
        for one in list(self._attached):
            one.show(piece)

    def typed(self, piece: bytes) -> None:
        """At a console. Without QEMU nobody takes it."""
        if self._port is not None:
            self._port.write(piece)

    def held_up(self, *, now: bool) -> None:
        """The guest takes no more of what is typed, or does again."""
        self._waits = now
        for one in self._attached:
            one.wait_with(now=now)

    def attach(self, one: "_Attached") -> bool:
        if len(self._attached) >= MOST_ATTACHED:
            return False
        self._attached.add(one)
        one.show(self._said)
        one.wait_with(now=self._waits)
        return True

    def detach(self, one: "_Attached") -> None:
        self._attached.discard(one)


class _Port(asyncio.Protocol):
    """QEMU's side."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.over = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self._console.said(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.over.set()

    def pause_writing(self) -> None:
        self._console.held_up(now=True)

    def resume_writing(self) -> None:
        self._console.held_up(now=False)


class _Attached(asyncio.Protocol):
    """One console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport), "a stream"
        self._transport = transport
        if not self._console.attach(self):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        self._console.typed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._console.detach(self)

    def show(self, piece: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(piece)
        if self._transport.get_write_buffer_size() > MOST_BEHIND:
            self.cut_off()

    def wait_with(self, *, now: bool) -> None:
        if self._transport is not None and not self._transport.is_closing():
            if now:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def cut_off(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._console.detach(self)


def _connected(path: Path) -> socket.socket:
    """Raises OSError."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with own_socket.reachable(path) as near:
            made.connect(near)
    except BaseException:
        made.close()
        raise
    return made


def _listening(path: Path) -> socket.socket:
    """In place of the one of the process before."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        path.unlink(missing_ok=True)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        made.bind(f"/proc/self/fd/{folder}/{path.name}")
        path.chmod(0o600)
    finally:
        os.close(folder)
    return made

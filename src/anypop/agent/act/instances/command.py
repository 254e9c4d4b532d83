"""A command in a container of an instance, with its input, its output and, where asked, a terminal.

In: Podman's socket, a container, what to run. Out: a command whose output is read and whose input is written, until it
ends; when nobody wants it any more it is ended. Podman's part of the connection is a stream of its own behind an HTTP
request (`/exec/{id}/start`): with a terminal as it is, without one in frames whose head of 8 bytes says which of both
streams (1 output, 2 errors) and how long. Neither command nor output is ever logged.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import struct
import termios
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import httpx

from anypop.model.errors import WorldError
from anypop.model.streams import LARGEST_FRAME, CommandRequest, Frame

API_PATH = "/v4.0.0/libpod"
_HEAD = struct.Struct(">BxxxL")
_HEADERS_S = 30.0
_GRACE_S = 2.0  # hang up to kill
# A command has its terminal within milliseconds, and on a busy host within seconds: nobody waits for that.
_AT_ONCE_S = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5)
_LATER_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)


Ask = Callable[..., Awaitable[httpx.Response]]
"""Podman's answer to (what, method, path) with the good statuses and httpx's arguments. Raises `WorldError`."""
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _attached(socket: Path, path: str, body: object) -> Streams:
    """The stream behind Podman's answer. Raises `WorldError` where there is none."""
    what = "begin the command"
    try:
        reader, writer = await asyncio.open_unix_connection(socket)
    except OSError as error:
        raise WorldError(what, f"{error.strerror or error} at {socket}") from error
    content = json.dumps(body).encode()
    writer.write(
        f"POST {API_PATH}{path} HTTP/1.1\r\nHost: podman\r\nContent-Type: application/json\r\n"
        f"Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: {len(content)}\r\n\r\n".encode()
        + content
    )
    try:
        async with asyncio.timeout(_HEADERS_S):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as error:
        writer.close()
        raise WorldError(what, "Podman gives no answer") from error
    if head.split()[1] != "101":
        writer.close()
        raise WorldError(what, "the container does not run, or there is no such program in it")
    return reader, writer


class Command:
    """One that runs. `frames` gives what it says and how it ends; `take` gives it what it is told."""

    def __init__(self, ask: Ask, session: str, streams: Streams, *, terminal: bool) -> None:
        self._ask, self._session = ask, session
        self._reader, self._writer = streams
        self._terminal = terminal
        self._size = (0, 0)
        self._again: asyncio.Task[bool] | None = None

    @classmethod
    async def begin(cls, socket: Path, ask: Ask, container: str, wanted: CommandRequest) -> "Command":
        """Raises `WorldError` where it cannot be begun."""
        asked = {
            "Cmd": list(wanted.command), "AttachStdin": True, "AttachStdout": True, "AttachStderr": True,
            "Tty": wanted.terminal,
        }  # fmt: skip
        made = await ask("begin the command", "POST", f"/containers/{container}/exec", json=asked, good=(201,))
        session = str(made.json()["Id"])
        begun = {"Detach": False, "Tty": wanted.terminal, "h": wanted.rows, "w": wanted.columns}
        streams = await _attached(socket, f"/exec/{session}/start", begun)
        command = cls(ask, session, streams, terminal=wanted.terminal)
        if wanted.terminal:
            command._size = wanted.rows, wanted.columns
            if not await command._settle(_AT_ONCE_S):
                command._again = asyncio.create_task(command._settle(_LATER_S))
        return command

    async def _settle(self, pauses: Iterable[float]) -> bool:
        """The terminal's size, as soon as there is a terminal; whether it has it. One that has ended needs none."""
        for pause in pauses:
            await asyncio.sleep(pause)
            with contextlib.suppress(WorldError):
                told = await self._look()
                pid = int(told.get("Pid") or 0)
                if pid and (not told.get("Running") or _is_fitted(pid, *self._size)):
                    return True
        return False

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """Output and errors as they come, then the exit code."""
        try:
            while self._terminal and (piece := await self._reader.read(LARGEST_FRAME)):
                yield bytes([Frame.OUTPUT]) + piece
            while not self._terminal:
                kind, left = _HEAD.unpack(await self._reader.readexactly(_HEAD.size))
                while left:
                    piece = await self._reader.readexactly(min(left, LARGEST_FRAME))
                    left -= len(piece)
                    yield bytes([Frame.ERRORS if kind == 2 else Frame.OUTPUT]) + piece
        except (asyncio.IncompleteReadError, OSError):
            pass  # its end
        yield bytes([Frame.EXIT]) + json.dumps({"code": await self._code()}).encode()

    async def take(self, frame: bytes) -> None:
        """One frame of whoever has asked for it; what is none of those is left out."""
        match frame[:1]:
            case b"\x00":
                with contextlib.suppress(OSError):
                    self._writer.write(frame[1:])
                    await self._writer.drain()
            case b"\x05":
                with contextlib.suppress(OSError):
                    self._writer.write_eof()
            case b"\x04":
                with contextlib.suppress(ValueError, LookupError, TypeError):
                    size = json.loads(frame[1:])
                    self._size = int(size["rows"]), int(size["columns"])
                    await self._settle(_AT_ONCE_S)

    async def close(self) -> None:
        """End it where it still runs: hang up, as a terminal does, then kill."""
        if self._again is not None:
            self._again.cancel()
        self._writer.close()
        with contextlib.suppress(WorldError, ProcessLookupError, ValueError):
            told = await self._look()
            if not told.get("Running") or not (pid := int(told.get("Pid") or 0)):
                return
            process = os.pidfd_open(pid)
            try:
                signal.pidfd_send_signal(process, signal.SIGHUP)
                if not await _ended(process, _GRACE_S):
                    signal.pidfd_send_signal(process, signal.SIGKILL)
            finally:
                os.close(process)

    async def _code(self) -> int:
        """The exit code. Podman knows it a moment after the end of the output."""
        for pause in (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0):
            await asyncio.sleep(pause)
            with contextlib.suppress(WorldError):
                told = await self._look()
                if not told.get("Running"):
                    return int(told.get("ExitCode") or 0)
        return -1

    async def _look(self) -> dict[str, Any]:
        return dict((await self._ask("look at a command", "GET", f"/exec/{self._session}/json")).json())


async def end_session(ask: Ask, session: str) -> None:
    """Kill a command that takes too long, with what it has begun."""
    with contextlib.suppress(WorldError, OSError, ValueError):
        told = (await ask("look at a command", "GET", f"/exec/{session}/json")).json()
        if not told.get("Running") or not (pid := int(told.get("Pid") or 0)):
            return
        process = os.pidfd_open(pid)
        try:
            group = os.getpgid(pid)
            signal.pidfd_send_signal(process, signal.SIGSTOP)  # it lives, so the group was its own
            if group == os.getsid(pid):  # that of the session which the runtime made for this command alone
                os.killpg(group, signal.SIGKILL)
            signal.pidfd_send_signal(process, signal.SIGKILL)
        finally:
            os.close(process)


def _is_fitted(pid: int, rows: int, columns: int) -> bool:
    """Tell the terminal of a process its size; False: it has none so far. The terminal itself is told, since Podman
    takes a size before its monitor has the terminal, and loses it without a word.
    """
    size = struct.pack("HHHH", *(min(max(n, 0), 0xFFFF) for n in (rows, columns)), 0, 0)
    for number in range(3):
        with contextlib.suppress(OSError):
            handle = os.open(f"/proc/{pid}/fd/{number}", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if os.isatty(handle):
                    fcntl.ioctl(handle, termios.TIOCSWINSZ, size)
                    return True
            finally:
                os.close(handle)
    return False


async def _ended(process: int, within_s: float) -> bool:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(process, over.set)
    try:
        async with asyncio.timeout(within_s):
            await over.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(process)
    return True

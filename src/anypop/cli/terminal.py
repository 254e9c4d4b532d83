"""This terminal lent to a command that runs elsewhere: keys go there, output comes here, its size follows.

In: a WebSocket that carries the frames of `model.streams`. Out: the command's exit code, or None where the connection
ended first. Whatever happens the terminal is given back as it was.
"""

import contextlib
import json
import os
import signal
import sys
import termios
import threading
import tty as terminals
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from anypop.cli import attaching
from anypop.model.streams import Frame

if TYPE_CHECKING:
    from anypop.cli.websocket import WebSocket


LEAVE = b"\x1d"
"""Ctrl-], which leaves a console, as in telnet and virsh."""


def size() -> tuple[int, int]:
    """Rows and columns."""
    found = os.get_terminal_size(sys.stdout.fileno())
    return found.lines, found.columns


def attached(there: "WebSocket", *, stdin: bool, tty: bool) -> int | None:
    """The exit code. `stdin`: what is typed or piped here goes there; `tty`: key by key."""
    with _raw() if tty else contextlib.nullcontext():
        if tty:
            signal.signal(signal.SIGWINCH, lambda *_: _tell_size(there))
        if stdin:
            threading.Thread(target=attaching.give, args=(there, partial(os.read, 0)), daemon=True).start()
        return _take(there)


def console(there: "WebSocket", *, tty: bool) -> bool:
    """Until the other side ends it, or, with `tty`, LEAVE is pressed here; whether it was."""
    from websockets.exceptions import ConnectionClosed  # noqa: PLC0415 - see `Client.socket`

    left = threading.Event()

    def read(most: int) -> bytes:
        if left.is_set():
            return b""
        piece = os.read(0, most)
        typed, leaves, _ = piece.partition(LEAVE) if tty else (piece, b"", b"")
        if leaves:
            left.set()
        return typed

    def give() -> None:
        attaching.give(there, read)
        if left.is_set():
            there.close()

    with _raw() if tty else contextlib.nullcontext():
        threading.Thread(target=give, daemon=True).start()
        try:
            _take(there)
        except ConnectionClosed:
            if not left.is_set():
                raise
    return left.is_set()


def _take(there: "WebSocket") -> int | None:
    for frame in there:
        if not isinstance(frame, bytes) or not frame:
            continue
        match frame[0]:
            case Frame.OUTPUT:
                _write(1, frame[1:])
            case Frame.ERRORS:
                _write(2, frame[1:])
            case Frame.END:
                return None
            case Frame.EXIT:
                return int(json.loads(frame[1:])["code"])
    return None


def _write(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]


def _tell_size(there: "WebSocket") -> None:
    rows, columns = size()
    content = json.dumps({"rows": rows, "columns": columns}).encode()
    # a signal may come in the middle of a send: another thread waits its turn
    threading.Thread(target=lambda: there.send(bytes([Frame.SIZE]) + content), daemon=True).start()


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    before = termios.tcgetattr(sys.stdin)
    try:
        terminals.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)

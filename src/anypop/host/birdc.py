"""BIRD's control socket, spoken directly: one command, its answer as text.

The protocol (BIRD's doc/reply_codes): each line is `CODE-text` or `CODE text` (the last of a reply) or ` text` (goes on
with the code before). Codes 8xxx and 9xxx are errors.
"""

import re
import socket
from collections.abc import Sequence
from pathlib import Path

from anypop.model.errors import WorldError

_PIECE = 1 << 16
_LAST = re.compile(rb"^(\d)\d{3}(?: .*)?\n", re.MULTILINE)
_HEAD = re.compile(rb"^(?:[ +]|\d{4}[- ]?)", re.MULTILINE)


def ask(control: Path, *commands: str, timeout_s: float = 10) -> str:
    """The text of the replies to `commands`, one after the other, in one connection. Raises `WorldError` on an error
    reply or a dead daemon.
    """
    try:
        with _opened(control, timeout_s) as link:
            return _asked(link, commands)
    except OSError as error:
        raise WorldError(f"bird at {control}", str(error)) from error


class Line:
    """A connection that stays, for whoever asks again and again: to open one takes as long as a short answer. For
    questions alone: where the daemon was started anew since the last one, they are asked twice.
    """

    def __init__(self, control: Path) -> None:
        self._control = control
        self._link: socket.socket | None = None

    def ask(self, *commands: str, timeout_s: float) -> str:
        """As `ask` does."""
        try:
            if self._link is not None:
                try:
                    return _asked(self._link, commands)
                except ConnectionError:  # that daemon is gone
                    self.close()
            self._link = _opened(self._control, timeout_s)
            return _asked(self._link, commands)
        except OSError as error:  # what comes in late would be taken for the next answer
            self.close()
            raise WorldError(f"bird at {self._control}", str(error)) from error

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
        self._link = None

    def __del__(self) -> None:
        self.close()


def _opened(control: Path, timeout_s: float) -> socket.socket:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        link.settimeout(timeout_s)
        link.connect(str(control))
        _reply(link, "greeting")
    except BaseException:
        link.close()
        raise
    return link


def _asked(link: socket.socket, commands: Sequence[str]) -> str:
    texts = []
    for command in commands:
        link.sendall(command.encode() + b"\n")
        texts.append(_reply(link, command))
    return "\n".join(texts)


def glance(control: Path, command: str, *, most_lines: int, timeout_s: float) -> str:
    """The beginning of the reply to one command that can change nothing: the daemon itself refuses any other on this
    connection. A longer reply is cut, and says so. Raises `WorldError`.
    """
    try:
        with _opened(control, timeout_s) as link:
            _asked(link, ["restrict"])
            link.sendall(command.encode() + b"\n")
            return _reply(link, command, most_lines)
    except OSError as error:
        raise WorldError(f"bird at {control}", str(error)) from error


def _reply(link: socket.socket, command: str, most_lines: int | None = None) -> str:
    """One reply, which is all that BIRD says before it is told more. Searched and cut as a whole: the agent asks each
    second, and line by line that would cost more than the daemon's own work.
    """
    told, last, lines = bytearray(), None, 0
    while last is None and (most_lines is None or lines <= most_lines):
        piece = link.recv(_PIECE)
        if not piece:
            raise ConnectionError(f"closed the connection in the middle of '{command}'")
        # what may be a part of a line is looked at again
        begin = told.rfind(b"\n") + 1
        told += piece
        last = _LAST.search(told, begin)
        lines += piece.count(b"\n")
    if most_lines is not None and lines > most_lines:
        head = b"\n".join(told.split(b"\n", most_lines)[:most_lines])
        return f"{_text(head)}\n... cut after {most_lines} lines"
    text = _text(told).removesuffix("\n")
    if last is not None and last[1] in b"89":
        raise WorldError(f"bird: {command}", "; ".join(line for line in text.split("\n") if line))
    return text


def _text(lines: bytes | bytearray) -> str:
    return _HEAD.sub(b"", lines).decode("utf-8", errors="replace")

"""BIRD's control socket, spoken directly: one command, its answer as text.

The protocol (BIRD's doc/reply_codes): each line is `CODE-text` or `CODE text` (the last of a reply) or ` text` (goes on
with the code before). Codes 8xxx and 9xxx are errors.
"""

import socket
from pathlib import Path
from typing import TextIO

from anypop.model.errors import WorldError

_HELLO = "0001"


def ask(control: Path, *commands: str, timeout_s: float = 10) -> str:
    """The text of the replies to `commands`, one after the other, in one connection. Raises `WorldError` on an error
    reply or a dead daemon.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(timeout_s)
            link.connect(str(control))
            stream = link.makefile("r", encoding="utf-8", errors="replace")
            _reply(stream, "greeting", control)
            texts = []
            for command in commands:
                link.sendall(command.encode() + b"\n")
                texts.append(_reply(stream, command, control))
            return "\n".join(texts)
    except OSError as error:
        raise WorldError(f"bird at {control}", str(error)) from error


def glance(control: Path, command: str, *, most_lines: int, timeout_s: float) -> str:
    """The beginning of the reply to one command that can change nothing: the daemon itself refuses any other on this
    connection. A longer reply is cut, and says so. Raises `WorldError`.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(timeout_s)
            link.connect(str(control))
            stream = link.makefile("r", encoding="utf-8", errors="replace")
            _reply(stream, "greeting", control)
            link.sendall(b"restrict\n")
            _reply(stream, "restrict", control)
            link.sendall(command.encode() + b"\n")
            return _reply(stream, command, control, most_lines)
    except OSError as error:
        raise WorldError(f"bird at {control}", str(error)) from error


def _reply(stream: TextIO, command: str, control: Path, most_lines: int | None = None) -> str:
    lines: list[str] = []
    code = _HELLO
    for raw in stream:
        if most_lines is not None and len(lines) >= most_lines:
            return "\n".join([*lines, f"... cut after {most_lines} lines"])
        line = raw.rstrip("\n")
        if line[:1] in (" ", "+"):
            lines.append(line[1:])
            continue
        code, more, text = line[:4], line[4:5], line[5:]
        lines.append(text)
        if more != "-":
            break
    else:
        raise WorldError(f"bird at {control}", f"closed the connection in the middle of '{command}'")
    if code[0] in "89":
        raise WorldError(f"bird: {command}", "; ".join(line for line in lines if line))
    return "\n".join(lines)

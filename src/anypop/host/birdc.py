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


def _reply(stream: TextIO, command: str, control: Path) -> str:
    lines: list[str] = []
    code = _HELLO
    for raw in stream:
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

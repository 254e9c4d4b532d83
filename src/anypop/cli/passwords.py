"""What is secret and comes from a person or a file: passwords, tokens of invitations. Never from the command line,
where others see it, and never shown.

In: a file, or a terminal. Out: the text. `Failure` where nobody is there to ask.
"""

import getpass
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from anypop.cli.failure import Exit, Failure, usage

PasswordFile = Annotated[
    str,
    typer.Option(
        "--password-file", metavar="FILE|-", help="Holds the password. Default: $ANYPOP_PASSWORD, else asked for.",
        show_default=False,
    ),
]  # fmt: skip


def text_of(file: str) -> str:
    """The first line of a file, or of standard input."""
    try:
        text = sys.stdin.readline() if file == "-" else Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise usage(f"{file} cannot be read: {why}") from error
    return (text.splitlines() or [""])[0].strip("\r\n")


def password(file: str, question: str = "Password: ", *, variable: str = "ANYPOP_PASSWORD") -> str:
    """One that is there already."""
    if file:
        return text_of(file)
    return os.environ.get(variable) or _asked(question, "--password-file FILE, or ANYPOP_PASSWORD")


def new_password(file: str, *, variable: str = "ANYPOP_PASSWORD") -> str:
    """One that is chosen now: asked for twice, since nobody sees it."""
    if file:
        return text_of(file)
    if found := os.environ.get(variable):
        return found
    first = _asked("New password: ", f"it in a file, or {variable}")
    if getpass.getpass("Once more: ") != first:
        raise Failure("the two are not the same", advice="Nothing was changed: try again.")
    return first


def invitation(file: str) -> str:
    """The token of an invitation."""
    if file:
        return text_of(file).strip()
    return os.environ.get("ANYPOP_INVITATION") or _asked("Token: ", "--token-file FILE, or ANYPOP_INVITATION").strip()


def _asked(question: str, option: str) -> str:
    if not sys.stdin.isatty():
        raise Failure("nobody is here to ask for it", code=Exit.USAGE, advice=f"Say {option}.")
    return getpass.getpass(question)

"""Calling the command line in tests: one call in this process, its exit code and both streams; and recorded sessions of
such calls.

A recorded session is a text file: `$ anypop ...` lines, each followed by what was printed (`! ` marks standard error)
and `[exit N]` where N is not 0. `# columns N` sets the width of what follows, `# none` takes it away; other `#` lines
are comments.
"""

import io
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from anypop.cli.main import run
from tests.fake_control import client_file

PROGRESS = re.compile(r"^ *\d+\.\d{3} s", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    code: int
    out: str
    err: str


@contextmanager
def _streams(stdin: str) -> Iterator[tuple[io.StringIO, io.StringIO]]:
    kept = sys.stdin, sys.stdout, sys.stderr
    out, err = io.StringIO(), io.StringIO()
    sys.stdin, sys.stdout, sys.stderr = io.StringIO(stdin), out, err
    try:
        yield out, err
    finally:
        sys.stdin, sys.stdout, sys.stderr = kept


class Caller:
    """Calls `anypop` as if a platform's state folder were `folder`, with `transport` in place of the network."""

    def __init__(self, folder: Path, transport: httpx.BaseTransport | None, monkeypatch: pytest.MonkeyPatch) -> None:
        self.transport = transport
        self.monkeypatch = monkeypatch
        for name in ("URL", "CA", "CLIENT_ID", "CLIENT_SECRET", "STACK", "GRAPH", "OVERRIDES", "FOOTPRINT"):
            monkeypatch.delenv(f"ANYPOP_{name}", raising=False)
        monkeypatch.delenv("COLUMNS", raising=False)
        monkeypatch.setenv("ANYPOP_STATE", str(folder))
        (folder / "client.json").write_text(client_file())

    def __call__(self, *argv: str, stdin: str = "") -> Ran:
        with _streams(stdin) as (out, err):
            code = run(argv, transport=self.transport)
        return Ran(code=code, out=out.getvalue(), err=err.getvalue())

    def at_terminal(self, terminal: int, *argv: str) -> Ran:
        """The same call with a person at a terminal: standard input is that device, standard error says it is one."""

        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        kept = sys.stdin, sys.stdout, sys.stderr
        out, err = io.StringIO(), Terminal()
        with open(terminal, closefd=False) as stdin:
            sys.stdin, sys.stdout, sys.stderr = stdin, out, err
            try:
                code = run(argv, transport=self.transport)
            finally:
                sys.stdin, sys.stdout, sys.stderr = kept
        return Ran(code=code, out=out.getvalue(), err=err.getvalue())

    def replay(self, session: str) -> str:
        """The session with the output that its commands have today."""
        lines: list[str] = []
        for line in session.splitlines():
            if line.startswith("# columns "):
                self.monkeypatch.setenv("COLUMNS", line.removeprefix("# columns "))
            elif line == "# none":
                self.monkeypatch.delenv("COLUMNS", raising=False)
            if line.startswith("#"):
                lines += [line]
            elif line.startswith("$ anypop "):
                lines += ["", line, *_recorded(self(*shlex.split(line.removeprefix("$ anypop "))))]
        return "\n".join(lines).lstrip("\n") + "\n"


def _recorded(ran: Ran) -> list[str]:
    err = [f"! {line}".rstrip() for line in PROGRESS.sub("  #.### s", ran.err).splitlines()]
    return [*err, *ran.out.splitlines(), *([f"[exit {ran.code}]"] if ran.code else [])]

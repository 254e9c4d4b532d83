"""`anypop watch`: rows of any kind as they change, until Ctrl-C.

In: a kind and perhaps names. Out: on a terminal one table that changes in place; elsewhere each row that is new or
another, one a line. Instances come by their workload's own stream, everything else is looked at again when control
tells that something has happened.
"""

import json
import math
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from anypop.cli import kinds, views, watch
from anypop.cli.call import Call, command
from anypop.cli.get import OfWorkload
from anypop.cli.kinds import Kind, Row
from anypop.cli.listings import events_after, newest_event
from anypop.cli.screen import Format, Screen
from anypop.model.visible import visible_json

Words = Annotated[
    list[str],
    typer.Argument(metavar="KIND [NAME]...", help="What to watch, or the name of a workload: its instances."),
]


def register(root: typer.Typer) -> None:
    """The command of this file, at the top level."""
    examples = """
    anypop watch web
    anypop watch instances -w web
    anypop watch pops
    anypop watch announcements -w web -o json
    """
    command(root, "watch", examples=examples)(follow)


def follow(call: Call, words: Words, *, workload: OfWorkload = "") -> None:
    """Watch things change: one table in place; where no terminal is a line for each change ('-o json': an object)."""
    if len(words) == 1 and words[0].lower() not in {word for kind in kinds.KINDS for word in kind.words}:
        words, workload = ["instances"], words[0].removeprefix("workload/")
    kind, names = kinds.split(words)
    changes = _Changes(call.screen, kind)
    for rows in _states(call, kind, names, workload):
        changes.show(rows)


def _states(call: Call, kind: Kind, names: list[str], workload: str) -> Iterator[list[Row]]:
    if kind.name == "instance" and workload and not names:
        for seen in watch.states(call, workload, math.inf):
            yield views.by_name(seen)
        return
    after = newest_event(call)
    yield kinds.chosen(call, kind, names, workload)
    for _ in events_after(call, after):
        yield kinds.chosen(call, kind, names, workload)


class _Changes:
    """One table, or one line for each row that is another than before."""

    def __init__(self, screen: Screen, kind: Kind) -> None:
        self._screen, self._kind = screen, kind
        self._known: dict[str, Row] = {}
        self._live = screen.console("stdout").is_terminal and not screen.for_programs

    def show(self, rows: list[Row]) -> None:
        if self._live:
            self._screen.console("stdout").clear()
            self._screen.result(rows, lambda: [self._kind.table(rows)])
            return
        now = {self._identity(row): row for row in rows}
        another = [row for key, row in now.items() if self._known.get(key) != row]
        gone = [row for key, row in self._known.items() if key not in now]
        self._known = now
        if self._screen.output in (Format.JSON, Format.YAML):
            for change, several in (("now", another), ("gone", gone)):
                for row in several:
                    sys.stdout.write(visible_json(json.dumps({change: row}, ensure_ascii=False)) + "\n")
        elif another:
            self._screen.result(another, lambda: [self._kind.table(another)])
        if gone and not self._screen.for_programs:
            self._screen.result(gone, lambda: [f"gone: {self._kind.named(row)}" for row in gone])
        sys.stdout.flush()

    def _identity(self, row: Row) -> str:
        return " ".join(str(row.get(key)) for key in ("workload", self._kind.key, *self._kind.other))

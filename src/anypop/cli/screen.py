"""What a command says and where: results on standard output, everything else on standard error.

In: data of control and the tables made of it. Out: text. With `-o json` standard output holds one JSON document and
nothing else, with `-o yaml` the same as YAML. Width and styles come from the terminal; a pipe gets neither, and
`NO_COLOR` means no styles. Decides nothing about the content, but that none of it steers the terminal
(`model.visible`).
"""

import json
import os
import sys
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import IO, TYPE_CHECKING

from anypop.cli.failure import Failure
from anypop.cli.table import Piece, Table, lines
from anypop.model.visible import visible, visible_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


class Format(StrEnum):
    """`wide`: the table with all its columns, each row on one line. `name`: names alone."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    WIDE = "wide"
    NAME = "name"


Shown = Table | str | list[Piece]


class Screen:
    """Both streams of one command. Consoles are made when first needed: rich costs a tenth of a second to import."""

    def __init__(self, output: Format) -> None:
        self.output = output
        self._consoles: dict[str, Console] = {}

    def result(self, data: object, shown: Callable[[], Iterable[Shown]]) -> None:
        """The command's answer: `data` as JSON or YAML, or what `shown` makes of it."""
        match self.output:
            case Format.JSON:
                sys.stdout.write(visible_json(json.dumps(data, indent=2, ensure_ascii=False)) + "\n")
            case Format.YAML:
                sys.stdout.write(in_yaml(data))
            case _:
                self._print("stdout", shown())

    @property
    def for_programs(self) -> bool:
        """Whether standard output holds one document and nothing else."""
        return self.output in (Format.JSON, Format.YAML, Format.NAME)

    def note(self, *shown: Shown) -> None:
        """Progress, previews and questions: for people, on standard error."""
        self._print("stderr", shown)

    def preview(self, *shown: Shown) -> None:
        """What is about to happen: before the answer on standard output, or on standard error when that is for
        programs.
        """
        self._print("stderr" if self.for_programs else "stdout", shown)

    @property
    def interactive(self) -> bool:
        """Whether a person can be asked: questions go to standard error and answers come from standard input."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    @property
    def live(self) -> bool:
        """Whether progress can be drawn in place."""
        return self.console("stderr").is_terminal and not self.console("stderr").is_dumb_terminal

    def agree(self, question: str, *, yes: bool) -> None:
        """Ask before something changes; `Failure` when declined. Nobody is asked with `--yes` or where no person
        sits at a terminal.
        """
        if yes or not self.interactive:
            return
        sys.stderr.write(visible(f"{question} [y/N] "))
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise Failure("nothing was changed", advice="--yes answers the question beforehand.")

    def console(self, stream: str) -> "Console":
        if stream not in self._consoles:
            from rich.console import Console  # noqa: PLC0415 - see the class

            self._consoles[stream] = Console(
                file=_stream(stream), highlight=False, markup=False, emoji=False, soft_wrap=True,
                color_system=None if os.environ.get("NO_COLOR") else "auto",
            )  # fmt: skip
        return self._consoles[stream]

    def width(self, stream: str) -> int | None:
        """Characters in a line; None where lines have no end."""
        if self.output is Format.WIDE and stream == "stdout":
            return None
        return self.console(stream).width if _stream(stream).isatty() or os.environ.get("COLUMNS") else None

    def text(self, shown: Iterable[Shown], stream: str = "stderr") -> "Text":
        """Tables and sentences as one styled text, laid out for `stream`."""
        from rich.text import Text  # noqa: PLC0415 - see the class

        rows: list[Text] = []
        for item in shown:
            match item:
                case Table():
                    rows += [Text.assemble(*pieces) for pieces in lines(item, self.width(stream))]
                case str():
                    rows.append(Text(visible(item)))
                case _:
                    rows.append(Text.assemble(*((visible(text), style) for text, style in item)))
        return Text("\n").join(rows)

    def _print(self, stream: str, shown: Iterable[Shown]) -> None:
        text = self.text(shown, stream)
        if text.plain or stream == "stdout":
            self.console(stream).print(text)


def in_yaml(data: object) -> str:
    """One YAML document."""
    import yaml  # noqa: PLC0415 - most calls need none

    text = str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120))
    # what would steer a terminal is spelt out, and then every other letter beyond ASCII, too
    return text if visible(text) == text else str(yaml.safe_dump(data, sort_keys=False, width=120))


def _stream(name: str) -> IO[str]:
    return sys.stdout if name == "stdout" else sys.stderr

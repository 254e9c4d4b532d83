"""The reference part of docs/cli.md, made from the commands themselves: `python -m anypop.cli.reference docs/cli.md`
writes it anew.

In: the tree of commands. Out: Markdown below the line that marks its begin; everything above that line is written by
hand and stays. A test compares the two, so that no command and no option can be missing from the docs.
"""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anypop.cli.main import whole

MARK = "<!-- From here on written by: python -m anypop.cli.reference docs/cli.md -->"


def commands() -> Iterator[tuple[str, Any]]:
    """(name as typed, command) of every command that does something, in the order of the help."""
    yield from _under("anypop", whole())


def _under(name: str, found: Any) -> Iterator[tuple[str, Any]]:
    children = getattr(found, "commands", None)
    if children is None:
        yield name, found
        return
    for word, child in children.items():
        yield from _under(f"{name} {word}", child)


def options(found: Any) -> list[tuple[str, str]]:
    """(how it is written, its help) of every argument and option of a command."""
    rows = []
    for parameter in found.params:
        if parameter.param_type_name == "argument":
            shown = str(parameter.metavar or parameter.name).upper()
        else:
            names = [*parameter.opts, *parameter.secondary_opts]
            metavar = "" if getattr(parameter, "is_flag", False) else f" {parameter.metavar}"
            shown = ", ".join(names) + metavar
        rows.append((shown, str(parameter.help or "")))
    return rows


def markdown() -> str:
    """The whole reference."""
    every = list(commands())
    common = options(dict(every)["anypop instances"])[-3:]
    parts = [
        MARK,
        "",
        "## Reference",
        "",
        "Every command takes these, before or after its name (where it knows stacks, the last one too):",
        "",
    ]
    parts += [*_rows(common), "", "`anypop COMMAND --help` shows each of the following on a terminal.", ""]
    for name, found in every:
        text, _, examples = inspect.cleandoc(found.help or "").partition("\n\n\b\nExamples:\n")
        parts += [f"### `{name}`", "", text.replace("\b\n", ""), ""]
        if examples:
            parts += ["```", *(line.strip() for line in examples.splitlines()), "```", ""]
        parts += [*_rows([row for row in options(found) if row not in common]), ""]
    return "\n".join(parts).rstrip("\n") + "\n"


def _rows(rows: list[tuple[str, str]]) -> list[str]:
    cells = [f"| `{shown.replace('|', chr(92) + '|')}` | {text} |" for shown, text in rows]
    return ["| | |", "|---|---|", *cells] if cells else ["No options of its own."]


def main() -> None:
    path = Path(sys.argv[1])
    above = path.read_text().partition(MARK)[0] if path.exists() else ""
    path.write_text(above + markdown())


if __name__ == "__main__":
    main()

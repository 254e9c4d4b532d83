"""`anypop man`: manual pages, one for `anypop` and one for each command, made from the commands themselves.

In: the tree of commands. Out: files `anypop.1`, `anypop-get.1`, ... in a folder, as man(7) has them. What `--help` says
stands in them, and nothing else.
"""

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer

from anypop.cli import tree
from anypop.cli.call import Call, command
from anypop.cli.failure import Failure


def register(root: typer.Typer) -> None:
    """The command of this file, at the top level."""
    command(
        root,
        "man",
        stack=False,
        examples="anypop man /usr/local/share/man/man1\nanypop man . && man ./anypop-apply.1",
    )(man)


def man(call: Call, folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where they are written.")]) -> None:
    """Write the manual pages: anypop.1, and one for each command."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = pages()
        for name, text in found.items():
            (folder / name).write_text(text)
    except OSError as error:
        raise Failure(
            f"{folder} cannot be written: {error.strerror or error}", advice="Name a folder of your own, or use sudo."
        ) from error
    call.screen.result({"folder": str(folder), "pages": list(found)}, lambda: [f"{len(found)} pages in {folder}"])


def pages() -> dict[str, str]:
    """Text by the name of its file."""
    from anypop.cli.reference import commands, options  # noqa: PLC0415 - it makes every command

    every = list(commands())
    common = options(dict(every)["anypop instances"])[-3:]
    found = {"anypop.1": _whole([name for name, _ in every])}
    for name, one in every:
        rows = [row for row in options(one) if row not in common]
        found[f"{name.replace(' ', '-')}.1"] = _page(name, one, rows, common)
    return found


def _whole(names: list[str]) -> str:
    lines = [_head("anypop"), ".SH NAME", f"anypop \\- {_text(tree.ABOUT)}", ".SH SYNOPSIS"]
    lines += [".B anypop", "[OPTIONS] COMMAND [ARGS]..."]
    for title, commands in tree.SECTIONS:
        lines += [f".SH {_text(title).upper()}"]
        lines += [part for name, _, _, about in commands for part in (".TP", f".B {_text(name)}", _text(about))]
    lines += [".SH OPTIONS"]
    lines += [part for option, about in tree.OPTIONS for part in (".TP", f".B {_text(option)}", _text(about))]
    lines += [".SH EXIT STATUS", _text(tree.EXIT_CODES.removeprefix("Exit codes: "))]
    pages = ", ".join(f"{_text(name.replace(' ', '-'))}(1)" for name in names)
    return "\n".join([*lines, ".SH SEE ALSO", pages]) + "\n"


def _page(name: str, one: Any, rows: list[tuple[str, str]], common: list[tuple[str, str]]) -> str:
    text, _, examples = inspect.cleandoc(one.help or "").partition("\n\n\b\nExamples:\n")
    paragraphs = [" ".join(part.split()) for part in text.replace("\b\n", "").split("\n\n")]
    arguments = [shown for shown, _ in rows if not shown.startswith("-")]
    lines = [_head(name), ".SH NAME", f"{_text(name.replace(' ', '-'))} \\- {_text(paragraphs[0])}"]
    lines += [".SH SYNOPSIS", f".B {_text(name)}", _text(" ".join([*arguments, "[OPTIONS]"])), ".SH DESCRIPTION"]
    lines += [part for paragraph in paragraphs for part in (".PP", _text(paragraph))]
    lines += [".SH OPTIONS"]
    lines += [part for shown, about in (*rows, *common) for part in (".TP", f".B {_text(shown)}", _text(about))]
    if examples:
        lines += [".SH EXAMPLES", ".nf", *(_text(line.strip()) for line in examples.splitlines()), ".fi"]
    return "\n".join([*lines, ".SH SEE ALSO", "anypop(1)"]) + "\n"


def _head(name: str) -> str:
    from importlib.metadata import version  # noqa: PLC0415 - no other command needs it

    return f'.TH {name.replace(" ", "-").upper()} 1 "" "anypop {version("anypop")}"'


def _text(text: str) -> str:
    """As it is, whatever letters are in it."""
    shown = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{shown}" if shown.startswith((".", "'")) else shown

"""The command line's entry: the tree of commands, and how a call ends.

In: argv. Out: an exit code (see `failure`). A command's file is imported when that command is called, and no other
(`tree` has the names); none imports an HTTP client or a table renderer before it runs. Nothing here knows what a
command does.
"""

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from anypop.cli import tree
from anypop.cli.call import Output, Root
from anypop.cli.failure import Exit, Failure
from anypop.cli.screen import Format
from anypop.model.errors import Invalid, WorldError
from anypop.model.visible import visible

if TYPE_CHECKING:
    import httpx


class Commands(TyperGroup):
    """The commands of `tree`, each made when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return tree.names()

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        made_by = tree.made_by(cmd_name)
        if cmd_name not in self.commands and made_by is not None:
            (first, *rest), member = made_by
            module = importlib.import_module(f"anypop.cli.{first}")
            for other in rest:
                importlib.import_module(f"anypop.cli.{other}")
            holder = typer.Typer(rich_markup_mode=None, add_completion=False)
            made = getattr(module, member)
            if isinstance(made, typer.Typer):
                holder.add_typer(made, name=cmd_name)
            else:
                made(holder)
            holder.callback()(_nothing)
            found: Any = typer.main.get_group(holder).commands[cmd_name]
            if rest:  # whichever of them was imported first
                turn = [f"anypop.cli.{name}" for name in (first, *rest)]
                found.commands = dict(sorted(found.commands.items(), key=lambda one: turn.index(_module_of(one[1]))))
            self.commands[cmd_name] = found
        return self.commands.get(cmd_name)

    def get_help(self, ctx: Any) -> str:
        return tree.help_text(tree.width_here()).rstrip("\n")


def _module_of(command: Any) -> str:
    """Of a group: that of what is in it."""
    while command.callback is None:
        command = next(iter(command.commands.values()))
    return str(command.callback.__module__)


def _nothing() -> None:
    """Keeps a group of one command a group."""


app = typer.Typer(
    name="anypop",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]},
    help=tree.ABOUT,
)

# ClickException and UsageError: the parents of the one error class that every version of typer exports, wherever it
# keeps click.
_USAGE_ERROR, _COMMAND_LINE_ERROR = typer.BadParameter.__mro__[1], typer.BadParameter.__mro__[2]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - no other call needs it

        typer.echo(f"anypop {version('anypop')}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    state: Annotated[
        Path | None, typer.Option("--state", metavar="DIR", help="State folder of the platform meant, for any command.")
    ] = None,
    context: Annotated[
        str, typer.Option("--context", metavar="NAME", help="A platform that 'anypop context list' shows.")
    ] = "",
    stack: Annotated[str, typer.Option("--stack", metavar="STACK", help="Stack, by id or slug, for any command.")] = "",
    output: Output = Format.TABLE,
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Say which version this is, and do nothing else."
        ),
    ] = False,
) -> None:
    found = ctx.ensure_object(Root)
    found.state, found.context, found.stack, found.output = state, context, stack, output


def whole() -> Any:
    """The tree with all of its commands made: for what is written from it."""
    group: Any = typer.main.get_command(app)
    for name in tree.names():
        group.get_command(None, name)
    return group


def run(argv: Sequence[str], *, transport: "httpx.BaseTransport | None" = None) -> int:
    """The exit code of one call. `transport` stands in for the network in tests."""
    try:
        return int(app(list(argv), prog_name="anypop", standalone_mode=False, obj=Root(transport=transport)) or Exit.OK)
    except Failure as failure:
        return _ended(failure)
    except Invalid as error:
        found = list(dict.fromkeys(str(problem) for problem in error.problems))
        return _ended(
            Failure(
                found[0] if len(found) == 1 else f"{len(found)} problems",
                code=Exit.USAGE,
                problems=found if len(found) > 1 else (),
            )
        )
    except WorldError as error:
        return _ended(Failure(str(error)))
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("\n")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # the reader is gone; Python would complain again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED
    except Exception as error:
        if not isinstance(error, _COMMAND_LINE_ERROR):
            raise
        return _ended(_misused(error))


def _misused(error: Exception) -> Failure:
    ctx = getattr(error, "ctx", None)
    # a group without a command: its help is the answer
    if type(error).__name__ == "NoArgsIsHelpError" and ctx is not None:
        sys.stderr.write(ctx.get_help() + "\n\n")
        return Failure(f"say which command of '{ctx.command_path}'", code=Exit.USAGE)
    message = str(error.format_message() if hasattr(error, "format_message") else error).strip().rstrip(".")
    message = message.replace("Value error, ", "")
    path = ctx.command_path if ctx is not None else "anypop"
    if "did you mean" not in message.lower() and ctx is not None:
        known = ctx.command.list_commands(ctx) if hasattr(ctx.command, "list_commands") else []
        message += _suggestion(message, list(known))
    return Failure(message[:1].lower() + message[1:], code=Exit.USAGE, advice=f"'{path} --help' shows how.")


def _suggestion(message: str, known: list[str]) -> str:
    word = message.partition("'")[2].partition("'")[0]
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _ended(failure: Failure) -> int:
    sys.stderr.write(visible("\n".join(failure.lines())) + "\n")
    return int(failure.code)


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()

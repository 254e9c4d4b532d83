"""The command line's entry: the tree of commands, and how a call ends.

In: argv. Out: an exit code (see `failure`). Every command lives in a file that imports no HTTP client and no table
renderer until it runs, so that `anypop --help` stays quick. Nothing here knows what a command does.
"""

import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

# changes and timeline add their commands to workloads
from anypop.cli import (
    announce,
    applying,
    audit,
    backbone,
    backups,
    changes,  # noqa: F401
    deleting,
    dials,
    drains,
    editing,
    following,
    get,
    hosts,
    instances,
    labs,
    listings,
    probes,
    rollouts,
    routes,
    timeline,  # noqa: F401
    usage,
    waiting,
    workloads,
)
from anypop.cli.call import Output, Root
from anypop.cli.catchment import commands as catchment
from anypop.cli.catchment import doctor
from anypop.cli.failure import Exit, Failure
from anypop.cli.screen import Format
from anypop.model.errors import Invalid, WorldError
from anypop.model.visible import visible

if TYPE_CHECKING:
    import httpx

app = typer.Typer(
    name="anypop",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]},
    help="Run containers in many cities behind one anycast address, on your own machines and your own AS number.\n\n"
    "\b\nExamples:\n"
    "  sudo anypop up                                        an internet and the platform, on this machine\n"
    "  anypop workload create web --image IMAGE --port 80 --target eu1=AMS,LHR --anycast\n"
    "  anypop probe --all                                    where does each vantage land?\n"
    "  anypop why london                                     and why there?\n"
    "  anypop announce scope web --pop JFK,LAX --upstream 209 --keep-in NA\n\n"
    "Exit codes: 0 done, 1 failed or declined, 2 wrong input, 3 control not reachable, 4 not allowed, 5 no such thing, "
    "6 not in time.",
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
    found.state, found.stack, found.output = state, stack, output


for part in (get, applying, editing, deleting, waiting, following):
    part.register(app)
workloads.register(app)
app.add_typer(workloads.app, name="workload")
app.add_typer(rollouts.app, name="rollout")
app.add_typer(hosts.app, name="host")
backbone.register(app)
usage.register(app)
app.add_typer(hosts.quotas, name="quota")
listings.register(app)
drains.register(app)
instances.register(app)
dials.register(app)
audit.register(app)
probes.register(app)
app.add_typer(announce.app, name="announce")
app.add_typer(listings.communities, name="communities")
app.add_typer(catchment.app, name="catchment")
doctor.register(app)
app.add_typer(routes.app, name="route")
app.add_typer(labs.app, name="lab")
labs.register(app)
backups.register(app)


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
        message += _suggestion(message, list(getattr(ctx.command, "commands", {})))
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

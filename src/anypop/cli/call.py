"""The frame of every command: its common options, its screen, its way to control.

`command(app, "list")` registers a function whose first parameter is a `Call`; on the command line that parameter
becomes the options `-o`, `--state` and `--stack`, and one that is a dataclass of options becomes these. A command never
parses them, never opens a connection by itself, and prints through `call.screen` only.
"""

import inspect
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints
from urllib.parse import quote

import typer

from anypop.cli import settings as where
from anypop.cli.failure import usage
from anypop.cli.screen import Format, Screen

if TYPE_CHECKING:
    import httpx

    from anypop.cli.client import Client

Output = Annotated[
    Format,
    typer.Option(
        "--output",
        "-o",
        metavar="table|wide|json|yaml",
        help="A table for people (wide: all of its columns), or JSON or YAML for programs.",
        show_default=True,
    ),
]
State = Annotated[
    Path | None,
    typer.Option(
        "--state", metavar="DIR", help="State folder of the platform (default: $ANYPOP_STATE, else /var/lib/anypop)."
    ),
]
Stack = Annotated[
    str, typer.Option("--stack", metavar="STACK", help="Stack, by id or slug (default: that of the platform).")
]


@dataclass(slots=True)
class Root:
    """What stands before the command's name, and what a test puts in place of the network."""

    state: Path | None = None
    context: str = ""
    stack: str = ""
    output: Format = Format.TABLE
    transport: "httpx.BaseTransport | None" = None


class Call:
    """One call of one command."""

    def __init__(self, root: Root, *, output: Format, state: Path | None, stack: str) -> None:
        self.screen = Screen(output if output is not Format.TABLE else root.output)
        self.state = state or root.state
        self.context = "" if state else root.context
        self._stack = stack or root.stack
        self._transport = root.transport

    @cached_property
    def client(self) -> "Client":
        return self.client_of(where.load(self.state, os.environ, stack=self._stack, context=self.context))

    def client_of(self, settings: where.Settings) -> "Client":
        """A client of a platform that is told apart from the usual one."""
        from anypop.cli.client import Client  # noqa: PLC0415 - httpx costs a quarter of a second

        return Client(settings, transport=self._transport)

    @property
    def folder(self) -> Path:
        """The state folder meant, for the commands that work on it directly."""
        return where.state_dir(self.state, os.environ).absolute()

    def stack_path(self, service: str, *, version: str = "v1") -> str:
        """`/workload/v1/stacks/<stack>` of a service such as `workload`; `anypop` is our own."""
        return f"/{service}/{version}/stacks/{quote(self.client.settings.stack, safe='')}"

    def workload_path(self, workload: str, service: str = "workload") -> str:
        return f"{self.stack_path(service)}/workloads/{quote(workload, safe='')}"


_COMMON = [
    inspect.Parameter("output", inspect.Parameter.KEYWORD_ONLY, default=Format.TABLE, annotation=Output),
    inspect.Parameter("state", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=State),
    inspect.Parameter("stack", inspect.Parameter.KEYWORD_ONLY, default="", annotation=Stack),
]


def called() -> str:
    """How to call this program again from the shell it was called from: by name where that is on the path, with sudo
    if it came so.
    """
    me = Path(sys.argv[0])
    name = str(me.absolute()) if me.name == "anypop" and not shutil.which("anypop") else "anypop"
    return f"sudo {name}" if os.environ.get("SUDO_USER") else name


def command(
    app: typer.Typer, name: str, *, stack: bool = True, examples: str = "", words: bool = False, names: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register `function(call, ...)` as a command. `stack=False`: it knows no stack. `examples`: command lines, one
    a line. `words`: what follows the first argument is not looked at for options. `names`: it knows `-o name`.
    """
    common = _COMMON if stack else _COMMON[:-1]

    def register(function: Callable[..., None]) -> Callable[..., None]:
        own, several = _spelled_out(list(inspect.signature(function, eval_str=True).parameters.values())[1:])

        def run(ctx: typer.Context, **values: Any) -> None:
            call = Call(
                ctx.find_root().obj or Root(),
                output=values.pop("output"),
                state=values.pop("state"),
                stack=values.pop("stack", ""),
            )
            if call.screen.output is Format.NAME and not names:
                raise usage(f"'{name}' has no -o name", advice="'anypop get KIND -o name' prints names.")
            for parameter, kind in several.items():
                values[parameter] = kind(**{f.name: values.pop(f.name) for f in fields(kind)})
            try:
                function(call, **values)
            finally:
                if "client" in call.__dict__:
                    call.client.close()

        context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
        shown = [context, *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own), *common]
        run.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in shown}
        run.__name__, run.__module__ = function.__name__, function.__module__
        settings = {"allow_interspersed_args": not words}
        app.command(name, help=_help(function.__doc__ or "", examples), context_settings=settings)(run)
        return function

    return register


def _spelled_out(
    parameters: Sequence[inspect.Parameter],
) -> tuple[list[inspect.Parameter], dict[str, type[Any]]]:
    """A parameter that is a dataclass of options as these options; and which those are."""
    found: list[inspect.Parameter] = []
    several: dict[str, type[Any]] = {}
    for parameter in parameters:
        kind = parameter.annotation
        if not (isinstance(kind, type) and is_dataclass(kind)):
            found.append(parameter)
            continue
        several[parameter.name] = kind
        hints = get_type_hints(kind, include_extras=True)
        found += [
            inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name])
            for f in fields(kind)
        ]
    return found, several


def _help(text: str, examples: str) -> str:
    body = inspect.cleandoc(text)
    if not examples:
        return body
    # The two \b marks keep typer from flowing example lines together.
    return f"{body}\n\n\b\nExamples:\n" + "\n".join(f"  {line.strip()}" for line in examples.strip().splitlines())

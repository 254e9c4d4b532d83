"""Options and arguments that several commands share. Nothing but their names, their values and their help texts."""

from pathlib import Path
from typing import Annotated

import typer

KnownWorkload = Annotated[str, typer.Argument(metavar="WORKLOAD", help="Its name (slug) or id.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask. (Nobody is asked where no terminal is.)")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Whether to wait for the end of it.")]
Timeout = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", help="Give up waiting after so long (exit code 6).", min=0.1)
]
Files = Annotated[
    list[Path] | None,
    typer.Option(
        "--file",
        "-f",
        metavar="FILE|DIR|-",
        help="Workloads as YAML or JSON, or a Compose file; a directory: all in it; '-': standard input. Repeatable.",
        show_default=False,
    ),
]

"""Options and arguments that several commands share. Nothing but their names, their values and their help texts."""

from typing import Annotated

import typer

KnownWorkload = Annotated[str, typer.Argument(metavar="WORKLOAD", help="Its name (slug) or id.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask. (Nobody is asked where no terminal is.)")]

"""`anypop console`: the serial console of a virtual machine.

In: an instance; keys of this terminal, or what is piped here. Out: what the guest says, as it is: its console is its
own, as a terminal that was asked for is. It goes on, also while the guest begins anew, until Ctrl-] is pressed, access
ends or the instance is gone.
"""

import sys
from typing import Annotated

import typer

from anypop.cli import attaching, terminal
from anypop.cli.call import Call, command
from anypop.cli.failure import Failure


def register(root: typer.Typer) -> None:
    """The command of this file, at the top level."""
    examples = """
    anypop console db-eu1-lhr-0
    """
    command(root, "console", examples=examples)(console)


def console(
    call: Call,
    instance: Annotated[str, typer.Argument(metavar="INSTANCE", help="Its name; it has to be a virtual machine.")],
) -> None:
    """Attach the console of a virtual machine; Ctrl-] leaves it. Others may have it attached too: all see the same, and
    all may type. It stands in the audit log.
    """
    workload = attaching.one(call, instance)
    tty = sys.stdin.isatty() and sys.stdout.isatty()
    path = attaching.path_of(call, workload, instance, "console")
    with call.client.socket(path, [], what=f"attach the console of {instance}") as there:
        if tty:
            call.screen.note(f"attached to {instance}; Ctrl-] leaves, Enter shows where it is")
        left = terminal.console(there, tty=tty)
    if not left:
        raise Failure("the console has ended", advice="Is the instance still there, and are not too many attached?")
    call.screen.note(f"left {instance}")

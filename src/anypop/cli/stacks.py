"""`anypop stack ...`: the stacks of an account, which hold its workloads.

In: names. Out: tables. Which stack another command means is said by `--stack`; a stack is there for good, until its
account goes.
"""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from anypop.cli import views
from anypop.cli.call import Call, command
from anypop.cli.table import Cell, Column, Table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Stacks: list, make, rename.")

ROOT = "/stack/v1/stacks"
Name = Annotated[str, typer.Argument(metavar="NAME", help="For people, as 'Web shop'.")]


@command(app, "list", stack=False, examples="anypop stack list")
def list_stacks(call: Call) -> None:
    """The account's stacks, oldest first."""
    found = call.client.every(ROOT, what="list stacks")
    call.screen.result(found, lambda: [_table(found)])


@command(app, "create", stack=False, examples="anypop stack create Shop\nanypop stack create Shop --slug shop")
def create(
    call: Call,
    name: Name,
    *,
    slug: Annotated[
        str,
        typer.Option("--slug", metavar="SLUG", help="Default: made from the name, and six digits.", show_default=False),
    ] = "",
) -> None:
    """Make a stack. Its slug is what commands and names of instances have; it stays as it is."""
    body = {"name": name, **({"slug": slug} if slug else {})}
    found = call.client.call("POST", ROOT, what=f"create stack {name}", body=body)["stack"]
    call.screen.result(found, lambda: [f"stack {found['slug']}: {found['id']}"])


@command(app, "rename", stack=False, examples="anypop stack rename shop 'Web shop'")
def rename(
    call: Call, which: Annotated[str, typer.Argument(metavar="STACK", help="By id or slug.")], name: Name
) -> None:
    """Give a stack another name; its slug stays."""
    path = f"{ROOT}/{quote(which, safe='')}"
    found: dict[str, Any] = call.client.call("PATCH", path, what=f"rename stack {which}", body={"name": name})
    stack = found.get("stack") or found
    call.screen.result(stack, lambda: [f"stack {stack['slug']} is called {stack['name']}"])


def _table(found: list[views.Data]) -> Table:
    columns = [Column(head="STACK"), Column(head="NAME"), Column(head="CREATED", drop=2), Column(head="ID", drop=1)]
    rows: list[list[Cell]] = [
        [str(s.get("slug")), views.text(s.get("name")), views.moment(s.get("createdAt")), (str(s.get("id")), "dim")]
        for s in found
    ]
    return Table(columns=columns, rows=rows, empty="no stacks: 'anypop stack create NAME' makes one")

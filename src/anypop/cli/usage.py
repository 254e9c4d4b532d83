"""`anypop usage`: instance-hours and what they cost so far, by workload.

In: a stack or all of the account, one workload or all, from when to when. Out: control's sums as a table; it counts and
prices.
"""

from typing import Annotated
from urllib.parse import quote

import typer

from anypop.cli import views
from anypop.cli.call import Call, command
from anypop.cli.screen import Shown
from anypop.cli.table import Cell, Column, Table


def register(root: typer.Typer) -> None:
    @command(
        root,
        "usage",
        examples="""
        anypop usage
        anypop usage --all --since 2026-11-01T00:00:00Z --until 2026-12-01T00:00:00Z
        anypop usage --workload web -o json | jq .total
        """,
    )
    def usage(
        call: Call,
        *,
        workload: Annotated[
            str,
            typer.Option(
                "--workload", metavar="NAME", help="Only this one; also one that is gone.", show_default=False
            ),
        ] = "",
        since: Annotated[
            str, typer.Option("--since", metavar="TIME", help="From this moment (RFC 3339).", show_default=False)
        ] = "",
        until: Annotated[
            str, typer.Option("--until", metavar="TIME", help="To this moment (default: now).", show_default=False)
        ] = "",
        every: Annotated[bool, typer.Option("--all", help="All stacks of the account.")] = False,
        account: Annotated[
            str,
            typer.Option(
                "--account",
                metavar="ID",
                help="All of another account, also a deleted one (operator).",
                show_default=False,
            ),
        ] = "",
    ) -> None:
        """Instance-hours and their cost so far, by workload; of those that are gone too."""
        if account:
            path = f"/anypop/v1/accounts/{quote(account, safe='')}/usage"
        else:
            path = "/anypop/v1/usage" if every else f"{call.stack_path('anypop')}/usage"
        query = {"workload": workload, "since": since, "until": until}
        found = call.client.get(path, what="show usage", **{name: text for name, text in query.items() if text})
        call.screen.result(found, lambda: lines(found))


def lines(found: views.Data) -> list[Shown]:
    total = found.get("total") or {}
    hours = f"{float(total.get('instance_hours') or 0):.2f}"
    span = f"{views.moment(found['since'])} to" if found.get("since") else "until"
    return [
        f"{span} {views.moment(found.get('until'))}: {hours} instance-hours, {costs(total.get('costs'))}",
        "",
        table(found.get("results") or []),
    ]


def table(found: list[views.Data]) -> Table:
    columns = [
        Column(head="STACK", drop=2),
        Column(head="WORKLOAD"),
        Column(head="NOW"),
        Column(head="INSTANCE-HOURS", right=True),
        Column(head="ANYCAST-HOURS", right=True, drop=1),
        Column(head="GIB-HOURS", right=True, drop=1, maybe=True),
        Column(head="COST", right=True),
    ]
    rows: list[list[Cell]] = [
        [
            views.text(row.get("stack")),
            views.text(row.get("slug")),
            "gone" if row.get("gone") else f"{row.get('running')} run",
            f"{float(row.get('instance_hours') or 0):.2f}",
            f"{float(row.get('anycast_hours') or 0):.2f}",
            f"{float(row['volume_gib_hours']):.2f}" if row.get("volume_gib_hours") else "",
            costs(row.get("costs")),
        ]
        for row in found
    ]
    return Table(columns=columns, rows=rows, empty="nothing has run yet")


def costs(found: object) -> str:
    """`12.34 USD`, or several."""
    known = found if isinstance(found, dict) else {}
    return ", ".join(f"{float(cost):.2f} {views.text(currency)}" for currency, cost in known.items()) or "0.00"

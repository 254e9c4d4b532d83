"""`anypop audit`: who did what, when, from where; and how old entries are let go.

In: filters. Out: entries of control's audit log, oldest first, or those of one request with what was before and after.
Everything is asked of control; nothing is decided here.
"""

import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from anypop.cli import views
from anypop.cli.call import Call, command
from anypop.cli.failure import usage
from anypop.cli.options import Yes
from anypop.cli.screen import Shown
from anypop.cli.table import Cell, Column, Table


def _filter(name: str, what: str) -> typer.models.OptionInfo:
    found: typer.models.OptionInfo = typer.Option(f"--{name}", metavar=name.upper(), help=what, show_default=False)
    return found


def register(root: typer.Typer) -> None:
    @command(
        root,
        "audit",
        stack=False,
        examples="anypop audit --limit 20\nanypop audit --operation delete_workload -o json\n"
        "anypop audit --outcome refused --address 192.0.2.7\nanypop audit --request ID",
    )
    def audit(
        call: Call,
        *,
        limit: Annotated[int, typer.Option("--limit", metavar="N", help="The last N entries.", min=1, max=1000)] = 50,
        actor: Annotated[str, _filter("actor", "By this one: an account's name and a client id.")] = "",
        account: Annotated[str, _filter("account", "By this account, by its id.")] = "",
        operation: Annotated[str, _filter("operation", "Only this, as the API names it: create_workload.")] = "",
        subject: Annotated[str, _filter("subject", "To this: a workload, a host, a credential, a stack.")] = "",
        address: Annotated[str, _filter("address", "From this address.")] = "",
        outcome: Annotated[str, _filter("outcome", "done, or refused (sign-ins).")] = "",
        request: Annotated[str, _filter("request", "Of this request, with what was before and after.")] = "",
    ) -> None:
        """Who did what, when and from where, oldest first: all of it for the operator, what concerns an account for
        others.
        """
        wanted = {
            "actor": actor, "account_id": account, "operation": operation, "subject": subject, "address": address,
            "outcome": outcome, "request_id": request,
        }  # fmt: skip
        query: dict[str, str | int] = {name: value for name, value in wanted.items() if value}
        found = call.client.call("GET", "/anypop/v1/audit", what="read the audit log", query={**query, "limit": limit})
        entries = found.get("results") or []
        call.screen.result(entries, lambda: [table(entries), *(_details(entries) if request else [])])

    @command(root, "audit-prune", stack=False, examples="anypop audit-prune --before 2026-01-01 --yes")
    def prune(
        call: Call,
        *,
        before: Annotated[str, typer.Option("--before", metavar="DATE", help="2026-01-01, or with a time in UTC.")],
        yes: Yes = False,
    ) -> None:
        """Let go of entries of the audit log that are older than a day (operator). Nothing else ever deletes one, and
        this itself stays in the log.
        """
        try:
            moment = datetime.fromisoformat(before)
        except ValueError as error:
            raise usage(f"'{before}' is no date", advice="Write 2026-01-01 or 2026-01-01T12:00:00.") from error
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        call.screen.agree(f"Delete all entries of the audit log older than {moment.isoformat()}, for good?", yes=yes)
        body = {"before": moment.isoformat()}
        found = call.client.call("POST", "/anypop/v1/audit/prune", what="prune the audit log", body=body)
        call.screen.result(found, lambda: [f"{found.get('removed', 0)} entries were deleted"])


def table(found: list[views.Data]) -> Table:
    columns = [
        Column(head="TIME"),
        Column(head="WHO"),
        Column(head="FROM", drop=2),
        Column(head="WHAT"),
        Column(head="TO", maybe=True),
        Column(head="OUTCOME", drop=1),
        Column(head="REQUEST", drop=3),
    ]
    rows: list[list[Cell]] = [
        [
            (views.moment(e.get("at")), "dim"),
            views.text(e.get("actor")),
            views.text(e.get("address")),
            views.text(e.get("operation")),
            views.text(e.get("subject")),
            (views.text(e.get("outcome")), "red" if e.get("outcome") == "refused" else ""),
            (views.text(e.get("request_id")), "dim"),
        ]
        for e in found
    ]
    return Table(columns=columns, rows=rows, empty="nothing in the log fits")


def _details(found: list[views.Data]) -> list[Shown]:
    """What was before and after each entry, as documents."""
    lines: list[Shown] = []
    for entry in found:
        for when in ("before", "after"):
            if entry.get(when) is not None:
                lines += ["", [(f"{entry.get('subject')}, {when}:", "bold")], json.dumps(entry[when], indent=2)]
    return lines

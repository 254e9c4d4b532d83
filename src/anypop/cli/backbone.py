"""`anypop backbone`: the tunnels between hosts, and what was sent through them each month.

In: nothing but the command. Out: control's answer as tables. Control counts and prices.
"""

import typer

from anypop.cli import dials, views
from anypop.cli.call import Call, command
from anypop.cli.screen import Shown
from anypop.cli.table import Cell, Column, Table


def register(root: typer.Typer) -> None:
    @command(
        root,
        "backbone",
        stack=False,
        examples="anypop backbone\nanypop backbone -o json | jq '.months[0]'",
    )
    def backbone(call: Call) -> None:
        """The tunnels between hosts, the prefixes that are carried, and what was sent each month."""
        found = call.client.get("/anypop/v1/backbone", what="show the backbone")
        call.screen.result(found, lambda: lines(found))


def lines(found: views.Data) -> list[Shown]:
    carried = ", ".join(map(str, found.get("carried") or [])) or "nothing yet"
    head = "no backbone: each PoP is on its own (docs/backbone.md)" if not found.get("on") else f"carried: {carried}"
    shown: list[Shown] = [head, "", tunnels_table(found.get("tunnels") or [])]
    if dialled := found.get("dials"):
        shown += ["", dials.table(dialled)]
    if months := found.get("months"):
        shown += ["", months_table(months), "", *sent_through(months[0])]
    return shown


def sent_through(month: views.Data) -> list[Shown]:
    """What each tunnel cost in a month. Whose packets they were nothing counts."""
    columns = [
        Column(head=f"SENT IN {views.text(month.get('month'))}"),
        Column(head="TO"),
        Column(head="GB", right=True),
        Column(head="PRICE", right=True),
    ]
    rows: list[list[Cell]] = [
        [views.text(t.get("from")), views.text(t.get("host")), _gb(t.get("sent_bytes")), _price(t, month)]
        for t in month.get("tunnels") or []
    ]
    return [Table(columns=columns, rows=rows)] if rows else []


def tunnels_table(found: list[views.Data]) -> Table:
    columns = [
        Column(head="FROM"),
        Column(head="TO"),
        Column(head="KM", right=True, drop=2),
        Column(head="STATE"),
        Column(head="SINCE", drop=1, maybe=True),
        Column(head="SENT GB", right=True),
        Column(head="RECEIVED GB", right=True),
    ]
    rows: list[list[Cell]] = [
        [
            views.text(t.get("from")),
            views.text(t.get("host")),
            views.text(t.get("distance_km")),
            ("up", "green") if t.get("up") else ("down", "bold red"),
            views.moment(t.get("since")),
            _gb(t.get("sent_bytes")),
            _gb(t.get("received_bytes")),
        ]
        for t in found
    ]
    return Table(columns=columns, rows=rows, empty="no host has told of a tunnel")


def months_table(found: list[views.Data]) -> Table:
    columns = [Column(head="MONTH"), Column(head="SENT GB", right=True), Column(head="PRICE", right=True)]
    rows: list[list[Cell]] = [
        [
            views.text(m.get("month")),
            _gb(m.get("sent_bytes")),
            _price(m, m),
        ]
        for m in found
    ]
    return Table(columns=columns, rows=rows)


def _price(row: views.Data, month: views.Data) -> str:
    return f"{float(row.get('price') or 0):.2f} {views.text(month.get('currency'))}"


def _gb(count: object) -> str:
    return f"{int(str(count or 0)) / 1e9:.2f}"

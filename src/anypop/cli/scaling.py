"""Numbers of instances that follow their load, as people read them.

In: a declared target, or rows of control's answer. Out: a table and sentences. Pure.
"""

from collections.abc import Sequence

from anypop.cli import views
from anypop.cli.screen import Shown
from anypop.cli.table import Cell, Column, Table


def follows(target: views.Data) -> bool:
    """Whether its number follows its load."""
    declared = ((target.get("spec") or {}).get("deployments")) or {}
    return bool((declared.get("scaleSettings") or {}).get("metrics"))


def table(rows: Sequence[views.Data]) -> Table:
    columns = [
        Column(head="TARGET"),
        Column(head="POP"),
        Column(head="NOW", right=True),
        Column(head="MIN", right=True),
        Column(head="MAX", right=True),
        Column(head="USE EACH", right=True),
        Column(head="CHANGED", drop=1),
        Column(head="WHY", prose=True),
    ]
    shown: list[list[Cell]] = [
        [
            views.text(row.get("target")),
            views.text(row.get("pop")),
            str(row.get("replicas")),
            str(row.get("least")),
            str(row.get("most")),
            use(row),
            views.moment(row.get("changed_at")),
            why(row),
        ]
        for row in rows
    ]
    return Table(columns=columns, rows=shown, empty="no target follows its load")


def use(row: views.Data) -> str:
    """`412m of 500m`."""
    mean = row.get("mean_millis")
    return f"{f'{mean}m' if mean is not None else '?'} of {row.get('threshold_millis')}m"


def why(row: views.Data) -> str:
    return ": ".join(str(part) for part in (row.get("says"), row.get("message")) if part)


def part(rows: Sequence[views.Data]) -> list[Shown]:
    """Below other things of a workload; nothing where none of its targets follows its load."""
    return ["", [("SCALING", "bold")], table(rows)] if rows else []

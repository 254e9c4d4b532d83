"""Announcements as control has them: its rows, the table of them, and what taking a workload away withdraws.

In: a workload's name. Out: rows, a `Table`, sentences. For `announce` and for whoever takes a workload away; changes
nothing.
"""

from typing import Any

from anypop.cli import views
from anypop.cli.call import Call
from anypop.cli.failure import Exit, Failure
from anypop.cli.table import Cell, Column, Table
from anypop.model.scopes import scope_of, scope_says


def rows_of(call: Call, workload: str) -> list[Any]:
    return list(listed(call, workload).get("results") or [])


def listed(call: Call, workload: str) -> views.Data:
    """All that control tells of a workload's announcements."""
    found: views.Data = call.client.get(
        f"{call.workload_path(workload, 'anypop')}/announcements", what=f"announcements of {workload}"
    )
    return found


def shared_lines(found: views.Data) -> list[str]:
    """A line for each prefix in which other accounts have addresses; who they are stands in the operator's answer."""
    lines = []
    for one in found.get("shared") or []:
        whose = ", ".join(
            f"{views.text(w.get('stack'))}/{views.text(w.get('workload'))} of {views.text(w.get('account'))}"
            for w in one.get("workloads") or []
        )
        said = f"has addresses of several accounts ({whose})" if whose else "has addresses of another account too"
        lines.append(f"{views.text(one.get('prefix'))} {said}: how it is announced is the operator's to change")
    return lines


def table(rows: list[views.Data]) -> Table:
    columns = [
        Column(head="PREFIX"),
        Column(head="POP"),
        Column(head="UPSTREAM"),
        Column(head="AS", right=True, drop=2),
        Column(head="SCOPE"),
        Column(head="OUT"),
        Column(head="WHY", prose=True, maybe=True),
    ]
    cells: list[list[Cell]] = [
        [
            views.text(row.get("prefix")),
            views.text(row.get("pop")),
            views.text(row.get("upstream")),
            views.text(row.get("asn")),
            scope_says(scope_of(row.get("scope") or {})),
            ("no", "yellow")
            if not row.get("announced")
            else ("dark", "yellow")
            if row.get("dark")
            else ("yes", "green"),
            "-" if row.get("announced") and not row.get("dark") else views.text(row.get("says") or row.get("reason")),
        ]
        for row in rows
    ]
    return Table(columns=columns, rows=cells, empty="no announcements: they come with a workload made with --anycast")


def withdrawn_with(call: Call, workload: str) -> list[str]:
    """What deleting a workload withdraws, a line for each prefix. No model is asked: without an announcement nobody has
    a route.
    """
    listed = call.client.every(f"{call.stack_path('workload')}/workloads", what="find other workloads")
    others = [str(w.get("slug")) for w in listed if views.anycast_of(w) and w.get("slug") != workload]
    mine = _out(call, workload)
    kept = {slug: _out_if_there(call, slug) for slug in others}
    lines = []
    for prefix in sorted({prefix for prefix, _ in mine}):
        pops = {pop for one, pop in mine if one == prefix}
        stays = {pop for rows in kept.values() for one, pop in rows if one == prefix}
        by = ", ".join(slug for slug, rows in kept.items() if any(one == prefix for one, _ in rows))
        gone = ", ".join(sorted(pops - stays))
        if not stays:
            lines.append(f"this withdraws {prefix} at {gone}: every network loses its route to it")
        elif gone:
            lines.append(
                f"this withdraws {prefix} at {gone}, whose networks move to {', '.join(sorted(stays))}, where {by} "
                "keeps it announced"
            )
        else:
            lines.append(f"{prefix} stays announced, by {by}")
    return lines


def _out(call: Call, workload: str) -> set[tuple[str, str]]:
    """Where which prefix is announced."""
    return {(str(row["prefix"]), str(row["pop"])) for row in rows_of(call, workload) if row.get("announced")}


def _out_if_there(call: Call, workload: str) -> set[tuple[str, str]]:
    """The same of one that may be gone since it was listed: it announces nothing any more."""
    try:
        return _out(call, workload)
    except Failure as failure:
        if failure.code is not Exit.NOT_FOUND:
            raise
        return set()

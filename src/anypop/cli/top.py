"""`anypop top`: what instances use now, as their hosts count it at this moment.

In: perhaps a workload. Out: processor, memory and traffic of each instance, the busiest first. A host that does not
answer is named; its instances are not shown as idle.
"""

import sys
import time
from typing import Annotated, Any

import typer

from anypop.cli import views
from anypop.cli.call import Call, command
from anypop.cli.failure import usage
from anypop.cli.table import Cell, Column, Table

_SORTED_BY = {"cpu": "cpu_cores", "memory": "memory_bytes", "in": "in_bits_per_s", "out": "out_bits_per_s"}


def register(root: typer.Typer) -> None:
    """The command of this file, at the top level."""
    examples = """
    anypop top
    anypop top web --sort memory
    anypop top --every 2
    """
    command(root, "top", examples=examples)(top)


def top(
    call: Call,
    workload: Annotated[str, typer.Argument(metavar="[WORKLOAD]", help="Only its instances.", show_default=False)] = "",
    *,
    sort: Annotated[str, typer.Option("--sort", metavar="cpu|memory|in|out", help="What comes first.")] = "cpu",
    every: Annotated[
        float | None,
        typer.Option("--every", metavar="SECONDS", help="Again and again, until Ctrl-C.", min=0.5, show_default=False),
    ] = None,
) -> None:
    """What instances use now: cores, memory, bits in a second. An instance that is being replaced counts with both."""
    if sort not in _SORTED_BY:
        raise usage(f"--sort {sort}: must be cpu, memory, in or out")
    while True:
        rows, warnings = _measured(call, workload)
        rows.sort(key=lambda row: (-(row.get(_SORTED_BY[sort]) or 0), str(row["instance"])))
        if every is not None and call.screen.console("stdout").is_terminal and not call.screen.for_programs:
            call.screen.console("stdout").clear()
        call.screen.note(*warnings)
        call.screen.result(rows, lambda rows=rows: [table(rows)])  # type: ignore[misc]
        if every is None:
            return
        sys.stdout.flush()
        time.sleep(every)


def _measured(call: Call, workload: str) -> tuple[list[dict[str, Any]], list[str]]:
    rows: dict[str, dict[str, Any]] = {}
    warnings: list[str] = []
    for kind in ("INSTANCE", "BANDWIDTH"):
        query = {"type": kind, "group_by": "INSTANCE_NAME"} | ({"workload_id": workload} if workload else {})
        found = call.client.get(f"{call.stack_path('workload')}/metrics", what="measure instances", **query)
        warnings += found.get("warnings") or []
        for series in ((found.get("data") or {}).get("matrix") or {}).get("results") or []:
            metric, values = series.get("metric") or {}, series.get("values") or []
            if not values or not metric.get("instance_name"):
                continue
            name = str(metric["instance_name"])
            row = rows.setdefault(
                name, {"instance": name, "pop": metric.get("pop"), "workload": metric.get("workload")}
            )
            row[_MEMBERS[str(metric.get("name")), metric.get("direction")]] = float(values[-1]["value"])
    return list(rows.values()), list(dict.fromkeys(warnings))


_MEMBERS = {
    ("cpu", None): "cpu_cores", ("memory", None): "memory_bytes",
    ("bandwidth", "in"): "in_bits_per_s", ("bandwidth", "out"): "out_bits_per_s",
}  # fmt: skip


def table(rows: list[dict[str, Any]]) -> Table:
    cells: list[list[Cell]] = [
        [
            views.text(row["instance"]),
            _figure(row.get("cpu_cores"), 1, 3),
            _figure(row.get("memory_bytes"), 1 << 20, 1),
            _figure(row.get("in_bits_per_s"), 1000, 1),
            _figure(row.get("out_bits_per_s"), 1000, 1),
        ]
        for row in rows
    ]
    heads = ("CORES", "MEMORY MIB", "IN KBIT/S", "OUT KBIT/S")
    columns = [Column(head="INSTANCE"), *(Column(head=head, right=True) for head in heads)]
    return Table(columns=columns, rows=cells, empty="nothing is measured: no instance runs, or no host answers")


def _figure(value: float | None, unit: float, places: int) -> str:
    return "-" if value is None else f"{value / unit:.{places}f}"

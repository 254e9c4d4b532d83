"""`anypop workload timeline`: where each millisecond of a deployment went, as control tells it.

In: a workload. Out: one row for each of its instances, one column for each step, in milliseconds since the declaration
was accepted; below it the clocks that the times were told by. It works nothing out but the table.
"""

from anypop.cli import views
from anypop.cli.call import Call, command
from anypop.cli.options import KnownWorkload
from anypop.cli.screen import Shown
from anypop.cli.table import Cell, Column, Table
from anypop.cli.workloads import app

STEPS = (
    "accepted", "planned", "ordered", "namespace", "created", "started", "healthy", "routed", "announced", "told",
)  # fmt: skip


@command(app, "timeline", examples="anypop workload timeline web\nanypop workload timeline web -o json")
def timeline(call: Call, workload: KnownWorkload) -> None:
    """Where the time of a deployment went: milliseconds from its acceptance to each step of each instance."""
    found = call.client.get(f"{call.workload_path(workload, 'anypop')}/timeline", what=f"timeline of {workload}")
    call.screen.result(found, lambda: shown(found))


def shown(found: views.Data) -> list[Shown]:
    """The table, and what it rests on."""
    instances = found.get("instances") or []
    columns = [Column(head="INSTANCE"), Column(head="HOST", drop=2)]
    columns += [Column(head=step.upper(), right=True, maybe=True) for step in STEPS]
    rows = [_row(one) for one in instances]
    lines: list[Shown] = [
        f"{found.get('workload')}: ms since it was accepted, {views.moment(found.get('acceptedAt'))}",
        Table(columns=columns, rows=rows, empty="no instances"),
    ]
    if any(not one.get("complete") for one in instances):
        lines.append("an empty place: not reached yet, or reached while nobody took the time (the agent began later)")
    clocks = ", ".join(f"{c.get('host')} {c.get('ahead_ms'):+.0f} ms" for c in found.get("clocks") or [])
    if clocks:
        lines.append(f"hosts' clocks against control's, as their last reports tell (their way is part of it): {clocks}")
    return lines


def _row(one: views.Data) -> list[Cell]:
    times = {step.get("step"): step.get("after_ms") for step in one.get("steps") or []}
    cells = [f"{times[step]:.0f}" if times.get(step) is not None else "" for step in STEPS]
    return [views.text(one.get("name")), views.text(one.get("host")), *cells]

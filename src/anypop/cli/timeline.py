"""`anypop workload timeline`: where each millisecond of a deployment went, as control tells it.

In: a workload. Out: one row for each of its instances, one column for each step, in milliseconds since the declaration
was accepted, and the clocks that the times were told by; or a bar for each step. With a collector's URL the same is
sent there as a trace. It works nothing out but what is drawn.
"""

import secrets
from itertools import count
from typing import Annotated

import httpx
import typer

from anypop.cli import views, waterfall
from anypop.cli.call import Call, command
from anypop.cli.failure import Failure, usage
from anypop.cli.options import KnownWorkload
from anypop.cli.screen import Shown
from anypop.cli.table import Cell, Column, Table
from anypop.cli.workloads import app
from anypop.model.traces import trace

PATIENCE_S = 10.0
STEPS = (
    "accepted", "planned", "ordered", "namespace", "pulled", "created", "started", "probed", "healthy", "routed",
    "announced", "told",
)  # fmt: skip


@command(
    app,
    "timeline",
    examples="""
    anypop workload timeline web
    anypop workload timeline web --waterfall
    anypop workload timeline web --otlp https://otel.example.net/v1/traces
    """,
)
def timeline(
    call: Call,
    workload: KnownWorkload,
    *,
    drawn: Annotated[bool, typer.Option("--waterfall", help="A bar for each step.")] = False,
    otlp: Annotated[
        str,
        typer.Option("--otlp", metavar="URL", help="Send it as a trace to a collector, from here.", show_default=False),
    ] = "",
) -> None:
    """Where the time of a deployment went: milliseconds from its acceptance to each step of each instance."""
    found = call.client.get(f"{call.workload_path(workload, 'anypop')}/timeline", what=f"timeline of {workload}")
    if otlp:
        _send(found, otlp)
    call.screen.result(found, lambda: list(waterfall.lines(found)) if drawn else shown(found))


def _send(found: views.Data, url: str) -> None:
    if not url.startswith(("http://", "https://")):
        raise usage(f"--otlp {url}: must be an http or https URL, as in https://otel.example.net/v1/traces")
    ids = (secrets.token_hex(16 if number == 0 else 8) for number in count())
    try:
        answer = httpx.post(url, json=trace(found, ids), timeout=PATIENCE_S)
    except httpx.HTTPError as error:
        raise Failure(f"the collector at {url} is not reached: {error}") from error
    if answer.status_code >= 300:
        raise Failure(f"the collector at {url} answers {answer.status_code}")


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

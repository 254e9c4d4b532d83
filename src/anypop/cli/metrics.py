"""`anypop metrics ...`: charts of instances, what there is to scrape, and whether people land where they should.

In: a chart and whose instances. Out: for each curve its newest, least and largest value, or all of it for programs.
Where the figures come from and how old they are is told; who did not answer is named.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from anypop.cli import views
from anypop.cli.call import Call, command
from anypop.cli.table import Cell, Column, Table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Charts, what is scraped, and where people land.")


@command(
    app, "query",
    examples="anypop metrics query cpu web\nanypop metrics query receive --by pop --from 2026-01-31T10:00:00Z -o json",
)  # fmt: skip
def query(
    call: Call,
    chart: Annotated[str, typer.Argument(metavar="CHART", help="cpu, memory, receive, transmit, new_flows or probe.")],
    workload: Annotated[str, typer.Argument(metavar="[WORKLOAD]", help="Only its instances.", show_default=False)] = "",
    *,
    by: Annotated[str, typer.Option("--by", metavar="stack|workload|pop|instance", help="One curve for each.")] = "",
    pop: Annotated[str, typer.Option("--pop", metavar="CITY", help="Only there.", show_default=False)] = "",
    instance: Annotated[
        str, typer.Option("--instance", metavar="NAME", help="Only this one.", show_default=False)
    ] = "",
    since: Annotated[
        str, typer.Option("--from", metavar="TIME", help="RFC 3339 or seconds; an hour ago.", show_default=False)
    ] = "",
    until: Annotated[str, typer.Option("--to", metavar="TIME", help="The same; now.", show_default=False)] = "",
    step: Annotated[
        str, typer.Option("--step", metavar="SECONDS", help="Between two values.", show_default=False)
    ] = "",
) -> None:
    """A chart of instances over time: of each curve the newest, the least and the largest value."""
    asked = {
        "chart": chart, "workload": workload, "by": by, "pop": pop, "instance": instance, "from": since, "to": until,
        "step": step, "stack": call.client.settings.stack,
    }  # fmt: skip
    found = call.client.get(
        "/anypop/v1/metrics/query", what=f"ask for {chart}", **{name: text for name, text in asked.items() if text}
    )
    call.screen.note(*(str(one) for one in found.get("missing") or ()))
    call.screen.result(found, lambda: [told_by(found), "", curves(found)])


@command(app, "targets", stack=False, examples="anypop metrics targets")
def targets(call: Call) -> None:
    """What there is to scrape: control and each host, for Prometheus's service discovery."""
    what = "list what there is to scrape"  # as Prometheus wants it: a list
    found = call.client.call("GET", "/anypop/v1/metrics/targets", what=what, shape=list)
    call.screen.result(found, lambda: [scraped(found)])


@command(app, "slo", stack=False, examples="anypop metrics slo\nanypop metrics slo web")
def slo(
    call: Call,
    workload: Annotated[str, typer.Argument(metavar="[WORKLOAD]", help="Only this one.", show_default=False)] = "",
) -> None:
    """Whether vantages land where they should, and how much of the error budget of 30 days is left."""
    more = {"workload": workload} if workload else {}
    found = call.client.get("/anypop/v1/metrics/slo", what="ask where people land", **more)
    call.screen.note(*([str(found["note"])] if found.get("note") else []))
    call.screen.result(found, lambda: [objectives(found.get("results") or [])])


def told_by(found: views.Data) -> str:
    """Where it comes from, and how old it is."""
    age = found.get("age")
    old = "nothing was measured" if age is None else f"the newest sample is {age:.0f} s old"
    return f"{found.get('chart')} in {found.get('unit')}, from the {found.get('source')}; {old}"


def curves(found: views.Data) -> Table:
    series: Sequence[views.Data] = found.get("series") or []
    names = list(series[0]["labels"]) if series else []
    columns = [Column(head=name.upper()) for name in names]
    columns += [Column(head=head, right=True) for head in ("NEWEST", "LEAST", "LARGEST", "VALUES")]
    rows: list[list[Cell]] = []
    for one in series:
        values = [float(value) for _, value in one["points"]]
        if values:
            numbers = [_number(value) for value in (values[-1], min(values), max(values))]
            rows.append([*(views.text(one["labels"][name]) for name in names), *numbers, str(len(values))])
    return Table(columns=columns, rows=rows, empty="nothing of this was measured in this time")


def scraped(found: Any) -> Table:
    columns = [Column(head="POP"), Column(head="HOST"), Column(head="ADDRESS"), Column(head="PATH")]
    rows: list[list[Cell]] = [
        [
            views.text(group["labels"].get("pop")),
            views.text(group["labels"].get("host", "control")),
            views.text(target),
            views.text(group["labels"]["__metrics_path__"]),
        ]
        for group in found
        for target in group["targets"]
    ]
    return Table(columns=columns, rows=rows, empty="there is nothing to scrape")


def objectives(rows: Sequence[views.Data]) -> Table:
    columns = [Column(head="STACK"), Column(head="WORKLOAD")]
    heads = ("VANTAGES", "OF", "TRAFFIC", "EXTRA MS", "FLIPS/H", "BUDGET LEFT")
    columns += [*(Column(head=head, right=True) for head in heads), Column(head="ELSEWHERE", prose=True)]
    shown: list[list[Cell]] = []
    for row in rows:
        away = [
            f"{one['vantage']} in {one.get('pop', 'nowhere')}, not {one['expected']}"
            for one in row.get("elsewhere") or ()
        ]
        shown.append(
            [
                views.text(row["stack"]), views.text(row["workload"]), _share(row.get("vantages")),
                _share(row.get("objective")), _share(row.get("traffic")), _number(row.get("extra_ms")),
                _number(row.get("flips_per_hour")), _share(row.get("budget_left")), "; ".join(away),
            ]
        )  # fmt: skip
    return Table(columns=columns, rows=shown, empty="no workload has an anycast address")


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:,.3f}".rstrip("0").rstrip(".")


def _share(value: float | None) -> str:
    return "?" if value is None else f"{100 * value:.1f} %"

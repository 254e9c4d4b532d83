"""`anypop test`: the anycast address asked from every vantage, kept by control, and laid beside an earlier test.

In: a workload. Out: for each vantage the PoP, hits, seconds; or the tests that are kept; or two of them side by side.
Control asks, keeps and compares; here it is only laid out.
"""

from typing import Annotated, Any

import typer

from anypop.cli import views
from anypop.cli.call import Call, command
from anypop.cli.failure import Failure, usage
from anypop.cli.probes import PROBE_PATIENCE_S, Workload, anycast_workload, hits_text
from anypop.cli.screen import Shown
from anypop.cli.table import Cell, Column, Table

FAR_KM = 1500.0  # as of the doctor

_COLUMNS = (
    Column(head="VANTAGE"),
    Column(head="POP"),
    Column(head="NEAREST"),
    Column(head="BEYOND", right=True),
    Column(head="ANSWERED", right=True),
    Column(head="MEDIAN", right=True, drop=1),
    Column(head="SECONDS", right=True, drop=2),
    Column(head="HITS", drop=3),
)


def register(root: typer.Typer) -> None:
    @command(
        root,
        "test",
        examples="anypop test\nanypop test --workload web --requests 30\nanypop test --list\n"
        "anypop test --show 3f2a --against 91bc",
    )
    def test(
        call: Call,
        *,
        workload: Workload = "",
        requests: Annotated[
            int, typer.Option("--requests", "-n", metavar="N", help="Requests from each vantage.", min=1, max=1000)
        ] = 15,
        family: Annotated[int, typer.Option("--family", metavar="4|6", help="Which address.", min=4, max=6)] = 4,
        listed: Annotated[bool, typer.Option("--list", help="The tests that are kept, and no new one.")] = False,
        show: Annotated[
            str, typer.Option("--show", metavar="ID", help="A test that is kept, and no new one.", show_default=False)
        ] = "",
        against: Annotated[
            str, typer.Option("--against", metavar="ID", help="Beside this earlier test.", show_default=False)
        ] = "",
    ) -> None:
        """Test an anycast address from every vantage: which PoP and which instances answer, how quickly. Kept.

        Exit code 1 when a request stays without an answer."""
        if listed and (show or against):
            raise usage("--list is of all tests", advice="Leave --show and --against out.")
        path = f"{call.workload_path(anycast_workload(call, workload), 'anypop')}/tests"
        if listed:
            found = call.client.get(path, what="list tests").get("results") or []
            call.screen.result(found, lambda: [_kept(found)])
            return
        if show:
            one = call.client.get(f"{path}/{show}", what=f"show test {show}", **_beside(against))["test"]
        else:
            body = {"requests": requests, "family": family}
            asked = call.client.call("POST", path, what="test", body=body, patience_s=PROBE_PATIENCE_S)["test"]
            one = asked
            if against:
                one = call.client.get(f"{path}/{asked['id']}", what="compare", **_beside(against))["test"]
        call.screen.result(one, lambda: lines(one))
        if not show and one["answered"] < one["asked"]:
            raise Failure("some requests stayed without an answer")


def _beside(against: str) -> dict[str, str]:
    return {"against": against} if against else {}


def lines(test: views.Data) -> list[Shown]:
    rows: list[list[Cell]] = []
    errors: list[Shown] = []
    for row in test["results"]:
        far = (row["extra_km"] or 0) > FAR_KM
        rows.append(
            [
                views.text(row["vantage"]),
                (views.text(row["pop"]), "bold yellow" if far or not row["pop"] else "green"),
                views.text(row["nearest"]),
                _figure(row["extra_km"], "km", 0),
                f"{row['answered']}/{row['asked']}",
                _figure(row["median_ms"], "ms", 1),
                f"{row['seconds']:.3f}",
                hits_text(row["hits"]),
            ]
        )
        errors += [f"{row['vantage']}: {text} ({count} times)" for text, count in row["errors"].items()]
    shown: list[Shown] = [Table(columns=_COLUMNS, rows=rows, empty="no vantages"), *errors]
    if "compared" in test:
        shown += ["", _compared(test["compared"], test["against"]["id"])]
    return [*shown, "", f"kept as {test['id'][:8]}; {test['astray']} of {test['vantages']} land too far away"]


def _compared(rows: list[Any], other: str) -> Table:
    columns = (
        Column(head="VANTAGE"),
        Column(head="THEN"),
        Column(head="NOW"),
        Column(head="CHANGE", right=True),
        Column(head="MEDIAN THEN", right=True, drop=1),
        Column(head="NOW", right=True, drop=1),
    )
    return Table(columns=columns, rows=[_pair(row) for row in rows], title=f"beside {other[:8]}")


def _pair(row: views.Data) -> list[Cell]:
    before, after = row["extra_km_before"], row["extra_km_after"]
    change = f"{after - before:+,.0f} km" if row["moved"] and None not in (before, after) else "-"
    return [
        row["vantage"],
        views.text(row["before"]),
        (views.text(row["after"]), "bold" if row["moved"] else ""),
        change,
        _figure(row["median_ms_before"], "ms", 1),
        _figure(row["median_ms_after"], "ms", 1),
    ]


def _kept(found: list[Any]) -> Table:
    columns = (
        Column(head="ID"),
        Column(head="WHEN"),
        Column(head="BY", drop=1),
        Column(head="ANSWERED", right=True),
        Column(head="ASTRAY", right=True),
        Column(head="SECONDS", right=True, drop=2),
    )
    rows: list[list[Cell]] = [
        [
            one["id"][:8], views.moment(one["at"]), one["by"], f"{one['answered']}/{one['asked']}",
            f"{one['astray']}/{one['vantages']}", f"{one['seconds']:.2f}",
        ]
        for one in found
    ]  # fmt: skip
    return Table(columns=columns, rows=rows, empty="no test is kept yet: 'anypop test' makes one")


def _figure(value: float | None, unit: str, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f} {unit}"

"""`anypop probe` and `anypop why`: where each vantage lands, and why there.

In: vantages, a workload or an address. Out: what really answered, and the chain of decisions as the routers hold it.
All of it is measured by control's lab, or worked out by the model; here it is only laid out.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from anypop.advice.graph import Sources
from anypop.cli import views
from anypop.cli.call import Call, command
from anypop.cli.catchment import graph_options
from anypop.cli.catchment.commands import Plan, WhatIf
from anypop.cli.catchment.graph_options import Footprint, GraphFile, Overrides
from anypop.cli.failure import Exit, Failure, usage
from anypop.cli.screen import Shown
from anypop.cli.table import Cell, Column, Table

PROBE_PATIENCE_S = 1800.0  # a thousand requests of a vantage that gets no answer, each given up after a second or two

Workload = Annotated[
    str,
    typer.Option(
        "--workload",
        "-w",
        metavar="WORKLOAD",
        help="Whose anycast address (default: the only one there is).",
        show_default=False,
    ),
]


def probe_lines(found: Sequence[views.Data]) -> list[Shown]:
    """One row a vantage; under it, what went wrong."""
    columns = [
        Column(head="VANTAGE", drop=3),
        Column(head="CITY"),
        Column(head="POP"),
        Column(head="NEAREST"),
        Column(head="HITS", drop=1),
        Column(head="CARRIED TO", maybe=True),
        Column(head="ANSWERED", right=True),
        Column(head="SECONDS", right=True, drop=2),
    ]
    rows: list[list[Cell]] = []
    errors: list[Shown] = []
    for row in found:
        pop, nearest = views.text(row.get("pop")), views.text(row.get("nearest"))
        style = "" if pop == "-" or nearest == "-" else "green" if pop == nearest else "bold yellow"
        answered, requests = int(row.get("answered") or 0), int(row.get("requests") or 0)
        rows.append(
            [
                views.text(row.get("vantage")),
                views.text(row.get("city")),
                (pop, style),
                nearest,
                hits_text(row.get("hits") or {}),
                carried_text(row),
                (answered_text(row), "" if answered == requests else "bold red"),
                f"{float(row.get('seconds') or 0):.3f}",
            ]
        )
        errors += [f"{row.get('vantage')}: {error}" for error in _distinct(row.get("errors") or [])]
    return [Table(columns=columns, rows=rows, empty="no vantages"), *errors]


def answered_text(row: views.Data) -> str:
    """`3/15`, and how many the vantage itself could not send: those say nothing about who is asked."""
    answered, requests = int(row.get("answered") or 0), int(row.get("requests") or 0)
    asked = int(row.get("asked", requests))
    return f"{answered}/{asked}" if asked == requests else f"{answered}/{asked}, {requests - asked} not asked"


def hits_text(hits: dict[str, int]) -> str:
    """`...-lhr-0 8, ...-lhr-1 7`: names without what all of them share up to the last hyphens."""
    return ", ".join(f"{short_name(name)} {count}" for name, count in sorted(hits.items())) or "-"


def carried_text(row: views.Data) -> str:
    """`AMS 8`: who answered in place of the PoP where the packets came in."""
    elsewhere = {pop: count for pop, count in (row.get("served") or {}).items() if pop != row.get("pop")}
    return ", ".join(f"{pop} {count}" for pop, count in sorted(elsewhere.items())) if row.get("carried") else "-"


def short_name(instance: str) -> str:
    """`lhr-0` of `web-eu1-lhr-0`: city and number are enough beside the PoP."""
    parts = instance.rsplit("-", 2)
    return "-".join(parts[-2:])


def _distinct(errors: list[Any]) -> list[str]:
    """Each error once with how often it came: fifteen requests fail in one way."""
    counts: dict[str, int] = {}
    for error in errors:
        counts[str(error)] = counts.get(str(error), 0) + 1
    return [text if count == 1 else f"{text} ({count} times)" for text, count in counts.items()]


def anycast_workload(call: Call, wanted: str) -> str:
    """The workload meant: the one named, or the only one with an anycast address."""
    if wanted:
        return wanted
    listed = call.client.every(f"{call.stack_path('workload')}/workloads", what="find the workload")
    slugs = [str(w.get("slug")) for w in listed if views.anycast_of(w)]
    match slugs:
        case [only]:
            return only
        case []:
            raise Failure(
                "no workload has an anycast address", code=Exit.NOT_FOUND, advice="Create one with --anycast."
            )
        case _:
            raise usage(
                f"several workloads have an anycast address: {', '.join(slugs)}", advice="Name one with --workload."
            )


def register(root: typer.Typer) -> None:
    @command(
        root,
        "probe",
        examples="anypop probe london\nanypop probe --all --requests 15\nanypop probe london seattle -o json",
    )
    def probe(
        call: Call,
        vantages: Annotated[
            list[str] | None, typer.Argument(metavar="[VANTAGE]...", help="Where to ask from.", show_default=False)
        ] = None,
        *,
        everywhere: Annotated[bool, typer.Option("--all", help="From every vantage.")] = False,
        workload: Workload = "",
        address: Annotated[
            str,
            typer.Option("--address", metavar="IP", help="An address in place of a workload's.", show_default=False),
        ] = "",
        requests: Annotated[
            int,
            typer.Option(
                "--requests", "-n", metavar="N", help="Requests from each, one after the other.", min=1, max=1000
            ),
        ] = 15,
    ) -> None:
        """Ask the anycast address from vantages: which PoP and which instances answer, and how long it takes.

        Exit code 1 when a request stays without an answer."""
        if everywhere == bool(vantages):
            raise usage("name vantages or say --all", advice="'anypop vantages' lists them.")
        body: dict[str, Any] = {"requests": requests} | ({} if everywhere else {"vantages": vantages})
        if address:
            body["address"] = address
        else:
            body["workload"] = anycast_workload(call, workload)
            body["stack"] = call.client.settings.stack
        told = call.client.call("POST", "/anypop/v1/probes", what="probe", body=body, patience_s=PROBE_PATIENCE_S)
        found = [{**row, "address": told.get("address")} for row in told.get("results") or []]
        call.screen.result(found, lambda: probe_lines(found))
        if any(int(row.get("answered") or 0) < int(row.get("requests") or 0) for row in found):
            raise Failure("some requests stayed without an answer")

    @command(
        root,
        "why",
        examples="""
        anypop why london
        anypop why as3356-lhr --workload web
        anypop why 198.18.1.7
        anypop why AS3356 --city London --model
        anypop why AS3356 --city London --what-if withhold:JFK,LAX:209
        """,
    )
    def why(
        call: Call,
        target: Annotated[
            str,
            typer.Argument(
                metavar="TARGET",
                help="A vantage, a router of the lab such as as3356-lhr, any network, as AS3356, or an address.",
            ),
        ],
        *,
        city: Annotated[
            str,
            typer.Option(
                "--city",
                metavar="CITY",
                help="Where in that network: a code or a name (LHR, London).",
                show_default=False,
            ),
        ] = "",
        model: Annotated[bool, typer.Option("--model", help="Ask the model, not the running routers.")] = False,
        what_if: WhatIf = None,
        graph: GraphFile = None,
        overrides: Overrides = None,
        footprint: Footprint = None,
        plan: Plan = None,
        workload: Workload = "",
    ) -> None:
        """Why a network lands where it lands: its candidate routes, who decided by which step, and what of ours put
        them there. Of an address: who has it, and why.

        A lab's vantages and routers answer from the running daemons; any other network of the graph, or `--model`, from
        the model.
        """
        from anypop.cli import addresses, reasons  # noqa: PLC0415 - for this command alone

        if addresses.is_address(target):
            addresses.owner_lines(call, target)
            return
        asked_of_model = model or bool(what_if or plan or graph)
        router = target
        if asked_of_model or city or is_network(target):
            from anypop.cli.catchment import inputs  # noqa: PLC0415 - numpy, and the model of the Internet
            from anypop.cli.catchment import why as modelled  # noqa: PLC0415

            loaded = graph_options.loaded(call, Sources(graph=graph, overrides=overrides, footprint=footprint))
            named = None if asked_of_model else modelled.router_of(loaded, target, city)
            if named is None:
                found = modelled.of_model(
                    call, loaded, inputs.question(call, plan, workload, what_if or ()), target, city
                )
                call.screen.result(found, lambda: [*reasons.lines(found), "", modelled.words(found)])
                return
            router = named
        query = {"workload": anycast_workload(call, workload), "stack": call.client.settings.stack, "target": router}
        found = call.client.get("/anypop/v1/why", what=f"why {target}", **query)
        call.screen.result(found, lambda: reasons.lines(found))


def is_network(target: str) -> bool:
    """Whether this names a network rather than a vantage or a router: `AS3356`, `3356`."""
    number = target.upper().removeprefix("AS")
    return number.isascii() and number.isdigit()

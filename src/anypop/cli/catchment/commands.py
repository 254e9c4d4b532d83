"""`anypop catchment ...`: where every network lands, and what a change would move.

In: a graph of the Internet, what we announce (asked of control, or a plan file), "what if" rules. Out: tables, JSON, a
map. Nothing is changed from here. Everything heavy is imported by the command that needs it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anypop.advice.graph import Sources
from anypop.cli.call import Call, command
from anypop.cli.catchment import graph_options
from anypop.cli.catchment.graph_options import Footprint, GraphFile, History, Observed, Overrides, Weights, warn
from anypop.cli.failure import usage

if TYPE_CHECKING:
    from anypop.cli.screen import Shown

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Where every network lands: predict, compare, measure, before anything is announced.",
)

Plan = Annotated[
    Path | None, typer.Option("--plan", metavar="FILE", help="What we announce, from a file instead of from control.")
]
Workload = Annotated[
    str,
    typer.Option(
        "--workload",
        "-w",
        metavar="WORKLOAD",
        help="Whose announcements (default: the only anycast one).",
        show_default=False,
    ),
]
SkipUnknown = Annotated[
    bool,
    typer.Option("--skip-unknown", help="Leave out neighbours that the graph does not have, with a warning."),
]
WhatIf = Annotated[
    list[str] | None,
    typer.Option(
        "--what-if",
        metavar="RULE",
        help=(
            "As if: withhold:JFK:209, prepend:LAX:209:2, scope:JFK:209:209:7100, reset:JFK:209, add:LHR:3356. "
            "Repeatable."
        ),
        show_default=False,
    ),
]


@command(
    app,
    "predict",
    examples="""
    anypop catchment predict
    anypop catchment predict --what-if withhold:JFK,LAX:209 --svg map.svg
    anypop catchment predict --graph as-rel.txt.bz2 --footprint cities.csv --plan plan.yaml --save before.json
    """,
)
def predict(
    call: Call,
    *,
    graph: GraphFile = None,
    overrides: Overrides = None,
    footprint: Footprint = None,
    weights: Weights = None,
    observations: Observed = None,
    history: History = None,
    plan: Plan = None,
    workload: Workload = "",
    what_if: WhatIf = None,
    skip_unknown: SkipUnknown = False,
    biggest: Annotated[
        int,
        typer.Option(
            "--biggest",
            metavar="N",
            help="So many of the biggest networks: by weight, then by customers.",
            min=0,
            max=100_000,
        ),
    ] = 10,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Draw a map.")] = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Keep it for 'diff' and 'evaluate'.")
    ] = None,
) -> None:
    """Where every network lands, by PoP, region and country, and how sure that is."""
    from anypop.advice.answers import answer_data  # noqa: PLC0415 - see the module
    from anypop.advice.question import ask  # noqa: PLC0415
    from anypop.cli.catchment import inputs, picture, tables  # noqa: PLC0415

    given = Sources(
        graph=graph, overrides=overrides, footprint=footprint, weights=weights, observations=observations,
        history=history,
    )  # fmt: skip
    internet = graph_options.loaded(call, given).graph
    asked = inputs.question(call, plan, workload, what_if or ())
    asked = inputs.fitting(call, internet, asked, skip_unknown=skip_unknown)
    answer = ask(internet, asked, compare=bool(what_if))
    found, change, name = answer.prediction, answer.change, internet.says
    warn(call, internet)
    for line in answer.notes:
        call.screen.note(line)
    if save is not None:
        from anypop.advice import saved_predictions  # noqa: PLC0415

        inputs.write_file(save, saved_predictions.write(found, graph=name))
    if svg is not None:
        title = f"AS{asked.wanted.asn}: where {len(found.internet.asns):,} networks land"
        inputs.write_file(svg, picture.draw(found, title=title, graph=name, onward=asked.onward))

    def shown() -> "list[Shown]":
        head: list[Shown] = [*tables.difference(change), ""] if change is not None else []
        return [*head, *tables.prediction(found, biggest=biggest, graph=name)]

    data = answer_data(answer, biggest=biggest, graph=name) if call.screen.for_programs else {}
    call.screen.result(data, shown)


@command(
    app,
    "diff",
    examples="""
    anypop catchment diff before.json after.json
    anypop catchment diff now plan.yaml
    """,
)
def difference(
    call: Call,
    a: Annotated[str, typer.Argument(metavar="A", help="A saved prediction, a plan, or 'now'.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The same.")],
    *,
    graph: GraphFile = None,
    overrides: Overrides = None,
    footprint: Footprint = None,
    weights: Weights = None,
    observations: Observed = None,
    workload: Workload = "",
    skip_unknown: SkipUnknown = False,
) -> None:
    """Who moves from where to where between A and B; who comes nearer and who goes further."""
    from anypop.advice.answers import difference_data  # noqa: PLC0415 - see the module
    from anypop.cli.catchment import inputs, tables  # noqa: PLC0415
    from anypop.routing.catchment.diff import diff  # noqa: PLC0415

    internet = None
    if inputs.need_graph((a, b)):
        given = Sources(
            graph=graph, overrides=overrides, footprint=footprint, weights=weights, observations=observations
        )
        internet = graph_options.loaded(call, given).graph
        warn(call, internet)
    before, after = inputs.of_names(call, internet, (a, b), workload, skip_unknown=skip_unknown)
    try:
        found = diff(before, after)
    except ValueError:
        raise usage(f"{a} and {b} are of different graphs", advice="Predict both over one graph.") from None
    call.screen.result(difference_data(found), lambda: tables.difference(found))


@command(
    app,
    "plan",
    examples="anypop catchment plan > plan.yaml\nanypop catchment plan --what-if withhold:JFK:209 > without.yaml",
)
def show_plan(call: Call, *, workload: Workload = "", what_if: WhatIf = None) -> None:
    """Write what we announce now (or would) as a plan file to standard output."""
    from anypop.advice import plans  # noqa: PLC0415 - see the module
    from anypop.cli.catchment import inputs  # noqa: PLC0415
    from anypop.model.scopes import scope_data  # noqa: PLC0415

    wanted = inputs.question(call, None, workload, what_if or ()).wanted
    rows = [
        {
            "pop": s.pop,
            "upstream": s.upstream,
            "asn": s.asn,
            "kind": s.kind.value,
            "scope": scope_data(s.scope),
        }
        for s in wanted.sessions
    ]
    call.screen.result({"asn": wanted.asn, "sessions": rows}, lambda: [plans.write(wanted).rstrip("\n")])


@command(app, "generate", stack=False, examples="anypop catchment generate --ases 20000 --seed 7 --out internet.txt.gz")
def generate(
    call: Call,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write it; .gz and .bz2 are packed.")],
    ases: Annotated[int, typer.Option("--ases", metavar="N", help="Networks, at least 30.", max=200_000)] = 10_000,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="The same seed gives the same graph.", min=0)] = 1,
    footprint_out: Annotated[
        Path | None,
        typer.Option("--footprint-out", metavar="FILE", help="The cities of its networks (default: beside it)."),
    ] = None,
) -> None:
    """Write an invented internet: relationships as CAIDA writes them, and a file of the cities of its networks."""
    from anypop.advice import graph_files  # noqa: PLC0415 - see the module
    from anypop.cli.catchment import inputs  # noqa: PLC0415
    from anypop.routing.internet.generate import generate as make  # noqa: PLC0415

    places = footprint_out or out.with_name(f"{out.name.partition('.')[0]}.cities.csv")
    made = make(ases, seed)
    inputs.write_file(
        out,
        graph_files.packed(
            graph_files.serial_1(made.relationships, about=f"invented: {ases} networks, seed {seed}"), out.suffix
        ),
    )
    inputs.write_file(places, graph_files.footprint(made.places))
    links = len(made.relationships)
    call.screen.result(
        {"graph": str(out), "footprint": str(places), "networks": ases, "links": links, "seed": seed},
        lambda: [
            f"{ases:,} networks with {links:,} links, all invented: {out}, their cities: {places}",
            f"try: anypop catchment predict --graph {out} --footprint {places}",
        ],
    )

"""`anypop catchment ...`: where every network lands, and what a change would move.

In: a graph of the Internet, what we announce (asked of control, or a plan file), "what if" rules. Out: tables, JSON, a
map. Nothing is changed from here. Everything heavy is imported by the command that needs it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anypop.advice.graph import Graph, Sources
from anypop.cli.call import Call, command
from anypop.cli.catchment import graph_options
from anypop.cli.catchment.graph_options import Footprint, GraphFile, History, Observed, Overrides, Weights
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
    from anypop.advice import saved_predictions  # noqa: PLC0415 - see the module
    from anypop.advice.answers import answer_data  # noqa: PLC0415
    from anypop.advice.question import ask  # noqa: PLC0415
    from anypop.cli.catchment import inputs, picture, tables  # noqa: PLC0415

    given = Sources(
        graph=graph, overrides=overrides, footprint=footprint, weights=weights, observations=observations,
        history=history,
    )  # fmt: skip
    internet = graph_options.loaded(call, given).graph
    asked = inputs.question(call, plan, workload, what_if or ())
    answer = ask(internet, asked, compare=bool(what_if))
    found, change, name = answer.prediction, answer.change, internet.says
    _warn(call, internet)
    for line in answer.notes:
        call.screen.note(line)
    if save is not None:
        _write(save, saved_predictions.write(found, graph=name))
    if svg is not None:
        title = f"AS{asked.wanted.asn}: where {len(found.internet.asns):,} networks land"
        _write(svg, picture.draw(found, title=title, graph=name, onward=asked.onward))

    def shown() -> "list[Shown]":
        head: list[Shown] = [*tables.difference(change), ""] if change is not None else []
        return [*head, *tables.prediction(found, biggest=biggest, graph=name)]

    call.screen.result(answer_data(answer, biggest=biggest, graph=name), shown)


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
        _warn(call, internet)
    before, after = inputs.of_names(call, internet, (a, b), workload)
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
    from anypop.routing.internet.generate import generate as make  # noqa: PLC0415

    places = footprint_out or out.with_name(f"{out.name.partition('.')[0]}.cities.csv")
    made = make(ases, seed)
    _write(
        out,
        graph_files.packed(
            graph_files.serial_1(made.relationships, about=f"invented: {ases} networks, seed {seed}"), out.suffix
        ),
    )
    _write(places, graph_files.footprint(made.places))
    links = len(made.relationships)
    call.screen.result(
        {"graph": str(out), "footprint": str(places), "networks": ases, "links": links, "seed": seed},
        lambda: [
            f"{ases:,} networks with {links:,} links, all invented: {out}, their cities: {places}",
            f"try: anypop catchment predict --graph {out} --footprint {places}",
        ],
    )


@command(
    app,
    "observe",
    stack=False,
    examples="""
    anypop probe --all -o json | anypop catchment observe --import -
    anypop catchment observe --import seen.csv
    anypop catchment observe --import seen.csv --announced plan.yaml --history history
    anypop catchment observe --import atlas.json --pops AMS,LHR,JFK --probes probes.json --out observations.csv
    """,
)
def observe(
    call: Call,
    *,
    source: Annotated[
        str,
        typer.Option(
            "--import", metavar="FILE", help="CSV, RIPE Atlas results, or what 'probe -o json' printed; '-' reads it."
        ),
    ],
    pops: Annotated[
        str,
        typer.Option(
            "--pops", metavar="CITY,CITY", help="PoPs whose codes stand in an answer (Atlas).", show_default=False
        ),
    ] = "",
    meaning: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="TEXT=CITY", help="An answer or address that means a PoP (Atlas). Repeatable."),
    ] = None,
    probes: Annotated[
        Path | None,
        typer.Option("--probes", metavar="FILE", help="AS of each probe: CSV probe,asn, or Atlas' own JSON archive."),
    ] = None,
    prefixes: Annotated[
        Path | None, typer.Option("--prefixes", metavar="FILE", help="AS of each prefix: prefix,asn rows (CSV).")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Add them to this file (default: observations.csv in the state folder)."
        ),
    ] = None,
    announced: Annotated[
        Path | None,
        typer.Option(
            "--announced", metavar="FILE", help="What was announced meanwhile, as a plan: keep both in the history."
        ),
    ] = None,
    history: Annotated[
        Path | None,
        typer.Option("--history", metavar="FOLDER", help="Where (default: history in the state folder)."),
    ] = None,
) -> None:
    """Store where networks were seen to land; predictions then start from that."""
    from anypop.advice.measurements import by_pop  # noqa: PLC0415 - see the module
    from anypop.cli.catchment import observations  # noqa: PLC0415

    found = observations.imported(source, pops=pops, meaning=meaning or (), probes=probes, prefixes=prefixes)
    if announced is not None:
        if out is not None:
            raise usage("--out and --announced are two places", advice="Leave one of them out.")
        file, number = observations.keep_with(announced, history or call.folder / "history", found)
        call.screen.result(
            {"file": str(file), "read": len(found), "kept": number, "pops": by_pop(found)},
            lambda: [f"{len(found):,} observations; {number:,} under these announcements, in {file.parent}"],
        )
        return
    target = out or call.folder / "observations.csv"
    added, every = observations.keep(target, found)
    data = {"file": str(target), "read": len(found), "added": added, "kept": every, "pops": by_pop(found)}
    if nameless := sum(not seen.asn for seen in found):
        call.screen.note(
            f"{nameless:,} of them not kept: the network of their probes is not known; --probes FILE tells it"
        )
    words = ", ".join(f"{pop} {count:,}" for pop, count in by_pop(found).items()) or "none"
    call.screen.result(
        data, lambda: [f"{len(found):,} observations ({words}), {added:,} of them new; {every:,} in {target}"]
    )


@command(
    app,
    "evaluate",
    stack=False,
    examples="anypop catchment evaluate --predicted before.json --measured observations.csv",
)
def evaluate(
    call: Call,
    *,
    predicted: Annotated[Path, typer.Option("--predicted", metavar="FILE", help="A saved prediction.")],
    observed: Annotated[Path, typer.Option("--measured", metavar="FILE", help="Observations, as CSV.")],
) -> None:
    """How good a prediction was: accuracy and balanced accuracy beside their baselines, by class of confidence."""
    from anypop.advice import saved_predictions  # noqa: PLC0415 - see the module
    from anypop.advice.answers import evaluation_data  # noqa: PLC0415
    from anypop.cli.catchment import inputs, tables  # noqa: PLC0415
    from anypop.routing.catchment.evaluate import evaluate as score  # noqa: PLC0415
    from anypop.routing.catchment.observations import read_csv  # noqa: PLC0415

    prediction = saved_predictions.read(inputs.text_of(predicted, "a saved prediction"), str(predicted))
    rows = read_csv(inputs.text_of(observed, "observations"), str(observed))
    # What was pinned was told beforehand: being right about it proves nothing.
    told = {
        int(site): prediction.pops[prediction.pop[site]]
        for site in (prediction.level == 0).nonzero()[0]
        if prediction.pop[site] >= 0
    }
    found = score(prediction, rows, held_out=told)
    call.screen.result(evaluation_data(found) | {"pinned": len(told)}, lambda: tables.evaluation(found))


def _warn(call: Call, graph: Graph) -> None:
    for warning in graph.warnings[:5]:
        call.screen.note(f"warning: {warning}")
    if len(graph.warnings) > 5:
        call.screen.note(f"warning: and {len(graph.warnings) - 5} more")


def _write(path: Path, content: str | bytes) -> None:
    try:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise usage(f"{path} cannot be written: {error.strerror}") from error

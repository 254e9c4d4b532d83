"""`anypop catchment observe` and `evaluate`: measurements kept, which to make next, and how good predictions were.

In: files of measurements, and what was announced meanwhile. Out: observations in the state folder or a history, a list
of networks to ask, scores with their baselines. Everything heavy is imported by the command that needs it.
"""

from pathlib import Path
from typing import Annotated

import typer

from anypop.advice.graph import Sources
from anypop.advice.measurement_formats import Format
from anypop.cli.call import Call, command
from anypop.cli.catchment import graph_options
from anypop.cli.catchment.commands import Plan, app
from anypop.cli.catchment.graph_options import Footprint, GraphFile, Observed, Overrides, Weights
from anypop.cli.failure import usage

HistoryFolder = Annotated[
    Path | None,
    typer.Option("--history", metavar="FOLDER", help="Where (default: history in the state folder)."),
]


@command(
    app,
    "observe",
    stack=False,
    examples="""
    anypop probe --all -o json | anypop catchment observe --import -
    anypop catchment observe --import seen.csv
    anypop catchment observe --import seen.csv --announced plan.yaml --history history
    anypop catchment observe --import atlas.json --pops AMS,LHR,JFK --probes probes.json --out observations.csv
    anypop catchment observe --import rib.bz2 --prefix 198.51.100.0/24 --map 64500:1=LHR --announced plan.yaml
    anypop catchment observe --ping hitlist.txt --from LHR --address 198.51.100.1 --prefixes pfx2as.txt
    anypop catchment observe --from-traffic --prefixes pfx2as.txt
    anypop catchment observe --plan 200 --announced plan.yaml --history history --probes probes.json
    """,
)
def observe(
    call: Call,
    *,
    source: Annotated[
        str,
        typer.Option(
            "--import",
            metavar="FILE",
            help=(
                "CSV, RIPE Atlas results, a table of catchments (Verfploeter, MAnycastR), of a route collector (MRT), "
                "shares of PoPs, or what 'probe -o json' printed; '-' reads it."
            ),
            show_default=False,
        ),
    ] = "",
    hitlist: Annotated[
        Path | None,
        typer.Option(
            "--ping", metavar="FILE", help="Ping the addresses in it (one in a line) and see where the answers arrive."
        ),
    ] = None,
    sender: Annotated[
        str, typer.Option("--from", metavar="POP", help="With --ping: the PoP that sends.", show_default=False)
    ] = "",
    address: Annotated[
        str,
        typer.Option(
            "--address", metavar="ADDRESS", help="With --ping: the anycast address they come from.", show_default=False
        ),
    ] = "",
    from_traffic: Annotated[
        bool,
        typer.Option("--from-traffic", help="Keep in the history what the PoPs' own traffic told, with --prefixes."),
    ] = False,
    form: Annotated[
        Format | None,
        typer.Option("--format", metavar="|".join(Format), help="What it is (default: seen from the content)."),
    ] = None,
    pops: Annotated[
        str,
        typer.Option(
            "--pops",
            metavar="CITY,CITY",
            help="PoPs whose names stand in answers or in those of sites.",
            show_default=False,
        ),
    ] = "",
    meaning: Annotated[
        list[str] | None,
        typer.Option(
            "--map", metavar="TEXT=CITY", help="An answer, address, prefix or community that means a PoP. Repeatable."
        ),
    ] = None,
    probes: Annotated[
        Path | None,
        typer.Option("--probes", metavar="FILE", help="AS of each probe: CSV probe,asn, or Atlas' own JSON archive."),
    ] = None,
    prefixes: Annotated[
        Path | None,
        typer.Option(
            "--prefixes", metavar="FILE", help="AS of each prefix: prefix,asn rows (CSV), or CAIDA's RouteViews table."
        ),
    ] = None,
    prefix: Annotated[
        str, typer.Option("--prefix", metavar="PREFIX", help="Ours, in a collector's table.", show_default=False)
    ] = "",
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
    history: HistoryFolder = None,
    plan: Annotated[
        int | None,
        typer.Option(
            "--plan",
            metavar="N",
            help="Measure nothing: say which N networks to measure next under the announcements of --announced.",
            min=1,
            max=10_000,
        ),
    ] = None,
    graph: GraphFile = None,
    overrides: Overrides = None,
    footprint: Footprint = None,
    weights: Weights = None,
    observations: Observed = None,
) -> None:
    """Store where networks were seen to land; predictions then start from that. Or measure, or say what to measure.

    With --ping one PoP sends an echo to each address, from an anycast address, and all PoPs listen for the answers
    (the operator's alone; pings_per_s of the network document says how fast, 0 not at all). With --from-traffic hosts
    have looked at one of some connections (the operator's alone; sampled_flows of the network document says of how
    many, 0 at none), under each announcement that held.
    """
    from anypop.advice.measurements import by_pop  # noqa: PLC0415 - see the module
    from anypop.cli.catchment import observations as kept  # noqa: PLC0415

    if sum((bool(source), plan is not None, hitlist is not None, from_traffic)) != 1:
        raise usage(
            "--import says what was measured, --ping measures, --from-traffic asks the PoPs, --plan N what to measure",
            advice="Give one of them.",
        )
    if plan is not None:
        given = Sources(
            graph=graph, overrides=overrides, footprint=footprint, weights=weights, observations=observations,
            history=history,
        )  # fmt: skip
        _to_ask(call, plan, announced, probes, given)
        return
    if from_traffic:
        from anypop.cli.catchment.traffic import kept_traffic  # noqa: PLC0415

        if announced is not None or out is not None:
            raise usage("--from-traffic knows what was announced", advice="Leave out --announced and --out.")
        kept_traffic(call, history or call.folder / "history", prefixes)
        return
    if announced is not None and out is not None:
        raise usage("--out and --announced are two places", advice="Leave one of them out.")
    if hitlist is not None:
        from anypop.cli.catchment.pinging import pinged  # noqa: PLC0415

        found = pinged(call, hitlist, pop=sender, address=address, prefixes=prefixes)
    else:
        found = kept.imported(
            source,
            form=form,
            pops=pops,
            meaning=meaning or (),
            probes=probes,
            prefixes=prefixes,
            prefix=prefix,
            announced=announced,
        )
    for line in found.notes:
        call.screen.note(line)
    read, seen = len(found.observations), by_pop(found.observations)
    if nameless := sum(not one.asn for one in found.observations):
        call.screen.note(
            f"{nameless:,} of them not kept: the network of their probes is not known; --probes FILE tells it"
        )
    if announced is not None:
        file, number = kept.keep_with(announced, history or call.folder / "history", found)
        shares = {"shares": dict(found.shares)} if found.shares else {}
        parts = ", ".join(f"{pop} {100 * part:.1f} %" for pop, part in found.shares.items())
        call.screen.result(
            {"file": str(file), "read": read, "kept": number, "pops": seen, **shares},
            lambda: [
                f"shares of {parts}, under these announcements, in {file.parent}"
                if found.shares
                else f"{read:,} observations; {number:,} under these announcements, in {file.parent}"
            ],
        )
        return
    if found.shares:
        raise usage(
            "shares are of announcements", advice="--announced plan.yaml says which; 'anypop catchment plan' writes it."
        )
    target = out or call.folder / "observations.csv"
    added, every = kept.keep(target, found.observations)
    words = ", ".join(f"{pop} {count:,}" for pop, count in seen.items()) or "none"
    call.screen.result(
        {"file": str(target), "read": read, "added": added, "kept": every, "pops": seen},
        lambda: [f"{read:,} observations ({words}), {added:,} of them new; {every:,} in {target}"],
    )


def _to_ask(call: Call, count: int, announced: Path | None, probes: Path | None, given: Sources) -> None:
    from anypop.advice.measurements import networks_of_probes  # noqa: PLC0415 - see the module
    from anypop.advice.next_measured import to_ask  # noqa: PLC0415
    from anypop.cli.catchment import inputs, tables  # noqa: PLC0415

    if announced is None:
        raise usage("say under which announcements", advice="--announced plan.yaml; 'anypop catchment plan' writes it.")
    of_probes = (
        networks_of_probes(inputs.text_of(probes, "the probes' networks"), str(probes)) if probes is not None else None
    )
    internet = graph_options.loaded(call, given).graph
    graph_options.warn(call, internet)
    found = to_ask(internet, inputs.from_file(announced), count, set(of_probes.values()) if of_probes else None)
    by_network: dict[int, list[int]] = {}
    for probe, asn in sorted((of_probes or {}).items()):
        by_network.setdefault(asn, []).append(probe)
    rows = [
        {
            "asn": one.asn,
            "city": one.city or None,
            "pop": one.pop,
            "chance": round(one.chance, 4),
            "stands_for": round(one.stands_for, 6),
            "decides": round(one.decides, 6),
            **({"probes": by_network.get(one.asn, [])} if of_probes is not None else {}),
        }
        for one in found
    ]
    call.screen.result(rows, lambda: tables.to_ask(found, by_network if of_probes is not None else None))


@command(
    app,
    "evaluate",
    stack=False,
    examples="""
    anypop catchment evaluate --predicted before.json --measured observations.csv
    anypop catchment evaluate --plan plan.yaml --measured seen.csv --hold-out 0.5 --svg reliability.svg
    """,
)
def evaluate(
    call: Call,
    *,
    observed: Annotated[Path, typer.Option("--measured", metavar="FILE", help="Observations, as CSV.")],
    predicted: Annotated[Path | None, typer.Option("--predicted", metavar="FILE", help="A saved prediction.")] = None,
    plan: Plan = None,
    hold_out: Annotated[
        float,
        typer.Option(
            "--hold-out",
            metavar="SHARE",
            help="With --plan: so many of the measured networks judge, the others are told.",
        ),
    ] = 0.5,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Which ones: the same seed, the same.", min=0)] = 1,
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Draw how often answers were right, by their chance.")
    ] = None,
    graph: GraphFile = None,
    overrides: Overrides = None,
    footprint: Footprint = None,
    weights: Weights = None,
    history: graph_options.History = None,
) -> None:
    """How good a prediction was: accuracy and balanced accuracy beside their baselines, by class of confidence.

    Of a saved prediction, or with --plan of one that is made here and told a part of what was measured.
    """
    from anypop.advice import saved_predictions  # noqa: PLC0415 - see the module
    from anypop.advice.answers import evaluation_data  # noqa: PLC0415
    from anypop.advice.held_out import held_out  # noqa: PLC0415
    from anypop.cli.catchment import inputs, tables  # noqa: PLC0415
    from anypop.routing.catchment.evaluate import evaluate as score  # noqa: PLC0415
    from anypop.routing.catchment.observations import read_csv  # noqa: PLC0415

    if (predicted is None) == (plan is None):
        raise usage("--predicted names a saved prediction, --plan has one made", advice="Give one of them.")
    what = "observations as CSV: 'anypop catchment observe --import FILE --out FILE' writes them"
    rows = read_csv(inputs.text_of(observed, what), str(observed))
    if predicted is not None:
        prediction = saved_predictions.read(inputs.text_of(predicted, "a saved prediction"), str(predicted))
        # What was pinned was told beforehand: being right about it proves nothing.
        told = {
            int(site): prediction.pops[prediction.pop[site]]
            for site in (prediction.level == 0).nonzero()[0]
            if prediction.pop[site] >= 0
        }
        found = score(prediction, rows, held_out=told)
    else:
        given = Sources(graph=graph, overrides=overrides, footprint=footprint, weights=weights, history=history)
        internet = graph_options.loaded(call, given).graph
        graph_options.warn(call, internet)
        parted = held_out(internet, inputs.from_file(plan), rows, share=hold_out, seed=seed)
        prediction, told = parted.prediction, parted.told
        found = score(prediction, parted.judges, held_out=told, vote=parted.vote)
    if svg is not None:
        if found.calibration is None:
            raise usage("--svg: answers have no chances", advice="Predict with a history: --history FOLDER.")
        from anypop.picture.reliability import drawn  # noqa: PLC0415

        classes = [(c.said, c.right, c.networks) for c in found.calibration.classes]
        caption = f"{found.overall.networks:,} measured networks; {prediction.learnt or 'by the graph'}"
        inputs.write_file(svg, drawn(classes, title="Are answers as often right as they say?", caption=caption))
    call.screen.result(evaluation_data(found) | {"pinned": len(told)}, lambda: tables.evaluation(found))

"""`anypop doctor`: who lands far from home, because of whom, and what mends it; `--apply` makes it through control.

In: the graph, what we announce, weights. Out: causes with their repairs; with `--apply` one of them, as a rollout of
control's in waves, watched to its end. The thinking is `advice.proposals`' and `advice.waves`'; control carries it out,
checks it and takes it back.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anypop.advice.graph import Sources
from anypop.cli import waves
from anypop.cli.call import Call, command
from anypop.cli.catchment import graph_options
from anypop.cli.catchment.commands import Plan, Workload
from anypop.cli.catchment.graph_options import Footprint, GraphFile, History, Observed, Overrides, Weights
from anypop.cli.failure import Failure, usage
from anypop.cli.options import Yes

if TYPE_CHECKING:
    from anypop.advice.graph import Graph
    from anypop.advice.known import Known
    from anypop.routing.catchment.repairs import Repair


# An outcome counts once it has held so long: a route may pass through a better place on its way to a worse one.
HOLD_S = 2.0


def register(root: typer.Typer) -> None:
    @command(
        root,
        "doctor",
        examples="""
        anypop doctor
        anypop doctor --weights users.csv --causes 3 -o json
        anypop doctor --apply 1.1
        anypop doctor --graph as-rel.txt.bz2 --footprint cities.csv --plan plan.yaml
        """,
    )
    def doctor(
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
        causes: Annotated[
            int, typer.Option("--causes", metavar="N", help="So many causes, the worst first.", min=1, max=50)
        ] = 5,
        repairs: Annotated[
            int, typer.Option("--repairs", metavar="N", help="So many repairs of each.", min=1, max=50)
        ] = 5,
        far_km: Annotated[
            float,
            typer.Option("--far-km", metavar="KM", help="Further than this beyond the nearest PoP is too far.", min=1),
        ] = 1500.0,
        make: Annotated[
            str,
            typer.Option(
                "--apply", metavar="N", help="Make this repair: 1.2, or 1 for the best of cause 1.", show_default=False
            ),
        ] = "",
        patience: Annotated[
            float,
            typer.Option(
                "--patience", metavar="SECONDS", help="How long a PoP may take to come out as predicted.", min=0.1
            ),
        ] = 60.0,
        yes: Yes = False,
    ) -> None:
        """Find networks that land too far away, name the cause, propose repairs scored on the whole graph, and make
        one.
        """
        from anypop.advice import proposals  # noqa: PLC0415 - numpy, and the model of the Internet
        from anypop.agent.act.bgp.proposed import bird_conf  # noqa: PLC0415
        from anypop.cli.catchment import inputs, report  # noqa: PLC0415

        if make and plan is not None:
            raise usage("--apply changes what control announces, not a plan file", advice="Leave --plan out.")
        given = Sources(
            graph=graph, overrides=overrides, footprint=footprint, weights=weights, observations=observations,
            history=history,
        )  # fmt: skip
        internet = graph_options.loaded(call, given).graph
        asked = inputs.question(call, plan, workload)
        found = proposals.diagnosed(internet, asked.now, causes=causes, far_km=far_km, repairs=repairs)
        known = asked.known
        place = proposals.Place()
        if known is not None:
            place = proposals.Place(
                workload=known.workload, network=known.network, prefixes=known.prefixes, render=bird_conf
            )
        if not make:
            call.screen.result(
                proposals.data(found, place, most=repairs, graph=internet.says),
                lambda: report.report(found, place, most=repairs, graph=internet.says, far_km=far_km),
            )
            return
        repair = proposals.chosen(found, make, repairs)
        if repair is None:
            raise usage(f"--apply {make}: there is no such repair", advice="'anypop doctor' shows their numbers.")
        assert known is not None
        _made(
            call, internet, known, repair, proposals.repair_data(repair, asked.now, place), patience_s=patience, yes=yes
        )


def _made(
    call: Call,
    graph: "Graph",
    known: "Known",
    repair: "Repair",
    shown: Mapping[str, Any],
    *,
    patience_s: float,
    yes: bool,
) -> None:
    """Show, ask, have control do it, and end badly when it was taken back."""
    from anypop.advice import proposals  # noqa: PLC0415 - see above
    from anypop.advice.answers import difference_data  # noqa: PLC0415
    from anypop.advice.preview import compared  # noqa: PLC0415
    from anypop.advice.waves import waves_of  # noqa: PLC0415
    from anypop.cli.catchment import inputs, vantages  # noqa: PLC0415

    if not known.workload:
        raise usage("no workload announces anything that could be changed", advice="Create one with --anycast.")
    if shown["blocked"]:
        raise usage(f"'{repair.title}' cannot be applied: {shown['blocked']}", advice="Choose another repair.")
    scopes = proposals.rules_of(repair, known.announcements)
    change = compared(graph, known.announcements, known.announcements.with_scopes(scopes))
    call.screen.preview([(repair.title, "bold")], *(f"  {line}" for line in shown["commands"]))
    call.screen.preview(*(f"  {pop} bird.conf {line}" for pop, lines in shown["bird_conf"].items() for line in lines))
    call.screen.preview([(change.sentence, "bold")])
    call.screen.agree("Make it?", yes=yes)
    places = vantages.viewpoints(call)
    seen = vantages.landings(call, known.workload) if places else {}
    plan = waves_of(graph, known.announcements, scopes, places, seen)
    for doubt in plan.doubts:
        call.screen.note(doubt.says)
    strategy = {"deadline_s": patience_s, "bake_s": min(HOLD_S, patience_s / 4)}
    note = f"doctor: {repair.title}"
    since = inputs.from_control(call, known.workload).announcements
    if other := [key for key in scopes if since.session(*key) != known.announcements.session(*key)]:
        raise Failure(
            "somebody has changed what is announced since the doctor looked",
            problems=[f"{pop} to {upstream}" for pop, upstream in other],
            advice="Nothing was changed. Run 'anypop doctor' again.",
        )
    asked = [waves.wave(one.scopes, note=note, expected=one.expected) for one in plan.waves]
    begun = waves.begin(call, known.workload, asked, strategy)
    rollout = waves.to_the_end(call, known.workload, begun, **strategy, well="as predicted")
    data = {"repair": dict(shown), "predicted": difference_data(change), **waves.course(rollout)}
    call.screen.result(data, lambda: [_ending(rollout, repair)])
    if rollout["phase"] != "done":
        advice = (
            "'anypop why VANTAGE' shows what the routers do instead; 'anypop catchment observe' teaches the model what "
            "was seen."
        )
        raise waves.taken_back(rollout, what="the repair", why="the outcome differs from the prediction", advice=advice)


def _ending(rollout: Mapping[str, Any], repair: "Repair") -> str:
    if rollout["phase"] != "done":
        return f"taken back: {repair.title}"
    count = len(rollout["waves"])
    return f"made: {repair.title}; {count} PoP{'s' if count > 1 else ''}, each as predicted"

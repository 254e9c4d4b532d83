"""`anypop announce ...`: how far each announcement goes, changed by hand.

In: a workload, PoPs, upstreams and what shall hold there. Out: first the difference, then (agreed) one request to
control, which plans and orders it like every other change; with `--waves` PoP by PoP, as a rollout of control's. The
dictionary says which community does what; nothing is announced or withdrawn from here.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer

from anypop.cli import scopes, views
from anypop.cli import waves as rolling
from anypop.cli.announcements import listed, rows_of, shared_lines, table
from anypop.cli.call import Call, command
from anypop.cli.failure import usage
from anypop.cli.options import KnownWorkload, Yes
from anypop.model.announce import Mode, Scope
from anypop.model.scopes import MOST_PREPENDS, read_community, scope_data, with_communities
from anypop.model.sessions import Session, ruled
from anypop.routing.actions import Region

BAKE_S = 2.0  # a route may pass through a better place on its way to a worse one
# for each PoP: path exploration takes seconds between a few networks, and up to minutes on the Internet
DEADLINE_S = 60.0

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="List announcements, and scope, withhold, prepend or reset them."
)

Pops = Annotated[list[str] | None, typer.Option("--pop", metavar="CITY,CITY", help="PoPs (default: all). Repeatable.")]
Upstreams = Annotated[
    list[str] | None,
    typer.Option(
        "--upstream", metavar="NAME|ASN", help="Upstreams there, by name or AS number (default: all). Repeatable."
    ),
]
Predict = Annotated[
    bool, typer.Option("--predict/--no-predict", help="Whether to say first what it will move, where a graph is known.")
]
Count = Annotated[
    int,
    typer.Option(
        "--count", metavar="N", help="How many times more our AS number stands in the path.", min=0, max=MOST_PREPENDS
    ),
]
Waves = Annotated[
    bool,
    typer.Option(
        "--waves",
        help=(
            "PoP by PoP, in the order of --pop, watched from the vantages; taken back where one gets fewer answers "
            "than before."
        ),
    ),
]
Bake = Annotated[
    float | None,
    typer.Option(
        "--bake",
        metavar="SECONDS",
        help="How long each PoP must be well before the next, with --waves (default: 2).",
        min=0,
    ),
]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="Why, for whoever reads it later.")]


@command(app, "list", examples="anypop announce list web")
def list_announcements(
    call: Call,
    workload: Annotated[
        str, typer.Argument(metavar="[WORKLOAD]", help="Only those of one workload.", show_default=False)
    ] = "",
) -> None:
    """Every announcement of anycast prefixes: where, to whom, with what scope, and whether it is announced now."""
    what = "list announcements"
    slugs = (
        [workload]
        if workload
        else [
            str(w.get("slug"))
            for w in call.client.every(f"{call.stack_path('workload')}/workloads", what=what)
            if views.anycast_of(w)
        ]
    )
    found = [listed(call, slug) for slug in slugs]
    rows = [row for one in found for row in one.get("results") or []]
    shared = list(dict.fromkeys(line for one in found for line in shared_lines(one)))
    call.screen.result(rows, lambda: [table(rows), *shared])


@command(
    app,
    "scope",
    examples="""
    anypop announce scope web --pop JFK,LAX --upstream 209 --keep-in NA
    anypop announce scope web --pop JFK --upstream 209 --community 209:7100
    anypop announce scope web --upstream 3356 --no-export-to 1299
    """,
)
def scope(
    call: Call,
    workload: KnownWorkload,
    *,
    pop: Pops = None,
    upstream: Upstreams = None,
    keep_in: Annotated[
        str,
        typer.Option(
            "--keep-in", metavar="REGION", help="Keep it in a continent: EU, NA, AS, SA, OC, AF.", show_default=False
        ),
    ] = "",
    no_export_to: Annotated[
        str,
        typer.Option(
            "--no-export-to",
            metavar="ASN",
            help="Not passed on to this network (or: peers, providers, customers).",
            show_default=False,
        ),
    ] = "",
    lower_preference: Annotated[
        str,
        typer.Option(
            "--lower-preference",
            metavar="RELATION",
            help="Preferred less by the upstream: lowest, below-peer, as-peer, above-peer or below-customer.",
            show_default=False,
        ),
    ] = "",
    community: Annotated[
        list[str] | None,
        typer.Option("--community", metavar="N:N", help="This community outright: N:N, N:N:N or rt:N:N. Repeatable."),
    ] = None,
    note: Note = "",
    predict: Predict = True,
    waves: Waves = False,
    bake: Bake = None,
    yes: Yes = False,
) -> None:
    """Limit how far upstreams carry an announcement, by the communities of their dictionaries."""
    region = keep_in.upper()
    if not (region or no_export_to or lower_preference or community):
        raise usage("say what shall hold", advice="--keep-in REGION, --no-export-to ASN or --community N:N.")
    if region and region not in tuple(Region):
        raise usage(f"--keep-in {keep_in}: no such region", advice="Regions are continents: EU, NA, AS, SA, OC, AF.")
    try:
        outright = [read_community(text) for text in community or ()]
    except ValueError as error:
        raise usage(f"--community {error}") from None
    rows = rows_of(call, workload)
    picked = _picked(rows, workload, pop, upstream)
    found: dict[int, list[scopes.Meaning]] = {}
    for asn in dict.fromkeys(s.asn for s in picked):
        there = f"{workload} --pop {','.join(dict.fromkeys(s.pop for s in picked if s.asn == asn))}"
        dictionary = call.client.get(f"/anypop/v1/communities/{asn}", what=f"communities of AS{asn}")
        found[asn] = [
            *([scopes.keep_in(dictionary, region, there=there)] if region else []),
            *([scopes.no_export_to(dictionary, no_export_to, there=there)] if no_export_to else []),
            *([scopes.lower_preference(dictionary, lower_preference, there=there)] if lower_preference else []),
            *scopes.meanings_of(dictionary, outright),
        ]
    said = list(dict.fromkeys(m.says for meanings in found.values() for m in meanings))
    _apply(
        call,
        workload,
        picked,
        lambda s: with_communities(s.scope, [m.community for m in found[s.asn]]),
        rows=rows if predict else None,
        note=note,
        bake_s=_bake(waves, bake),
        yes=yes,
        said=said,
    )


@command(app, "withhold", examples="anypop announce withhold web --pop JFK,LAX --upstream 209")
def withhold(
    call: Call,
    workload: KnownWorkload,
    *,
    pop: Pops = None,
    upstream: Upstreams = None,
    note: Note = "",
    predict: Predict = True,
    waves: Waves = False,
    bake: Bake = None,
    yes: Yes = False,
) -> None:
    """Do not announce there at all."""
    if not pop and not upstream:
        raise usage(
            "this would withhold the workload everywhere",
            advice="Say where: --pop CITY, --upstream NAME, or delete the workload.",
        )
    rows = rows_of(call, workload)
    picked = _picked(rows, workload, pop, upstream)
    _apply(
        call,
        workload,
        picked,
        lambda _: Scope(mode=Mode.WITHHOLD),
        rows=rows if predict else None,
        note=note,
        bake_s=_bake(waves, bake),
        yes=yes,
    )


@command(app, "prepend", examples="anypop announce prepend web --pop LAX --upstream 209 --count 3")
def prepend(
    call: Call,
    workload: KnownWorkload,
    *,
    count: Count,
    pop: Pops = None,
    upstream: Upstreams = None,
    note: Note = "",
    predict: Predict = True,
    waves: Waves = False,
    bake: Bake = None,
    yes: Yes = False,
) -> None:
    """Make the path through these upstreams longer, so that others are preferred where length decides."""
    rows = rows_of(call, workload)
    picked = _picked(rows, workload, pop, upstream)
    _apply(
        call,
        workload,
        picked,
        lambda s: replace(s.scope, mode=Mode.ANNOUNCE, prepend=count),
        rows=rows if predict else None,
        note=note,
        bake_s=_bake(waves, bake),
        yes=yes,
    )


@command(app, "reset", examples="anypop announce reset web\nanypop announce reset web --pop JFK")
def reset(
    call: Call,
    workload: KnownWorkload,
    *,
    pop: Pops = None,
    upstream: Upstreams = None,
    predict: Predict = True,
    waves: Waves = False,
    bake: Bake = None,
    yes: Yes = False,
) -> None:
    """Announce plainly again: no prepends, no communities, nothing withheld."""
    rows = rows_of(call, workload)
    picked = _picked(rows, workload, pop, upstream)
    _apply(
        call,
        workload,
        picked,
        lambda _: Scope(),
        rows=rows if predict else None,
        note="",
        bake_s=_bake(waves, bake),
        yes=yes,
    )


def _picked(
    rows: list[Any], workload: str, pops: Sequence[str] | None, upstreams: Sequence[str] | None
) -> list[Session]:
    sessions = ruled(rows)
    if not sessions:
        raise usage(
            f"{workload} announces nothing", advice="Only a workload made with --anycast has announcements of its own."
        )
    wanted = _split(pops, upper=True)
    found = scopes.chosen(sessions, wanted, _split(upstreams))
    return sorted(found, key=lambda s: wanted.index(s.pop)) if wanted else found


def _bake(waves: bool, seconds: float | None) -> float | None:
    """How long each PoP must be well; None: no waves."""
    if not waves and seconds is not None:
        raise usage("--bake needs --waves", advice="Without waves all changes at once.")
    return None if not waves else BAKE_S if seconds is None else seconds


def _split(values: Sequence[str] | None, *, upper: bool = False) -> list[str]:
    """`JFK,LAX` and repeated options alike."""
    parts = [part.strip() for value in values or () for part in value.split(",") if part.strip()]
    return [part.upper() for part in parts] if upper else parts


def _apply(
    call: Call,
    workload: str,
    picked: Sequence[Session],
    change: Callable[[Session], Scope],
    *,
    rows: list[Any] | None,
    note: str,
    bake_s: float | None,
    yes: bool,
    said: Sequence[str] = (),
) -> None:
    """Show the difference and what it will move (by `rows`, all that is announced now; None: do not say), ask, write.
    `bake_s`: in waves, each well for so long; None: all at once.

    Standard output gets the difference too, as lines or as JSON.
    """
    pairs = scopes.changed(picked, change)
    data: dict[str, Any] = {
        "workload": workload,
        "changes": [
            {
                "pop": a.pop,
                "upstream": a.upstream,
                "asn": a.asn,
                "before": scope_data(b.scope),
                "after": scope_data(a.scope),
            }
            for b, a in pairs
        ],
    }
    if not pairs:
        call.screen.result(data, lambda: ["nothing to change: it is so already"])
        return
    call.screen.preview(*scopes.diff(pairs), *said)
    if rows is not None:
        moved = _foreseen(call, rows, [after for _, after in pairs])
        if moved is not None:
            data["predicted"] = moved
            call.screen.preview([(str(moved["sentence"]), "bold")])
    call.screen.agree("Change it?", yes=yes)
    count = f"{len(pairs)} announcement" + ("s" if len(pairs) > 1 else "")
    if bake_s is not None:
        _in_waves(call, workload, [after for _, after in pairs], data, note=note, bake_s=bake_s, count=count)
        return
    path = f"{call.workload_path(workload, 'anypop')}/announcements"
    what = f"change announcements of {workload}"
    call.client.call("PATCH", path, what=what, body={"rules": scopes.rules([after for _, after in pairs], note=note)})
    call.screen.result(data, lambda: [f"{count} changed; 'anypop probe --all' shows who moved"])


def _in_waves(
    call: Call, workload: str, after: Sequence[Session], data: views.Data, *, note: str, bake_s: float, count: str
) -> None:
    """One wave for each PoP, as a rollout of control's that this watches to its end."""
    pops = list(dict.fromkeys(s.pop for s in after))
    asked = [rolling.wave({(s.pop, s.upstream): s.scope for s in after if s.pop == pop}, note=note) for pop in pops]
    begun = rolling.begin(call, workload, asked, {"deadline_s": DEADLINE_S, "bake_s": bake_s})
    rollout = rolling.to_the_end(call, workload, begun, deadline_s=DEADLINE_S, bake_s=bake_s, well="well")
    done = rollout["phase"] == "done"
    ending = f"{count} changed, PoP by PoP" if done else f"{count} as before"
    call.screen.result({**data, **rolling.course(rollout)}, lambda: [ending])
    if not done:
        advice = "'anypop probe --all' shows where the vantages land."
        raise rolling.taken_back(rollout, what="the change", why="it did not come out as asked", advice=advice)


def _foreseen(call: Call, rows: list[Any], after: Sequence[Session]) -> views.Data | None:
    """What the model says of it; None where there is no graph, without a word and without loading the model."""
    from anypop.cli.catchment import graph_options  # noqa: PLC0415 - a thing of their own, for changes alone

    if graph_options.sources(call) is None:
        return None
    from anypop.advice.answers import difference_data  # noqa: PLC0415 - numpy, and the model of the Internet
    from anypop.cli.catchment import preview  # noqa: PLC0415

    found = preview.foreseen(call, rows, after)
    return difference_data(found) if found is not None else None

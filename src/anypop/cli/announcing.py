"""`anypop announce ...`: how far each announcement goes, changed by hand.

In: a workload, PoPs, upstreams and what shall hold there. Out: first the difference, then (agreed) one request to control, which plans and
orders it like every other change. The dictionary says which community does what; nothing is announced or withdrawn from here.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from anypop.cli import scopes, views
from anypop.cli.door import Door, command
from anypop.cli.failure import usage
from anypop.cli.scopes import Scope, Session
from anypop.cli.table import Cell, Column, Table
from anypop.cli.workloads import Yes

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List announcements, and scope, withhold, prepend or reset them.")

Workload = Annotated[str, typer.Argument(metavar="WORKLOAD", help="Its name (slug) or id.")]
Pops = Annotated[list[str] | None, typer.Option("--pop", metavar="CITY,CITY", help="PoPs (default: all). Repeatable.")]
Upstreams = Annotated[
    list[str] | None,
    typer.Option("--upstream", metavar="NAME|ASN", help="Upstreams there, by name or AS number (default: all). Repeatable."),
]
Predict = Annotated[bool, typer.Option("--predict/--no-predict", help="Whether to say first what it will move, where a graph is known.")]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="Why, for whoever reads it later.")]


@command(app, "list", examples="anypop announce list web")
def list_announcements(
    door: Door, workload: Annotated[str, typer.Argument(metavar="[WORKLOAD]", help="Only those of one workload.", show_default=False)] = ""
) -> None:
    """Every announcement of anycast prefixes: where, to whom, with what scope, and whether it is announced now."""
    what = "list announcements"
    slugs = (
        [workload]
        if workload
        else [str(w.get("slug")) for w in door.client.every(f"{door.stack_path('workload')}/workloads", what=what) if views.anycast_of(w)]
    )
    rows = [row for slug in slugs for row in _rows(door, slug)]
    door.screen.result(rows, lambda: [table(rows)])


def table(rows: list[views.Data]) -> Table:
    columns = [
        Column(head="PREFIX"),
        Column(head="POP"),
        Column(head="UPSTREAM"),
        Column(head="AS", right=True, drop=2),
        Column(head="SCOPE"),
        Column(head="OUT"),
        Column(head="WHY", drop=1, maybe=True),
    ]
    cells: list[list[Cell]] = [
        [
            views.text(row.get("prefix")),
            views.text(row.get("pop")),
            views.text(row.get("upstream")),
            views.text(row.get("asn")),
            scopes.scope_of(row.get("scope") or {}).says,
            ("yes", "green") if row.get("announced") else ("no", "yellow"),
            "-" if row.get("announced") else views.text(row.get("says") or row.get("reason")),
        ]
        for row in rows
    ]
    return Table(columns=columns, rows=cells, empty="no announcements: they come with a workload made with --anycast")


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
    door: Door,
    workload: Workload,
    *,
    pop: Pops = None,
    upstream: Upstreams = None,
    keep_in: Annotated[
        str, typer.Option("--keep-in", metavar="REGION", help="Keep it in a continent: EU, NA, AS, SA, OC, AF.", show_default=False)
    ] = "",
    no_export_to: Annotated[
        str,
        typer.Option(
            "--no-export-to", metavar="ASN", help="Not passed on to this network (or: peers, providers, customers).", show_default=False
        ),
    ] = "",
    community: Annotated[list[str] | None, typer.Option("--community", metavar="N:N", help="This community outright. Repeatable.")] = None,
    note: Note = "",
    predict: Predict = True,
    yes: Yes = False,
) -> None:
    """Limit how far upstreams carry an announcement, by the communities of their dictionaries."""
    region = keep_in.upper()
    if not (region or no_export_to or community):
        raise usage("say what shall hold", advice="--keep-in REGION, --no-export-to ASN or --community N:N.")
    if region and region not in ("EU", "NA", "AS", "SA", "OC", "AF"):
        raise usage(f"--keep-in {keep_in}: no such region", advice="Regions are continents: EU, NA, AS, SA, OC, AF.")
    try:
        outright = [scopes.check_community(text) for text in community or ()]
    except ValueError as error:
        raise usage(str(error)) from None
    rows = _rows(door, workload)
    picked = _picked(rows, workload, pop, upstream)
    found: dict[int, list[scopes.Meaning]] = {}
    for asn in dict.fromkeys(s.asn for s in picked):
        there = f"{workload} --pop {','.join(dict.fromkeys(s.pop for s in picked if s.asn == asn))}"
        dictionary = door.client.get(f"/anypop/v1/communities/{asn}", what=f"communities of AS{asn}")
        found[asn] = [
            *([scopes.keep_in(dictionary, region, there=there)] if region else []),
            *([scopes.no_export_to(dictionary, no_export_to, there=there)] if no_export_to else []),
            *scopes.meanings_of(dictionary, outright),
        ]
    said = list(dict.fromkeys(m.says for meanings in found.values() for m in meanings))
    _apply(
        door,
        workload,
        picked,
        lambda s: scopes.with_communities(s.scope, [m.community for m in found[s.asn]]),
        rows=rows if predict else None,
        note=note,
        yes=yes,
        said=said,
    )


@command(app, "withhold", examples="anypop announce withhold web --pop JFK,LAX --upstream 209")
def withhold(
    door: Door,
    workload: Workload,
    *,
    pop: Pops = None,
    upstream: Upstreams = None,
    note: Note = "",
    predict: Predict = True,
    yes: Yes = False,
) -> None:
    """Do not announce there at all."""
    if not pop and not upstream:
        raise usage("this would withhold the workload everywhere", advice="Say where: --pop CITY, --upstream NAME, or delete the workload.")
    rows = _rows(door, workload)
    picked = _picked(rows, workload, pop, upstream)
    _apply(door, workload, picked, lambda _: Scope(mode="withhold"), rows=rows if predict else None, note=note, yes=yes)


@command(app, "prepend", examples="anypop announce prepend web --pop LAX --upstream 209 --count 3")
def prepend(
    door: Door,
    workload: Workload,
    *,
    count: Annotated[int, typer.Option("--count", metavar="N", help="How many times more our AS number stands in the path.", min=0, max=8)],
    pop: Pops = None,
    upstream: Upstreams = None,
    note: Note = "",
    predict: Predict = True,
    yes: Yes = False,
) -> None:
    """Make the path through these upstreams longer, so that others are preferred where length decides."""
    rows = _rows(door, workload)
    picked = _picked(rows, workload, pop, upstream)
    _apply(
        door,
        workload,
        picked,
        lambda s: Scope(prepend=count, communities=s.scope.communities),
        rows=rows if predict else None,
        note=note,
        yes=yes,
    )


@command(app, "reset", examples="anypop announce reset web\nanypop announce reset web --pop JFK")
def reset(
    door: Door, workload: Workload, *, pop: Pops = None, upstream: Upstreams = None, predict: Predict = True, yes: Yes = False
) -> None:
    """Announce plainly again: no prepends, no communities, nothing withheld."""
    rows = _rows(door, workload)
    picked = _picked(rows, workload, pop, upstream)
    _apply(door, workload, picked, lambda _: Scope(), rows=rows if predict else None, note="", yes=yes)


def _rows(door: Door, workload: str) -> list[Any]:
    found = door.client.get(f"{door.workload_path(workload, 'anypop')}/announcements", what=f"announcements of {workload}")
    return list(found.get("results") or [])


def _picked(rows: list[Any], workload: str, pops: Sequence[str] | None, upstreams: Sequence[str] | None) -> list[Session]:
    sessions = scopes.sessions_of(rows)
    if not sessions:
        raise usage(f"{workload} announces nothing", advice="Only a workload made with --anycast has announcements of its own.")
    return scopes.chosen(sessions, _split(pops, upper=True), _split(upstreams))


def _split(values: Sequence[str] | None, *, upper: bool = False) -> list[str]:
    """`JFK,LAX` and repeated options alike."""
    parts = [part.strip() for value in values or () for part in value.split(",") if part.strip()]
    return [part.upper() for part in parts] if upper else parts


def _apply(
    door: Door,
    workload: str,
    picked: Sequence[Session],
    change: Callable[[Session], Scope],
    *,
    rows: list[Any] | None,
    note: str,
    yes: bool,
    said: Sequence[str] = (),
) -> None:
    """Show the difference and what it will move (by `rows`, all that is announced now; None: do not say), ask, write.

    Standard output gets the difference too, as lines or as JSON."""
    pairs = scopes.changed(picked, change)
    data: dict[str, Any] = {
        "workload": workload,
        "changes": [
            {"pop": a.pop, "upstream": a.upstream, "asn": a.asn, "before": scopes.scope_data(b.scope), "after": scopes.scope_data(a.scope)}
            for b, a in pairs
        ],
    }
    if not pairs:
        door.screen.result(data, lambda: ["nothing to change: it is so already"])
        return
    door.screen.preview(*scopes.diff(pairs), *said)
    if rows is not None:
        moved = _foreseen(door, rows, [after for _, after in pairs])
        if moved is not None:
            data["predicted"] = moved
            door.screen.preview([(str(moved["sentence"]), "bold")])
    door.screen.agree("Change it?", yes=yes)
    path = f"{door.workload_path(workload, 'anypop')}/announcements"
    what = f"change announcements of {workload}"
    door.client.call("PATCH", path, what=what, body={"rules": scopes.rules([after for _, after in pairs], note=note)})
    count = f"{len(pairs)} announcement" + ("s" if len(pairs) > 1 else "")
    door.screen.result(data, lambda: [f"{count} changed; 'anypop probe --all' shows who moved"])


def withdrawn_with(door: Door, workload: str) -> list[str]:
    """What deleting a workload withdraws, a line for each prefix. No model is asked: without an announcement nobody has a route."""
    listed = door.client.every(f"{door.stack_path('workload')}/workloads", what="find other workloads")
    others = [str(w.get("slug")) for w in listed if views.anycast_of(w) and w.get("slug") != workload]
    mine = _out(door, workload)
    kept = {slug: _out(door, slug) for slug in others}
    lines = []
    for prefix in sorted({prefix for prefix, _ in mine}):
        pops = {pop for one, pop in mine if one == prefix}
        stays = {pop for rows in kept.values() for one, pop in rows if one == prefix}
        by = ", ".join(slug for slug, rows in kept.items() if any(one == prefix for one, _ in rows))
        gone = ", ".join(sorted(pops - stays))
        if not stays:
            lines.append(f"this withdraws {prefix} at {gone}: every network loses its route to it")
        elif gone:
            lines.append(
                f"this withdraws {prefix} at {gone}, whose networks move to {', '.join(sorted(stays))}, where {by} keeps it announced"
            )
        else:
            lines.append(f"{prefix} stays announced, by {by}")
    return lines


def _out(door: Door, workload: str) -> set[tuple[str, str]]:
    """Where which prefix is announced."""
    path = f"{door.workload_path(workload, 'anypop')}/announcements"
    rows = door.client.get(path, what=f"announcements of {workload}").get("results") or []
    return {(str(row["prefix"]), str(row["pop"])) for row in rows if row.get("announced")}


def _foreseen(door: Door, rows: list[Any], after: Sequence[Session]) -> views.Data | None:
    """What the model says of it; None where there is no graph, without a word and without loading the model."""
    from anypop.cli.catchment import graphs  # noqa: PLC0415 - a thing of their own, for changes alone

    if graphs.sources(door, graphs.Sources()) is None:
        return None
    from anypop.cli.catchment import preview, tables  # noqa: PLC0415 - numpy, and the model of the Internet

    found = preview.foreseen(door, rows, after)
    return tables.difference_data(found) if found is not None else None

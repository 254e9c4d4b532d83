"""`anypop get`, `anypop describe`: rows of any kind, and all about one thing.

In: a kind and perhaps names. Out: a table, or the rows as control gives them, as JSON, YAML, or names alone. What `get
-o yaml` prints of workloads `apply -f` takes. Changes nothing.
"""

import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from anypop.cli import announcements, kinds, rollouts, scaling, views
from anypop.cli.call import Call, command
from anypop.cli.failure import usage
from anypop.cli.kinds import Kind, Row
from anypop.cli.listings import events_table
from anypop.cli.screen import Format, Shown, in_yaml
from anypop.model.visible import visible, visible_json

Words = Annotated[
    list[str],
    typer.Argument(
        metavar="KIND [NAME]...",
        help="What to look at: workloads, instances, pops, hosts, ... as 'workload web' or 'workload/web'.",
    ),
]
OrNone = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KIND NAME...]",
        help="What to look at: workloads, instances, pops, hosts, ... as 'workload web' or 'workload/web'.",
    ),
]
OfWorkload = Annotated[
    str,
    typer.Option(
        "--workload",
        "-w",
        metavar="WORKLOAD",
        help="Only what belongs to it (instances, rollouts, revisions, announcements).",
        show_default=False,
    ),
]
_LATEST = 10  # events beside a thing
_LOOKED_AT = 1000  # events among which those are looked for
_LABELS = "workload.platform.stackpath.net"
_MARKS = ("name", "slug", "id")


def register(root: typer.Typer) -> None:
    """The commands of this file, at the top level."""

    @command(
        root,
        "get",
        names=True,
        examples="""
        anypop get workloads
        anypop get instances -w web -o wide
        anypop get workload web -o yaml > web.yaml
        anypop get pop LHR -o json
        anypop get workloads -o name
        anypop get
        """,
    )
    def get(call: Call, words: OrNone = None, *, workload: OfWorkload = "") -> None:
        """Rows of any kind, as a table or as control has them. '-o name' prints KIND/NAME alone.

        Without words: the kinds that there are.
        """
        if not words:
            told: list[views.Data] = [
                {"kind": k.plural, "short": [k.name, *k.short], "about": k.about} for k in kinds.KINDS
            ]
            table = kinds.plain(("KIND", "kind"), ("ALSO", "short"), ("WHAT", "about"), empty="none")
            call.screen.result(told, lambda: [table(told)])
            return
        kind, names = kinds.split(words)
        show(call, kind, kinds.chosen(call, kind, names, workload), one=len(names) == 1)

    @command(
        root,
        "describe",
        examples="""
        anypop describe workload web
        anypop describe instance/web-eu1-lhr-0
        anypop describe host LHR -o yaml
        """,
    )
    def describe(call: Call, words: Words, *, workload: OfWorkload = "") -> None:
        """All about one thing: what it is, how it stands, what belongs to it, and what happened to it lately."""
        kind, names = kinds.split(words)
        if not names:
            raise usage(f"say which {kind.name}", advice=f"'anypop get {kind.plural}' lists them.")
        found = [_whole(call, kind, row) for row in kinds.chosen(call, kind, names, workload)]
        data: Any = found[0] if len(found) == 1 else found
        call.screen.result(data, lambda: [line for whole in found for line in _described(kind, whole)])


def show(call: Call, kind: Kind, rows: list[Row], *, one: bool = False) -> None:
    """Rows in the format that was asked for. `one`: a single one is no list."""
    match call.screen.output:
        case Format.NAME:
            sys.stdout.write("".join(f"{visible(f'{kind.name}/{kind.named(row)}')}\n" for row in rows))
        case Format.YAML:
            sys.stdout.write("---\n".join(in_yaml(row) for row in rows) or "[]\n")
        case Format.JSON:
            data: Any = rows[0] if one and len(rows) == 1 else rows
            sys.stdout.write(visible_json(json.dumps(data, indent=2, ensure_ascii=False)) + "\n")
        case _:
            call.screen.result(rows, lambda: [kind.table(rows)])


def _whole(call: Call, kind: Kind, row: Row) -> dict[str, Any]:
    """A thing and what belongs to it."""
    name = kind.named(row)
    found: dict[str, Any] = {kind.name: row}
    if kind.name == "workload":
        what = f"describe {name}"
        found["instances"] = views.by_name(call.client.every(f"{call.workload_path(name)}/instances", what=what))
        found["status"] = call.client.get(f"{call.workload_path(name, 'anypop')}/rollouts", what=what)
        if any(scaling.follows(target) for target in (row.get("targets") or {}).values()):
            found["scaling"] = _scaling(call, name)
        found["announcements"] = announcements.rows_of(call, name) if views.anycast_of(row) else []
    if kind.name == "instance":
        found |= _scaled(call, row)
    if kind.name != "event":
        events = call.client.get("/anypop/v1/events", what="list events", limit=_LOOKED_AT).get("results") or []
        found["events"] = [e for e in events if _is_about(e, kind, name)][-_LATEST:]
    return found


def _scaling(call: Call, workload: str) -> list[Row]:
    path = f"{call.workload_path(workload, 'anypop')}/scaling"
    rows: list[Row] = call.client.get(path, what=f"describe {workload}").get("results") or []
    return rows


def _scaled(call: Call, instance: Row) -> dict[str, Any]:
    """Why there are as many as there are where an instance stands, where that follows their load."""
    labels = (instance.get("metadata") or {}).get("labels") or {}
    target, pop = labels.get(f"{_LABELS}/target-name"), views.city_code(instance)
    rows = [
        r
        for r in _scaling(call, str(labels.get(f"{_LABELS}/workload-slug")))
        if (r.get("target"), r.get("pop")) == (target, pop)
    ]
    return {"scaling": rows} if rows else {}


def _is_about(event: Row, kind: Kind, name: str) -> bool:
    subject = str(event.get("subject"))
    if name in (subject, str((event.get("fields") or {}).get(kind.name))):
        return True
    return kind.name == "workload" and subject.startswith(f"{name}-")


def _described(kind: Kind, whole: dict[str, Any]) -> Iterator[Shown]:
    row = whole[kind.name]
    if kind.name == "workload":
        status = whole["status"]
        under_way = [r for r in status.get("results") or [] if r.get("phase") in ("running", "paused")]
        yield views.workload(row)
        yield from views.revision(status, under_way)
        yield from scaling.part(whole.get("scaling") or [])
        yield from _part("DECLARED", views.pairs([[path, text] for path, text in _members(row.get("spec") or {})]))
        yield from _part("INSTANCES", views.instances(whole["instances"]))
        if whole["announcements"]:
            yield from _part("ANNOUNCEMENTS", announcements.table(whole["announcements"]))
        if status.get("results"):
            yield from _part("ROLLOUTS", rollouts.table(status["results"]))
    else:
        yield views.pairs([[path, text] for path, text in _members(row)])
        yield from scaling.part(whole.get("scaling") or [])
    if whole.get("events"):
        yield from _part("LATELY", events_table(whole["events"]))
    yield ""


def _part(title: str, table: Shown) -> Iterator[Shown]:
    yield ""
    yield [(title, "bold")]
    yield table


def _members(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Each value in it by its path, those of nested things below them."""
    match value:
        case dict() if value:
            for key, inner in value.items():
                yield from _members(inner, f"{path}.{key}" if path else str(key))
        case list() if any(isinstance(inner, dict | list) for inner in value):
            for number, inner in enumerate(value):
                mark = next((str(inner[key]) for key in _MARKS if isinstance(inner, dict) and key in inner), number)
                yield from _members(inner, f"{path}[{mark}]")
        case list():
            yield path, views.text(", ".join(map(str, value)))
        case bool():
            yield path, "yes" if value else "no"
        case _:
            yield path, views.text(value if value != {} else "")

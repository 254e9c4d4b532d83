"""`anypop apply`, `anypop diff`: files with workloads and addresses and what is there, brought together or shown apart.

In: files. Out: first what would change and what all of it costs, then the changes, all in one step. All files are
checked before anything is sent; what was declared before goes only with `--prune`, is shown, and is asked for.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from anypop.cli import dry_runs, rollouts, together, views, watch
from anypop.cli.call import Call, command
from anypop.cli.compose import Wishes
from anypop.cli.deleting import losses
from anypop.cli.failure import Exit, Failure
from anypop.cli.manifests import read
from anypop.cli.options import Files, Timeout, Wait, Yes
from anypop.cli.together import Planned

Cities = Annotated[
    str,
    typer.Option("--cities", metavar="CITY,CITY", help="Where the services of a Compose file run.", show_default=False),
]
Anycast = Annotated[
    bool, typer.Option("--anycast", help="Services of a Compose file that publish ports get an anycast address each.")
]
Prune = Annotated[
    bool, typer.Option("--prune", help="Workloads of the stack that are in none of the files go. It shows and asks.")
]
AllowWaiting = Annotated[
    bool,
    typer.Option("--allow-waiting", help="Also where not every instance finds a place now: those wait for room."),
]


def register(root: typer.Typer) -> None:
    """The commands of this file, at the top level."""
    command(
        root,
        "apply",
        examples="""
    anypop apply -f web.yaml -f api.yaml
    anypop apply -f workloads/ --prune
    anypop apply -f compose.yaml --cities AMS,LHR --anycast
    cat *.yaml | anypop apply -f - --yes --no-wait
    """,
    )(apply)
    command(
        root,
        "diff",
        examples="""
    anypop diff -f workloads/
    anypop diff -f web.yaml --prune -o json
    """,
    )(diff)


def apply(
    call: Call,
    *,
    file: Files = None,
    cities: Cities = "",
    anycast: Anycast = False,
    prune: Prune = False,
    allow_waiting: AllowWaiting = False,
    yes: Yes = False,
    wait: Wait = True,
    timeout: Timeout = 300,
) -> None:
    """Create the workloads and addresses of files, or bring those that are there to them: first differences and the
    price of all, then the changes, with what --prune takes away all in one step, then their end. Nothing is changed
    where anything in the files is wrong, where all together are over a quota, or where an instance would find no place.
    """
    found = together.planned(call, read(file or (), _wishes(cities, anycast)), prune=prune)
    call.screen.note(*together.differences(found), *losses(call, found.leaving), "")
    if (homeless := dry_runs.homeless(found.whole)) and not allow_waiting:
        raise Failure(
            "not all of it finds a place",
            problems=homeless,
            advice="Nothing was changed. With --allow-waiting the rest starts, and these wait until there is room.",
        )
    if found.leaving:
        _agree_to_lose(call, found.leaving, yes=yes)
    elif found.ahead or found.addresses_ahead:
        call.screen.agree(_question(found), yes=yes)
    made = together.declared(call, found)
    if wait:
        for one, workload in zip(found.ahead, made, strict=True):
            _arrived(call, one, workload, timeout)
        for row in found.leaving:
            watch.until_gone(call, str(row.get("id")), timeout_s=timeout)
    data: dict[str, Any] = {
        "applied": [
            {"workload": p.slug, "action": _DONE[p.action], "changes": p.told.get("changes") or []}
            for p in found.planned
        ],
        "pruned": [str(row.get("slug")) for row in found.leaving],
    }
    if found.addresses:
        data["kept"] = [{one.kept.member: one.kept.slug, "action": _DONE[one.action]} for one in found.addresses]
    lines = [f"{one.kept.name} {_DONE[one.action]}" for one in found.addresses]
    lines += [f"{p.slug} {_DONE[p.action]}" for p in found.planned]
    lines += [f"{row.get('slug')} pruned" for row in found.leaving]
    call.screen.result(data, lambda: lines)


def diff(
    call: Call, *, file: Files = None, cities: Cities = "", anycast: Anycast = False, prune: Prune = False
) -> None:
    """What 'apply' would change, and its price. Exit code 1 where there is a difference, 0 where there is none."""
    found = together.planned(call, read(file or (), _wishes(cities, anycast)), prune=prune)
    data: dict[str, Any] = {
        "workloads": [{"workload": p.slug, "action": p.action, **p.told} for p in found.planned],
        **{key: found.whole[key] for key in ("announced", "withdrawn", "not_placed", "price")},
        "pruned": [str(row.get("slug")) for row in found.leaving],
    }
    if found.addresses:
        data["kept"] = [{one.kept.member: one.kept.slug, "action": one.action} for one in found.addresses]
    call.screen.result(data, lambda: [*together.differences(found), *losses(call, found.leaving)])
    if found.leaving or found.ahead or found.addresses_ahead:
        raise typer.Exit(Exit.FAILED)


_DONE = {"create": "created", "change": "changed", "nothing": "unchanged"}


def _wishes(cities: str, anycast: bool) -> Wishes:
    return Wishes(cities=tuple(c.strip().upper() for c in cities.split(",") if c.strip()), anycast=anycast)


def _question(found: together.Together) -> str:
    words = [
        (
            verb,
            [
                *(one.kept.name for one in found.addresses if one.action == action),
                *(one.slug for one in found.ahead if one.action == action),
            ],
        )
        for action, verb in _VERBS.items()
    ]
    return ", ".join(f"{verb} {', '.join(slugs)}" for verb, slugs in words if slugs).capitalize() + "?"


_VERBS = {"create": "create", "change": "change"}


def _agree_to_lose(call: Call, leaving: Sequence[views.Data], *, yes: bool) -> None:
    """Who is not asked has to have said so: a script that lost its files must not empty a stack."""
    names = ", ".join(str(row.get("slug")) for row in leaving)
    if not yes and not call.screen.interactive:
        raise Failure(f"--prune would take {names} away, and nobody is here to ask", advice="Say --yes if it shall.")
    call.screen.agree(f"Do all of this, and take {names} away?", yes=yes)


def _arrived(call: Call, one: Planned, made: views.Data, timeout: float) -> None:
    slug = str(made.get("slug"))
    if one.current is not None:
        revision = int((made.get("metadata") or {}).get("version") or 0)
        rollouts.until_ended(call, slug, revision, timeout_s=timeout)
    if views.expected(made):
        watch.until_running(call, slug, views.expected(made), timeout_s=timeout)

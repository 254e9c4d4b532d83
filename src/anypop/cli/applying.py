"""`anypop apply`, `anypop diff`: files with workloads and what is there, brought together or shown apart.

In: files. Out: first what would change and what all of it costs, then the changes, all in one step. All files are
checked before anything is sent; what was declared before goes only with `--prune`, is shown, and is asked for.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from anypop.cli import addresses, dry_runs, kinds, rollouts, together, views, watch
from anypop.cli.call import Call, command
from anypop.cli.compose import Wishes
from anypop.cli.deleting import losses, take_down
from anypop.cli.failure import Exit, Failure
from anypop.cli.manifests import Manifest, read
from anypop.cli.options import Files, Timeout, Wait, Yes
from anypop.cli.screen import Shown
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

KeptAction = tuple[addresses.Kept, views.Data | None, str]


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
    """Create the workloads of files, or bring those that are there to them: first differences and the price of all,
    then the changes, all in one step, then their end. Nothing is changed where anything in the files is wrong, where
    all together are over a quota, or where an instance would find no place.
    """
    everything = read(file or (), _wishes(cities, anycast))
    kept = _kept(call, everything)
    found = together.planned(call, [one for one in everything if one.kept is None])
    leaving = _leaving(call, found.planned) if prune else []
    call.screen.note(*_kept_differences(kept), *together.differences(found), *losses(call, leaving), "")
    if (homeless := dry_runs.homeless(found.whole)) and not allow_waiting:
        raise Failure(
            "not all of it finds a place",
            problems=homeless,
            advice="Nothing was changed. With --allow-waiting the rest starts, and these wait until there is room.",
        )
    if (found.ahead or any(action != "nothing" for _, _, action in kept)) and not leaving:
        call.screen.agree(_question(found.ahead, kept), yes=yes)
    elif leaving:
        _agree_to_lose(call, leaving, yes=yes)
    for address, before, action in kept:
        if action != "nothing":
            addresses.sent(call, address, before)
    made = together.declared(call, found)
    if wait:
        for one, workload in zip(found.ahead, made, strict=True):
            _arrived(call, one, workload, timeout)
    take_down(call, leaving, wait=wait, timeout=timeout)
    data: dict[str, Any] = {
        "applied": [
            {"workload": p.slug, "action": _DONE[p.action], "changes": p.told.get("changes") or []}
            for p in found.planned
        ],
        "pruned": [str(row.get("slug")) for row in leaving],
    }
    if kept:
        data["kept"] = [{one.member: one.slug, "action": _DONE[action]} for one, _, action in kept]
    lines = [f"{one.name} {_DONE[action]}" for one, _, action in kept]
    lines += [f"{p.slug} {_DONE[p.action]}" for p in found.planned]
    lines += [f"{row.get('slug')} pruned" for row in leaving]
    call.screen.result(data, lambda: lines)


def diff(
    call: Call, *, file: Files = None, cities: Cities = "", anycast: Anycast = False, prune: Prune = False
) -> None:
    """What 'apply' would change, and its price. Exit code 1 where there is a difference, 0 where there is none."""
    everything = read(file or (), _wishes(cities, anycast))
    kept = _kept(call, everything)
    found = together.planned(call, [one for one in everything if one.kept is None])
    leaving = _leaving(call, found.planned) if prune else []
    data: dict[str, Any] = {
        "workloads": [{"workload": p.slug, "action": p.action, **p.told} for p in found.planned],
        **{key: found.whole[key] for key in ("announced", "withdrawn", "not_placed", "price") if found.whole},
        "pruned": [str(row.get("slug")) for row in leaving],
    }
    if kept:
        data["kept"] = [{one.member: one.slug, "action": action} for one, _, action in kept]
    call.screen.result(data, lambda: [*_kept_differences(kept), *together.differences(found), *losses(call, leaving)])
    if leaving or found.ahead or any(a != "nothing" for _, _, a in kept):
        raise typer.Exit(Exit.FAILED)


_DONE = {"create": "created", "change": "changed", "nothing": "unchanged"}


def _wishes(cities: str, anycast: bool) -> Wishes:
    return Wishes(cities=tuple(c.strip().upper() for c in cities.split(",") if c.strip()), anycast=anycast)


def _kept(call: Call, manifests: Sequence[Manifest]) -> list[KeptAction]:
    """Allocations first, then claims, which may name them; each with what is there, and what is to be done."""
    found: list[KeptAction] = []
    for one in sorted((m.kept for m in manifests if m.kept is not None), key=lambda k: k.member):
        before = addresses.there(call, one)
        found.append((one, before, addresses.action(one, before)))
    return found


def _kept_differences(kept: Sequence[KeptAction]) -> Iterator[Shown]:
    for one, _, action in kept:
        yield [(f"{one.name}: ", "bold"), (together.AHEAD[action], "")]


def _leaving(call: Call, planned: Sequence[Planned]) -> list[views.Data]:
    stay = {p.slug for p in planned}
    return [
        row
        for row in kinds.workloads_of(call, "")
        if row.get("slug") not in stay and not (row.get("metadata") or {}).get("deleteRequestedAt")
    ]


def _question(ahead: Sequence[Planned], kept: Sequence[KeptAction] = ()) -> str:
    words = [
        (verb, [*(k.name for k, _, a in kept if a == action), *(p.slug for p in ahead if p.action == action)])
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

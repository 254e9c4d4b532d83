"""`anypop delete`: things taken away by name, or the workloads of files; and what goes with a workload, told before.

In: a kind and names, or files. Out: what goes, a question, and the end of it. Nothing goes that was not named.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from anypop.cli import addresses, announcements, kinds, views, watch
from anypop.cli.call import Call, command
from anypop.cli.compose import Wishes
from anypop.cli.failure import usage
from anypop.cli.manifests import read
from anypop.cli.options import Files, Timeout, Wait, Yes
from anypop.cli.screen import Shown

_INSTEAD = {
    "instance": "'anypop workload scale' makes fewer, 'anypop restart' starts one anew.",
    "drain": "'anypop undrain' ends one.",
    "rollout": "'anypop rollout abort' takes one back.",
    "host": "'anypop host evict' gives one up.",
    "pop": "The network document says which there are.",
}


def register(root: typer.Typer) -> None:
    """The commands of this file, at the top level."""
    command(
        root,
        "delete",
        examples="""
    anypop delete workload web api --yes
    anypop delete -f workloads/
    anypop get workloads -o name | xargs anypop delete --yes
    """,
    )(delete)


def delete(
    call: Call,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KIND NAME...]", help="What: 'workload web', 'workload/web credential/ci'."),
    ] = None,
    *,
    file: Files = None,
    yes: Yes = False,
    wait: Wait = True,
    timeout: Timeout = 120,
) -> None:
    """Take things away by name, or the workloads of files. It shows what goes and asks."""
    if bool(words) == bool(file):
        raise usage("say what: KIND NAME..., or -f FILE")
    kind, names = kinds.split(words) if words else (kinds.kind_of("workload"), [])
    kept: list[addresses.Kept] = []
    if file:
        here = {str(row.get("slug")) for row in kinds.workloads_of(call, "")}
        everything = read(file, Wishes(any_city=True))
        named = [m.slug for m in everything if m.kept is None]
        kept = [m.kept for m in everything if m.kept is not None and addresses.there(call, m.kept) is not None]
        names = [slug for slug in named if slug in here]
        call.screen.note(*(f"{slug} is not there" for slug in named if slug not in here))
    elif kind.deleted_at is None:
        raise usage(f"{kind.plural} cannot be deleted by name", advice=_INSTEAD.get(kind.name, ""))
    elif not names:
        raise usage(f"say which {kind.name}", advice=f"'anypop get {kind.plural}' lists them.")
    rows = kinds.chosen(call, kind, names) if names else []
    if kind.name == "workload":
        call.screen.note(*losses(call, rows), "")
    if rows or kept:
        going = [*(kind.named(row) for row in rows), *(one.name for one in kept)]
        call.screen.agree(f"Delete {', '.join(going)}?", yes=yes)
    if kind.name == "workload":
        take_down(call, rows, wait=wait, timeout=timeout)
    else:
        for row in rows:
            assert kind.deleted_at is not None, "checked above"
            call.client.call("DELETE", kind.deleted_at(call, row), what=f"delete {kind.named(row)}")
    for one in sorted(kept, key=lambda k: k.member, reverse=True):  # claims before what they hold
        call.client.call("DELETE", addresses.path_of(call, one.member, one.slug), what=f"delete {one.name}")
    gone = [f"{kind.name}/{kind.named(row)}" for row in rows] + [one.name.replace(" ", "/") for one in kept]
    over = "is gone" if wait or kind.name != "workload" else "is being taken down"
    call.screen.result({"deleted": gone}, lambda: [f"{one} {over}" for one in gone] or ["nothing was there"])


def losses(call: Call, leaving: Sequence[views.Data]) -> Iterator[Shown]:
    """What goes with each workload."""
    for row in leaving:
        slug, anycast = str(row.get("slug")), views.anycast_of(row)
        address = f" and its anycast address {', '.join(anycast)}" if anycast else ""
        yield [(f"{slug}: ", "bold"), (f"goes, with its {views.expected(row)} instances{address}", "red")]
        if anycast:
            yield from announcements.withdrawn_with(call, slug)


def take_down(call: Call, rows: Sequence[views.Data], *, wait: bool, timeout: float) -> None:
    """Delete workloads, all of them before the first is waited for."""
    for row in rows:
        slug = str(row.get("slug"))
        call.client.call("DELETE", call.workload_path(slug), what=f"delete workload {slug}")
    for row in rows if wait else ():
        watch.until_gone(call, str(row.get("id") or row.get("slug")), timeout_s=timeout)

"""`anypop volume`: the volumes of a stack, their snapshots, and how one is let go.

In: a volume by its id or as INSTANCE:CLAIM. Out: tables, or what was asked for. It decides nothing.
"""

import time
from collections.abc import Callable
from typing import Annotated
from urllib.parse import quote

import typer

from anypop.cli import told, views
from anypop.cli.call import Call, command
from anypop.cli.failure import Exit, Failure
from anypop.cli.options import Timeout, Wait, Yes
from anypop.cli.table import Cell, Column, Table

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="List volumes; take a snapshot, restore one, let a volume go."
)
_STYLES = {"BOUND": "green", "PENDING": "yellow", "UNBOUND": "dim"}

Volume = Annotated[str, typer.Argument(metavar="VOLUME", help="Its id, or INSTANCE:CLAIM (db-eu1-lhr-0:data).")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The snapshot's name.")]


@command(app, "list", examples="anypop volume list\nanypop volume list -o json")
def list_volumes(call: Call) -> None:
    """Every volume of the stack: whose it is, where it lies, how large it is, and its snapshots."""
    found = _all(call)
    call.screen.result(found, lambda: [table(found)])


@command(app, "snapshot", examples="anypop volume snapshot db-eu1-lhr-0:data before-upgrade")
def snapshot(call: Call, volume: Volume, name: Name, *, wait: Wait = True, timeout: Timeout = 120.0) -> None:
    """Copy a volume as it is now, on its own host. Who writes to it waits while it is copied."""
    path = f"{_path(call, volume)}/snapshots"
    found = call.client.call("POST", path, what=f"copy {volume}", body={"snapshot": {"name": name}})["volume"]
    found = _until(call, found, lambda v: _has(v, name), wait=wait, timeout=timeout)
    call.screen.result(found, lambda: [table([found])])
    if wait and not _has(found, name):
        raise _late(f"{name} of {volume} is not complete yet", found)


@command(
    app,
    "delete-snapshot",
    examples="anypop volume delete-snapshot db-eu1-lhr-0:data before-upgrade --yes",
)
def delete_snapshot(call: Call, volume: Volume, name: Name, *, yes: Yes = False) -> None:
    """Delete a snapshot."""
    call.screen.agree(f"Delete snapshot {name} of {volume}?", yes=yes)
    path = f"{_path(call, volume)}/snapshots/{quote(name, safe='')}"
    found = call.client.call("DELETE", path, what=f"delete {name}")["volume"]
    call.screen.result(found, lambda: [table([found])])


@command(app, "restore", examples="anypop volume restore db-eu1-lhr-0:data before-upgrade --yes")
def restore(
    call: Call, volume: Volume, name: Name, *, yes: Yes = False, wait: Wait = True, timeout: Timeout = 120.0
) -> None:
    """Make a volume what its snapshot is; what was written since is lost. Its instance is stopped meanwhile."""
    call.screen.agree(f"Stop the instance of {volume}, and lose what was written since {name}?", yes=yes)
    path = f"{_path(call, volume)}/restore"
    found = call.client.call("POST", path, what=f"restore {volume}", body={"snapshot": name})["volume"]
    found = _until(call, found, lambda v: not v.get("restoring"), wait=wait, timeout=timeout)
    call.screen.result(found, lambda: [table([found])])
    if wait and found.get("restoring"):
        raise _late(f"{volume} is not restored yet", found)


@command(app, "release", examples="anypop volume release db-eu1-lhr-2:data --yes")
def release(call: Call, volume: Volume, *, yes: Yes = False) -> None:
    """Let a volume go, with what is in it and its snapshots: one that no instance has, or one on a lost host.

    An instance that waited for a lost host then lives on another host of its PoP, with an empty volume.
    """
    call.screen.agree(f"Lose volume {volume}, with all that is in it?", yes=yes)
    found = call.client.call("DELETE", _path(call, volume), what=f"release {volume}")["volume"]
    call.screen.result(found, lambda: [f"{volume} is being taken away"])


def _path(call: Call, volume: str = "") -> str:
    base = f"/anypop/v1/stacks/{quote(call.client.settings.stack, safe='')}/volumes"
    return f"{base}/{quote(volume, safe='')}" if volume else base


def _all(call: Call) -> list[views.Data]:
    return call.client.get(_path(call), what="list volumes").get("results") or []


def _until(
    call: Call, found: views.Data, over: Callable[[views.Data], bool], *, wait: bool, timeout: float
) -> views.Data:
    if not wait or over(found):
        return found
    key, what = (found["host"], found["id"]), f"watch volume {found['id']}"
    for shown in told.states(call, f"{_path(call)}/watch", what=what, until=time.monotonic() + timeout):
        found = next((v for v in shown.get("results") or [] if (v["host"], v["id"]) == key), found)
        if over(found):
            break
    return found


def _has(volume: views.Data, name: str) -> bool:
    return any(s["name"] == name and s["complete"] for s in volume.get("snapshots") or [])


def _late(what: str, found: views.Data) -> Failure:
    why = f": {found['message']}" if found.get("message") else ""
    return Failure(f"{what}{why}", advice="It goes on by itself: 'anypop volume list' shows it.", code=Exit.TIMEOUT)


def table(found: list[views.Data]) -> Table:
    columns = [
        Column(head="INSTANCE"),
        Column(head="CLAIM"),
        Column(head="PHASE"),
        Column(head="HOST"),
        Column(head="GIB", right=True),
        Column(head="USED GIB", right=True, drop=2),
        Column(head="CLASS", drop=3),
        Column(head="SNAPSHOTS", maybe=True),
        Column(head="ID", drop=1),
        Column(head="WHY", prose=True, maybe=True),
    ]
    rows: list[list[Cell]] = [
        [
            (views.text(v.get("instance")), "bold"),
            views.text(v.get("claim")),
            (_phase(v), _STYLES.get(str(v.get("phase")), "")),
            views.text(v.get("host")),
            f"{v['size_bytes'] / 2**30:.3g}",
            f"{v['used_bytes'] / 2**30:.3g}" if v.get("used_bytes") is not None else "-",
            views.text(v.get("storage_class")),
            ", ".join(_snapshot(s) for s in v.get("snapshots") or []) or "-",
            views.text(v.get("id")),
            _why(v) or "-",
        ]
        for v in found
    ]
    return Table(columns=columns, rows=rows, empty="no instance of this stack has a volume")


def _phase(volume: views.Data) -> str:
    return "leaving" if volume.get("leaving") else views.text(volume.get("phase"))


def _snapshot(one: views.Data) -> str:
    state = "is deleted" if one["leaving"] else "" if one["complete"] else "is taken"
    return f"{one['name']} ({state})" if state else str(one["name"])


def _why(volume: views.Data) -> str:
    if volume.get("message"):
        return str(volume["message"])
    if volume.get("restoring"):
        return f"becomes {volume['restoring']}"
    return "" if volume.get("told") else f"{volume.get('host')} is silent: as last known"

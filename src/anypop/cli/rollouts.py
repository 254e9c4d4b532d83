"""`anypop rollout ...`: what is being changed, how far it is, and pause, resume or abort it.

In: a workload and perhaps a rollout's id. Out: control's answer as a table or sentences. Control drives every rollout;
nothing depends on this command going on.
"""

import time
from typing import Annotated, Any

import typer

from anypop.cli import views
from anypop.cli.call import Call, command
from anypop.cli.failure import Exit, Failure
from anypop.cli.options import KnownWorkload, Timeout, Wait, Yes
from anypop.cli.table import Cell, Column, Table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, show, pause, resume and abort rollouts.")

Rollout = Annotated[
    str,
    typer.Argument(
        metavar="[ROLLOUT]", help="Its id, or the beginning of it (default: the newest).", show_default=False
    ),
]

_STYLES = {
    "done": "green",
    "running": "yellow",
    "paused": "yellow",
    "reverted": "bold red",
    "aborted": "red",
    "superseded": "dim",
}
_SAYS = {
    "bake_s": "watched before the next wave, s",
    "deadline_s": "to become healthy, s",
    "failing_s": "to fail before it counts, s",
    "surge": "at once on a host",
}
POLL_S = 0.25  # between two looks where control's stream ended: short beside a rollout


@command(app, "list", examples="anypop rollout list web\nanypop rollout list web -o json | jq '.results[-1].phase'")
def list_rollouts(call: Call, workload: KnownWorkload) -> None:
    """All rollouts of a workload that are remembered, and how many of its instances are on the newest revision."""
    found = _all(call, workload)
    call.screen.result(found, lambda: [standing(workload, found), "", table(found.get("results") or [])])


@command(app, "show", examples="anypop rollout show web\nanypop rollout show web 3f2a")
def show(call: Call, workload: KnownWorkload, rollout: Rollout = "") -> None:
    """One rollout: its waves, where it is, and why."""
    found = _one(call, workload, rollout)
    call.screen.result(found, lambda: [details(found["rollout"]), "", standing(workload, found)])


@command(app, "wait", examples="anypop rollout wait web --timeout 120")
def wait_for(call: Call, workload: KnownWorkload, rollout: Rollout = "", *, timeout: Timeout = 300) -> None:
    """Wait until a rollout has ended; exit code 1 where it was taken back."""
    found = _one(call, workload, rollout)["rollout"]
    ended = _until_ended(call, workload, str(found["id"]), timeout_s=timeout)
    call.screen.result({"rollout": ended}, lambda: [sentence(ended)])


@command(app, "pause", examples="anypop rollout pause web")
def pause(call: Call, workload: KnownWorkload, rollout: Rollout = "") -> None:
    """Change nothing more for now. What is changed stays as it is."""
    _ask(call, workload, rollout, "pause")


@command(app, "resume", examples="anypop rollout resume web")
def resume(call: Call, workload: KnownWorkload, rollout: Rollout = "") -> None:
    """Go on with a rollout that was paused."""
    _ask(call, workload, rollout, "resume")


@command(app, "abort", examples="anypop rollout abort web --yes")
def abort(
    call: Call,
    workload: KnownWorkload,
    rollout: Rollout = "",
    *,
    yes: Yes = False,
    wait: Wait = True,
    timeout: Timeout = 300,
) -> None:
    """End a rollout and take back what it changed."""
    found = _one(call, workload, rollout)["rollout"]
    call.screen.agree(f"End {_what(found)} of {workload} and take it back?", yes=yes)
    _ask(call, workload, str(found["id"]), "abort", wait=wait, timeout_s=timeout)


@command(
    app,
    "strategy",
    examples="""
    anypop rollout strategy web
    anypop rollout strategy web --bake 60 --deadline 300
    """,
)
def strategy(
    call: Call,
    workload: KnownWorkload,
    *,
    bake: Annotated[
        float | None,
        typer.Option("--bake", metavar="SECONDS", help="How long a wave is watched before the next begins.", min=0),
    ] = None,
    deadline: Annotated[
        float | None,
        typer.Option(
            "--deadline", metavar="SECONDS", help="How long a changed instance may take to become healthy.", min=0
        ),
    ] = None,
    failing: Annotated[
        float | None,
        typer.Option(
            "--failing", metavar="SECONDS", help="How long a pull or a creation may fail before it counts.", min=0
        ),
    ] = None,
    surge: Annotated[
        int | None,
        typer.Option("--surge", metavar="N", help="So many at once on a host beside those that they replace.", min=1),
    ] = None,
) -> None:
    """Show how careful the workload's rollouts are; with options, change that. One under way follows it at once."""
    path = f"{call.workload_path(workload, 'anypop')}/strategy"
    found = call.client.get(path, what=f"strategy of {workload}")["strategy"]
    wanted = {"bake_s": bake, "deadline_s": deadline, "failing_s": failing, "surge": surge}
    changed = {name: value for name, value in wanted.items() if value is not None}
    if changed:
        body = {"strategy": found | changed}
        found = call.client.call("PUT", path, what=f"strategy of {workload}", body=body)["strategy"]
    call.screen.result(found, lambda: [views.pairs([[_SAYS[name], f"{value:g}"] for name, value in found.items()])])


def until_ended(call: Call, workload: str, revision: int, *, timeout_s: float) -> views.Data | None:
    """The rollout that brings `revision`, once it has ended; None where nothing had to be rolled out. `Failure`
    where it was taken back.
    """
    for row in _all(call, workload).get("results") or []:
        if row.get("revision") == revision:
            return _until_ended(call, workload, str(row["id"]), timeout_s=timeout_s)
    return None


def _until_ended(call: Call, workload: str, identity: str, *, timeout_s: float) -> views.Data:
    deadline = time.monotonic() + timeout_s
    told = ""
    while True:
        found = _one(call, workload, identity)
        rollout: views.Data = found["rollout"]
        line = f"{sentence(rollout)}; {standing(workload, found)}" if rollout.get("revision") else sentence(rollout)
        if line != told:
            call.screen.note(line)
            told = line
        match rollout.get("phase"):
            case "done":
                return rollout
            case "running":
                pass
            case phase:
                raise Failure(
                    f"{_what(rollout)} of {workload} is {phase}: {rollout.get('says')}",
                    problems=[str(rollout["message"])] if rollout.get("message") else [],
                    advice=f"'anypop rollout show {workload} {identity[:8]}' and 'anypop events' tell more.",
                )
        if (left := deadline - time.monotonic()) <= 0:
            raise Failure(
                f"{_what(rollout)} of {workload} is still under way after {timeout_s:g} s",
                code=Exit.TIMEOUT,
                advice=f"It goes on by itself; look again with: anypop rollout wait {workload}",
            )
        next_news(call, workload, rollout, left)


def next_news(call: Call, workload: str, known: views.Data, left: float) -> None:
    """Return when the rollout may be another than `known`: by control's stream of the workload, or a moment later where
    that does not tell.
    """
    began = time.monotonic()
    try:
        path = f"{call.workload_path(workload, 'anypop')}/watch"
        events = call.client.events(path, what=f"watch {workload}", silence_s=min(left, 15.0), longest_s=left)
        for count, (_, told) in enumerate(events):
            newest = told.get("rollout") or {}
            # The first one tells how things stand: already changed since `known` was asked for, or of another rollout.
            if count or newest != known:
                break
    except Failure as failure:
        if failure.code is Exit.UNREACHABLE:
            raise
    time.sleep(max(0.0, began + POLL_S - time.monotonic()))


def table(found: list[views.Data]) -> Table:
    columns = [
        Column(head="ROLLOUT"),
        Column(head="WHAT"),
        Column(head="PHASE"),
        Column(head="WAVE", right=True),
        Column(head="BEGAN", drop=2),
        Column(head="SECONDS", right=True, drop=3),
        Column(head="BY", drop=4),
        Column(head="WHY", prose=True, maybe=True),
    ]
    rows: list[list[Cell]] = [
        [
            str(r.get("id"))[:8],
            _what(r),
            (str(r.get("phase")), _STYLES.get(str(r.get("phase")), "")),
            f"{r.get('wave')}/{len(r.get('waves') or [])}",
            views.moment(r.get("createdAt")),
            views.text(r.get("seconds")),
            views.text(r.get("by")),
            views.text(_why(r)),
        ]
        for r in found
    ]
    return Table(columns=columns, rows=rows, empty="no rollouts: nothing has been changed yet")


def details(rollout: views.Data) -> Table:
    waves = " | ".join(" ".join(wave) for wave in rollout.get("waves") or [])
    rows: list[list[Cell]] = [
        ["rollout", (str(rollout.get("id")), "bold")],
        ["what", _what(rollout)],
        ["phase", (str(rollout.get("phase")), _STYLES.get(str(rollout.get("phase")), ""))],
        ["wave", f"{rollout.get('wave')} of {len(rollout.get('waves') or [])}: {waves}"],
        ["why", views.text(_why(rollout))],
        ["began", f"{views.moment(rollout.get('createdAt'))} by {views.text(rollout.get('by'))}"],
        ["seconds", views.text(rollout.get("seconds"))],
    ]
    for wave, result in zip(rollout.get("waves") or [], rollout.get("results") or [], strict=False):
        how = "; ".join(result["differs"]) or "as it should be"
        rows.append([f"in {' '.join(wave)}", f"{how} after {result['seconds']:.1f} s"])
    if rollout.get("restored") is not None:
        rows.append(
            [
                "taken back",
                "every vantage lands as before" if rollout["restored"] else "some vantage does not land as before",
            ]
        )
    if rollout.get("vantages"):
        rows.append(["vantages", ", ".join(f"{v} {pop or '-'}" for v, pop in rollout["vantages"].items())])
    if rollout.get("unasked"):
        rows.append(["could not ask", ", ".join(rollout["unasked"])])
    return views.pairs(rows)


def sentence(rollout: views.Data) -> str:
    """`revision 4: done in 6.2 s`."""
    after = f" in {rollout['seconds']:.1f} s" if rollout.get("seconds") is not None else ""
    why = _why(rollout)
    return f"{_what(rollout)}: {rollout.get('phase')}{after}" + (f", {why}" if why else "")


def standing(workload: str, found: views.Data) -> str:
    """`web: 6 of 8 on revision 4`."""
    return (
        f"{workload}: {found.get('instances_on_it', 0)} of {found.get('instances', 0)} on revision "
        f"{found.get('revision')}"
    )


def _why(rollout: views.Data) -> str:
    if rollout.get("phase") == "done":
        return ""
    says, message = str(rollout.get("says") or ""), str(rollout.get("message") or "")
    return ": ".join(part for part in (says, message) if part)


def _what(rollout: views.Data) -> str:
    return f"revision {rollout['revision']}" if rollout.get("revision") else "change of scopes"


def one(call: Call, workload: str, identity: str) -> views.Data:
    """The rollout alone. `Failure` where there is none."""
    found: views.Data = _one(call, workload, identity)["rollout"]
    return found


def _path(call: Call, workload: str) -> str:
    return f"{call.workload_path(workload, 'anypop')}/rollouts"


def _all(call: Call, workload: str) -> dict[str, Any]:
    found: dict[str, Any] = call.client.get(_path(call, workload), what=f"rollouts of {workload}")
    return found


def _one(call: Call, workload: str, rollout: str) -> dict[str, Any]:
    if not rollout:
        rows = _all(call, workload).get("results") or []
        if not rows:
            raise Failure(
                f"{workload} has had no rollout", code=Exit.NOT_FOUND, advice="'anypop workload set-image' makes one."
            )
        rollout = str(rows[-1]["id"])
    found: dict[str, Any] = call.client.get(f"{_path(call, workload)}/{rollout}", what=f"rollout of {workload}")
    return found


def _ask(call: Call, workload: str, rollout: str, verb: str, *, wait: bool = False, timeout_s: float = 0) -> None:
    identity = str(_one(call, workload, rollout)["rollout"]["id"])
    found = call.client.call(
        "POST", f"{_path(call, workload)}/{identity}/{verb}", what=f"{verb} the rollout of {workload}", body={}
    )
    if wait and found["rollout"].get("revision"):
        until_ended(call, workload, int(found["revision"]), timeout_s=timeout_s)
    call.screen.result(found, lambda: [sentence(found["rollout"]), standing(workload, found)])

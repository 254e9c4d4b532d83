"""`anypop drain`, `anypop undrain`: take the traffic from a PoP, a host, an upstream or an instance, and bring it back.

In: what is meant, and how long to wait for the traffic to go. Out: the stages as they come, the traffic as it falls,
where vantages land before and after. Control decides and carries on; whoever stops watching stops nothing.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from anypop.cli import told, views
from anypop.cli.call import Call, command
from anypop.cli.failure import Exit, Failure, usage
from anypop.cli.options import Timeout, Wait, Yes
from anypop.cli.screen import Shown
from anypop.cli.table import Cell, Column, Table
from anypop.model.announce import Mode, Scope

_PATH = "/anypop/v1/drains"
_LATER_S = 0.5  # control has acted on a deadline by then
_STYLES = {"drained": "cyan", "over": "dim"}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

Target = Annotated[
    str,
    typer.Argument(
        metavar="[TARGET]",
        help="A PoP (LHR), one of its upstreams (LHR/level3), a host (LHR-2; host:LHR where a PoP has its name), or an "
        "instance (web-eu1-lhr-0). None, or list: the drains that stand.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    command(
        app,
        "drain",
        examples="anypop drain LHR --until 2h\nanypop drain LHR/level3 --deadline 600\nanypop drain LHR-2\n"
        "anypop drain web-eu1-lhr-0\nanypop drain list",
    )(drain)
    command(app, "undrain", examples="anypop undrain LHR\nanypop undrain LHR/level3 --no-wait")(undrain)


def drain(
    call: Call,
    target: Target = "",
    *,
    until: Annotated[
        str,
        typer.Option(
            "--until",
            metavar="TIME",
            help="It comes back by itself then: 2026-05-01T06:00:00Z, or from now: 90m, 2h, 1d.",
            show_default=False,
        ),
    ] = "",
    deadline: Annotated[
        float | None,
        typer.Option(
            "--deadline",
            metavar="SECONDS",
            help="Wait at most so long for traffic to go and flows to end (300). What nobody else announces in health "
            "stays announced all the same, at the lowest preference.",
            min=0,
            show_default=False,
        ),
    ] = None,
    calm: Annotated[
        float | None,
        typer.Option(
            "--calm",
            metavar="SECONDS",
            help="How long each stage of the later return must be well (10).",
            min=0,
            show_default=False,
        ),
    ] = None,
    ended: Annotated[bool, typer.Option("--ended", help="In the list: also those that are over.")] = False,
    yes: Yes = False,
    wait: Wait = True,
    timeout: Timeout = 3600.0,
) -> None:
    """Take the traffic from a PoP, an upstream of it, a host, or an instance, stage by stage.

    It is told at the lowest preference first (graceful shutdown, prepends, the upstream's own community), then its
    traffic is watched falling, then it is withdrawn. A stage counts only when that is what is really exported. A
    drained PoP's instances stay, a drained host's are placed elsewhere in the PoP where there is room, a drained
    instance is replaced first. 'anypop undrain' reverses it.
    """
    if target in ("", "list"):
        found = (
            call.client.get(f"{_PATH}?ended={'true' if ended else 'false'}", what="list drains").get("results") or []
        )
        call.screen.result(found, lambda: [table(found)])
        return
    body: dict[str, Any] = {"target": target}
    if until:
        body["until"] = moment_of(until, datetime.now(UTC)).isoformat()
    body |= {key: value for key, value in (("deadline_s", deadline), ("calm_s", calm)) if value is not None}
    predicted = _foretell(call, target)
    call.screen.agree(f"Take the traffic from {target}?", yes=yes)
    begun = call.client.call("POST", _PATH, what=f"drain {target}", body={"drain": body}).get("drain") or {}
    found = _watched(call, begun, _is_drained, timeout) if wait else begun
    call.screen.result({**found, **({"predicted": predicted} if predicted else {})}, lambda: lines(found))
    if wait and not _is_drained(found):
        raise Failure(
            f"{target} is not drained yet: {found.get('stage')}, {found.get('message') or found.get('says')}",
            advice="It goes on by itself: 'anypop drain list' shows how far it is, 'anypop undrain' takes it back.",
            code=Exit.TIMEOUT,
        )
    if wait and found.get("reason") == "deadline-passed":
        raise Failure(f"{target}: {found.get('says')}", problems=[str(found.get("message") or "")])


def undrain(
    call: Call,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="As it was drained, or the id of its drain.")],
    *,
    wait: Wait = True,
    timeout: Timeout = 3600.0,
) -> None:
    """Bring the traffic back, slower than it went: at the lowest preference, then with prepends, then as scopes say.

    Each stage is through once it is really exported and has been well for the calm time. Allowed whatever is ill.
    """
    found = call.client.get(_PATH, what="list drains").get("results") or []
    mine = [d for d in found if str(d.get("target")).lower() == target.lower().removeprefix("host:")]
    mine = mine or [d for d in found if str(d.get("id")).startswith(target)]
    if len(mine) != 1:
        known = ", ".join(str(d.get("target")) for d in found) or "nothing"
        raise Failure(f"no drain of {target} stands (drained are: {known})", code=Exit.NOT_FOUND)
    path = f"{_PATH}/{mine[0].get('id')}/undrain"
    begun = call.client.call("POST", path, what=f"undrain {target}", body={}).get("drain") or {}
    back = _watched(call, begun, lambda d: d.get("stage") == "over", timeout) if wait else begun
    call.screen.result(back, lambda: lines(back))
    if wait and back.get("stage") != "over":
        raise Failure(
            f"{target} is not back yet: {back.get('stage')}, {back.get('message') or back.get('says')}",
            advice="It goes on by itself: 'anypop drain list' shows how far it is.",
            code=Exit.TIMEOUT,
        )


def _is_drained(found: views.Data) -> bool:
    return found.get("stage") in ("drained", "over")


def _watched(call: Call, found: views.Data, done: Callable[[views.Data], bool], timeout: float) -> views.Data:
    """Watch until it is done, out of time, or held by a floor after its deadline."""
    began, said = time.monotonic(), _Said(call)
    held_from, over = began + float(found.get("deadline_s") or 0) + _LATER_S, began + timeout
    said.of(found)
    while not done(found) and (now := time.monotonic()) < over and not (found.get("held") and now >= held_from):
        until = min(over, held_from) if now < held_from else over
        path = f"{_PATH}/{found.get('id')}/watch"
        for shown in told.states(call, path, what="watch the drain", until=until):
            found = shown.get("drain") or {}
            said.of(found)
            if done(found) or (found.get("held") and time.monotonic() >= held_from):
                break
    return found


class _Said:
    """Each stage as a line, once."""

    def __init__(self, call: Call) -> None:
        self._call, self._last = call, ""

    def of(self, found: views.Data) -> None:
        message = f" ({found['message']})" if found.get("message") else ""
        now = f"{found.get('target')}: {found.get('stage')}, it {found.get('says')}{message}"
        if now != self._last:
            self._call.screen.note(now)
        self._last = now


def _foretell(call: Call, target: str) -> list[views.Data]:
    """Who would move, for each prefix of the stack's workloads that is announced there. Without a graph nothing is
    said.
    """
    from anypop.cli.catchment import graph_options  # noqa: PLC0415 - a thing of their own, for changes alone

    pop, _, upstream = target.upper().partition("/")
    if target.startswith("host:") or graph_options.sources(call) is None:
        return []
    seen: set[str] = set()
    foretold: list[views.Data] = []
    for workload in call.client.every(call.stack_path("workload") + "/workloads", what="list workloads"):
        path = f"{call.workload_path(str(workload.get('slug')), 'anypop')}/announcements"
        rows = call.client.get(path, what="read its announcements").get("results") or []
        here = [r for r in rows if r.get("pop") == pop and upstream in ("", str(r.get("upstream")).upper())]
        prefixes = {str(r.get("prefix")) for r in here}
        if not prefixes <= seen and (moved := _moved(call, rows, here)) is not None:
            foretold.append({"prefix": sorted(prefixes)[0], **moved})
            call.screen.preview(f"{sorted(prefixes)[0]}, as predicted without it: {moved.get('sentence')}")
        seen |= prefixes
    return foretold


def _moved(call: Call, rows: list[views.Data], here: list[views.Data]) -> views.Data | None:
    from anypop.advice.answers import difference_data  # noqa: PLC0415 - numpy, and the model of the Internet
    from anypop.cli.catchment.preview import foreseen  # noqa: PLC0415
    from anypop.model.sessions import ruled  # noqa: PLC0415

    found = foreseen(call, rows, [replace(s, scope=Scope(mode=Mode.WITHHOLD)) for s in ruled(here)])
    return difference_data(found) if found is not None else None


def moment_of(text: str, now: datetime) -> datetime:
    """A moment: RFC 3339 with a time zone, or how long from now. Raises a usage `Failure`."""
    number, unit = text[:-1], text[-1:].lower()
    if unit in _UNITS and number.replace(".", "", 1).isdigit():
        return now + timedelta(seconds=float(number) * _UNITS[unit])
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise usage(f"--until {text}: write a moment with its time zone (2026-05-01T06:00:00Z), or 90m, 2h, 1d")
    return found


def table(found: list[views.Data]) -> Table:
    columns = [
        Column(head="TARGET"),
        Column(head="STAGE"),
        Column(head="SINCE", right=True, drop=2),
        Column(head="PACKETS/S", right=True, drop=1),
        Column(head="UNTIL", drop=3, maybe=True),
        Column(head="WHY", prose=True),
    ]
    rows: list[list[Cell]] = [
        [
            (views.text(d.get("target")), "bold"),
            (views.text(d.get("stage")), _STYLES.get(str(d.get("stage")), "yellow")),
            f"{float(d.get('seconds') or 0):.0f} s",
            _rate(d),
            views.moment(d["until"]) if d.get("until") else "-",
            views.text(d.get("message") or d.get("says")),
        ]
        for d in found
    ]
    return Table(columns=columns, rows=rows, empty="nothing is drained")


def _rate(found: views.Data) -> str:
    traffic = found.get("traffic")
    return f"{traffic.get('packets', 0):.0f} of {traffic.get('first_packets', 0):.0f}" if traffic else "-"


def _landed(landing: views.Data) -> str:
    return "could not ask" if landing.get("asked") is False else landing.get("pop") or "no PoP"


def lines(found: views.Data) -> list[Shown]:
    """One drain: its stages, what is held and why, where vantages landed."""
    stages = [
        f"{s.get('stage')}: {float(s.get('seconds') or 0):.1f} s"
        + (f", not waited for: {s['differs']}" if s.get("differs") else "")
        for s in found.get("stages") or []
    ]
    held = [
        f"held: {h.get('prefix')} {h.get('says')} ({h.get('left')} other PoPs, floor {h.get('floor')})"
        for h in found.get("held") or []
    ]
    before = {(b.get("prefix"), b.get("vantage")): b.get("pop") for b in found.get("before") or []}
    moved = [
        f"{a.get('vantage')}: {before.get((a.get('prefix'), a.get('vantage'))) or '-'} -> {_landed(a)}"
        for a in found.get("after") or []
    ]
    stuck = [f"still reached by {who}, although withdrawn" for who in found.get("stuck") or []]
    return [table([found]), *stages, *held, *moved, *stuck]

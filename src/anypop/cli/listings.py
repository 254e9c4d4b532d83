"""`anypop pops`, `vantages`, `events`, `communities show`: what is where, what happened, what a network's communities
mean.

In: nothing but names. Out: what control knows. A PoP whose report is missing or too old is shown as unknown, never as
healthy; that judgement is control's, here it only gets its colour.
"""

import json
import sys
import time
from collections.abc import Iterator
from typing import Annotated

import typer

from anypop.cli import views
from anypop.cli.announcements import shared_lines
from anypop.cli.call import Call, command
from anypop.cli.failure import Failure, usage
from anypop.cli.screen import Shown
from anypop.cli.table import Cell, Column, Table
from anypop.model.reasons import Reason
from anypop.model.visible import visible_json

communities = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="What action communities mean to a network."
)


_PAUSE_S = 1.0  # before a stream that broke is asked for again


def pops_table(found: list[views.Data]) -> Table:
    columns = [
        Column(head="POP"),
        Column(head="CITY", drop=2),
        Column(head="STATE"),
        Column(head="HEALTHY", right=True),
        Column(head="SESSIONS", right=True),
        Column(head="ORDER", right=True, drop=3),
        Column(head="TUNNELS", right=True, maybe=True),
        Column(head="WHY", prose=True, maybe=True),
    ]
    rows: list[list[Cell]] = []
    for pop in found:
        hosts = pop.get("hosts") or []
        several = len(hosts) > 1
        # each host tells what is wrong with it; of the whole, then, only what is not told by host
        whole = _trouble(
            {key: pop.get(key) for key in ("errors", "drift")} if several else pop,
            trusted=several or bool(pop.get("trusted")),
        )
        rows.append(_row(pop, views.text(pop.get("pop")), views.text(pop.get("city")), whole))
        for host in hosts if several else ():
            rows.append(_row(host, f"  {host.get('host')}", "", _trouble(host, trusted=bool(host.get("trusted")))))
    return Table(columns=columns, rows=rows, empty="no PoPs")


def _row(found: views.Data, name: str, city: str, trouble: str) -> list[Cell]:
    """One PoP, or one of its hosts."""
    counts, sessions = found.get("instances") or {}, found.get("sessions") or []
    up = sum(1 for session in sessions if session.get("state") == "established")
    trusted = bool(found.get("trusted"))
    return [
        name,
        city,
        ("unknown", "bold yellow")
        if not trusted
        else ("drained", "cyan")
        if found.get("verdict") == "drained"
        else ("known", "green"),
        f"{counts.get('healthy', 0)}/{counts.get('total', 0)}" if trusted else "?",
        f"{up}/{len(sessions)}" if trusted else "?",
        views.text(found.get("generation")),
        views.tunnels(found)[0],
        trouble,
    ]


def _trouble(pop: views.Data, *, trusted: bool) -> str:
    """What keeps a PoP from being plainly fine: why it is unknown, what it refused, that nothing in it is healthy or no
    session stands, sessions that BIRD refused or that flap, what it would withdraw and may not, drift and errors of its
    last report.
    """
    if not trusted:
        return views.text(pop.get("says") or pop.get("reason"))
    found = [f"refused an order: {pop['refused']}"] if pop.get("refused") else []
    found += [f"drain: {pop['drain']}"] if pop.get("drain") else []
    found += [f"dial: {pop['dial']}"] if pop.get("dial") else []
    if pop.get("reason") in (Reason.NO_HEALTHY_INSTANCE, Reason.SESSION_DOWN):
        found.append(views.text(pop.get("says")))
    found += [
        f"{session.get('upstream')} IPv{session.get('family')}: {session.get('error')}"
        for session in pop.get("sessions") or []
        if session.get("state") == "refused" or session.get("rests")
    ]
    held: dict[str, list[str]] = {}
    for prefix in pop.get("prefixes") or []:
        if prefix.get("wants_withdraw"):
            held.setdefault(str(prefix.get("says")), []).append(str(prefix.get("prefix")))
    found += [f"{', '.join(prefixes)} {says}" for says, prefixes in held.items()]
    return "; ".join([*found, *map(str, pop.get("errors") or []), *map(str, pop.get("drift") or [])]) or "-"


def vantages_table(found: list[views.Data]) -> Table:
    columns = [
        Column(head="VANTAGE"),
        Column(head="CITY"),
        Column(head="NETWORK"),
        Column(head="NEAREST POP"),
        Column(head="ADDRESS", drop=1),
    ]
    rows: list[list[Cell]] = [
        [
            views.text(v.get("name")),
            views.text(v.get("city")),
            f"AS{v['asn']}" if v.get("asn") else "-",
            views.text(v.get("nearest")),
            views.text(v.get("address")),
        ]
        for v in found
    ]
    return Table(columns=columns, rows=rows, empty="no vantages here: they come with a lab")


def events_table(found: list[views.Data]) -> Table:
    columns = [
        Column(head="TIME"),
        Column(head="EVENT", drop=1),
        Column(head="SUBJECT"),
        Column(head="WHAT HAPPENED", prose=True),
        Column(head="BY", drop=2, maybe=True),
    ]
    rows: list[list[Cell]] = [
        [
            (views.moment(e.get("at")), "dim"),
            views.text(e.get("kind")),
            views.text(e.get("subject")),
            views.text(e.get("message") or e.get("kind")),
            views.text(e.get("actor") or "-"),
        ]
        for e in found
    ]
    return Table(columns=columns, rows=rows, empty="nothing has happened yet")


def dictionary_lines(found: views.Data) -> list[Shown]:
    """A network's dictionary; invented entries are marked, and so is every one that nobody has verified."""
    columns = [
        Column(head="COMMUNITY"),
        Column(head="MEANING"),
        Column(head="ACTION", drop=2),
        Column(head="", maybe=True),
        Column(head="SOURCE", drop=1),
    ]
    rows: list[list[Cell]] = []
    for entry in found.get("entries") or []:
        mark: Cell = (
            ("invented", "yellow")
            if entry.get("invented")
            else ""
            if entry.get("verified", True)
            else ("unverified", "dim")
        )
        source = ", ".join(str(part) for part in (entry.get("source"), entry.get("date")) if part)
        rows.append(
            [
                views.text(entry.get("community")),
                views.text(entry.get("meaning")),
                action_text(entry),
                mark,
                views.text(source),
            ]
        )
    name = f"AS{found.get('asn')} {found.get('name') or ''}".strip()
    note: list[Shown] = [str(found["note"])] if found.get("note") else []
    return [
        [(name, "bold")],
        *note,
        Table(columns=columns, rows=rows, empty=f"no action communities of {name} are known"),
    ]


def action_text(entry: views.Data) -> str:
    """`keep-in-region NA`, `prepend 2 peers`: the action in the words of the dictionary's own vocabulary."""
    action = entry.get("action")
    if not isinstance(action, dict):
        return views.text(action)
    rest = [str(value) for key, value in action.items() if key != "kind" and value not in (None, "", {}, [])]
    return " ".join([str(action.get("kind") or ""), *rest]).strip()


def register(root: typer.Typer) -> None:
    @command(root, "pops", stack=False, examples="anypop pops")
    def pops(call: Call) -> None:
        """Every PoP and its hosts: whether they are known, their healthy instances, their BGP sessions."""
        found = call.client.get("/anypop/v1/pops", what="list PoPs").get("results") or []
        shared = list(dict.fromkeys(line for pop in found for line in shared_lines(pop)))
        call.screen.result(found, lambda: [pops_table(found), *shared])

    @command(root, "vantages", stack=False, examples="anypop vantages")
    def vantages(call: Call) -> None:
        """Places to test from: hosts in the lab's networks of end users."""
        found = call.client.get("/anypop/v1/vantages", what="list vantages").get("results") or []
        call.screen.result(found, lambda: [vantages_table(found)])

    @command(
        root, "events", stack=False, examples="anypop events --limit 20\nanypop events -f\nanypop events -f -o json"
    )
    def events(
        call: Call,
        *,
        limit: Annotated[int, typer.Option("--limit", metavar="N", help="The last N events.", min=0, max=1000)] = 50,
        follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens from now on.")] = False,
    ) -> None:
        """What happened lately, oldest first; with -f also what happens now (with '-o json' one object a line)."""
        found = call.client.get("/anypop/v1/events", what="list events", limit=max(1, limit)).get("results") or []
        found = sorted(found, key=lambda e: (e.get("at") or 0, e.get("id") or 0))
        newest = max((int(e.get("id") or 0) for e in found), default=0)
        found = found if limit else []
        if not follow:
            call.screen.result(found, lambda: [events_table(found)])
            return
        for event in found:
            _happened(call, event)
        for event in events_after(call, newest):
            _happened(call, event)


def newest_event(call: Call) -> int:
    """The id of the last one; 0 where nothing has happened yet."""
    found = call.client.get("/anypop/v1/events", what="list events", limit=1).get("results") or []
    return max((int(e.get("id") or 0) for e in found), default=0)


def events_after(call: Call, newest: int) -> Iterator[views.Data]:
    """What happens, as it happens, for ever: a stream that breaks is asked for again, from where it was. `Failure`
    where control cannot be reached.
    """
    while True:
        began = time.monotonic()
        path = f"/anypop/v1/events/watch?after={newest}"
        for _, event in call.client.events(path, what="watch what happens"):
            newest = int(event.get("id") or newest)
            yield event
        # a stream that ends at once must not become a storm of requests
        time.sleep(max(0.0, began + _PAUSE_S - time.monotonic()))


def _happened(call: Call, event: views.Data) -> None:
    if call.screen.for_programs:
        sys.stdout.write(visible_json(json.dumps(event, ensure_ascii=False)) + "\n")
    else:
        columns = (views.moment(event.get("at")), str(event.get("kind")), str(event.get("subject")))
        text = str(event.get("message") or event.get("kind"))
        call.screen.result(
            event, lambda: [[(columns[0], "dim"), (f"  {columns[1]}  ", ""), (columns[2], "bold"), (f"  {text}", "")]]
        )
    sys.stdout.flush()


@command(communities, "show", stack=False, examples="anypop communities show 1299\nanypop communities show 209 -o json")
def show(
    call: Call, asn: Annotated[str, typer.Argument(metavar="ASN", help="Number of the network, as 209 or AS209.")]
) -> None:
    """The dictionary of one network: community, meaning, action, source; invented ones are marked."""
    number = asn.upper().removeprefix("AS")
    if not (number.isascii() and number.isdigit() and 0 < int(number) < 2**32):
        raise usage(f"'{asn}' is not the number of a network", advice="Write 209 or AS209.")
    found = _dictionary(call, int(number))
    call.screen.result(found, lambda: dictionary_lines(found))


def _dictionary(call: Call, asn: int) -> views.Data:
    """Control's; what comes with this program where no platform is: a dictionary is data, and reading it needs no
    control.
    """
    try:
        client = call.client
    except Failure:
        from anypop.routing.dictionary import as_data, for_asn  # noqa: PLC0415 - only here

        return as_data(for_asn(asn))
    found: views.Data = client.get(f"/anypop/v1/communities/{asn}", what=f"communities of AS{asn}")
    return found


@communities.callback()
def _communities() -> None:
    """Keeps `show` a command of its own: typer would fold a group of one into its only command."""

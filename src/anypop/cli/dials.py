"""`anypop dial`: how much of its new connections a PoP keeps, of one workload or of all.

In: a PoP, perhaps a workload, and percent. Out: the dials that stand, and whether the hosts do what they say. Control
stores it, and the hosts carry it out.
"""

import time
from typing import Annotated, Any

import typer

from anypop.cli import told, views
from anypop.cli.call import Call, command
from anypop.cli.failure import Exit, Failure, usage
from anypop.cli.options import Timeout, Wait, Yes
from anypop.cli.table import Cell, Column, Table

_PATH = "/anypop/v1/dials"
_STYLES = {"yes": "green", "plain": "dim", "partly": "yellow", "no": "yellow", "unknown": "bold yellow"}
_FORMS = "write POP PERCENT (LHR 50), or WORKLOAD POP PERCENT (web LHR 20)"

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[WORKLOAD] [POP] [PERCENT]",
        help="A PoP (LHR), or a workload and a PoP (web LHR), and how many percent of its new connections it keeps: 0 "
        "to 100. Without percent: the dials of that PoP; nothing, or list: all that stand.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    command(
        app,
        "dial",
        examples="anypop dial web LHR 20\nanypop dial LHR 50 --note 'a rack is out'\nanypop dial LHR 100\n"
        "anypop dial LHR --shed-above 80\n"
        "anypop dial list",
    )(dial)


def dial(
    call: Call,
    words: Words = None,
    *,
    note: Annotated[str, typer.Option("--note", help="Why; it is shown with the dial.", show_default=False)] = "",
    version: Annotated[
        int | None,
        typer.Option("--if-version", metavar="N", help="Refuse where the dial is another version by now.", min=0),
    ] = None,
    shed_above: Annotated[
        int | None,
        typer.Option(
            "--shed-above",
            metavar="LOAD",
            help="Of a whole PoP: above this load (processor time of instances, in percent of what its hosts have for "
            "them) it sends new connections away by itself, while another PoP has room.",
            min=1,
            max=100,
            show_default=False,
        ),
    ] = None,
    no_shedding: Annotated[bool, typer.Option("--no-shedding", help="It sheds no more.")] = False,
    yes: Yes = False,
    wait: Wait = True,
    timeout: Timeout = 15.0,
) -> None:
    """Have a PoP keep so many percent of its new connections; the others go to the nearest other PoP that serves.

    Connections that stand stay where they are, whichever way it is turned. The PoP announces as before, and 0 is no
    drain: what nobody else can take is still served there. Of a workload and its whole PoP the lower dial counts. A
    canary by share of traffic: dial a workload to 95 in the PoPs beside the one that has the new version.
    """
    given = list(words or [])
    sheds = shed_above is not None or no_shedding
    if given in ([], ["list"]) or (len(given) == 1 and not sheds):
        _list(call, given[0] if given and given != ["list"] else "")
        return
    if shed_above is not None and no_shedding:
        raise usage("--shed-above and --no-shedding exclude each other")
    body: dict[str, Any] = {"pop": given[0]} if len(given) == 1 else {"percent": percent_of(given.pop())}
    *workload, pop = given
    if len(workload) > 1:
        raise usage(f"too many words: {_FORMS}")
    body |= {"pop": pop} | ({"shed_above": shed_above} if sheds else {})
    if workload:
        body |= {"workload": workload[0], "stack": call.client.settings.stack}
    body |= {"note": note} if note else {}
    body |= {"version": version} if version is not None else {}
    name = " ".join([*workload, pop.upper()])
    if (less := 100 - body.get("percent", 100)) > 0:
        call.screen.agree(f"Send {less} % of the new connections of {name} elsewhere?", yes=yes)
    found = call.client.call("PUT", _PATH, what=f"dial {name}", body={"dial": body}).get("dial") or {}
    if wait and not _is_settled(found):
        for shown in told.states(call, f"{_PATH}/watch", what=f"dial {name}", until=time.monotonic() + timeout):
            found = next((d for d in shown.get("results") or [] if _key(d) == _key(found)), found)
            if _is_settled(found):
                break
    call.screen.result(found, lambda: [table([found])])
    if wait and found.get("in_force") not in ("yes", "plain"):
        raise Failure(
            f"{name} is dialled, and not in force yet: it {found.get('says')}",
            advice="It comes into force by itself: 'anypop dial list' shows it.",
            code=Exit.TIMEOUT,
        )


def _is_settled(found: views.Data) -> bool:
    return found.get("in_force") not in ("no", "partly", "unknown")


def _key(found: views.Data) -> tuple[object, ...]:
    return found.get("pop"), found.get("stack"), found.get("workload")


def _all(call: Call) -> list[views.Data]:
    return call.client.get(_PATH, what="list dials").get("results") or []


def _list(call: Call, pop: str) -> None:
    found = [d for d in _all(call) if pop.upper() in ("", d.get("pop")) or d.get("workload") == pop]
    call.screen.result(found, lambda: [table(found)])


def percent_of(text: str) -> int:
    """A whole number from 0 to 100, with or without a percent sign. Raises a usage `Failure`."""
    number = text.removesuffix("%").strip()
    if not number.isdecimal() or int(number) > 100:
        raise usage(f"{text} is no percent from 0 to 100: {_FORMS}")
    return int(number)


def table(found: list[views.Data]) -> Table:
    columns = [
        Column(head="POP"),
        Column(head="WORKLOAD"),
        Column(head="KEEPS", right=True),
        Column(head="IN FORCE"),
        Column(head="VERSION", right=True, drop=3),
        Column(head="BY", drop=2),
        Column(head="SHEDS ABOVE", right=True, drop=4, maybe=True),
        Column(head="WHY", prose=True),
    ]
    rows: list[list[Cell]] = [
        [
            (views.text(d.get("pop")), "bold"),
            views.text(d.get("workload") or "all"),
            f"{d.get('keeps')} %",
            (views.text(d.get("in_force")), _STYLES.get(str(d.get("in_force")), "")),
            views.text(d.get("version")),
            views.text(d.get("by") or "-"),
            f"{d['shed_above']} % (now {d.get('load', '-')})" if d.get("shed_above") else "-",
            views.text(d.get("says")) + (f" ({d['note']})" if d.get("note") else ""),
        ]
        for d in found
    ]
    return Table(columns=columns, rows=rows, empty="every PoP keeps all of its new connections")

"""`anypop why` as people read it: hop by hop the candidate routes, then who decided, what of ours put them there, and
one plain sentence.

In: `routing.why.Why` as plain data. Out: tables and lines. Pure. The sentences are the explanation's own;
nothing is explained anew here.
"""

from anypop.cli import views
from anypop.cli.screen import Shown
from anypop.cli.table import Cell, Column, Table

_COLUMNS = (
    Column(head=""),
    Column(head="AS PATH"),
    Column(head="LOCAL PREF", right=True),
    Column(head="FROM", drop=3, maybe=True),
    Column(head="LEARNT IN", drop=2, maybe=True),
    Column(head="LEADS TO"),
    Column(head="OUT BY", drop=1),
)


def lines(why: views.Data) -> list[Shown]:
    shown: list[Shown] = []
    for number, hop in enumerate(why.get("hops") or [], 1):
        shown += [
            [
                (f"{number}. {views.text(hop.get('router'))}", "bold"),
                (f"  AS{hop.get('asn')}, {views.text(hop.get('city'))}", ""),
            ]
        ]
        shown += [_options(hop, decided=_is_decisive(why, hop)), ""]
    shown.append(views.pairs(_facts(why)))
    sentences = [str(sentence) for sentence in why.get("sentences") or []]
    return [*shown, "", *sentences] if sentences else shown


def _is_decisive(why: views.Data, hop: views.Data) -> bool:
    return why.get("decided_at_as") is not None and (hop.get("asn"), hop.get("city")) == (
        why["decided_at_as"],
        why.get("decided_in"),
    )


def _options(hop: views.Data, *, decided: bool) -> Table:
    rows: list[list[Cell]] = []
    for option in hop.get("options") or []:
        route = option.get("candidate") or {}
        best = option.get("eliminated_by") is None
        style = "green" if best else ""
        rows.append(
            [
                ("*", "bold green") if best else " ",
                (" ".join(map(str, route.get("as_path") or [])) or "our own", style),
                views.text(route.get("local_pref")),
                views.text(route.get("relationship")),
                views.text(route.get("learnt_at")),
                views.text((option.get("lands") or {}).get("pop") or (option.get("lands") or {}).get("end")),
                ("best", style)
                if best
                else (views.text(option.get("eliminated_by")), "bold yellow" if decided else ""),
            ]
        )
    return Table(columns=_COLUMNS, rows=rows, empty="no route")


def _facts(why: views.Data) -> list[list[Cell]]:
    landed, nearest = why.get("landed"), why.get("nearest")
    rows: list[list[Cell]] = [
        ["landed", (views.text(landed or why.get("end")), "green" if landed and landed == nearest else "bold yellow")],
        ["nearest", views.text(nearest)],
    ]
    if why.get("decided_by"):
        rows.append(["decided at", f"AS{why.get('decided_at_as')} in {views.text(why.get('decided_in'))}"])
        rows.append(["decided by", views.text(why["decided_by"])])
    if cause := why.get("caused_by"):
        name = f" ({cause['upstream']})" if cause.get("upstream") else ""
        rows.append(["our announcement", f"{cause.get('pop')} to AS{cause.get('upstream_asn')}{name}"])
    for one in why.get("onward") or []:
        rows += [[f"{one.get('host')} goes on", _onward(one)]]
    if landed and not (why.get("told_by") == "model" and nearest is None):  # in an unknown place nothing is far or near
        there = f"{float(why.get('rtt_ms') or 0):.1f} ms there and back"
        near = (
            f", nearest {float(why.get('nearest_rtt_ms') or 0):.1f} ms: costs {float(why.get('extra_ms') or 0):.1f} ms"
        )
        rows.append(["distance", there + (near if nearest and landed != nearest else "")])
    return rows


def _onward(one: views.Data) -> str:
    """`here 1, AMS 2`: in parts of all new connections."""
    if not one.get("known"):
        return "not known: no report of late"
    parts = [f"here {one['local']}"] if one.get("local") else []
    parts += [f"{s.get('host')} {s.get('share')}{'' if s.get('up') else ' (down)'}" for s in one.get("shares") or []]
    dial = f" (dialled to {one['kept']} %)" if one.get("kept") is not None else ""
    return (", ".join(parts) or "nowhere") + dial

"""Junos: `show route PREFIX terse`, one line for each route, by the columns of its heading. Lines in, routes out.

`Metric 1` of a BGP route is its local preference, `Metric 2` its MED. The form shows neither which routes are internal
nor ages or router ids: where these would decide, nothing is said to be known. Pure.
"""

import re
from dataclasses import replace

from anypop.model.route import Candidate, Origin, Step
from anypop.routing.paste.blocks import Blocks
from anypop.routing.paste.pasted import ANYWHERE, INTERNAL, Pasted, PastedRoute, Reading, Style
from anypop.routing.paste.steps import CLUSTERS

HEADER = re.compile(r"^\s*A(?P<v> V)? Destination\s+P Prf\s+Metric 1\s+Metric 2\s+Next hop\s+AS path$")
_TABLE = re.compile(r"^\s*(?P<table>[^\s:]\S*): \d+ destinations?, \d+ routes?")
_ROW = re.compile(
    r"^\s*+(?P<flag>[*+-])?(?: ?(?P<valid>[?VINU])(?!\S))?(?:\s*+(?P<prefix>[0-9a-fA-F.:]++/\d++))?+"
    r"\s++(?P<protocol>[A-Z])\s++(?P<preference>\d{1,10})(?P<rest>\s.*)?$"
)
_TAIL = re.compile(r"^\s*>?(?P<hop>[0-9a-fA-F]*[.:][0-9a-fA-F.:]+)?\s*(?P<path>(?:\d[\d{} .]* )?)(?P<origin>[IE?])$")
_HOP = re.compile(r"^\s*+(?:(?:unverified|valid|invalid|unknown)\s*+)?+>?(?P<hop>[0-9a-fA-F]*[.:][0-9a-fA-F.:]+)$")
_ORIGINS = {"I": Origin.IGP, "E": Origin.EGP, "?": Origin.INCOMPLETE}


def looks(line: str) -> bool:
    return "Metric 1" in line and HEADER.match(line) is not None


def read(reading: Reading) -> Pasted:
    """All routes of the text; what is wrong is in `reading.problems`."""
    blocks = Blocks(reading)
    routes: list[PastedRoute] = []
    ends = (0, 0)
    for number, line in reading.numbered():
        table, header = _TABLE.match(line), HEADER.match(line)
        if table is not None:
            blocks.table = table["table"]
        elif header is not None:
            ends = (line.index("Metric 1") + 8, line.index("Metric 2") + 8)
        elif (row := _ROW.match(line)) is not None:
            if row["prefix"]:
                blocks.begin(number, row["prefix"])
            routes.append(_route(reading, number, row, ends, blocks))
        elif routes and (hop := _HOP.match(line)) is not None and not routes[-1].candidate.next_hop:
            routes[-1] = _reached(routes[-1], hop["hop"])
    return Pasted(
        style=Style.JUNOS,
        routes=tuple(routes),
        prefix_known=blocks.known,
        blocks=blocks.done(),
        unseen=frozenset({Step.EBGP_OVER_IBGP, Step.NEAREST_EXIT, CLUSTERS}),
    )


def _route(reading: Reading, number: int, row: re.Match[str], ends: tuple[int, int], blocks: Blocks) -> PastedRoute:
    """One row. `ends`: where the two metrics end, which are aligned to their right."""
    bgp, line, start = row["protocol"] == "B", row.string, row.start("rest")
    first, second = line[start : ends[0]].strip(), line[ends[0] : ends[1]].strip()
    rest = _TAIL.match(line[ends[1] :])
    if bgp and (rest is None or not start < ends[0]):
        reading.wrong(number, "this route has no AS path with its origin (I, E or ?) at its end")
    preference = reading.number(number, first, "Metric 1") if first else 100
    med = reading.number(number, second, "Metric 2") if second else 0
    path = reading.path(number, rest["path"] or "") if rest is not None else None
    hop = (rest["hop"] or "") if rest is not None else ""
    return PastedRoute(
        candidate=Candidate(
            prefix=blocks.prefix or ANYWHERE,
            as_path=path or (),
            local_pref=preference,
            origin=_ORIGINS[rest["origin"]] if rest is not None and rest["origin"] else Origin.IGP,
            med=med,
            ebgp=bgp and bool(path),
            neighbor=hop,
            next_hop=hop,
            protocol="BGP" if bgp else row["protocol"],
            best=row["flag"] in ("*", "+"),
        ),
        line=number,
        precedence=-int(row["preference"]),
        protocol="BGP" if bgp else row["protocol"],
        block=blocks.here(),
        own=not bgp,
        doubts=_doubts(stated=bool(first)) if bgp else (),
    )


def _reached(route: PastedRoute, hop: str) -> PastedRoute:
    return replace(route, candidate=replace(route.candidate, next_hop=hop, neighbor=hop))


def _doubts(*, stated: bool) -> tuple[str, ...]:
    internal = f"{INTERNAL} is not in the text; 'detail' would tell"
    return (internal,) if stated else (internal, "its local preference is not in the text; 100 is taken")

"""Junos: `show route PREFIX terse`, one line for each route, by the columns of its heading. Lines in, routes out.

`Metric 1` of a BGP route is its local preference, `Metric 2` its MED. The form shows neither which routes are internal
nor ages or router ids: where these would decide, nothing is said to be known. Pure.
"""

import re
from dataclasses import replace

from anypop.model.route import Candidate, Origin, Step
from anypop.routing.paste.blocks import Blocks
from anypop.routing.paste.pasted import ANYWHERE, Pasted, PastedRoute, Reading, Style
from anypop.routing.paste.steps import CLUSTERS

HEADER = re.compile(r"^\s*A(?P<v> V)? Destination\s+P Prf\s+Metric 1\s+Metric 2\s+Next hop\s+AS path$")
_TABLE = re.compile(r"^\s*(?P<table>[^\s:]\S*): \d+ destinations?, \d+ routes?")
_ROW = re.compile(
    r"^\s*(?P<flag>[*+-])?(?: ?(?P<valid>[?VINU]))?\s*(?P<prefix>[0-9a-fA-F.:]+/\d+)?\s+(?P<protocol>[A-Z])\s+"
    r"(?P<preference>\d{1,10})(?P<rest>\s.*)?$"
)
_REST = re.compile(
    r"^(?P<numbers>[\s\d]*?)(?:\s(?P<chosen>>)?\s?(?P<hop>[0-9a-fA-F]*[.:][0-9a-fA-F.:]+))?"
    r"(?:\s+(?P<path>(?:[\d{][\d{} .]*)?)(?P<origin>[IE?]))?$"
)
_HOP = re.compile(r"^\s*(?:unverified|valid|invalid|unknown)?\s*>?(?P<hop>[0-9a-fA-F]*[.:][0-9a-fA-F.:]+)$")
_ORIGINS = {"I": Origin.IGP, "E": Origin.EGP, "?": Origin.INCOMPLETE}


def looks(line: str) -> bool:
    return bool(HEADER.match(line))


def read(reading: Reading) -> Pasted:
    """All routes of the text; what is wrong is in `reading.problems`."""
    blocks = Blocks(reading)
    routes: list[PastedRoute] = []
    edge = 0
    for number, line in reading.numbered():
        table, header = _TABLE.match(line), HEADER.match(line)
        if table is not None:
            blocks.table = table["table"]
        elif header is not None:
            edge = line.index("Metric 2") - 1
        elif (row := _ROW.match(line)) is not None:
            if row["prefix"]:
                blocks.begin(number, row["prefix"])
            routes.append(_route(reading, number, row, edge, blocks))
        elif routes and (hop := _HOP.match(line)) is not None and not routes[-1].candidate.next_hop:
            routes[-1] = _reached(routes[-1], hop["hop"])
    return Pasted(
        style=Style.JUNOS,
        routes=tuple(routes),
        prefix_known=blocks.known,
        blocks=blocks.done(),
        unseen=frozenset({Step.NEAREST_EXIT, CLUSTERS}),
    )


def _route(reading: Reading, number: int, row: re.Match[str], edge: int, blocks: Blocks) -> PastedRoute:
    bgp = row["protocol"] == "B"
    rest = _REST.match(row["rest"] or "")
    if rest is None or (bgp and rest["origin"] is None):
        reading.wrong(number, "this route has no AS path with its origin (I, E or ?) at its end")
    preference, med, stated = 100, 0, False
    start = row.start("rest")
    for found in re.finditer(r"\d+", rest["numbers"] if rest is not None else ""):
        value = reading.number(number, found[0], "a metric")
        if start + found.end() <= edge:
            preference, stated = value, True
        else:
            med = value
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
        doubts=() if stated or not bgp else ("its local preference is not in the text; 100 is taken",),
    )


def _reached(route: PastedRoute, hop: str) -> PastedRoute:
    return replace(route, candidate=replace(route.candidate, next_hop=hop, neighbor=hop))

"""GoBGP: `gobgp global rib`, also of one prefix. Lines in, routes out.

One line for each route, its attributes in brackets at the end. It does not say which routes are internal: those that
carry a local preference or an originator are taken to be. Its router id is the neighbour's own, never the originator's,
so that the form has none to compare. Pure.
"""

import re
from dataclasses import replace

from anypop.model.route import Candidate, Origin, Step
from anypop.routing.paste.blocks import Blocks
from anypop.routing.paste.communities import communities
from anypop.routing.paste.pasted import ANYWHERE, INTERNAL, Pasted, PastedRoute, Reading, Style, age_s

HEADER = re.compile(r"^\s*(?:ID\s+)?Network\s+(?:Labels\s+)?Next Hop\s+AS_PATH\s+Age\s+Attrs$")
ROW = re.compile(
    r"^\s*(?P<flags>[VINS*>]{0,4})\s+(?:\d+\s+)?(?P<prefix>[0-9a-fA-F.:]+/\d{1,3})\s+(?P<hop>[0-9a-fA-F.:%]\S*)\s+"
    r"(?P<path>(?:[\d{(][\d{}(), .]*?\s)?)\s*(?P<age>(?:\d+d\s+)?\d{1,3}:\d\d:\d\d)\s+\[(?P<attributes>.*)\]$"
)
_ATTRIBUTE = re.compile(r"\{(?P<name>[A-Za-z]+): (?P<value>[^{}]*)\}")
_ORIGINS = {"i": Origin.IGP, "e": Origin.EGP, "?": Origin.INCOMPLETE}


def looks(line: str) -> bool:
    return bool(
        ("AS_PATH" in line and HEADER.match(line)) or (line.endswith("]") and "{Origin:" in line and ROW.match(line))
    )


def read(reading: Reading) -> Pasted:
    """All routes of the text; what is wrong is in `reading.problems`."""
    blocks = Blocks(reading)
    routes: list[PastedRoute] = []
    last = ""
    for number, line in reading.numbered():
        row = ROW.match(line)
        if row is None:
            if re.match(r"^\s*[VINS]?\*", line):
                reading.wrong(number, "begins as a route and goes on as none: a column or its attributes are missing")
            continue
        if row["prefix"] != last:
            blocks.begin(number, row["prefix"])
            last = row["prefix"]
        routes.append(_route(reading, number, row, blocks))
    return Pasted(
        style=Style.GOBGP,
        routes=tuple(routes),
        prefix_known=blocks.known,
        blocks=blocks.done(),
        unseen=frozenset({Step.NEAREST_EXIT}),
    )


def _route(reading: Reading, number: int, row: re.Match[str], blocks: Blocks) -> PastedRoute:
    told = {m["name"]: m["value"] for m in _ATTRIBUTE.finditer(row["attributes"])}
    if told.get("Origin") not in _ORIGINS:
        reading.wrong(number, "its attributes have no origin (i, e or ?)")
    path = reading.path(number, row["path"]) or ()
    internal = "LocalPref" in told or "Originator" in told
    carried = communities(re.sub(r"[\[\]]", " ", f"{told.get('Communities', '')} {told.get('LargeCommunity', '')}"))
    nameless = told.get("Extcomms", "")
    doubts = [f"{INTERNAL} is not told; it is taken to be, since it has a local preference"] if internal else []
    # This form prints a route target and a route origin alike.
    doubts += [f"its extended communities are {nameless}, of which kind is not in the text: '-j' tells"] * bool(
        nameless
    )
    own = not path and row["hop"] in ("0.0.0.0", "::")
    candidate = Candidate(
        prefix=blocks.prefix or ANYWHERE,
        as_path=path,
        local_pref=reading.number(number, told.get("LocalPref", "100"), "local preference"),
        origin=_ORIGINS.get(told.get("Origin", ""), Origin.INCOMPLETE),
        med=reading.number(number, told.get("Med", "0"), "MED"),
        ebgp=not internal and bool(path),
        neighbor="",
        next_hop=row["hop"],
        protocol="BGP",
        communities=carried.pairs,
        large_communities=carried.triples,
        best=">" in row["flags"],
    )
    return PastedRoute(
        candidate=replace(candidate, age_s=age_s(row["age"])),
        line=number,
        block=blocks.here(),
        cluster_list=tuple(told.get("ClusterList", "").strip("[]").split()),
        unusable="" if "*" in row["flags"] else "it is not valid",
        own=own,
        doubts=(*doubts, *carried.doubts),
    )

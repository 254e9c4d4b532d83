"""OpenBGPD: `bgpctl show rib`, and with `detail`. Lines in, routes out.

Each route of the detailed form has its own title; titles of one prefix that follow one another are one decision. The
table has no empty columns. Pure.
"""

import re
from dataclasses import dataclass, replace

from anypop.model.route import Candidate, Origin, Step
from anypop.routing.paste.blocks import Blocks
from anypop.routing.paste.communities import listed
from anypop.routing.paste.pasted import ANYWHERE, Pasted, PastedRoute, Reading, Style, age_s
from anypop.routing.paste.steps import CLUSTERS, WEIGHT

HEADER = re.compile(r"^\s*flags\s+(?:\S+\s+)?destination\s+gateway\s+lpref\s+med\s+aspath\s+origin$")
NEXT_HOP = re.compile(
    r"^\s*Nexthop (?P<hop>\S+) \(via (?P<via>[^()]*)\)\s+(?:Neighbor|from) (?P<neighbor>\S+) \((?P<id>[\d.]+)\)"
)
_TITLE = re.compile(r"^\s*BGP routing table entry for (?P<what>\S+)$")
_PATH = re.compile(r"^\s*(?P<path>\d[\d{} ]*|)$")
_ROW = re.compile(
    r"^\s*(?P<flags>[ISAEF*>!@m -]{1,8}?)\s+(?:(?P<vs>[NV!?]{1,2}(?:-[NV!?])?)\s+)?"
    r"(?P<prefix>[0-9a-fA-F.:]+/\d{1,3})\s+"
    r"(?P<hop>[0-9a-fA-F.:%]\S*)\s+(?P<preference>\d{1,10})\s+(?P<med>\d{1,10})\s+(?P<path>(?:[\d{][\d{} ]*? )?)"
    r"(?P<origin>[ie?])$"
)
_ORIGINS = {
    "i": Origin.IGP,
    "e": Origin.EGP,
    "?": Origin.INCOMPLETE,
    "IGP": Origin.IGP,
    "EGP": Origin.EGP,
    "incomplete": Origin.INCOMPLETE,
}


@dataclass(slots=True)
class _Open:
    """A route of the detailed form while its lines are read."""

    route: PastedRoute
    told: bool = False


def looks(line: str) -> bool:
    return bool(("gateway" in line and HEADER.match(line)) or ("Nexthop" in line and NEXT_HOP.match(line)))


def read(reading: Reading) -> Pasted:
    """All routes of the text; what is wrong is in `reading.problems`."""
    detailed = any(NEXT_HOP.match(line) for line in reading.lines)
    return _detail(reading) if detailed else _table(reading)


def _table(reading: Reading) -> Pasted:
    blocks = Blocks(reading)
    routes: list[PastedRoute] = []
    last = ""
    for number, line in reading.numbered():
        row = _ROW.match(line)
        if row is None:
            if re.match(r"^\s*[I*>A]{1,4}\s", line) and not HEADER.match(line):
                reading.wrong(number, "begins as a route and goes on as none: a column or the origin is missing")
            continue
        if row["prefix"] != last:
            blocks.begin(number, row["prefix"])
            last = row["prefix"]
        path = reading.path(number, row["path"]) or ()
        internal = "I" in row["flags"]
        routes.append(
            PastedRoute(
                candidate=Candidate(
                    prefix=blocks.prefix or ANYWHERE,
                    as_path=path,
                    local_pref=reading.number(number, row["preference"], "local preference"),
                    origin=_ORIGINS[row["origin"]],
                    med=reading.number(number, row["med"], "MED"),
                    ebgp=not internal and bool(path),
                    neighbor=row["hop"],
                    next_hop=row["hop"],
                    protocol="BGP",
                    best=">" in row["flags"],
                ),
                line=number,
                unusable="" if "*" in row["flags"] else "it is not valid",
                block=blocks.here(),
                own=not path and "A" in row["flags"],
            )
        )
    return Pasted(
        style=Style.OPENBGPD,
        routes=tuple(routes),
        prefix_known=blocks.known,
        blocks=blocks.done(),
        unseen=frozenset({Step.NEAREST_EXIT, CLUSTERS, WEIGHT}),
    )


def _detail(reading: Reading) -> Pasted:
    blocks = Blocks(reading)
    found: list[_Open] = []
    last, before = "", (0, "")
    for number, line in reading.numbered():
        title, hop = _TITLE.match(line), NEXT_HOP.match(line)
        if title is not None:
            if title["what"] != last:
                blocks.begin(number, title["what"])
            last = title["what"]
        elif hop is not None:
            path = _PATH.match(before[1])
            bare = _TITLE.match(before[1]) and number > 1 and not reading.lines[number - 2].strip()
            if path is None and not bare:
                reading.wrong(number, "the line before 'Nexthop ...' is not an AS path")
            found.append(_Open(_begun(reading, before, path, hop, blocks)))
        elif found:
            _attribute(reading, number, line, found[-1])
        if line.strip():
            before = (number, line)
    for one in found:
        if not one.told:
            reading.wrong(one.route.line, "this route has no line 'Origin IGP, ...'")
    return Pasted(
        style=Style.OPENBGPD,
        routes=tuple(one.route for one in found),
        prefix_known=blocks.known,
        blocks=blocks.done(),
        unseen=frozenset({Step.NEAREST_EXIT}),
    )


def _begun(
    reading: Reading, before: tuple[int, str], path: re.Match[str] | None, hop: re.Match[str], blocks: Blocks
) -> PastedRoute:
    return PastedRoute(
        candidate=Candidate(
            prefix=blocks.prefix or ANYWHERE,
            as_path=(reading.path(before[0], path["path"]) or ()) if path is not None else (),
            local_pref=100,
            ebgp=False,
            router_id=hop["id"],
            neighbor=hop["neighbor"],
            next_hop=hop["hop"],
            protocol="BGP",
        ),
        line=before[0],
        block=blocks.here(),
    )


def _attribute(reading: Reading, number: int, line: str, one: _Open) -> None:
    route, kept = one.route, one.route.candidate
    name, _, value = line.strip().partition(": ")
    if line.strip().startswith("Origin ") and "," in line:
        if one.told:
            reading.wrong(route.line, f"this route has a second origin, at line {number}: lines are missing between")
            return
        one.told = True
        _origin(reading, number, line, one)
    elif name == "Last update":
        one.route = replace(route, candidate=replace(kept, age_s=age_s(value.removesuffix(" ago"))))
    elif name in ("Communities", "Large Communities", "Ext. Communities"):
        carried = listed(reading, number, value)
        one.route = replace(route, candidate=carried.on(kept), doubts=(*route.doubts, *carried.doubts))
    elif name == "Originator Id":
        one.route = replace(route, originator=value.strip())
    elif name == "Cluster Id List":
        one.route = replace(route, cluster_list=tuple(value.split()))


def _origin(reading: Reading, number: int, line: str, one: _Open) -> None:
    """`Origin IGP, metric 7, localpref 100, weight 0, ovs not-found, external, valid, best`."""
    words = [word.strip() for word in line.split(",")]
    changed, weight = one.route.candidate, 0
    for word in words:
        name, _, value = word.partition(" ")
        match name:
            case "Origin" if value in _ORIGINS:
                changed = replace(changed, origin=_ORIGINS[value])
            case "metric":
                changed = replace(changed, med=reading.number(number, value, "metric"))
            case "localpref":
                changed = replace(changed, local_pref=reading.number(number, value, "local preference"))
            case "weight":
                weight = reading.number(number, value, "weight")
            case _:
                pass
    if not {"external", "internal", "announced"} & set(words):
        reading.wrong(number, "this line is cut: it says neither 'external' nor 'internal'")
    one.route = replace(
        one.route,
        candidate=replace(changed, ebgp="external" in words, best="best" in words),
        precedence=weight,
        own="announced" in words and "external" not in words and "internal" not in words,
        multipath="ecmp" in words,
        unusable="" if "valid" in words else "it is not valid",
    )

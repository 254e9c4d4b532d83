"""NX-OS: `show ip bgp PREFIX`, `show bgp ipv4 unicast PREFIX`. Lines in, routes out.

Here the path stands in a line of its own, behind what the route is: `Path type: external, path is valid, is best path`,
`AS-Path: 64496 64499 , path sourced external to AS`, `192.0.2.1 (metric 0) from 192.0.2.1 (192.0.2.1)`, `Origin IGP,
MED not set, localpref 100, weight 0`. Its table is `columns`'. Pure.
"""

import re
from dataclasses import dataclass, field, replace

from anypop.model.route import Candidate, Origin
from anypop.routing.paste.blocks import Blocks
from anypop.routing.paste.communities import listed
from anypop.routing.paste.entry import FROM, QUAD, TITLE
from anypop.routing.paste.pasted import ANYWHERE, Pasted, PastedRoute, Reading, Style, address

TYPE = re.compile(r"^\s*Path type: (?P<words>.*)$")
PATH = re.compile(r"^\s*AS-Path: (?P<path>NONE|[\d{(][\d{}(),. ]*?) ?, path (?P<source>.*)$")
_CUT = re.compile(r"^\s*AS-Path:")
_PATHS = re.compile(r"^\s*Paths: \((?P<total>\d{1,6}) available, (?:best #(?P<best>\d{1,6})|no best path)")
_VRF = re.compile(r"^\s*BGP routing table information for VRF (?P<vrf>[^\s,]+)")
_RD = re.compile(r"^\s*Route Distinguisher: (?P<rd>\S+)")
_METRIC = re.compile(r"\(metric (?P<metric>\d{1,10})\)")
_ORIGINS = {"igp": Origin.IGP, "egp": Origin.EGP, "incomplete": Origin.INCOMPLETE}
_TABLE_TYPES = re.compile(r"^\s*Path type: i-internal, e-external")


@dataclass(slots=True, kw_only=True)
class _Entry:
    line: int
    block: int
    words: str
    candidate: Candidate
    heard: set[str] = field(default_factory=set)
    precedence: int = 0
    originator: str = ""
    cluster_list: tuple[str, ...] = ()
    doubts: list[str] = field(default_factory=list)


def looks(line: str) -> bool:
    """Whether only NX-OS writes such a line."""
    return bool(TYPE.match(line) or PATH.match(line) or _TABLE_TYPES.match(line))


def read(reading: Reading) -> Pasted:
    """All routes of the text; what is wrong is in `reading.problems`."""
    found: list[_Entry] = []
    blocks = Blocks(reading)
    fresh = True  # whether no route has begun since the last title
    for number, line in reading.numbered():
        title, paths, vrf, kind = TITLE.match(line), _PATHS.match(line), _VRF.match(line), TYPE.match(line)
        if (rd := _RD.match(line)) is not None:
            blocks.table = rd["rd"]
        elif vrf is not None:
            blocks.table = "" if vrf["vrf"] == "default" else vrf["vrf"]
        elif title is not None:
            blocks.begin(number, title["what"])
            fresh = True
        elif paths is not None:
            blocks.counted(int(paths["total"]), int(paths["best"] or 0))
        elif kind is not None and not _TABLE_TYPES.match(line):
            candidate = Candidate(
                prefix=blocks.prefix or ANYWHERE, as_path=(), local_pref=100, ebgp=False, protocol="BGP"
            )
            found.append(_Entry(line=number, block=blocks.here(), words=kind["words"], candidate=candidate))
            fresh = False
        elif found and not fresh:
            _attribute(reading, number, line, found[-1])
        elif _CUT.match(line):
            reading.wrong(number, "belongs to a route whose line 'Path type: ...' is missing; it is left out")
    for entry in found:
        for what, line in (("path", "AS-Path: ..."), ("hop", "NEXT-HOP from ..."), ("origin", "Origin ...")):
            if what not in entry.heard:
                reading.wrong(entry.line, f"this route has no line '{line}'")
    return Pasted(
        style=Style.NXOS,
        routes=tuple(map(_route, found)),
        prefix_known=blocks.known,
        blocks=blocks.done(),
    )


def _attribute(reading: Reading, number: int, line: str, entry: _Entry) -> None:
    path, here = PATH.match(line), FROM.match(line)
    name, _, value = line.strip().partition(": ")
    kept = entry.candidate
    what = "path" if path else "hop" if here else "origin" if line.lstrip().startswith("Origin ") else ""
    if what and what in entry.heard:
        reading.wrong(entry.line, f"this route has lines of two, at line {number}: lines are missing between")
        return
    entry.heard |= {what} if what else set()
    if path is not None:
        words = "" if path["path"] == "NONE" else path["path"]
        entry.candidate = replace(kept, as_path=reading.path(number, words) or ())
        if "locally originated" in path["source"]:
            entry.words += ", locally originated"
    elif here is not None:
        metric = _METRIC.search(here["more"])
        entry.candidate = replace(
            kept,
            igp_metric=int(metric["metric"]) if metric else 0,
            router_id=here["id"],
            neighbor=address(here["neighbor"]),
            next_hop=address(here["hop"]),
        )
        if "inaccessible" in here["more"]:
            entry.words += ", inaccessible"
    elif what == "origin":
        _origin(reading, number, line, entry)
    elif name.rstrip(":") in ("Community", "Large Community", "Large-Community", "Extcommunity"):
        carried = listed(reading, number, value)
        entry.candidate = carried.on(kept)
        entry.doubts += carried.doubts
    elif name == "Originator":
        first, _, rest = value.partition(" ")
        entry.originator = first.strip(",")
        entry.cluster_list = tuple(rest.partition("Cluster list: ")[2].replace(",", " ").split())
        if not all(map(QUAD.match, entry.cluster_list)):
            entry.doubts.append("its cluster list is cut or wrapped")


def _origin(reading: Reading, number: int, line: str, entry: _Entry) -> None:
    words = [word.strip() for word in line.split(",")]
    origin = _ORIGINS.get(words[0].removeprefix("Origin ").lower())
    if origin is None or len(words) < 4:
        reading.wrong(number, "this line is not 'Origin IGP, MED not set, localpref 100, weight 0'")
    changed = replace(entry.candidate, origin=origin or Origin.INCOMPLETE)
    for word in words[1:]:
        name, _, value = word.partition(" ")
        if name == "MED" and value != "not set":
            changed = replace(changed, med=reading.number(number, value, "MED"))
        elif name == "localpref":
            changed = replace(changed, local_pref=reading.number(number, value, "local preference"))
        elif name == "weight":
            entry.precedence = reading.number(number, value, "weight")
    entry.candidate = changed


def _route(entry: _Entry) -> PastedRoute:
    words = [word.strip() for word in entry.words.split(",")]
    reason = next((w.partition(":")[2].strip() for w in words if w.startswith("not best reason:")), "")
    unusable = "" if "path is valid" in words else "it is not valid"
    return PastedRoute(
        candidate=replace(
            entry.candidate,
            ebgp=words[0] == "external",
            best="is best path" in words,
            router_id=entry.originator or entry.candidate.router_id,
        ),
        line=entry.line,
        precedence=entry.precedence,
        unusable=unusable,
        reason=reason,
        block=entry.block,
        own=words[0] in ("local", "redist", "aggregate") or "locally originated" in words,
        multipath="multipath" in words,
        originator=entry.originator,
        cluster_list=entry.cluster_list,
        doubts=tuple(entry.doubts),
    )

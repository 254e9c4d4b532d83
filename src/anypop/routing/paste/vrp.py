"""Huawei VRP: `display bgp routing-table PREFIX`, and the table. Lines in, routes out.

A route of the entry begins at `BGP routing table entry information of PREFIX:`; all that is compared stands in the line
`AS-path 64496 64499, origin igp, MED 0, localpref 100, pref-val 0, valid, external, best, select, pre 255`, at its end
why the route was not preferred. The table has values below the beginnings of its headings. Pure.
"""

import re
from dataclasses import dataclass, field, replace

from anypop.model.route import Candidate, Origin, Step
from anypop.routing.paste.blocks import Blocks, classful
from anypop.routing.paste.communities import listed
from anypop.routing.paste.pasted import ANYWHERE, Pasted, PastedRoute, Reading, Style, is_address
from anypop.routing.paste.steps import CLUSTERS

TITLE = re.compile(r"^\s*BGP routing table entry information of (?P<prefix>\S+?):?$")
HEADER = re.compile(r"^\s*Network\s+NextHop\s+MED\s+LocPrf\s+PrefVal\s+Path/Ogn$")
_PATHS = re.compile(r"^\s*Paths:\s+(?P<total>\d{1,6}) available, (?P<best>\d{1,6}) best")
_PATH = re.compile(r"^\s*AS-path (?P<path>Nil|[\d{(][\d{}() ]*), origin (?P<origin>\w+)(?P<more>,.*)?$")
_FROM = re.compile(r"^\s*From: (?P<peer>\S+) \((?P<id>[\d.]+)\)")
_DURATION = re.compile(r"^\s*Route Duration: (?:(?P<d>\d{1,5})d)?(?P<h>\d{1,2})h(?P<m>\d{1,2})m(?P<s>\d{1,2})s$")
_ROW = re.compile(r"^\s*(?P<status>[*>^dhsSi ]{1,6}?)\s+(?P<rest>[0-9a-fA-F]*[.:].*)$")
_TOTAL = re.compile(r"^\s*Total Number of Routes: (?P<total>\d{1,9})$")
_FURTHER = re.compile(r"^\s*(?!Not |Advertised)[a-zA-Z_-]+(?:,| \S+,| \d+$|$)[^:]*$")
_ORIGINS = {"igp": Origin.IGP, "egp": Origin.EGP, "incomplete": Origin.INCOMPLETE}
_SIGNS = {"i": Origin.IGP, "e": Origin.EGP, "?": Origin.INCOMPLETE}


@dataclass(slots=True, kw_only=True)
class _Entry:
    line: int
    block: int
    candidate: Candidate
    words: list[str] = field(default_factory=list)
    precedence: int = 0
    reason: str = ""
    originator: str = ""
    cluster_list: tuple[str, ...] = ()
    heard: bool = False
    doubts: list[str] = field(default_factory=list)


def looks(line: str) -> bool:
    return bool(("entry information" in line and TITLE.match(line)) or ("PrefVal" in line and HEADER.match(line)))


def read(reading: Reading) -> Pasted:
    """All routes of the text; what is wrong is in `reading.problems`."""
    return _table(reading) if any(HEADER.match(line) for line in reading.lines) else _entries(reading)


def _entries(reading: Reading) -> Pasted:
    blocks = Blocks(reading)
    found: list[_Entry] = []
    last = ""
    total: tuple[int | None, int | None] = (None, None)
    for number, line in reading.numbered():
        title, paths = TITLE.match(line), _PATHS.match(line)
        if paths is not None:
            total, last = (int(paths["total"]), 0 if paths["best"] == "0" else None), ""
        elif title is not None:
            if title["prefix"] != last:
                blocks.begin(number, title["prefix"], total=total[0], best=total[1])
                last, total = title["prefix"], (None, None)
            candidate = Candidate(
                prefix=blocks.prefix or ANYWHERE, as_path=(), local_pref=100, ebgp=False, protocol="BGP"
            )
            found.append(_Entry(line=number, block=blocks.here(), candidate=candidate))
        elif found:
            _attribute(reading, number, line, found[-1])
    for entry in found:
        if not entry.heard:
            reading.wrong(entry.line, "this route has no line 'AS-path ..., origin ...'")
    return Pasted(style=Style.VRP, routes=tuple(map(_route, found)), prefix_known=blocks.known, blocks=blocks.done())


def _attribute(reading: Reading, number: int, line: str, entry: _Entry) -> None:
    path, peer, age = _PATH.match(line), _FROM.match(line), _DURATION.match(line)
    name, _, value = line.strip().partition(": ")
    kept = entry.candidate
    if path is not None and entry.heard:
        reading.wrong(entry.line, f"this route has a second AS path, at line {number}: lines are missing between")
    elif path is not None:
        entry.heard = True
        more = path["more"] or ""
        if more.endswith(",") or "pre " not in more:
            following = reading.lines[number] if number < len(reading.lines) else ""
            if _FURTHER.match(following):
                more += f" {following.strip()}" if more.endswith(",") else f", {following.strip()}"
        _path(reading, number, path, more, entry)
    elif peer is not None:
        entry.candidate = replace(kept, neighbor=peer["peer"], router_id=peer["id"])
    elif age is not None:
        d, h, m, s = (int(age[n] or 0) for n in "dhms")
        entry.candidate = replace(kept, age_s=((d * 24 + h) * 60 + m) * 60.0 + s)
    elif name == "Original nexthop":
        entry.candidate = replace(kept, next_hop=value)
    elif name.startswith(("Community", "Large-Community", "Ext-Community")):
        carried = listed(reading, number, f"{name.partition(':')[2]} {value}")
        entry.candidate = carried.on(kept)
        entry.doubts += carried.doubts
    elif name == "Originator":
        entry.originator = value.strip(" ,")
    elif name == "Cluster list":
        entry.cluster_list = tuple(value.replace(",", " ").split())


def _path(reading: Reading, number: int, path: re.Match[str], more: str, entry: _Entry) -> None:
    origin = _ORIGINS.get(path["origin"].lower())
    if origin is None:
        reading.wrong(number, f"'{path['origin'][:20]}' is not an origin (igp, egp or incomplete)")
    words = [word.strip() for word in more.split(",") if word.strip()]
    changed = replace(
        entry.candidate,
        as_path=() if path["path"] == "Nil" else reading.path(number, path["path"]) or (),
        origin=origin or Origin.INCOMPLETE,
    )
    for word in words:
        name, _, value = word.rpartition(" ")
        match name:
            case "MED":
                changed = replace(changed, med=reading.number(number, value, "MED"))
            case "localpref":
                changed = replace(changed, local_pref=reading.number(number, value, "local preference"))
            case "pref-val":
                entry.precedence = reading.number(number, value, "pref-val")
            case "IGP cost":
                changed = replace(changed, igp_metric=reading.number(number, value, "IGP cost"))
            case _ if word.startswith("not preferred for "):
                entry.reason = word.removeprefix("not preferred for ")
            case _:
                pass
    if not any(
        word.startswith(("external", "internal", "local")) and not word.startswith("localpref") for word in words
    ):
        reading.wrong(number, "this line is cut: it says neither 'external' nor 'internal' nor 'local'")
    entry.candidate = replace(changed, ebgp=any(word.startswith("external") for word in words), best="best" in words)
    entry.words = words


def _route(entry: _Entry) -> PastedRoute:
    return PastedRoute(
        candidate=entry.candidate,
        line=entry.line,
        precedence=entry.precedence,
        unusable="" if "valid" in entry.words else "it is not valid",
        reason=entry.reason,
        block=entry.block,
        own="local" in entry.words and "external" not in entry.words,
        originator=entry.originator,
        cluster_list=entry.cluster_list,
        multipath="select" in entry.words and "best" not in entry.words,
        doubts=tuple(entry.doubts),
    )


def _table(reading: Reading) -> Pasted:
    blocks = Blocks(reading)
    routes: list[PastedRoute] = []
    places: list[int] = []
    for number, line in reading.numbered():
        if HEADER.match(line):
            places = [line.index(name) - 1 for name in ("MED", "LocPrf", "PrefVal", "Path/Ogn")]
        elif places and (row := _ROW.match(line)) is not None:
            words = row["rest"].split()
            named = len(words) > 1 and is_address(words[1])
            if named:
                blocks.begin(number, words[0] if "/" in words[0] or ":" in words[0] else classful(words[0]))
            start = line.index(words[1], row.start("rest") + len(words[0])) if named else row.start("rest")
            routes.append(_row(reading, (number, line, start), row["status"], places, blocks))
    return Pasted(
        style=Style.VRP,
        routes=tuple(routes),
        prefix_known=blocks.known,
        blocks=blocks.counted_whole(_TOTAL, len(routes)),
        unseen=frozenset({Step.NEAREST_EXIT, CLUSTERS}),
    )


def _row(reading: Reading, here: tuple[int, str, int], status: str, places: list[int], blocks: Blocks) -> PastedRoute:
    """One row. `here`: its number, its text, and where its next hop begins."""
    number, line, start = here
    hop = line[start:].split(maxsplit=1)[0]
    start += len(hop)
    columns: dict[int, str] = {}
    path = line[places[3] :].strip() if len(line) > places[3] else ""
    for found in re.finditer(r"\S+", line[start : places[3]]):
        at = start + found.start()
        column = next((i for i in (2, 1, 0) if at >= places[i]), None)
        if column is None or column in columns or not found[0].isdecimal():
            reading.wrong(number, "its columns have moved: paste the table with its blanks")
            break
        columns[column] = found[0]
    if not path or path[-1] not in _SIGNS or 2 not in columns:
        reading.wrong(number, "has no PrefVal, or no origin (i, e or ?) at its end")
    numbers = reading.path(number, path[:-1]) or ()
    internal = "i" in status
    return PastedRoute(
        candidate=Candidate(
            prefix=blocks.prefix or ANYWHERE,
            as_path=numbers,
            local_pref=reading.number(number, columns.get(1, "100"), "local preference"),
            origin=_SIGNS.get(path[-1:], Origin.INCOMPLETE),
            med=reading.number(number, columns.get(0, "0"), "MED"),
            ebgp=not internal and bool(numbers),
            neighbor=hop,
            next_hop=hop,
            protocol="BGP",
            best=">" in status,
        ),
        line=number,
        precedence=reading.number(number, columns.get(2, "0"), "PrefVal"),
        unusable="" if "*" in status else "it is not valid",
        block=blocks.here(),
        own=not numbers and not internal,
    )

"""`BGP routing table entry for PREFIX`: what IOS, IOS-XR, FRR and EOS print about one prefix, alike but for details.
Lines in, entries out.

A route is told by its line `NEXT-HOP from NEIGHBOUR (ROUTER-ID)`; the AS path stands in the line before, attributes
behind. The title begins a block; `Paths:` says how many routes it has and which is the best, so that what is missing
from the text is seen. `cisco` and `frr` make routes of the entries. Pure.
"""

import re
from dataclasses import dataclass, field, replace

from anypop.model.route import Candidate, Origin
from anypop.routing.paste.blocks import Blocks
from anypop.routing.paste.communities import listed
from anypop.routing.paste.pasted import ANYWHERE, PastedRoute, Reading, address, age_s

TITLE = re.compile(r"^.*BGP routing table entry for (?P<what>(?:[a-z]+(?:-[a-z]+)* )?[^\s,]{1,120})(?P<more>.*)$")
FROM = re.compile(
    r"^\s*(?P<hop>\S+)(?P<more>(?: \([^()]*\))*) from (?P<neighbor>\S+) \((?P<id>\d{1,3}(?:\.\d{1,3}){3})\)"
)
_PATHS = re.compile(
    r"^\s*Paths: \(?(?P<total>\d{1,6}) available(?:, (?:best #(?P<best>\d{1,6})|(?P<none>no best path)))?"
)
_TABLE = re.compile(r"\btable (?P<table>[^\s,()]+)(?: vrf (?P<vrf>[^\s,()]+))?")
_VRF = re.compile(r"^\s*BGP routing table information for VRF (?P<vrf>[^\s,]+)")
_GROUPS = re.compile(r"^\s*(?:Advertised to|Path advertised to|Not advertised|Advertised)")
_PATH = re.compile(
    r"^\s*(?P<path>Local|(?:\d[\d.]{0,10}|\{[\d,. ]{1,2000}\}|\([\d,. {}]{1,2000}\))"
    r"(?: +(?:\d[\d.]{0,10}|\{[\d,. ]{1,2000}\}|\([\d,. {}]{1,2000}\)))* *)"
    r"(?P<more>,? \((?:aggregated|received|stale|history|suppressed|Received|Stale|inaccessible|long-lived)[^()]*\).*"
    r"|,.*)?$"
)
_ORIGIN = re.compile(r"^\s*Origin (?P<origin>[^\s,]+)(?:,|$)")
_FURTHER = re.compile(
    r"^\s*(?:metric|localpref|weight|valid|external|internal|best|group-best|multipath|sourced|local|confed-\w+|tag|"
    r"IGP metric|import-candidate|imported|bestpath-from-AS|otc|atomic-aggregate|aggregated|backup|ECMP)\b[^:]*$"
)
_ORIGINS = {"igp": Origin.IGP, "egp": Origin.EGP, "incomplete": Origin.INCOMPLETE}
_LISTS = re.compile(r"(?:Extended |Large )?[Cc]ommunit(?:y|ies):?")
_METRIC = re.compile(r"\(metric (?P<metric>\d{1,10})\)")
_RECEIVED = re.compile(r"^\s*Received (?P<age>\S+) ago, ?(?P<words>.*)$")
_REASON = re.compile(r"^best \((?P<reason>[^()]*)\)$")
QUAD = re.compile(r"^\d{1,3}(?:\.\d{1,3}){3}$")
_KINDS = {"external", "internal", "sourced", "local", "aggregated", "confed-external", "confed-internal"}
_UNUSABLE = {
    "inaccessible": "its next hop cannot be reached",
    "received-only": "an import policy refused it",
    "history entry": "it was withdrawn and is kept as history",
    "suppressed due to dampening": "it flapped too often and is suppressed",
    "not accepted": "an import policy refused it",
}


@dataclass(slots=True, kw_only=True)
class Entry:
    """One route while its lines are read. `words`: what stands behind its origin, as told."""

    line: int
    block: int
    candidate: Candidate
    precedence: int = 0
    unusable: str = ""
    copy: bool = False
    words: list[str] = field(default_factory=list)
    told: bool = False
    updated: str = ""
    originator: str = ""
    cluster_list: tuple[str, ...] = ()
    reason: str = ""
    doubts: list[str] = field(default_factory=list)


def looks(line: str) -> bool:
    return bool(TITLE.match(line) or FROM.match(line))


def entries(reading: Reading, *, received: bool = False) -> tuple[list[Entry], Blocks]:
    """The routes as they stand in the text, and their blocks. `received`: validity has a line of its own (EOS)."""
    found: list[Entry] = []
    blocks = Blocks(reading)
    current: Entry | None = None
    before: list[tuple[int, str]] = [(0, "")] * 3
    passed = 0
    widest = reading.cut_at
    for number, line in reading.numbered():
        if number <= passed or not line.strip():
            continue
        title, here, paths, vrf = TITLE.match(line), FROM.match(line), _PATHS.match(line), _VRF.match(line)
        if vrf is not None:
            blocks.table = "" if vrf["vrf"] == "default" else vrf["vrf"]
        elif title is not None:
            current = None
            rd = re.search(r"Route Distinguisher: (?P<rd>\S+)", title["more"])
            blocks.begin(number, title["what"], table=" ".join(filter(None, [blocks.table, rd and rd["rd"]])))
        elif paths is not None:
            best = 0 if paths["none"] else int(paths["best"]) if paths["best"] else None
            blocks.counted(int(paths["total"]), best, _named(line))
        elif here is not None:
            current = _entry(reading, before, number, here, blocks)
            if widest and len(before[-1][1]) >= widest:
                current.doubts.append("its AS path may be cut: its line is as long as the longest ones")
            found.append(current)
        elif current is not None:
            if _ORIGIN.match(line) and current.told:
                blocks.note(f"line {number} belongs to a route whose first lines are missing; it is left out")
                current = None
            else:
                passed = _attribute(reading, number, line, current, received=received)
        before = [*before[1:], (number, line)]
    for entry in found:
        if not entry.told:
            reading.wrong(entry.line, "this route has no line 'Origin IGP, ...'; paste the entry of one prefix, whole")
        elif received and not entry.words and not entry.unusable:
            reading.wrong(entry.line, "this route has no line 'Received ... ago, valid, ...'")
    return found, blocks


def _named(line: str) -> str:
    """The table of a `Paths:` line, empty for the default one."""
    found = _TABLE.search(line)
    name = (found["vrf"] or found["table"]) if found is not None else ""
    return "" if name.lower() in ("default", "default-ip-routing-table") else name


def _entry(reading: Reading, before: list[tuple[int, str]], number: int, here: re.Match[str], blocks: Blocks) -> Entry:
    (_, earlier), (prior_line, prior), (line, text) = before
    written = _PATH.match(text)
    doubts: list[str] = []
    if written is None or (_GROUPS.match(prior) and prior.endswith(":") and re.fullmatch(r"[\d\s.]+", text)):
        written = None
        reading.wrong(number, "the line before 'NEXT-HOP from NEIGHBOUR (ROUTER-ID)' is not an AS path")
    path = written["path"].strip() if written is not None else ""
    if path and path != "Local" and _path_alone(prior) and not (_GROUPS.match(earlier) and earlier.endswith(":")):
        path = f"{prior.strip()} {path}"
        doubts.append(f"its AS path stands in two lines, {prior_line} and {line}")
    metric = _METRIC.search(here["more"])
    remarks = f"{here['more']} {(written['more'] or '') if written is not None else ''}"
    return Entry(
        line=line if written is not None else number,
        block=blocks.here(),
        unusable=next((why for word, why in _UNUSABLE.items() if word in remarks), ""),
        copy="received-only" in remarks,
        doubts=doubts,
        candidate=Candidate(
            prefix=blocks.prefix or ANYWHERE,
            as_path=reading.path(line, "" if path == "Local" else path.rstrip(", ")) or ()
            if written is not None
            else (),
            local_pref=100,
            ebgp=False,
            igp_metric=int(metric["metric"]) if metric else 0,
            router_id=here["id"],
            neighbor=address(here["neighbor"]),
            next_hop=address(here["hop"]),
            protocol="BGP",
        ),
    )


def _path_alone(line: str) -> bool:
    """Whether a line is nothing but AS numbers: the first half of a path that was wrapped."""
    return bool(re.fullmatch(r"\s*\d{1,10}(?: \d{1,10})+", line))


def _attribute(reading: Reading, number: int, line: str, entry: Entry, *, received: bool) -> int:
    """Reads a line of a route, or two; the number of the last."""
    name, _, value = line.strip().partition(": ")
    if _ORIGIN.match(line):
        last = number
        if not received and last < len(reading.lines) and _FURTHER.match(reading.lines[last]):
            line = f"{line.rstrip(', ')}, {reading.lines[last].strip(' ,')}"
            last += 1
        entry.told = True
        _origin(reading, number, line, entry, received=received)
        return last
    if received and (match := _RECEIVED.match(line)) is not None:
        entry.candidate = replace(entry.candidate, age_s=age_s(match["age"]))
        _words(entry, [word.strip() for word in match["words"].split(",")])
    elif _LISTS.fullmatch(name):
        carried = listed(reading, number, value)
        entry.candidate = carried.on(entry.candidate)
        entry.doubts += carried.doubts
    elif name == "Last update":
        entry.updated = value
    elif name in ("Not best", "Not Best", "Not best path reason"):
        entry.reason = value
    elif name in ("Originator", "Cluster list"):
        for piece in re.split(r", (?=Cluster list: )", line.strip()):
            what, _, text = piece.partition(": ")
            if what == "Originator":
                entry.originator = text.strip(" ,")
            else:
                entry.cluster_list = tuple(text.replace(",", " ").split())
                if text.rstrip().endswith(",") or not all(map(QUAD.match, entry.cluster_list)):
                    entry.doubts.append("its cluster list is cut or wrapped")
    return number


def _origin(reading: Reading, number: int, line: str, entry: Entry, *, received: bool) -> None:
    """`Origin IGP, metric 30, localpref 100, weight 0, valid, external, best`."""
    words = [word.strip() for word in line.split(",")]
    first = words[0].removeprefix("Origin").strip()
    origin = _ORIGINS.get(first.lower())
    if origin is None:
        reading.wrong(number, f"'{first[:40]}' is not an origin (IGP, EGP or incomplete)")
    changed = replace(entry.candidate, origin=origin or Origin.INCOMPLETE)
    for word in words[1:]:
        name, _, value = word.partition(" ")
        if value == "-":
            continue
        match name:
            case "metric":
                changed = replace(changed, med=reading.number(number, value, "metric"))
            case "localpref":
                changed = replace(changed, local_pref=reading.number(number, value, "local preference"))
            case "weight":
                entry.precedence = reading.number(number, value, "weight")
            case "IGP":
                cost = value.removeprefix("metric ").strip()
                changed = replace(changed, igp_metric=int(cost) if cost.isdecimal() and len(cost) < 11 else 0)
            case _:
                pass
    entry.candidate = changed
    if not received or "valid" in words or any(word.startswith("received ") for word in words):
        age = next((word.split()[1] for word in words if re.match(r"received \S+ ago$", word)), "")
        entry.candidate = replace(entry.candidate, age_s=age_s(age))
        if not _KINDS & set(words):
            reading.wrong(number, "this line is cut: it says neither 'external' nor 'internal' nor 'sourced'")
        _words(entry, words[1:])


def _words(entry: Entry, words: list[str]) -> None:
    """What a route is: `valid, external, multipath, best (AS Path)`."""
    entry.words = words
    reason = next((match["reason"] for word in words if (match := _REASON.match(word))), None)
    entry.reason = entry.reason or reason or ""
    entry.candidate = replace(
        entry.candidate,
        # RFC 5065, 5.3: what is heard within the confederation is internal in this comparison.
        ebgp="external" in words,
        best="best" in words or reason is not None,
    )
    if not {"valid", "sourced", "sourced, local"} & set(words):
        entry.unusable = entry.unusable or "it is not valid"
    told = ", ".join(words)
    entry.copy = entry.copy or "received-only" in told
    entry.unusable = entry.unusable or next((why for word, why in _UNUSABLE.items() if word in told), "")


def route_of(entry: Entry) -> PastedRoute:
    internal = not entry.candidate.ebgp
    own = "sourced" in entry.words or (internal and entry.candidate.neighbor in ("0.0.0.0", "::"))
    return PastedRoute(
        candidate=replace(entry.candidate, router_id=entry.originator or entry.candidate.router_id),
        line=entry.line,
        precedence=entry.precedence,
        unusable=entry.unusable,
        reason=entry.reason,
        block=entry.block,
        cluster_list=entry.cluster_list,
        originator=entry.originator,
        own=own,
        multipath=any("multipath" in word or "ECMP" in word for word in entry.words),
        copy=entry.copy,
        doubts=tuple(entry.doubts),
    )

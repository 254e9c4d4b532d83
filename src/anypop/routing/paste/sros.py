"""Nokia SR OS: `show router bgp routes PREFIX`, as a table of three lines for each route, and with `detail` or `hunt`.
Lines in, routes out.

The detailed form has the attributes as they came (`Original Attributes`) and, where a policy changed them, as they are
used (`Modified Attributes`); what goes out (`RIB Out Entries`) is passed over. Pure.
"""

import re
from dataclasses import replace

from anypop.model.announce import Prefix
from anypop.model.route import Candidate, Origin, Step
from anypop.routing.paste.blocks import Blocks
from anypop.routing.paste.communities import Carried, listed
from anypop.routing.paste.entry import QUAD
from anypop.routing.paste.pasted import ANYWHERE, INTERNAL, Pasted, PastedRoute, Reading, Style
from anypop.routing.paste.steps import CLUSTERS

HEADER = re.compile(r"^\s*Flag\s+Network\s+LocalPref\s+MED$")
DETAIL = re.compile(r"^\s*Network\s+: (?P<prefix>\S+)$")
_ROW = re.compile(
    r"^\s*(?P<flags>[ushdlxbpw*>]{1,6}[ie?])\s+(?P<prefix>\S+/\d{1,3})\s+(?P<preference>\d{1,10}|None|n/a)\s+"
    r"(?P<med>\d{1,10}|None|n/a)$"
)
_HOP = re.compile(
    r"^\s*(?P<hop>[0-9a-fA-F]*[.:][0-9a-fA-F.:]+)\s*(?:\(.*\))?\s+(?P<path_id>\d+|None)"
    r"(?:\s+(?P<cost>\d+|None|n/a|-))?$"
)
_PATH = re.compile(r"^\s*(?P<path>(?:\d[\d{} ]*?|No As-Path))(?:\s{2,}\S+)?$")
_PAIR = re.compile(r"(?P<name>[A-Z][A-Za-z. -]*?)\s*: (?P<value>.*?)(?=\s{2,}[A-Z][A-Za-z. -]*\s*: |$)")
_LISTS = ("Community", "Large Community", "Ext Community")
_ROUTER = re.compile(r"^\s*BGP Router ID:")
_ORIGINS = {"i": Origin.IGP, "e": Origin.EGP, "?": Origin.INCOMPLETE}
_WORDS = {"IGP": Origin.IGP, "EGP": Origin.EGP, "Incomplete": Origin.INCOMPLETE}
_TOTAL = re.compile(r"^\s*Routes : (?P<total>\d{1,9})$")
_NONE = ("None", "n/a", "N/A", "-", "")


def looks(line: str) -> bool:
    if ":" in line:
        return bool(DETAIL.match(line) or _ROUTER.match(line))
    return "LocalPref" in line and HEADER.match(line) is not None


def read(reading: Reading) -> Pasted:
    """All routes of the text; what is wrong is in `reading.problems`."""
    return _detail(reading) if any(DETAIL.match(line) for line in reading.lines) else _table(reading)


def _table(reading: Reading) -> Pasted:
    blocks = Blocks(reading)
    routes: list[PastedRoute] = []
    costs = any("IGP Cost" in line for line in reading.lines)  # else labels stand in its place
    last, expected = "", ""  # what the next line of the route holds
    for number, line in reading.numbered():
        row, hop = _ROW.match(line), _HOP.match(line)
        if row is not None:
            if expected:
                reading.wrong(routes[-1].line, f"this route has no {expected} in the lines behind it")
            if row["prefix"] != last:
                blocks.begin(number, row["prefix"])
                last = row["prefix"]
            routes.append(_begun(reading, number, row, blocks))
            expected = "next hop"
        elif expected == "next hop" and hop is not None:
            cost = (hop["cost"] or "") if costs else ""
            kept = replace(routes[-1].candidate, next_hop=hop["hop"], neighbor=hop["hop"])
            kept = replace(kept, igp_metric=int(cost) if cost.isdecimal() else 0)
            routes[-1] = replace(routes[-1], candidate=kept)
            expected = "AS path"
        elif expected == "AS path" and (path := _PATH.match(line)) is not None:
            words = "" if path["path"] == "No As-Path" else path["path"]
            numbers = reading.path(number, words) or ()
            routes[-1] = replace(
                routes[-1], candidate=replace(routes[-1].candidate, as_path=numbers, ebgp=bool(numbers))
            )
            expected = ""
        elif not expected and routes and re.fullmatch(r"\s{6}\d[\d{} ]*", line):
            numbers = reading.path(number, line) or ()
            kept = replace(routes[-1].candidate, as_path=routes[-1].candidate.as_path + numbers)
            routes[-1] = replace(routes[-1], candidate=kept)
        elif expected and line.strip():
            reading.wrong(number, f"is no {expected} of the route above")
            expected = ""
    if expected:
        reading.wrong(routes[-1].line, f"this route has no {expected} in the lines behind it")
    return Pasted(
        style=Style.SROS,
        routes=tuple(routes),
        prefix_known=blocks.known,
        blocks=blocks.counted_whole(_TOTAL, len(routes)),
        unseen=frozenset({Step.EBGP_OVER_IBGP, CLUSTERS}),
    )


def _begun(reading: Reading, number: int, row: re.Match[str], blocks: Blocks) -> PastedRoute:
    preference, med = ("" if row[name] in _NONE else row[name] for name in ("preference", "med"))
    return PastedRoute(
        candidate=Candidate(
            prefix=blocks.prefix or ANYWHERE,
            as_path=(),
            local_pref=reading.number(number, preference or "100", "local preference"),
            origin=_ORIGINS[row["flags"][-1]],
            med=reading.number(number, med or "0", "MED"),
            ebgp=False,
            protocol="BGP",
            best=">" in row["flags"],
        ),
        line=number,
        block=blocks.here(),
        unusable="" if "*" in row["flags"] else "it is not valid",
        doubts=(f"{INTERNAL} is not in the text; 'detail' would tell",),
    )


def _detail(reading: Reading) -> Pasted:
    blocks = Blocks(reading)
    found: list[tuple[int, int, Prefix | None, dict[str, str], dict[str, Carried]]] = []
    last, out, modified = "", False, False
    for number, line in reading.numbered():
        title = DETAIL.match(line)
        if "RIB Out Entries" in line or "RIB In Entries" in line:
            out = "RIB Out" in line
        elif out:
            continue
        elif title is not None and not modified:
            if title["prefix"] != last:
                blocks.begin(number, title["prefix"])
                last = title["prefix"]
            found.append((number, blocks.here(), blocks.prefix, {}, {}))
        elif line.strip() in ("Original Attributes", "Modified Attributes"):
            modified = line.strip().startswith("M")
        elif found and ": " in line:
            _named(reading, number, line, found[-1][0], found[-1][3], modified=modified)
            if (name := line.partition(": ")[0].strip()) in _LISTS:
                value = found[-1][3].get(name, "")
                found[-1][4][name] = listed(reading, number, "" if value.startswith("No ") else value)
    return Pasted(
        style=Style.SROS,
        routes=tuple(
            _route(reading, line, block, prefix, told, lists=lists) for line, block, prefix, told, lists in found
        ),
        prefix_known=blocks.known,
        blocks=blocks.done(),
    )


def _named(reading: Reading, number: int, line: str, start: int, told: dict[str, str], *, modified: bool) -> None:
    for pair in _PAIR.finditer(line.strip()):
        name, value = pair["name"].strip(), pair["value"].strip()
        if name in told and not modified and name in ("AS-Path", "Flags", "Nexthop", "Route Source"):
            reading.wrong(start, f"this route has a second '{name}', at line {number}: lines are missing between")
        told[name] = value


def _route(
    reading: Reading,
    line: int,
    block: int,
    prefix: Prefix | None,
    told: dict[str, str],
    *,
    lists: dict[str, Carried],
) -> PastedRoute:
    flags = told.get("Flags", "").split()
    for name in ("Flags", "AS-Path"):
        if name not in told:
            reading.wrong(line, f"this route has no line '{name} : ...'")
    path = told.get("AS-Path", "")
    numbers = reading.path(line, "" if path == "No As-Path" else path) or ()
    source = told.get("Route Source", "")
    originator = told.get("Originator Id", "None")
    clusters = told.get("Cluster", "")
    preference = told.get("Local Pref.", "")
    candidate = Candidate(
        prefix=prefix or ANYWHERE,
        as_path=numbers,
        local_pref=reading.number(line, "100" if preference in _NONE else preference, "local preference"),
        origin=next((_WORDS[flag] for flag in (*flags, told.get("Origin", "")) if flag in _WORDS), Origin.INCOMPLETE),
        med=reading.number(line, "0" if told.get("MED", "None") in _NONE else told["MED"], "MED"),
        ebgp=source != "Internal" and bool(numbers),
        igp_metric=int(told["IGP Cost"]) if told.get("IGP Cost", "").isdecimal() else 0,
        router_id=told["Peer Router Id"] if QUAD.match(told.get("Peer Router Id", "")) else "",
        neighbor="" if told.get("From", "") in _NONE else told["From"],
        next_hop=told.get("Nexthop", ""),
        protocol="BGP",
        best="Best" in flags,
    )
    for carried in lists.values():
        candidate = carried.on(candidate)
    return PastedRoute(
        candidate=candidate,
        line=line,
        block=block,
        unusable="" if "Valid" in flags else "it is not valid",
        reason=told.get("TieBreakReason", told.get("Tie Break Reason", "")),
        originator="" if originator in _NONE else originator,
        cluster_list=tuple(re.findall(r"\d+\.\d+\.\d+\.\d+", clusters)),
        doubts=(*_doubts(told), *(doubt for carried in lists.values() for doubt in carried.doubts)),
    )


def _doubts(told: dict[str, str]) -> tuple[str, ...]:
    doubts = [f"its {name} is not in the text" for name in ("Local Pref.", "MED") if name not in told]
    return tuple(doubts) if "Route Source" in told else (*doubts, f"{INTERNAL} is not in the text")

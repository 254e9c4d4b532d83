"""IOS: `show ip bgp PREFIX`. Lines in, routes out; the grammar of one entry, which FRR has in common, is here too.

A route is told by its line `NEXT-HOP from NEIGHBOUR (ROUTER-ID)`; the AS path stands in the line before, attributes
behind. Pure.
"""

import re
from dataclasses import dataclass, field, replace

from anypop.model.announce import Prefix
from anypop.model.route import Candidate, Origin
from anypop.routing.paste.pasted import ANYWHERE, Pasted, PastedRoute, Reading, Style, address, communities

TITLE = re.compile(r"^.*BGP routing table entry for (?:\S{1,80}:)?(?P<prefix>[0-9a-fA-F.:]{1,50}/\d+)")
FROM = re.compile(r"^\s+(?P<hop>\S+)(?P<more>(?: \([^()]*\))*) from (?P<neighbor>\S+) \((?P<id>[^()]+)\)")
_PATH = re.compile(
    r"^\s*(?P<path>Local|[\d({][\d{}(),. ]*?)"
    r"(?P<more>,? \((?:aggregated|received|stale|history|suppressed|Received|Stale)[^()]*\).*|,.*)?$"
)
_ORIGIN = re.compile(r"^\s+Origin (?P<origin>\S+?),")
_ORIGINS = {"igp": Origin.IGP, "egp": Origin.EGP, "incomplete": Origin.INCOMPLETE}
_METRIC = re.compile(r"\(metric (?P<metric>\d{1,10})\)")
_UNUSABLE = {
    "inaccessible": "its next hop cannot be reached",
    "received-only": "an import policy refused it",
    "history entry": "it was withdrawn and is kept as history",
    "suppressed due to dampening": "it flapped too often and is suppressed",
}


@dataclass(slots=True, kw_only=True)
class Entry:
    """One route while its lines are read. `words`: what stands behind its origin, as told."""

    line: int
    candidate: Candidate
    precedence: int = 0
    unusable: str = ""
    words: list[str] = field(default_factory=list)
    told: bool = False
    updated: str = ""


def looks(line: str) -> bool:
    return bool(TITLE.match(line) or FROM.match(line))


def read(reading: Reading) -> Pasted:
    """All routes of the text; what is wrong is in `reading.problems`."""
    found = entries(reading)
    return Pasted(style=Style.IOS, routes=tuple(route_of(entry) for entry in found), prefix_known=known(found))


def known(found: list[Entry]) -> bool:
    """Whether the text says which prefix it is about."""
    return all(entry.candidate.prefix is not ANYWHERE for entry in found)


def entries(reading: Reading) -> list[Entry]:
    """The routes as they stand in the text, each with the words of its attributes."""
    found: list[Entry] = []
    prefix: Prefix | None = None
    before = (0, "")
    for number, line in reading.numbered():
        title, here = TITLE.match(line), FROM.match(line)
        if title is not None:
            prefix = reading.prefix(number, title["prefix"])
        elif here is not None:
            found.append(_entry(reading, before, number, here, prefix))
        elif found:
            _attribute(reading, number, line, found[-1])
        if line.strip():
            before = (number, line)
    for entry in found:
        if not entry.told:
            reading.wrong(entry.line, "this route has no line 'Origin IGP, ...'; paste the entry of one prefix, whole")
    return found


def _entry(reading: Reading, before: tuple[int, str], number: int, here: re.Match[str], prefix: Prefix | None) -> Entry:
    line, text = before
    written = _PATH.match(text)
    if written is None:
        reading.wrong(number, "the line before 'NEXT-HOP from NEIGHBOUR (ROUTER-ID)' is not an AS path")
    path = written["path"].strip() if written is not None else ""
    metric = _METRIC.search(here["more"])
    remarks = f"{here['more']} {(written['more'] or '') if written is not None else ''}"
    return Entry(
        line=line or number,
        unusable=next((why for word, why in _UNUSABLE.items() if word in remarks), ""),
        candidate=Candidate(
            prefix=prefix or ANYWHERE,
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


def _attribute(reading: Reading, number: int, line: str, entry: Entry) -> None:
    origin = _ORIGIN.match(line)
    name, _, value = line.strip().partition(": ")
    if origin is not None and not entry.told:
        entry.told = True
        _origin(reading, number, line, entry)
    elif name in ("Community", "Large Community"):
        pairs, triples = communities(value.split())
        kept = entry.candidate
        entry.candidate = replace(
            kept, communities=kept.communities + pairs, large_communities=kept.large_communities + triples
        )
    elif name == "Last update":
        entry.updated = value
    elif name == "Originator":
        entry.candidate = replace(entry.candidate, router_id=value.partition(",")[0])


def _origin(reading: Reading, number: int, line: str, entry: Entry) -> None:
    """`Origin IGP, metric 30, localpref 100, weight 0, valid, external, best`."""
    words = [word.strip() for word in line.split(",")]
    first = words[0].removeprefix("Origin").strip()
    origin = _ORIGINS.get(first.lower())
    if origin is None:
        reading.wrong(number, f"'{first[:40]}' is not an origin (IGP, EGP or incomplete)")
    changed = replace(entry.candidate, origin=origin or Origin.INCOMPLETE)
    for word in words[1:]:
        name, _, value = word.partition(" ")
        match name:
            case "metric":
                changed = replace(changed, med=reading.number(number, value, "metric"))
            case "localpref":
                changed = replace(changed, local_pref=reading.number(number, value, "local preference"))
            case "weight":
                entry.precedence = reading.number(number, value, "weight")
            case "external":
                changed = replace(changed, ebgp=True)
            case "best":
                changed = replace(changed, best=True)
            case _:
                pass
    entry.candidate, entry.words = changed, words[1:]
    if not {"valid", "sourced", "sourced, local"} & set(entry.words):
        entry.unusable = entry.unusable or "it is not valid"
    entry.unusable = entry.unusable or next((why for word, why in _UNUSABLE.items() if word in line), "")


def route_of(entry: Entry, *, reason: str = "") -> PastedRoute:
    return PastedRoute(
        candidate=entry.candidate, line=entry.line, precedence=entry.precedence, unusable=entry.unusable, reason=reason
    )

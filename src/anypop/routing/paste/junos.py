"""Junos: `show route PREFIX`, plain, `terse`, `detail` and `extensive`. Lines in, routes out.

A route of the plain form begins at `*[BGP/170] 3d 13:19:37, MED 30, localpref 100, from 10.0.0.1`, one of the detailed
form at `*BGP    Preference: 170/-101`. Each heading (`198.51.100.0/24`, in its table) begins a decision of its own. The
plain form does not say which routes are internal: see `_internal`. Pure.
"""

import re
from dataclasses import dataclass, field, replace

from anypop.model.announce import Prefix
from anypop.model.route import Candidate, Origin, Step
from anypop.routing.paste import junos_terse
from anypop.routing.paste.beside import beside
from anypop.routing.paste.blocks import Blocks
from anypop.routing.paste.communities import listed
from anypop.routing.paste.pasted import ANYWHERE, INTERNAL, Pasted, PastedRoute, Reading, Style, age_s
from anypop.routing.paste.steps import CLUSTERS

HEAD = re.compile(
    r"^\s*(?:(?P<prefix>[0-9a-fA-F.:]+/\d+)\s*)?(?P<flag>[*+-])?\[(?P<protocol>[A-Za-z][\w-]*)"
    r"(?:/(?P<preference>\d{1,10})(?:/-?\d+)?|\s*)\]\s*(?P<rest>.*)$"
)
DETAIL = re.compile(
    r"^\s*(?P<flag>[*+-])?(?P<protocol>[A-Z][\w-]*)\s+Preference: (?P<preference>\d{1,10})(?:/(?P<second>-?\d{1,10}))?"
)
TABLE = re.compile(r"^\s*(?P<table>[^\s:]\S*): \d+ destinations?, \d+ routes?")
_COUNTED = re.compile(r"^\s*(?P<what>\S+)(?: [A-Za-z/]{1,20})?\s+\((?P<total>\d{1,9}) entr(?:y|ies)\b.*\)")
_ALONE = re.compile(r"^\s*(?P<what>[0-9a-fA-F.:]\S*/\d{1,3})(?: +[A-Z][A-Za-z/]{0,19})?$")
_PATH = re.compile(r"AS path:\s*(?P<path>.*)")
_REFLECTED = re.compile(r"Originator ID:\s*(?P<id>[\d.]+)|Cluster list:(?P<list>[\d. ]+)")
_VIA = re.compile(r"^\s*(?:(?P<chosen>>)\s*)?to (?P<address>[0-9a-fA-F.:]+)(?: via .*)?$")
_FIELD = re.compile(
    r"(?P<name>Age|Metric2|Metric|Localpref|Router ID|Source|Next hop|Local AS"
    r"|Inactive reason|State|Communities):\s*(?P<value>.*)"
)
_PARTS = re.compile(r"\s{2,}|\s(?=(?:Metric2?|Age|Localpref): )")
_CUT = re.compile(r"AS path:.*, v[a-z-]*(?:: ?[a-z]*)?$")
_UNCUT = re.compile(r"validation-state: (?:unverified|valid|invalid|unknown|unavailable)$")
_MORE = re.compile(r"^\s*(?:MED \d|localpref \d|from [0-9a-fA-F.:]+$)")
_PLACES = re.compile(
    r"^\s*(?:>\s*)?(?:to|via|Reject|Discard|Unusable|Receive|Indirect|Local|MultiRecv|Inactive|unverified|valid|invalid)"
)
_ORIGINS = {"I": Origin.IGP, "E": Origin.EGP, "?": Origin.INCOMPLETE}
_FLAGS = re.compile(r"\(([A-Z][^()]*)\)")
_ONCE = ("State", "Age", "Localpref", "Source", "Router ID")  # a route has each of them once


@dataclass(slots=True, kw_only=True)
class _Block:
    """One route while its lines are read. `heard`: the path line was there. `gates`: its next hops."""

    line: int
    block: int
    protocol: str
    preference: int
    best: bool
    candidate: Candidate
    detailed: bool
    source: str = ""
    internal: bool | None = None
    heard: bool = False
    hidden: str = ""
    reason: str = ""
    originator: str = ""
    cluster_list: tuple[str, ...] = ()
    preferred: bool = False
    gates: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    doubts: list[str] = field(default_factory=list)


def looks(line: str) -> bool:
    """Whether a line is the first of a route in one of the forms."""
    if "[" in line:
        return HEAD.match(line) is not None
    return ("Preference:" in line and DETAIL.match(line) is not None) or junos_terse.looks(line)


def read(reading: Reading) -> Pasted:
    """All routes of the text; what is wrong is in `reading.problems`."""
    if any(junos_terse.looks(line) for line in reading.lines):
        return junos_terse.read(reading)
    found: list[_Block] = []
    blocks = Blocks(reading)
    passed = 0
    for number, line in reading.numbered():
        if number <= passed:
            continue
        head, detail, table = HEAD.match(line), DETAIL.match(line), TABLE.match(line)
        heading = _COUNTED.match(line) or _ALONE.match(line)
        if table is not None:
            blocks.table = table["table"]
        elif head is not None and head["prefix"]:
            blocks.begin(number, head["prefix"])
        elif heading is not None:
            total = heading.groupdict().get("total")
            blocks.begin(number, heading["what"], total=int(total) if total else None)
        if head is not None or detail is not None:
            found.append(_begun(number, head, detail, blocks.prefix, blocks.here()))
            if head is not None:
                _plain(reading, number, head["rest"], found[-1])
        elif found and not heading and not table:
            passed = _more(reading, number, line, found[-1])
    cut = {len(line) for line in reading.lines if _CUT.search(line) and not _UNCUT.search(line)}
    for block in found:
        if not block.detailed and len(reading.lines[block.line - 1]) >= min(cut, default=1 << 30) - 2:
            block.doubts.append("its first line is as long as one that is cut, and may be cut too")
        if block.protocol == "BGP" and not block.heard:
            reading.wrong(block.line, "this route has no line 'AS path: ...'")
    detailed = any(block.detailed for block in found)
    return Pasted(
        style=Style.JUNOS,
        routes=tuple(_route(block) for block in found),
        prefix_known=blocks.known,
        blocks=blocks.done(),
        unseen=frozenset() if detailed else frozenset({Step.NEAREST_EXIT, CLUSTERS}),
    )


def _begun(
    number: int, head: re.Match[str] | None, detail: re.Match[str] | None, prefix: Prefix | None, block: int
) -> _Block:
    match = head or detail
    assert match is not None
    second = int(detail["second"] or 0) if detail is not None else 0
    return _Block(
        line=number,
        block=block,
        protocol=match["protocol"],
        preference=int(match["preference"] or 0),
        best=match["flag"] in ("*", "+"),
        detailed=detail is not None,
        hidden="" if match["preference"] else "it is hidden",
        # The second preference is the local preference, with its sign turned, less one.
        preferred=second < 0,
        candidate=Candidate(
            prefix=prefix or ANYWHERE,
            as_path=(),
            local_pref=-second - 1 if second < 0 else 100,
            ebgp=True,
            protocol=match["protocol"],
        ),
    )


def _plain(reading: Reading, number: int, text: str, block: _Block) -> None:
    """What stands behind `[BGP/170]`, or goes on in the next line."""
    for raw in text.split(","):
        part = raw.strip()
        word, _, value = part.partition(" ")
        if word in ("MED", "metric") and value:
            block.candidate = replace(block.candidate, med=reading.number(number, value.split()[0], "MED"))
        elif word == "localpref":
            block.preferred = True
            block.candidate = replace(block.candidate, local_pref=reading.number(number, value, "local preference"))
        elif word == "from":
            block.source = value.strip()
        elif block.candidate.age_s is None and part:
            block.candidate = replace(block.candidate, age_s=age_s(part))


def _more(reading: Reading, number: int, line: str, block: _Block) -> int:
    """Reads one more line of a route, or two; the number of the last."""
    path, via = _PATH.search(line), _VIA.match(line)
    for match in _REFLECTED.finditer(line):
        if match["id"]:
            block.originator = match["id"]
        else:
            block.cluster_list = tuple(match["list"].split())
    if path is not None:
        return _path(reading, number, path["path"], block)
    if via is not None:
        block.gates.append(via["address"])
        if via["chosen"] or not block.candidate.next_hop:
            block.candidate = replace(block.candidate, next_hop=via["address"])
    elif _MORE.match(line):
        _plain(reading, number, line, block)
    elif line.strip() == "Unusable":
        block.hidden = block.hidden or "its next hop cannot be reached"
    elif block.detailed:
        for piece in _PARTS.split(line.strip()):
            named = _FIELD.match(piece)
            if named is not None:
                _field(reading, number, named["name"], named["value"].strip(), block)
    elif line[:1] in " ,0123456789" and line.strip() and not _PLACES.match(line):
        block.doubts.append(f"line {number} is not understood, and may belong to the line before it")
    return number


def _path(reading: Reading, number: int, text: str, block: _Block) -> int:
    """`64496 64499 I, validation-state: unverified`, `... I  (Originator)`, `... I Aggregator: 64499 192.0.2.1`; other
    lines named so in the detailed form hold no path.
    """
    words, origin = _until_origin(text)
    last = number
    if origin is None and re.match(r"^\s*[\d{(\[]", text) and number < len(reading.lines):
        further, origin = _until_origin(reading.lines[number])
        if origin is not None:
            words, last = words + further, number + 1
            block.doubts.append("its AS path stands in two lines")
    if block.heard and origin is None:
        return number
    if block.heard:
        reading.wrong(block.line, f"this route has a second AS path, at line {number}: a line is missing between them")
        return last
    if origin is None and not words:
        return number
    block.heard = True
    for flags in _FLAGS.findall(text):
        if "Looped" in flags:
            block.hidden = block.hidden or "its AS path is a loop"
    found = reading.path(number, " ".join(words))
    if found is not None and origin is None:
        reading.wrong(number, "the AS path has no origin (I, E or ?) at its end")
    block.candidate = replace(block.candidate, as_path=found or (), origin=origin or Origin.IGP)
    return last


def _until_origin(text: str) -> tuple[list[str], Origin | None]:
    words: list[str] = []
    for word in text.replace(",", " , ").split():
        if word in _ORIGINS:
            return words, _ORIGINS[word]
        if word == "," or word.endswith(":"):
            break
        words.append(word)
    return words, None


def _field(reading: Reading, number: int, name: str, value: str, block: _Block) -> None:
    route, first = block.candidate, (value.split() or [""])[0].rstrip(",")
    if name in _ONCE and name in block.seen:
        reading.wrong(block.line, f"this route has a second '{name}:', at line {number}: lines are missing between")
    block.seen.add(name)
    match name:
        case "Age":
            block.candidate = replace(route, age_s=_age(value))
        case "Metric":
            block.candidate = replace(route, med=reading.number(number, first, "MED"))
        case "Metric2":
            block.candidate = replace(route, igp_metric=reading.number(number, first, "IGP metric"))
        case "Localpref":
            stated = reading.number(number, first, "local preference")
            if block.preferred and route.local_pref != stated:
                block.doubts.append("its second preference and its local preference do not agree")
            block.preferred = True
            block.candidate = replace(route, local_pref=stated)
        case "Router ID":
            block.candidate = replace(route, router_id=first)
        case "Source":
            block.source = first
        case "Next hop":
            block.gates.append(first)
            chosen = not route.next_hop or value.endswith("selected")
            block.candidate = replace(route, next_hop=first if chosen else route.next_hop)
        case "Inactive reason":
            block.reason = value
        case "Communities":
            carried = listed(reading, number, value)
            block.candidate = carried.on(route)
            block.doubts += carried.doubts
        case "Local AS":
            ours, _, peer = value.partition("Peer AS:")
            if peer.strip() and block.internal is None:
                block.internal = ours.split()[:1] == peer.split()[:1]
        case _:
            words = value.strip("<>").split()
            block.internal = "Int" in words  # every BGP route is Ext; one of iBGP is Int too
            block.hidden = "it is hidden" if "Hidden" in words else block.hidden


def _age(text: str) -> float | None:
    """The detailed form leaves out what is zero in front: `43`, `3:14`, `1:23:36`, `5w3d 2:10:44`."""
    days, _, clock = text.strip().rpartition(" ")
    if days and age_s(days) is None:
        return None
    parts = [int(part) for part in clock.split(":") if part.isdecimal() and len(part) < 10]
    if len(parts) != clock.count(":") + 1 or len(parts) > 3:
        return age_s(text)
    return (age_s(days) or 0.0) + sum(part * 60.0**n for n, part in enumerate(reversed(parts)))


def _route(block: _Block) -> PastedRoute:
    source, route = block.source, block.candidate
    bgp = block.protocol == "BGP"
    internal, doubts = _internal(block), [*block.doubts]
    if bgp and block.internal is None and (block.detailed or internal):
        doubts.append(f"{INTERNAL} is not in the text" + ("; its 'from' is none of its next hops" if internal else ""))
    if bgp and not block.preferred:
        doubts.append("its local preference is not in the text; 100 is taken")
    return PastedRoute(
        candidate=replace(
            route,
            ebgp=bgp and not internal and bool(route.as_path),
            neighbor=source or route.next_hop,
            best=block.best,
        ),
        line=block.line,
        precedence=-block.preference,
        unusable=block.hidden,
        reason=block.reason,
        protocol=block.protocol,
        block=block.block,
        own=not bgp,
        originator=block.originator,
        cluster_list=block.cluster_list,
        multipath=len(block.gates) > 1,
        doubts=tuple(doubts),
    )


def _internal(block: _Block) -> bool:
    """As the detailed form says. In the plain form a route is taken to be internal when its `from` is neither missing,
    nor one of its next hops (multipath has several), nor beside one on an exchange's network.
    """
    if block.internal is not None:
        return block.internal
    gates = block.gates or [block.candidate.next_hop]
    return bool(block.source) and not any(beside(block.source, gate) for gate in gates)

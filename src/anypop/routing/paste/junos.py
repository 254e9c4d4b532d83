"""Junos: `show route PREFIX`, plain and `detail` (or `extensive`). Lines in, routes out.

A route of the plain form begins at `*[BGP/170] 3d 13:19:37, MED 30, localpref 100, from 10.0.0.1`, one of the detailed
form at `*BGP    Preference: 170/-101`. The plain form does not say which routes are internal: a route is taken to be
when its `from` is neither missing, nor the next hop, nor beside it on one exchange's network. Pure.
"""

import re
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from anypop.model.announce import Prefix
from anypop.model.route import Candidate, Origin
from anypop.routing.paste.pasted import ANYWHERE, Pasted, PastedRoute, Reading, Style, age_s, communities, is_address

HEAD = re.compile(
    r"^\s*(?:(?P<prefix>[0-9a-fA-F.:]+/\d+)\s*)?(?P<flag>[*+-])?\[(?P<protocol>[A-Za-z][\w-]*)/(?P<preference>\d{1,10})"
    r"(?:/-?\d+)?\]\s*(?P<rest>.*)$"
)
DETAIL = re.compile(r"^\s*(?P<flag>[*+-])?(?P<protocol>[A-Z][\w-]*)\s+Preference: (?P<preference>\d{1,10})")
_PREFIX = re.compile(r"^\s*(?P<prefix>[0-9a-fA-F.:]+/\d+)\s*(?:\(.*\))?$")
_PATH = re.compile(r"AS path:\s*(?P<path>[^,]*)")
_VIA = re.compile(r"^\s*(?:(?P<chosen>>)\s*)?to (?P<address>[0-9a-fA-F.:]+)(?: via .*)?$")
_FIELD = re.compile(
    r"(?P<name>Age|Metric2|Metric|Localpref|Router ID|Source|Next hop"
    r"|Inactive reason|State|Communities):\s*(?P<value>.*)"
)
_PRIVATE = tuple(
    ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
_ORIGINS = {"I": Origin.IGP, "E": Origin.EGP, "?": Origin.INCOMPLETE}


@dataclass(slots=True, kw_only=True)
class _Block:
    """One route while its lines are read. `heard`: the path line was there."""

    line: int
    protocol: str
    preference: int
    best: bool
    candidate: Candidate
    source: str = ""
    internal: bool | None = None
    heard: bool = False
    hidden: str = ""
    reason: str = ""


def looks(line: str) -> bool:
    """Whether a line is the first of a route in one of the two forms."""
    return bool(HEAD.match(line) or DETAIL.match(line))


def read(reading: Reading) -> Pasted:
    """All routes of the text; what is wrong is in `reading.problems`."""
    blocks: list[_Block] = []
    prefix: Prefix | None = None
    for number, line in reading.numbered():
        head, detail, alone = HEAD.match(line), DETAIL.match(line), _PREFIX.match(line)
        if head is not None and head["prefix"]:
            prefix = reading.prefix(number, head["prefix"])
        elif alone is not None:
            prefix = reading.prefix(number, alone["prefix"])
        if head is not None or detail is not None:
            found = head or detail
            assert found is not None
            blocks.append(
                _Block(
                    line=number,
                    protocol=found["protocol"],
                    preference=int(found["preference"]),
                    best=found["flag"] in ("*", "+"),
                    candidate=Candidate(
                        prefix=prefix or ANYWHERE, as_path=(), local_pref=100, ebgp=True, protocol=found["protocol"]
                    ),
                )
            )
            if head is not None:
                _plain(reading, number, head["rest"], blocks[-1])
        elif blocks:
            _more(reading, number, line, blocks[-1])
    for block in blocks:
        if block.protocol == "BGP" and not block.heard:
            reading.wrong(block.line, "this route has no line 'AS path: ...'")
    return Pasted(
        style=Style.JUNOS,
        routes=tuple(_route(block) for block in blocks),
        prefix_known=all(block.candidate.prefix is not ANYWHERE for block in blocks),
    )


def _plain(reading: Reading, number: int, text: str, block: _Block) -> None:
    """What stands behind `[BGP/170]`, or goes on in the next line."""
    for raw in text.split(","):
        part = raw.strip()
        word, _, value = part.partition(" ")
        if word in ("MED", "metric") and value:
            block.candidate = replace(block.candidate, med=reading.number(number, value.split()[0], "MED"))
        elif word == "localpref":
            block.candidate = replace(block.candidate, local_pref=reading.number(number, value, "local preference"))
        elif word == "from":
            block.source = value.strip()
        elif block.candidate.age_s is None and part:
            block.candidate = replace(block.candidate, age_s=age_s(part))


def _more(reading: Reading, number: int, line: str, block: _Block) -> None:
    path, via = _PATH.search(line), _VIA.match(line)
    if path is not None and not block.heard:
        block.heard = True
        words = path["path"].split()
        while words and words[-1] in ("()", "(Looped)", "(Atomic)"):
            block.hidden = block.hidden or ("its AS path is a loop" if words[-1] == "(Looped)" else "")
            words.pop()
        origin = _ORIGINS.get(words.pop()) if words and words[-1] in _ORIGINS else None
        found = reading.path(number, " ".join(words))
        if found is not None and origin is None:
            reading.wrong(number, "the AS path has no origin (I, E or ?) at its end")
        block.candidate = replace(block.candidate, as_path=found or (), origin=origin or Origin.IGP)
    elif via is not None:
        if via["chosen"] or not block.candidate.next_hop:
            block.candidate = replace(block.candidate, next_hop=via["address"])
    elif re.match(r"^\s*(MED \d|localpref \d|from [0-9a-fA-F.:]+$)", line):
        _plain(reading, number, line, block)
    else:
        for piece in re.split(r"\s{2,}|\t", line.strip()):
            field = _FIELD.match(piece)
            if field is not None:
                _field(reading, number, field["name"], field["value"].strip(), block)


def _field(reading: Reading, number: int, name: str, value: str, block: _Block) -> None:
    route, first = block.candidate, (value.split() or [""])[0].rstrip(",")
    match name:
        case "Age":
            block.candidate = replace(route, age_s=age_s(value))
        case "Metric":
            block.candidate = replace(route, med=reading.number(number, first, "MED"))
        case "Metric2":
            block.candidate = replace(route, igp_metric=reading.number(number, first, "IGP metric"))
        case "Localpref":
            block.candidate = replace(route, local_pref=reading.number(number, first, "local preference"))
        case "Router ID":
            block.candidate = replace(route, router_id=first)
        case "Source":
            block.source = first
        case "Next hop":
            block.candidate = replace(route, next_hop=route.next_hop or first)
        case "Inactive reason":
            block.reason = value
        case "Communities":
            pairs, triples = communities(value.split())
            block.candidate = replace(route, communities=pairs, large_communities=triples)
        case _:
            words = value.strip("<>").split()
            block.internal = "Int" in words  # every BGP route is Ext; one of iBGP is Int too
            block.hidden = "it is hidden" if "Hidden" in words else block.hidden


def _beside(source: str, hop: str) -> bool:
    """Whether a session's address and the next hop are one, or are public ones of the same network: a route server and
    a member at an exchange. Those networks are a /20 or smaller, or a /64; loopbacks of backbones are mostly private
    (RFC 1918, RFC 4193).
    """
    if source == hop or not is_address(source) or not is_address(hop):
        return source == hop
    a, b = ip_address(source), ip_address(hop)
    if a.version != b.version or any(a in network for network in _PRIVATE if network.version == a.version):
        return False
    return int(a) >> (12 if a.version == 4 else 64) == int(b) >> (12 if b.version == 4 else 64)


def _route(block: _Block) -> PastedRoute:
    source, route = block.source, block.candidate
    internal = block.internal if block.internal is not None else bool(source) and not _beside(source, route.next_hop)
    neighbor = source or route.next_hop
    return PastedRoute(
        candidate=replace(
            route,
            ebgp=block.protocol == "BGP" and not internal and bool(route.as_path),
            neighbor=neighbor,
            best=block.best,
        ),
        line=block.line,
        precedence=-block.preference,
        unusable=block.hidden,
        reason=block.reason,
        protocol=block.protocol,
    )

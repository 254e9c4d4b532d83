"""BIRD 1.6, 2 and 3: `show route for PREFIX all`, and with it `show protocols all` for router ids. Text in, routes out.

The grammar of a route is `routing.bird_text`'s, which is BIRD 2's; what the other two write otherwise is turned into
it, line by line. Here the text is cut where routes begin, so that each error has its line. Pure.
"""

import re
from collections.abc import Container, Mapping
from dataclasses import replace
from itertools import pairwise

from anypop.routing.bird_text import BgpProtocol, parse_routes, parse_sessions
from anypop.routing.paste.blocks import Blocks
from anypop.routing.paste.pasted import ANYWHERE, INTERNAL, Pasted, PastedRoute, Reading, Style

_OWN_PREFIX = re.compile(r"^\s*(?P<prefix>[0-9a-fA-F.:]+/\d+)(?=\s)")
_VPN = re.compile(r"^\s*(?P<rd>\d+:\d+) (?P<prefix>[0-9a-fA-F.:]+/\d+)(?=\s)")
_PREFERENCE = re.compile(r"\((\d{1,9})(?:[-s]?(?:/[\d?-]+)?)?\)")
_PROTOCOL = re.compile(r"\[([A-Za-z_][\w-]*) ")
_ATTRIBUTE = re.compile(r"^\s*(?P<name>BGP\.[a-z_]+):(?P<value>.*)$")
_TABLE = re.compile(r"^Table (?P<table>\S+):$")
_OLD_VIA = re.compile(
    r"^(?P<lead>\s*(?:[0-9a-fA-F.:]+/\d+)?\s+)via (?P<address>\S+) on (?P<interface>\S+)(?= +\[)|"
    r"^(?P<bare>\s*(?:[0-9a-fA-F.:]+/\d+)?\s+)(?P<kind>dev \S+|unreachable|blackhole|prohibited|multipath)(?= \[)"
)
_NEW = re.compile(r"^(?P<lead>\s*)bgp_(?P<name>[a-z_]+):(?P<value>.*)$")
_ONLY_NUMBERS = re.compile(r"^\s*\d{1,10}(?: \d{1,10})*$")
_RENAMED = {"path": "as_path"}
_LISTS = ("BGP.community", "BGP.large_community", "BGP.ext_community")
_EXPECTED = {"BGP.local_pref": "local preference", "BGP.origin": "origin"}  # BIRD has them with every route of BGP


def looks(line: str) -> bool:
    """Whether a line is the first of a route."""
    return len(line) < 500 and "[" in line and _parsed(_today(line)[0]) is not None  # real ones have some 80 characters


def read(reading: Reading) -> Pasted:
    """All routes of the text; what is wrong is in `reading.problems`."""
    starts = [number for number, line in reading.numbered() if looks(line)]
    sessions = parse_sessions("\n".join(reading.lines))
    routes: list[PastedRoute] = []
    blocks = Blocks(reading)
    heads = [starts[0] if starts else len(reading.lines) + 1, *starts[1:]]
    for number, line in enumerate(reading.lines[: heads[0] - 1], start=1):
        if _ATTRIBUTE.match(_today(line)[0]):
            reading.wrong(number, "belongs to a route whose first line is missing; it is left out")
            break
    tables = {n: match["table"] for n, line in reading.numbered() if (match := _TABLE.match(line))}
    before = 0
    for start, end in pairwise([*starts, len(reading.lines) + 1]):
        for number in [n for n in tables if before < n <= start]:
            blocks.table = tables.pop(number)
        before = start
        text = reading.lines[start - 1]
        own, vpn = _OWN_PREFIX.match(text), _VPN.match(text)
        if vpn is not None:
            blocks.begin(start, f"{vpn['rd']}:{vpn['prefix']}")
            text = text.replace(vpn["rd"] + " ", "", 1)
        elif own is not None:
            blocks.begin(start, own["prefix"])
        lines = [text, *reading.lines[start : end - 1]]
        routes.append(_route(reading, start, lines, blocks, sessions))
    return Pasted(style=Style.BIRD, routes=tuple(routes), prefix_known=blocks.known, blocks=blocks.done())


def _route(
    reading: Reading,
    start: int,
    lines: list[str],
    blocks: Blocks,
    sessions: Mapping[str, BgpProtocol],
) -> PastedRoute:
    number = blocks.here()
    chunk: list[str] = []
    stated: dict[str, tuple[int, str]] = {}
    doubts: list[str] = []
    for offset, raw in enumerate(lines):
        told = _today(raw)
        chunk += told
        attribute = _ATTRIBUTE.match(told[0])
        if attribute is not None and attribute["name"] in stated:
            reading.wrong(start + offset, f"is a second '{attribute['name']}' of one route: lines are missing between")
        elif attribute is not None:
            stated[attribute["name"]] = (start + offset, attribute["value"])
        elif _ONLY_NUMBERS.match(raw) and "BGP.as_path" in stated and stated["BGP.as_path"][0] == start + offset - 1:
            stated["BGP.as_path"] = (start + offset, f"{stated['BGP.as_path'][1]} {raw.strip()}")
            doubts.append("its AS path stands in two lines")
    chunk[0] = _with(str(blocks.prefix or ANYWHERE), chunk[0])
    (candidate,) = parse_routes("\n".join(chunk), sessions=sessions, now=reading.now)
    of_bgp = bool(stated) or "[AS" in chunk[0]
    if "BGP.as_path" in stated:
        candidate = replace(candidate, as_path=reading.path(*stated["BGP.as_path"]) or ())
    elif of_bgp:
        reading.wrong(
            start,
            "this route has no line 'BGP.as_path: ...'; paste what 'show route for PREFIX all' prints, with 'all'",
        )
    if of_bgp:
        doubts += [f"its {what} is not in the text" for name, what in _EXPECTED.items() if name not in stated]
        doubts += _unsure(chunk[0], stated, sessions)
        if " unicast [" in chunk[0] and not any(line.lstrip().startswith(("via ", "dev ")) for line in chunk):
            doubts.append("its line 'via ...' is not in the text: lines of two routes may have run together")
    for name in _LISTS:
        line, value = stated.get(name, (start, ""))
        if value and (reading.is_cut(line) or re.sub(r"\([^()]*\)", "", value).strip()):
            doubts.append("its communities may be cut")
    for name, what in (("BGP.local_pref", "local preference"), ("BGP.med", "MED")):
        if name in stated:
            reading.number(stated[name][0], stated[name][1].strip(), what)
    preference = _PREFERENCE.search(chunk[0])
    return PastedRoute(
        candidate=candidate,
        line=start,
        precedence=int(preference[1]) if preference else 0,
        protocol="BGP" if of_bgp else candidate.protocol,
        block=number,
        originator=stated.get("BGP.originator_id", (0, ""))[1].strip(),
        cluster_list=tuple(stated.get("BGP.cluster_list", (0, ""))[1].split()),
        own=not of_bgp,
        unusable="its next hop cannot be reached" if " unreachable [" in chunk[0] and of_bgp else "",
        doubts=tuple(doubts),
    )


def _unsure(head: str, stated: Container[str], sessions: Mapping[str, BgpProtocol]) -> list[str]:
    """BIRD says in `show protocols all` alone which sessions are internal; what was reflected is, for certain."""
    protocol = _PROTOCOL.search(head)
    if (
        (protocol is not None and protocol[1] in sessions)
        or "BGP.originator_id" in stated
        or "BGP.cluster_list" in stated
    ):
        return []
    return [f"{INTERNAL} is not in the text; 'show protocols all' behind it would tell"]


def _today(line: str) -> list[str]:
    """The line as BIRD 2 writes it: 1.6 has the next hop within the first line, 3 has other names of attributes."""
    old, new = _OLD_VIA.match(line) if "[" in line else None, _NEW.match(line)
    if old is not None:
        lead = old["lead"] or old["bare"]
        head = (
            f"{lead}{'unicast' if old['address'] else old['kind'].split()[0]}{line[old.end() :].replace('  [', ' [')}"
        )
        return [head, f"\tvia {old['address']} on {old['interface']}"] if old["address"] else [head]
    if new is not None:
        return [f"\tBGP.{_RENAMED.get(new['name'], new['name'])}:{new['value']}"]
    stripped = line.strip()
    if stripped == "source: BGP":
        return ["\tType: BGP univ"]
    if stripped.startswith("BGP.") and not line[:1].isspace():
        return [f"\t{stripped}"]
    if line.startswith(("via ", "Type: ")):
        return [f"\t{line}"]
    return [line]


def _with(prefix: str, line: str) -> str:
    """The line with its prefix, which BIRD leaves out from the second route on."""
    return line.lstrip() if _OWN_PREFIX.match(line) else f"{prefix} {line}"


def _parsed(line: str) -> object | None:
    try:
        found = parse_routes(_with(str(ANYWHERE), line))
    except ValueError:  # something like a prefix, which is none
        return None
    return found[0] if found else None

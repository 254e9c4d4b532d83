"""bgpdump's text: `-m` and `-M`, one line for each route, and the long form. Lines in, routes out.

What a collector holds: each route is the choice of another router, so that there is no best among them. Pure.
"""

import re
from dataclasses import replace

from anypop.model.route import Candidate, Origin
from anypop.routing.paste.blocks import Blocks
from anypop.routing.paste.communities import communities
from anypop.routing.paste.pasted import ANYWHERE, Pasted, PastedRoute, Reading, Style

ROW = re.compile(r"^(?P<kind>TABLE_DUMP2?|BGP4MP(?:_ET)?)\|(?P<time>[^|]+)\|(?P<what>[BAW])\|")
LONG = re.compile(r"^TYPE: (?:TABLE_DUMP(?:_V2)?|BGP4MP)\S*")
_FROM = re.compile(r"^FROM: (?P<peer>\S+) AS(?P<asn>\d{1,10})$")
_ORIGINS = {"IGP": Origin.IGP, "EGP": Origin.EGP, "INCOMPLETE": Origin.INCOMPLETE}


def looks(line: str) -> bool:
    return line.startswith(("TABLE_DUMP", "BGP4MP", "TYPE: ")) and bool(ROW.match(line) or LONG.match(line))


def read(reading: Reading) -> Pasted:
    """All routes of the text, those of one prefix together; what is wrong is in `reading.problems`."""
    found: list[tuple[str, PastedRoute]] = []
    for number, line in reading.numbered():
        if ROW.match(line) is not None:
            _row(reading, number, line, found)
    if not found:
        found = _long(reading)
    blocks = Blocks(reading)
    routes: list[PastedRoute] = []
    by_prefix: dict[str, list[PastedRoute]] = {}
    for prefix, route in found:
        by_prefix.setdefault(prefix, []).append(route)
    for prefix, those in by_prefix.items():
        blocks.begin(those[0].line, prefix)
        routes += [
            replace(route, block=blocks.here(), candidate=replace(route.candidate, prefix=blocks.prefix or ANYWHERE))
            for route in those
        ]
    return Pasted(style=Style.COLLECTOR, routes=tuple(routes), prefix_known=blocks.known, blocks=blocks.done())


def _row(reading: Reading, number: int, line: str, found: list[tuple[str, PastedRoute]]) -> None:
    """`TABLE_DUMP2|1600000000|B|192.0.2.1|64496|198.51.100.0/24|64496 64499|IGP|192.0.2.1|0|0|64496:1|NAG||`."""
    fields = line.split("|")
    if fields[2] == "W":
        return
    if len(fields) < 9:
        reading.wrong(number, f"has {len(fields)} fields; a route of 'bgpdump -m' has 14")
        return
    named = dict(
        zip(
            ("PEER", "ASPATH", "ORIGIN", "NEXT_HOP", "LOCAL_PREF", "MULTI_EXIT_DISC", "COMMUNITY"),
            (fields[3], *fields[6:12], *[""] * 4),
            strict=False,
        )
    )
    large = fields[14] if len(fields) > 14 else ""
    found.append((fields[5], _route(reading, number, {**named, "LARGE_COMMUNITY": large})))


def _long(reading: Reading) -> list[tuple[str, PastedRoute]]:
    found: list[tuple[str, PastedRoute]] = []
    fields: dict[str, str] = {}
    start = 0
    for number, line in [*reading.numbered(), (len(reading.lines) + 1, "")]:
        name, _, value = line.partition(": ")
        if not line or name == "TIME":
            if "PREFIX" in fields and "ASPATH" in fields:
                found.append((fields["PREFIX"], _route(reading, start, fields)))
            elif "PREFIX" in fields:
                reading.wrong(start, "this route has no line 'ASPATH: ...'")
            fields, start = {}, number
        elif (peer := _FROM.match(line)) is not None:
            fields["PEER"] = peer["peer"]
        if _ and name not in fields:
            fields[name] = value
    return found


def _route(reading: Reading, number: int, fields: dict[str, str]) -> PastedRoute:
    origin = _ORIGINS.get(fields.get("ORIGIN", ""))
    if origin is None:
        reading.wrong(number, f"'{fields.get('ORIGIN', '')[:20]}' is not an origin (IGP, EGP or INCOMPLETE)")
    carried = communities(f"{fields.get('COMMUNITY', '')} {fields.get('LARGE_COMMUNITY', '')}")
    return PastedRoute(
        candidate=Candidate(
            prefix=ANYWHERE,
            as_path=reading.path(number, fields["ASPATH"]) or (),
            local_pref=reading.number(number, fields.get("LOCAL_PREF") or "0", "local preference"),
            origin=origin or Origin.INCOMPLETE,
            med=reading.number(number, fields.get("MULTI_EXIT_DISC") or "0", "MED"),
            ebgp=True,
            neighbor=fields.get("PEER", ""),
            next_hop=fields.get("NEXT_HOP", ""),
            protocol="BGP",
            communities=carried.pairs,
            large_communities=carried.triples,
            extended_communities=carried.quads,
        ),
        line=number,
        doubts=carried.doubts,
    )

"""RouterOS 6 and 7: `/ip route print detail` and `/routing route print detail`. Lines in, routes out.

A route is a list of `name=value`, over as many lines as it needs: 6 writes `bgp-as-path="64496,64499"`, 7
`bgp.as-path="64496,64499"` and then `.local-pref=100` for the names that go on with the same word. Distances 20 and 200
tell external routes from internal ones. Only what is active is marked. Pure.
"""

import re

from anypop.model.route import Candidate, Origin, Step
from anypop.routing.paste.blocks import Blocks
from anypop.routing.paste.communities import communities
from anypop.routing.paste.pasted import ANYWHERE, INTERNAL, Pasted, PastedRoute, Reading, Style
from anypop.routing.paste.steps import CLUSTERS

FIRST = re.compile(
    r"^\s*(?:\d{1,7}(?!\S)\s*)?(?P<flags>[A-Za-z]{1,8}(?!\S)\s*)?(?:\+\s+)?(?:afi=\S+ )?(?:contribution=\S+ )?"
    r"dst-address=(?P<prefix>\S+)(?=\s|$)"
)
_PAIR = re.compile(r"(?<!\S)(?P<name>\.?[a-z][a-z0-9.-]*)=(?P<value>\"[^\"]*\"|\S*)")
_ORIGINS = {"igp": Origin.IGP, "egp": Origin.EGP, "incomplete": Origin.INCOMPLETE}
_EXTERNAL, _INTERNAL = "20", "200"  # the distances that RouterOS gives


def looks(line: str) -> bool:
    return _first(line) is not None


def _first(line: str) -> re.Match[str] | None:
    return FIRST.match(line) if "dst-address=" in line else None


def read(reading: Reading) -> Pasted:
    """All routes of the text; what is wrong is in `reading.problems`."""
    found: list[tuple[int, str, str, list[str]]] = []
    for number, line in reading.numbered():
        first = _first(line)
        if first is not None:
            found.append((number, (first["flags"] or "").strip(), first["prefix"], [line]))
        elif found and line.strip():
            first_word = line.split()[0]
            found[-1][3].append(line.strip() if "=" in first_word else f"={line.strip()}")
    blocks = Blocks(reading)
    groups: dict[tuple[str, str], list[tuple[int, str, dict[str, str]]]] = {}
    for number, flags, prefix, lines in found:
        told = _told(reading, number, " ".join(lines))
        table = told.get("routing-table", told.get("routing-mark", "main"))
        groups.setdefault((prefix, "" if table == "main" else table), []).append((number, flags, told))
    routes: list[PastedRoute] = []
    for (prefix, table), those in groups.items():
        blocks.begin(those[0][0], prefix, table=table)
        routes += [_route(reading, number, flags, told, blocks) for number, flags, told in those]
    routes.sort(key=lambda route: route.line)
    return Pasted(
        style=Style.ROUTEROS,
        routes=tuple(routes),
        prefix_known=blocks.known,
        blocks=blocks.done(),
        unseen=frozenset({CLUSTERS, Step.ROUTER_ID}),
    )


def _told(reading: Reading, number: int, text: str) -> dict[str, str]:
    """The values by name; one without a name where a line does not begin with a name."""
    told: dict[str, str] = {"": ""} if re.search(r"(?<!\S)=", text) else {}
    word = ""
    for pair in _PAIR.finditer(text):
        name = pair["name"]
        if name.startswith("."):
            name = f"{word}{name}"
        else:
            word = name.partition(".")[0]
        name = re.sub(r"^bgp-", "bgp.", name)
        if name in told:
            reading.wrong(number, f"this route has '{name}' twice: lines of two routes have run together")
        value = pair["value"]
        if value.startswith('"') and not (len(value) > 1 and value.endswith('"')):
            reading.wrong(number, f"the value of '{name}' has no end: a line of this route is cut")
        told[name] = value.strip('"')
    return told


def _route(reading: Reading, number: int, flags: str, told: dict[str, str], blocks: Blocks) -> PastedRoute:
    bgp = "b" in flags or any(name.startswith("bgp.") for name in told)
    if bgp and "bgp.as-path" not in told and "bgp.origin" not in told:
        reading.wrong(number, "this route has no attributes of BGP: print it with 'detail'")
    words = told.get("bgp.as-path", "")
    path = reading.path(number, re.sub(r"\s+", "", words).replace(",", " ")) or ()
    distance = told.get("distance", "")
    kinds = ("bgp.communities", "bgp.large-communities", "bgp.ext-communities")
    carried = communities(" ".join(told.get(kind, "") for kind in kinds))
    origin = told.get("bgp.origin", "igp").lower()
    if origin not in _ORIGINS:
        reading.wrong(number, f"'{origin[:20]}' is not an origin (igp, egp or incomplete)")
    doubts = ["its AS path stands in two lines"] if re.search(r"\s", words) else []
    doubts += ["a line of it is wrapped within a word"] if "" in told else []
    if bgp and distance not in (_EXTERNAL, _INTERNAL):
        doubts.append(f"{INTERNAL} is not in the text: its distance is {distance or 'not shown'}")
    doubts += [f"its {what} is not in the text" for what in ("as-path", "origin") if bgp and f"bgp.{what}" not in told]
    return PastedRoute(
        candidate=Candidate(
            prefix=blocks.prefix or ANYWHERE,
            as_path=path,
            local_pref=reading.number(number, told.get("bgp.local-pref", "100"), "local preference"),
            origin=_ORIGINS.get(origin, Origin.INCOMPLETE),
            med=reading.number(number, told.get("bgp.med", "0"), "MED"),
            ebgp=bgp and distance != _INTERNAL and bool(path),
            neighbor=_peer(told),
            next_hop=told.get("gateway", "").partition("%")[0],
            protocol="BGP" if bgp else "other",
            communities=carried.pairs,
            large_communities=carried.triples,
            extended_communities=carried.quads,
            best="A" in flags or told.get("contribution") == "active",
        ),
        line=number,
        precedence=reading.number(number, told.get("bgp.weight", "0"), "weight"),
        unusable="it is not in use" if {"X", "F", "U"} & set(flags) else "",
        protocol="BGP" if bgp else "other",
        block=blocks.here(),
        own=not bgp,
        originator=told.get("bgp.originator-id", ""),
        doubts=(*doubts, *carried.doubts),
    )


def _peer(told: dict[str, str]) -> str:
    """The neighbour's address, as version 7 has it in `belongs-to="bgp-IP-192.0.2.1"`."""
    found = re.match(r"bgp-IP-(?P<address>[0-9a-fA-F.:]+)$", told.get("belongs-to", ""))
    return found["address"] if found is not None else ""

"""The table form that IOS and FRR share: `show ip bgp`, `show bgp ipv4 unicast`. Lines in, routes out.

Numbers stand right-aligned below `Metric LocPrf Weight`, seven characters apart, so an empty column is told from its
place alone; a table whose blanks were squeezed together cannot be read and says so. A network stands before its first
route only. Pure.
"""

import re
from ipaddress import ip_address, ip_network

from anypop.model.announce import Prefix
from anypop.model.route import Candidate, Origin
from anypop.routing.paste.pasted import ANYWHERE, Pasted, PastedRoute, Reading, Style, is_address

HEADER = re.compile(r"^\s*(Network|Next Hop).*\bPath\s*$")
_STATUS = re.compile(
    r"^\s{0,3}(?P<status>[sdhrSRbBmxacfNVIi*>=u]{0,6}(?: [>i=]{1,2})?)(?=[\s0-9a-fA-F:])\s*"
    r"(?P<rest>[0-9a-fA-F]*[.:][0-9a-fA-F.:/%]*\s.*)$"
)
_WRAPPED = re.compile(
    r"^\s{0,3}(?P<status>[sdhrSRbBmxacfNVI*>=ui ]{0,6}?)\s*(?=[0-9a-fA-F]*[.:])(?P<network>[0-9a-fA-F.:]+/\d{1,3})$"
)
# Only from where blanks begin, and only in a line that ends as a route: else each blank of a long line would be a start
# of its own.
_WEIGHT = re.compile(
    r"(?<!\s)\s{2,}(?P<weight>\d{1,10}) (?P<path>(?:[\d{(].*)?\s?(?:[ie?]))$"
    r"|(?<!\s)\s{2,}(?P<own>\d{1,10}) (?P<origin>[ie?])$"
)
_ORIGINS = {"i": Origin.IGP, "e": Origin.EGP, "?": Origin.INCOMPLETE}
_COLUMN = 7  # width of LocPrf and Weight
_UNUSABLE = {
    "s": "it is suppressed",
    "d": "it is damped",
    "h": "it is history: withdrawn",
    "r": "",
    "R": "it is removed",
    "S": "",
}


def looks(line: str) -> bool:
    return bool(HEADER.match(line))


def read(reading: Reading, style: Style) -> Pasted:
    """All routes of the table; what is wrong is in `reading.problems`."""
    routes: list[PastedRoute] = []
    network: Prefix | None = None
    waiting: tuple[int, str] | None = None  # line and status of a network whose route stands in the next line
    begun = not any(HEADER.match(line) for line in reading.lines)
    for number, line in reading.numbered():
        if not begun:
            begun = bool(HEADER.match(line))
            continue
        wrapped, row = _WRAPPED.match(line), _STATUS.match(line)
        if wrapped is not None:
            network, waiting = reading.prefix(number, wrapped["network"]), (number, wrapped["status"])
        elif row is not None:
            first, _, rest = row["rest"].partition(" ")
            following = rest.split()[:1]
            if "/" in first or (following and is_address(following[0])):
                network = _network(reading, number, first)
                text = line[: row.start("rest")] + " " * len(first) + line[row.start("rest") + len(first) :]
            else:
                text = line
            begins, status = waiting if waiting is not None and not row["status"].strip() else (number, row["status"])
            waiting = None
            route = _row(reading, number, text[row.start("rest") :], status, network)
            if route is not None:
                routes.append(_at(route, begins))
        elif line.strip() and not HEADER.match(line) and line.lstrip()[:1] in "*>=":
            reading.wrong(
                number,
                "begins as a route and goes on as none: it needs a next hop, its columns, a path and an origin (i, e "
                "or ?)",
            )
    return Pasted(
        style=style, routes=tuple(routes), prefix_known=all(route.candidate.prefix is not ANYWHERE for route in routes)
    )


def _at(route: PastedRoute, line: int) -> PastedRoute:
    return PastedRoute(candidate=route.candidate, line=line, precedence=route.precedence, unusable=route.unusable)


def _network(reading: Reading, number: int, text: str) -> Prefix | None:
    """With its length, or by its class as old tables have it (RFC 791)."""
    if "/" in text or ":" in text:
        return reading.prefix(number, text)
    try:
        here = ip_address(text)
    except ValueError:
        reading.wrong(number, f"'{text}' is not a network")
        return None
    first = int(here) >> 24
    return ip_network(
        f"{text}/{0 if int(here) == 0 else 8 if first < 128 else 16 if first < 192 else 24}", strict=False
    )


def _row(reading: Reading, number: int, text: str, status: str, network: Prefix | None) -> PastedRoute | None:
    words = text.split()
    if not words or not is_address(words[0]):
        reading.wrong(number, f"'{words[0][:40] if words else ''}' is not the address of a next hop")
        return None
    found = _WEIGHT.search(text) if text[-1] in _ORIGINS else None
    if found is None:
        what = (
            "has lost its columns: paste the table with its blanks"
            if words[-1] in _ORIGINS
            else "has no origin (i, e or ?) at its end"
        )
        reading.wrong(number, f"this route {what}")
        return None
    weight = found["weight"] or found["own"]
    edge = found.end("weight") if found["weight"] else found.end("own")
    path_text = found["path"] if found["path"] is not None else found["origin"]
    path = reading.path(number, path_text[:-1])
    if path and 0 in path:  # RFC 7607: no route has it; a number of the columns before the path has got into it
        reading.wrong(number, "AS 0 is in its path: the columns have moved, paste the table with its blanks")
        return None
    columns = [
        (int(m[0]), m.end())
        for m in re.finditer(r"\d+", text[text.index(words[0]) + len(words[0]) : edge - len(weight)])
        if len(m[0]) < 11
    ]
    offset = text.index(words[0]) + len(words[0])
    med, preference = 0, 100
    for value, end in columns:
        if edge - (offset + end) <= _COLUMN:
            preference = value
        else:
            med = value
    marks = status.replace(" ", "")
    unusable = next((_UNUSABLE[mark] for mark in marks if _UNUSABLE.get(mark)), "")
    return PastedRoute(
        candidate=Candidate(
            prefix=network or ANYWHERE,
            as_path=path or (),
            local_pref=preference,
            origin=_ORIGINS[path_text[-1]],
            med=med,
            ebgp="i" not in marks and bool(path),
            neighbor=words[0],
            next_hop=words[0],
            protocol="BGP",
            best=">" in marks,
        ),
        line=number,
        precedence=int(weight),
        unusable=unusable or ("" if "*" in marks or "r" in marks else "it is not valid"),
    )

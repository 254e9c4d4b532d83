"""The table form of IOS, IOS-XR, NX-OS, FRR and EOS: `show ip bgp`, `show bgp ipv4 unicast`. Lines in, routes out.

Numbers end below the ends of `Metric`, `LocPrf` and `Weight` (EOS: begin below their beginnings, and `-` stands where
there is none), so an empty column is told from its place alone. All rows of a table must fit its heading in the same
way; a row that does not, or fits in two ways, is not read. A network stands before its first route only, or before
each. Pure.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from anypop.model.announce import Prefix
from anypop.model.route import Candidate, Origin, Step
from anypop.routing.paste.blocks import Blocks, classful
from anypop.routing.paste.pasted import ANYWHERE, INTERNAL, Pasted, PastedRoute, Reading, Style, is_address
from anypop.routing.paste.steps import CLUSTERS

HEADER = re.compile(r"^\s*(Network|Next Hop).*\bPath\s*$")
EOS_HEADER = re.compile(r"^\s*Network\s+Next Hop\s+Metric\s+(?:AIGP\s+)?LocPref\s+Weight\s+Path\s*$")
_RD = re.compile(r"^\s*Route Distinguisher: (?P<rd>[^\s()]+)(?:.*vrf (?P<vrf>[^\s()]+))?")
_VRF = re.compile(r"^\s*BGP routing table information for VRF (?P<vrf>[^\s,]+)")
_STATUS = re.compile(
    r"^\s{0,9}(?P<status>[sdhrSRbBmxacfNVIi*>=u|elkEL#]{0,6}(?: ?[>iecbELS=#|]{1,3}){0,2})(?=[\s0-9a-fA-F:])\s*"
    r"(?P<rest>[0-9a-fA-F]*[.:][0-9a-fA-F.:/%]*(?:@\S+)?(?:\s.*)?)$"
)
_MARKED = re.compile(r"[*>hdsrS]")
_NUMBERS = re.compile(r"^\s+(?P<first>[\d-]+)\s+\S.*[ie?]$")
_PATHLESS = re.compile(r"^\s+(?:[\d{(][\d{}(),. ]*)?[ie?]$")
_WEIGHT = re.compile(r" {2}\d{1,5} [\d{(]")
_REFLECTED = re.compile(r"\s(?:Or-ID|C-LST): .*$")
_TOTAL = re.compile(
    r"^\s*(?:Displayed\s+\d+ +(?:routes|out of \d+).* and +|Processed \d{1,9} prefixes, )"
    r"(?P<total>\d{1,9}) (?:total )?paths"
)
_ORIGINS = {"i": Origin.IGP, "e": Origin.EGP, "?": Origin.INCOMPLETE}
_WIDTH = 7  # of LocPrf and Weight, where there is no heading to measure
_UNUSABLE: Mapping[str, str] = {
    "s": "it is suppressed",
    "d": "it is damped",
    "h": "it is history: withdrawn",
    "R": "it is removed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """Where the numbers of a table end: MED, local preference, weight. `stated`: the number of columns before the path
    where none is ever empty.
    """

    metric: int = -2 * _WIDTH
    preference: int = -_WIDTH
    weight: int = 0
    stated: int = 0


@dataclass(slots=True, kw_only=True)
class _Row:
    """One route before its numbers are told apart. `text`: the line from behind its next hop, in its place."""

    line: int
    block: int
    prefix: Prefix | None
    status: str
    hop: str
    text: str
    fits: Sequence["Fit"] = ()
    reflected: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """One way to read the numbers of a row: how far they are from their heading, and what they are then."""

    shift: int
    metric: int | None
    preference: int | None
    weight: int
    path: str


def looks(line: str) -> bool:
    return "Path" in line and HEADER.match(line) is not None


def is_row(line: str) -> bool:
    """Whether a line is the row of a route that names its network, as it may be pasted without its heading."""
    row = _STATUS.match(line) if line[-1:] in _ORIGINS else None
    words = row["rest"].split() if row is not None and "*" in row["status"] else []
    # A weight behind one blank alone may be the MED of a row that has lost its columns.
    return len(words) > 3 and "/" in words[0] and is_address(_plain(words[1])) and bool(_WEIGHT.search(line))


def read(reading: Reading, style: Style) -> Pasted:
    """All routes of the table; what is wrong is in `reading.problems`."""
    blocks = Blocks(reading)
    rows = _rows(reading, blocks)
    shift = _shift(rows)
    routes = [route for row in rows if (route := _route(reading, row, shift, style)) is not None]
    if not any(map(looks, reading.lines)):
        doubt = "the heading of its table is not in the text: its numbers are told from their usual places"
        routes = [replace(route, doubts=(*route.doubts, doubt)) for route in routes]
    unseen = {Step.NEAREST_EXIT.value, CLUSTERS}
    if style is Style.EOS:
        unseen.add(Step.EBGP_OVER_IBGP)
    return Pasted(
        style=style,
        routes=tuple(routes),
        prefix_known=blocks.known,
        blocks=blocks.counted_whole(_TOTAL, len(rows)),
        unseen=frozenset(unseen),
    )


def _shift(rows: Sequence[_Row]) -> int | None:
    """How far the rows are from their heading: what most of them say. None: there are two answers."""
    counts = Counter(fit.shift for row in rows for fit in row.fits)
    most = max(counts.values(), default=0)
    first = [shift for shift, count in counts.items() if count == most]
    return 0 if 0 in first else first[0] if len(first) == 1 else None


def _rows(reading: Reading, blocks: Blocks) -> list[_Row]:
    rows: list[_Row] = []
    edges = Edges()
    waiting: tuple[int, str] | None = None  # a network whose route stands in the next line
    last = ""
    begun = not any(map(looks, reading.lines))
    for number, line in reading.numbered():
        named = _RD.match(line) or _VRF.match(line) if "Route D" in line or "for VRF" in line else None
        if named is not None:
            table = " ".join(filter(None, named.groupdict().values()))
            blocks.table = "" if table == "default" else table
            last = ""
        elif looks(line):
            begun, edges = True, _edges(line)
        elif not begun or not line.strip():
            continue
        elif rows and not rows[-1].text.strip() and (_NUMBERS.match(line) or _PATHLESS.match(line)):
            rows[-1].text = line
            rows[-1].fits = _fits(line, edges)
        elif (row := _STATUS.match(line)) is not None:
            first, _, rest = row["rest"].partition(" ")
            words = rest.split()
            network = "/" in first or (bool(words) and is_address(_plain(words[0])))
            if network and not words:
                last = _begin(blocks, number, first, last)
                waiting = (number, row["status"])
                continue
            if network:
                last = _begin(blocks, number, first, last)
            hop = words[0] if network else first
            start = line.index(hop, row.start("rest") + (len(first) if network else 0)) + len(hop)
            begins = waiting if waiting is not None and not row["status"].strip() else (number, row["status"])
            waiting = None
            reflected = _REFLECTED.search(line) if edges.stated else None
            text = " " * start + (line if reflected is None else line[: reflected.start()])[start:]
            rows.append(
                _Row(
                    line=begins[0],
                    block=blocks.here(),
                    prefix=blocks.prefix,
                    status=begins[1].replace(" ", ""),
                    hop=_plain(hop),
                    text=text if text.strip() else "",
                    fits=_fits(text, edges),
                    reflected=reflected[0] if reflected is not None else "",
                )
            )
        elif line.lstrip()[:1] in "*>=":
            reading.wrong(
                number,
                "begins as a route and goes on as none: it needs a next hop, its columns, a path and an origin (i, e "
                "or ?)",
            )
        elif rows and re.match(r"^\s*[\d{(]", line) and not line.lstrip().startswith("Displayed"):
            reading.wrong(number, "this line is no route by itself, and may belong to the one before it")
    return rows


def _begin(blocks: Blocks, number: int, what: str, last: str) -> str:
    """A block for a network that is not the one before (EOS and NX-OS write it before each route)."""
    if what != last:
        blocks.begin(number, what if "/" in what or ":" in what else classful(what))
    return what


def _plain(hop: str) -> str:
    """A next hop without what FRR adds to it: its table (`@4`) and `<`."""
    return hop.partition("@")[0].rstrip("<")


def _edges(header: str) -> Edges:
    if EOS_HEADER.match(header):
        return Edges(stated=4 if "AIGP" in header else 3)
    ends = {
        name: found.end() if (found := re.search(pattern, header)) is not None else None
        for name, pattern in (("metric", r"\bMetric"), ("preference", r"\bLocPrf"), ("weight", r"\bWeight"))
    }
    if ends["weight"] is None:
        return Edges()
    return Edges(
        metric=ends["metric"] or ends["weight"] - 2 * _WIDTH,
        preference=ends["preference"] or ends["weight"] - _WIDTH,
        weight=ends["weight"],
    )


def _fits(text: str, edges: Edges) -> list[Fit]:
    """All ways in which the numbers of a row can stand below a heading: the weight ends one blank before the path, and
    what is before it ends where MED or local preference do, all equally far from their heading.
    """
    if not text.strip() or text[-1] not in _ORIGINS:
        return []
    if edges.stated:
        return _stated(text, edges.stated)
    tokens = [(m[0], m.end()) for m in re.finditer(r"\S+", text)]
    found: list[Fit] = []
    numbers: list[tuple[int, int]] = []
    for i, (word, end) in enumerate(tokens[:-1]):
        if not (word.isdecimal() and len(word) < 11) or i > 2:  # before the path there are three columns at most
            break
        following = tokens[i + 1]
        if following[1] - len(following[0]) == end + 1:
            shift = end - edges.weight
            places = {edges.metric + shift: "metric", edges.preference + shift: "preference"}
            named = {places.get(at): value for value, at in numbers}
            path = text[end + 1 :]
            if None not in named and "  " not in path:  # one blank parts the numbers of a path, and its origin
                found.append(
                    Fit(
                        shift=shift,
                        metric=named.get("metric"),
                        preference=named.get("preference"),
                        weight=int(word),
                        path=path,
                    )
                )
        numbers.append((int(word), end))
    return found


def _stated(text: str, count: int) -> list[Fit]:
    """EOS: every column has a number or `-`; the path is what is behind them."""
    words = text.split(None, count)
    if len(words) <= count or not all(word == "-" or (word.isdecimal() and len(word) < 11) for word in words[:count]):
        return []
    metric, preference, weight = (0 if word == "-" else int(word) for word in (words[0], *words[count - 2 : count]))
    stated = None if words[count - 2] == "-" else preference
    return [Fit(shift=0, metric=metric, preference=stated, weight=weight, path=words[count])]


def _route(reading: Reading, row: _Row, shift: int | None, style: Style) -> PastedRoute | None:
    text, number = row.text, row.line
    if not is_address(row.hop):
        reading.wrong(number, f"'{row.hop[:40]}' is not the address of a next hop")
        return None
    reflected = row.reflected
    fit = next((f for f in row.fits if f.shift == shift), row.fits[0] if len(row.fits) == 1 else None)
    if fit is None:
        ends = bool(text.strip()) and text[-1] in _ORIGINS
        what = (
            "has lost its columns: paste the table with its blanks" if ends else "has no origin (i, e or ?) at its end"
        )
        reading.wrong(number, f"this route {what}")
    path_text = fit.path if fit is not None else ""
    path = reading.path(number, path_text[:-1]) if fit is not None else None
    if path and 0 in path:
        # RFC 7607: no route has AS 0; a number of the columns before the path has got into it
        reading.wrong(number, "its columns have moved: paste the table with its blanks")
    marks = row.status
    unusable = next((_UNUSABLE[mark] for mark in marks if _UNUSABLE.get(mark)), "")
    # `i` behind the mark of validity; the letters of NX-OS are e, i, l, c, a and r.
    internal = "i" in marks if style is not Style.EOS else bool(reflected)
    own = not internal and not path
    for what, value in (("MED", fit.metric), ("local preference", fit.preference)) if fit is not None else ():
        reading.number(number, str(value or 0), what)
    return PastedRoute(
        candidate=Candidate(
            prefix=row.prefix or ANYWHERE,
            as_path=path or (),
            local_pref=fit.preference if fit is not None and fit.preference is not None else 100,
            origin=_ORIGINS[path_text[-1]] if path_text else Origin.IGP,
            med=(fit.metric or 0) if fit is not None else 0,
            ebgp=not internal and bool(path),
            neighbor=row.hop,
            next_hop=row.hop,
            protocol="BGP",
            best=">" in marks,
        ),
        line=number,
        precedence=fit.weight if fit is not None else 0,
        unusable=unusable or ("" if "*" in marks or "r" in marks else "it is not valid"),
        block=row.block,
        own=own,
        multipath=any(mark in marks for mark in "=m|Ee") and style is not Style.NXOS,
        cluster_list=tuple(_listed(reflected, "C-LST")),
        originator="".join(_listed(reflected, "Or-ID")[:1]),
        doubts=(f"{INTERNAL} is not in the table",) if style is Style.EOS and path and not reflected else (),
    )


def _listed(text: str, name: str) -> list[str]:
    found = re.search(rf"{name}: (?P<list>[\d. ]+)", text)
    return found["list"].split() if found is not None else []

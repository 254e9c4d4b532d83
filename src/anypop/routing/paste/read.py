"""A pasted text: whose it is, and its routes. The entry to the readers of all styles.

Comes in text, goes out a `Pasted`, or `Invalid` with every problem and the line of each. What cannot be read of one
route does not refuse the others: it is in the `problems` of what goes out, and the route is marked. Never anything
else, whatever the text is. Pure.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from anypop.model.errors import Invalid
from anypop.routing.paste import (
    bgpdump,
    bird,
    cisco,
    columns,
    document,
    entry,
    frr,
    gobgp,
    junos,
    nxos,
    openbgpd,
    routeros,
    sros,
    vrp,
)
from anypop.routing.paste.pasted import Pasted, PastedRoute, Reading, Style

LONGEST = 4_000_000  # characters; a table of a hundred prefixes has some 20,000
LONGEST_LINE = 4_000  # an AS path of 250 hops, the longest that routers take, has 2,750

_SAYS_NONE = re.compile(
    r"(?i)network not in table|no such network|network not found|prefix not found|no matching (?:routes|entries)|"
    r"the network does not exist|^\s*\{\s*\}\s*$"
)
_HAS_NONE = (
    "the router says that it has no route to it: ask it for the prefix as it is announced, or ask another router"
)
_NOTHING = (
    "no route of Junos (show route PREFIX), BIRD (show route for PREFIX all), FRR (show bgp ipv4 unicast PREFIX),"
    " IOS (show ip bgp PREFIX) or another router that 'anypop route explain --help' names is in it"
)


def read(text: str, *, style: Style | None = None, now: datetime | None = None) -> Pasted:
    """The routes in `text`. `style`: whose it is, where it cannot be told from the text. `now`: when it was printed, in
    the router's own time zone. Raises `Invalid` with every problem.
    """
    if len(text) > LONGEST:
        raise Invalid.one(
            "", f"{len(text)} characters are more than the {LONGEST} that are read; paste the routes of one prefix"
        )
    if (found := document.loaded(text)) is not None:
        reading = Reading.of("")
        return _judged(reading, document.read(reading, found, style))
    reading = Reading.of(text, now)
    for number, line in reading.numbered():
        if len(line) > LONGEST_LINE:
            reading.wrong(number, f"has {len(line)} characters; no router prints more than {LONGEST_LINE} in a line")
    if reading.problems:
        raise Invalid(reading.problems)
    if document.cut(text):
        raise Invalid.one("line 1", "this JSON has no end: paste the whole document")
    whose = style or detect(reading)
    if whose is None:
        raise Invalid.one("line 1", _HAS_NONE if _SAYS_NONE.search(text) else _NOTHING)
    return _judged(reading, _READERS[whose](reading))


def _judged(reading: Reading, found: Pasted) -> Pasted:
    """What was read, with its problems; `Invalid` where there is nothing else."""
    if not found.routes and not reading.problems:
        raise Invalid.one("line 1", f"no route of {found.style.says} is in it")
    routes = _without_broken(reading, found)
    if all(route.broken for route in routes):
        raise Invalid(reading.problems)
    return replace(found, routes=routes, problems=tuple(reading.problems))


def _without_broken(reading: Reading, found: Pasted) -> tuple[PastedRoute, ...]:
    """The routes, with those marked among whose lines something could not be read."""
    if not reading.broken or not found.routes:
        return found.routes
    starts = [route.line for route in found.routes]
    ends = [*starts[1:], len(reading.lines) + 1]
    broken = sorted(reading.broken)
    routes = []
    at = 0
    for route, start, end in zip(found.routes, starts, ends, strict=True):
        while at < len(broken) and broken[at] < start:
            at += 1
        if at < len(broken) and broken[at] < max(end, start + 1):
            routes.append(replace(route, broken=True, unusable="it cannot be read"))
        else:
            routes.append(route)
    return tuple(routes)


def _cisco(reading: Reading, style: Style) -> Pasted:
    """One of those whose entries and tables are alike."""
    table = any(columns.looks(line) for line in reading.lines)
    if table or not any(entry.looks(line) for line in reading.lines):
        return columns.read(reading, style)
    if style is Style.NXOS:
        return nxos.read(reading)
    return frr.read(reading) if style is Style.FRR else cisco.read(reading, style)


_READERS: Mapping[Style, Callable[[Reading], Pasted]] = {
    Style.JUNOS: junos.read,
    Style.BIRD: bird.read,
    Style.FRR: lambda reading: _cisco(reading, Style.FRR),
    Style.IOS: lambda reading: _cisco(reading, Style.IOS),
    Style.XR: lambda reading: _cisco(reading, Style.XR),
    Style.EOS: lambda reading: _cisco(reading, Style.EOS),
    Style.NXOS: lambda reading: _cisco(reading, Style.NXOS),
    Style.OPENBGPD: openbgpd.read,
    Style.GOBGP: gobgp.read,
    Style.SROS: sros.read,
    Style.VRP: vrp.read,
    Style.ROUTEROS: routeros.read,
    Style.COLLECTOR: bgpdump.read,
}


_LOOKS: tuple[tuple[Style, Callable[[str], bool]], ...] = (
    (Style.JUNOS, junos.looks),
    (Style.COLLECTOR, bgpdump.looks),
    (Style.BIRD, bird.looks),
    (Style.OPENBGPD, openbgpd.looks),
    (Style.GOBGP, gobgp.looks),
    (Style.SROS, sros.looks),
    (Style.VRP, vrp.looks),
    (Style.ROUTEROS, routeros.looks),
)


def detect(reading: Reading) -> Style | None:
    """Whose text it is, by the first line that only one of them writes."""
    for style, looks in _LOOKS:
        if any(looks(line) for line in reading.lines):
            return style
    if any(entry.looks(line) or columns.looks(line) for line in reading.lines):
        return _of_the_cisco_kind(reading)
    return Style.IOS if any(map(columns.is_row, reading.lines)) else None


def _of_the_cisco_kind(reading: Reading) -> Style:
    for style, marked in (
        (Style.NXOS, nxos.looks),
        (Style.FRR, frr.looks),
        (Style.XR, lambda line: bool(cisco.XR.search(line))),
        (Style.EOS, lambda line: bool(cisco.EOS.search(line) or columns.EOS_HEADER.match(line))),
    ):
        if any(marked(line) for line in reading.lines):
            return style
    return Style.IOS

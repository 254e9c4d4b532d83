"""BIRD 2: `show route for PREFIX all`, and with it `show protocols all` for router ids. Text in, routes out.

The grammar is `routing.bird_text`'s; here the text is cut where routes begin, so that each error has its line. Pure.
"""

import re
from dataclasses import replace
from datetime import datetime
from itertools import pairwise

from anypop.routing.bird_text import parse_routes, parse_sessions
from anypop.routing.paste.pasted import ANYWHERE, Pasted, PastedRoute, Reading, Style

_OWN_PREFIX = re.compile(r"^[0-9a-fA-F.:]+/\d+(?=\s)")
_PREFERENCE = re.compile(r"\((\d{1,9})(?:[-s]?(?:/[\d?-]+)?)?\)")
_PATH = re.compile(r"^\s+BGP\.as_path:(?P<path>.*)$")


def looks(line: str) -> bool:
    """Whether a line is the first of a route."""
    return len(line) < 500 and "[" in line and _parsed(line) is not None  # real ones have some eighty characters


def read(reading: Reading, now: datetime | None = None) -> Pasted:
    """All routes of the text; what is wrong is in `reading.problems`."""
    starts = [number for number, line in reading.numbered() if looks(line)]
    sessions = parse_sessions("\n".join(reading.lines))
    routes: list[PastedRoute] = []
    prefix, known = str(ANYWHERE), True
    for start, end in pairwise([*starts, len(reading.lines) + 1]):
        own = _OWN_PREFIX.match(reading.lines[start - 1])
        prefix = own[0] if own is not None else prefix
        known = known and prefix != str(ANYWHERE)
        chunk = [_with(prefix, reading.lines[start - 1]), *reading.lines[start : end - 1]]
        (candidate,) = parse_routes("\n".join(chunk), sessions=sessions, now=now)
        paths = [(start + i, match["path"]) for i, line in enumerate(chunk) if (match := _PATH.match(line))]
        of_bgp = bool(paths) or "[AS" in chunk[0]
        for number, text in paths[:1]:
            candidate = replace(candidate, as_path=reading.path(number, text) or ())
        if of_bgp and not paths:
            reading.wrong(
                start,
                "this route has no line 'BGP.as_path: ...'; paste what 'show route for PREFIX all' prints, with 'all'",
            )
        preference = _PREFERENCE.search(chunk[0])
        kind = "BGP" if of_bgp else candidate.protocol
        routes.append(
            PastedRoute(
                candidate=candidate, line=start, precedence=int(preference[1]) if preference else 0, protocol=kind
            )
        )
    return Pasted(style=Style.BIRD, routes=tuple(routes), prefix_known=known)


def _with(prefix: str, line: str) -> str:
    """The line with its prefix, which BIRD leaves out from the second route on."""
    return line if _OWN_PREFIX.match(line) else f"{prefix} {line}"


def _parsed(line: str) -> object | None:
    try:
        found = parse_routes(_with(str(ANYWHERE), line))
    except ValueError:  # something like a prefix, which is none
        return None
    return found[0] if found else None

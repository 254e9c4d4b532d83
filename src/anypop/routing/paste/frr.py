"""FRR: `show bgp ipv4 unicast PREFIX`. Lines in, routes out. The grammar is that of `ios`; FRR adds when a route came,
and why the best is.

`best (Older Path)` is the router's own word; `Last update` gives ages, counted from the newest route of the text unless
the caller knows when it was printed. Pure.
"""

import re
from dataclasses import replace
from datetime import datetime

from anypop.routing.paste.ios import Entry, entries, known, route_of
from anypop.routing.paste.pasted import Pasted, Reading, Style

MARK = re.compile(
    r"^\s+Last update: |, best \(|bestpath-from-AS|^Paths:.*table \S+ vrf|vrf id \d"
    r"|^Displayed\s+\d+ |^Default local pref"
)
_REASON = re.compile(r"^best \((?P<reason>[^()]*)\)$")


def looks(line: str) -> bool:
    """Whether only FRR writes such a line."""
    return bool(MARK.search(line))


def read(reading: Reading, now: datetime | None = None) -> Pasted:
    """All routes of the text; what is wrong is in `reading.problems`."""
    found = entries(reading)
    moments = {id(entry): _moment(entry.updated) for entry in found}
    times = [moment for moment in moments.values() if moment is not None]
    end = now.replace(tzinfo=None) if now is not None else max(times, default=None)
    routes = []
    for entry in found:
        moment, reason = moments[id(entry)], _reason(entry)
        best = entry.candidate.best or reason is not None
        age = max(0.0, (end - moment).total_seconds()) if end is not None and moment is not None else None
        routes.append(
            replace(route_of(entry, reason=reason or ""), candidate=replace(entry.candidate, best=best, age_s=age))
        )
    return Pasted(style=Style.FRR, routes=tuple(routes), prefix_known=known(found))


def _reason(entry: Entry) -> str | None:
    return next((match["reason"] for word in entry.words if (match := _REASON.match(word))), None)


def _moment(text: str) -> datetime | None:
    """`Mon Nov 23 06:57:50 2026`, in the router's own time zone; whoever is asked elsewhere compares only such
    moments with each other.
    """
    try:
        return datetime.strptime(" ".join(text.split()[1:]), "%b %d %H:%M:%S %Y")
    except ValueError:
        return None

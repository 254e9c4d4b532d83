"""FRR: `show bgp ipv4 unicast PREFIX`. Lines in, routes out. The grammar is that of `entry`; FRR adds when a route
came, and why the best is.

`best (Older Path)` is the router's own word. `Last update` is a moment of the router's clock: it compares routes with
each other, and is an age only where the caller knows when the text was printed. Pure.
"""

import re
from dataclasses import replace
from datetime import datetime

from anypop.routing.paste.entry import entries, route_of
from anypop.routing.paste.pasted import Pasted, Reading, Style

MARK = re.compile(
    r"^\s*Last update: |, best \(|bestpath-from-AS|^\s*Paths:.*table \S+ vrf|vrf id \d"
    r"|^\s*Displayed\s+\d+ |^\s*Default local pref|^\s*Advertised to (?:non )?peer-group peers"
)
_ZERO = datetime(2000, 1, 1)


def looks(line: str) -> bool:
    """Whether only FRR writes such a line."""
    return bool(MARK.search(line))


def read(reading: Reading) -> Pasted:
    """All routes of the text; what is wrong is in `reading.problems`."""
    found, blocks = entries(reading)
    end = reading.now.replace(tzinfo=None) if reading.now is not None else None
    routes = []
    for entry in found:
        moment = _moment(entry.updated)
        age = max(0.0, (end - moment).total_seconds()) if end is not None and moment is not None else None
        since = (moment - _ZERO).total_seconds() if moment is not None else None
        route = route_of(entry)
        routes.append(replace(route, candidate=replace(route.candidate, age_s=age), since=since))
    return Pasted(style=Style.FRR, routes=tuple(routes), prefix_known=blocks.known, blocks=blocks.done())


def _moment(text: str) -> datetime | None:
    """`Mon Nov 23 06:57:50 2026`, in the router's own time zone; whoever is asked elsewhere compares only such
    moments with each other.
    """
    try:
        return datetime.strptime(" ".join(text.split()[1:]), "%b %d %H:%M:%S %Y")
    except ValueError:
        return None

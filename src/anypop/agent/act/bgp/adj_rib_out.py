"""How a prefix is really told to a neighbour: what BIRD answers to `show route PREFIX export SESSION all`. Pure.

In: BIRD's text, our AS number, the upstream's name. Out: `Exported`, or None where nothing is sent. The attributes are
those after the export filter; our own number, which BIRD puts before the path of every route that leaves the AS, is
not among them yet, so each one that stands there is a prepend.
"""

import re

from anypop.model.extended_communities import read_bird
from anypop.model.report import Exported

_ATTRIBUTE = re.compile(r"^\s+BGP\.(as_path|community|large_community|ext_community):(.*)$", re.MULTILINE)
_PAIR = re.compile(r"\((\d+),\s*(\d+)\)")
_TRIPLE = re.compile(r"\((\d+),\s*(\d+),\s*(\d+)\)")


def read_export(told: str, prefix: str, *, asn: int, upstream: str) -> Exported | None:
    """None where BIRD says that the prefix does not go to this neighbour."""
    if prefix not in told:
        return None
    found: dict[str, str] = dict(_ATTRIBUTE.findall(told))
    return Exported(
        upstream=upstream,
        prepend=found.get("as_path", "").split().count(str(asn)),
        communities=tuple(sorted((int(a), int(b)) for a, b in _PAIR.findall(found.get("community", "")))),
        large_communities=tuple(
            sorted((int(a), int(b), int(c)) for a, b, c in _TRIPLE.findall(found.get("large_community", "")))
        ),
        extended_communities=tuple(sorted(read_bird(found.get("ext_community", "")))),
    )

"""IOS, IOS-XR and EOS: `show ip bgp PREFIX`, `show bgp PREFIX`. Lines in, routes out.

The grammar is `entry`'s; here is what tells the three apart. Pure.
"""

import re

from anypop.routing.paste.entry import entries, route_of
from anypop.routing.paste.pasted import Pasted, Reading, Style

XR = re.compile(
    r"^\s*(?:Path #\d+: Received by speaker|Received Path ID \d|Speaker\s+\d+\s+\d+$)|\bgroup-best\b"
    r"|^\s*BGP (?:generic scan interval|main routing table version) |^\s*Processed \d+ prefixes, \d+ paths"
)
EOS = re.compile(r"^\s*(?:Paths: \d+ available|Received \S+ ago, |Rx SAFI: )|Router identifier \S+, local AS number")


def read(reading: Reading, style: Style) -> Pasted:
    """All routes of the text; what is wrong is in `reading.problems`."""
    found, blocks = entries(reading, received=style is Style.EOS)
    return Pasted(
        style=style,
        routes=tuple(route_of(entry) for entry in found),
        prefix_known=blocks.known,
        blocks=blocks.done(),
    )

"""Which communities a tenant may send: an allowlist, decided by the operator in the network document.

In: a community, the AS of the upstream that would get it, and the operator's list. Out: why it may not be sent, in
words; nothing: it may. The word `harmless` in the list stands for what the dictionary of that very upstream knows as an
action on the tenant's own route: where it goes, how it is preferred, prepends. Never harmless by that word: what the
dictionary does not know, blackholes of whatever dictionary (an upstream passes communities on), and the well-known
ones, which every network on the way acts on. Pure.
"""

import re
from collections.abc import Iterable
from functools import cache

from anypop.model.announce import AnyCommunity
from anypop.model.scopes import community_text
from anypop.routing.actions import Blackhole, Informational
from anypop.routing.dictionary import for_asn, known_asns, well_known

HARMLESS = "harmless"
# two numbers, three, or an extended one by its name; `*` stands for any part but the name
_PATTERN = re.compile(
    r"(\d{1,10}|\*)(:(\d{1,10}|\*)){1,2}|(rt|ro):(\d[\d.]{0,14}|\*):(\d{1,10}|\*)"
    r"|generic:0x[0-9a-f]{8}:(0x[0-9a-f]{1,8}|\*)",
    re.ASCII,
)


def is_listable(entry: str) -> bool:
    """Whether the operator may write this into the list: `harmless`, a community, or one with `*` for some parts."""
    return entry == HARMLESS or _PATTERN.fullmatch(entry) is not None


def refusal(community: AnyCommunity, asn: int, listed: Iterable[str]) -> str:
    """Why a tenant may not send it to this upstream; empty: it may."""
    text = community_text(community)
    entries = tuple(listed)
    if any(entry != HARMLESS and _fits(text, entry) for entry in entries):
        return ""
    if HARMLESS not in entries:
        return (
            f"{text} is not in the operator's list of communities for tenants ({', '.join(entries) or 'it is empty'})"
        )
    known = for_asn(asn).lookup(community)
    if community in _well_known() or _is_blackhole(community):
        meaning = known.meaning if known is not None else "some network on the way drops the traffic for it"
        return f"{text} is the operator's to send ({meaning})"
    if known is None or isinstance(known.action, Informational):
        return f"{text} is nothing that AS{asn} is known to act on, and may mean something else to a network behind it"
    return ""


def _fits(text: str, entry: str) -> bool:
    parts, wanted = text.split(":"), entry.split(":")
    return len(parts) == len(wanted) and all(
        w == p or (w == "*" and p[0].isdigit()) for p, w in zip(parts, wanted, strict=True)
    )


@cache
def _well_known() -> frozenset[tuple[int | None, ...]]:
    return frozenset(entry.community for entry in well_known())


@cache
def _is_blackhole(community: AnyCommunity) -> bool:
    """Whether any network that we know drops traffic for it."""
    found = (for_asn(asn).lookup(community) for asn in known_asns())
    return any(entry is not None and isinstance(entry.action, Blackhole) for entry in found)

"""By which of its own communities a network prefers a route less than all others.

In: an AS number. Out: the community of its lowest local preference, and after it every other one by which it sets a
preference, as its dictionary has them. What was made up for labs is left out: no real network would understand it,
and graceful shutdown (RFC 8326), which all may know, goes along anyway.
"""

from functools import cache

from anypop.model.announce import AnyCommunity
from anypop.routing.actions import EVERYWHERE, LocalPreference
from anypop.routing.dictionary import for_asn


@cache
def lowest_first(asn: int) -> tuple[AnyCommunity, ...]:
    """Empty where the network is known to have none that holds everywhere in it."""
    known = [
        (entry, entry.action)
        for entry in for_asn(asn).entries
        if isinstance(entry.action, LocalPreference) and not entry.is_well_known
    ]
    low = sorted(
        (action.on_scale, action.value or 0, entry.value)
        for entry, action in known
        if action.where == EVERYWHERE and not entry.is_pattern and not entry.invented
    )
    if not low:
        return ()
    lowest = low[0][2]
    others = sorted(entry.value for entry, _ in known if not entry.is_pattern and entry.value != lowest)
    return (lowest, *others)

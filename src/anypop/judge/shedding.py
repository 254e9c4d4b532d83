"""Whether a PoP that is above its set load keeps less of its new connections, or more again. Pure.

In: what it keeps now, its load and the limit, whether another PoP has room, how long ago the last change was. Out: what
it is to keep. The load is the processor time that instances use, in percent of what their hosts have for them. A step
is followed by a wait, until its effect can be measured; back it goes in smaller steps, and only when the load would
stay well below the limit after it, so that nothing swings. What is not known changes nothing.
"""

from math import ceil

from anypop.model.dial import WHOLE

STEP_S = 60.0  # hosts measure each 30 s: after this a whole measure shows what the last step did
MOST_LESS, MORE = 20, 5  # points of a hundred in one step, away and back
LEAST = 20  # what a PoP keeps in any case: the rest is a person's to send away
WELL_BELOW = 0.85  # of the limit: there a PoP takes back what it has shed, and there others have room


def keeps_now(keeps: int, *, load: float | None, limit: int, room: bool, since_s: float | None) -> int:
    """In percent. `limit`: the set load; `since_s`: seconds since the last change; None: there was none."""
    if load is None or (since_s is not None and since_s < STEP_S):
        return keeps
    if load > limit:
        if not room or keeps <= LEAST:
            return keeps
        return max(LEAST, keeps - min(MOST_LESS, ceil(keeps * (1 - limit / load))))
    more = min(WHOLE, keeps + MORE)
    return more if load * more / max(keeps, 1) < WELL_BELOW * limit else keeps


def has_room(load: float | None, limit: int | None) -> bool:
    """Whether a PoP could take what another sheds. `limit`: its own set load, or None; one whose load nobody knows has
    none.
    """
    return load is not None and load < WELL_BELOW * (limit if limit is not None else WHOLE)

"""Moments at which regular work of the agent is done together, so that its process wakes up a few times a second and
not once for each piece of it: on a host where nothing happens, waking up is most of what it costs.

In: the time, and how long a piece of work may wait. Out: how long it waits. Slots spread what is much of one kind, so
that nothing that counts waits behind all of it. Pure.
"""

import math

BEAT_S = 0.5
SLOTS = 10
_ALMOST_S = 0.01  # timers ring a moment early or late
_TOGETHER = 8  # pieces of one kind in one slot, before the next one is taken


def until_beat(now: float, wait_s: float, slot: int = 0) -> float:
    """Seconds from `now` to the last beat of `slot` that is no later than `wait_s` from then. What waits for less than
    a beat waits alone; what waits for whole seconds has every second beat, the same one for all of that kind.
    """
    if wait_s < BEAT_S:
        return wait_s
    beat_s = 2 * BEAT_S if wait_s % (2 * BEAT_S) == 0 else BEAT_S
    offset = slot * BEAT_S / SLOTS
    beats = math.floor((now + wait_s + _ALMOST_S - offset) / beat_s)
    return max(_ALMOST_S, beats * beat_s + offset - now)


def slot_of(number: int) -> int:
    """A slot for the piece of work that comes after `number` others of its kind. The first few go with the agent's own
    work, which takes a moment: to wake up for them alone would cost as much as they do.
    """
    return number // _TOGETHER % SLOTS

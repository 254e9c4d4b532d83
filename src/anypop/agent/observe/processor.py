"""How much processor time instances use: by the kernel's own count, in each container's control group.

In: the main processes of the containers that run, and the time. Out: thousandths of a core since the look before.
What a container used before the first look at it is left out; a group that is gone, or that this machine does not
have, tells nothing.
"""

from collections.abc import Mapping

from anypop.agent.decide.elements import Key
from anypop.agent.observe.groups import Group
from anypop.model.metrics import MICROS


class Processor:
    """See the module. One for each agent."""

    def __init__(self) -> None:
        self._last: dict[tuple[Key, int], float] = {}
        self._at: float | None = None

    def used_millis(self, processes: Mapping[Key, int], now: float) -> int | None:
        """Of all of them together; None: nothing is known yet."""
        found = {one: used for one in processes.items() if (used := used_s(one[1])) is not None}
        before, at = self._last, self._at
        self._last, self._at = found, now
        if at is None or now <= at or (processes and not found):
            return None
        spent = sum(max(used - before[one], 0.0) for one, used in found.items() if one in before)
        return round(1000 * spent / (now - at))


def used_s(pid: int) -> float | None:
    """Seconds of processor time of the control group in which a process lives; None where that is not counted."""
    used_us = Group(pid).cpu_us()
    return used_us / MICROS if used_us is not None else None

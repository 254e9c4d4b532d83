"""Time, chance and the wires of a simulated platform: one queue of events, moved by one seed.

In: a seed. Out: `World`, in which control, hosts and people leave word of what they will do, and when. Nothing in a
simulation may ask another clock or roll other dice: the same seed is the same story, to the letter.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

BEGAN = 1_700_000_000.0

Do = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a story: when, who, what, and why if that is known."""

    at: float
    who: str
    what: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.at:8.2f}  {self.who:<10} {self.what}" + (f"  ({self.why})" if self.why else "")


class Wire:
    """Between one host and control: what it loses, doubles and delays. `cut`: nothing gets through."""

    def __init__(self) -> None:
        self.cut = False
        self.loses = 0.0
        self.doubles = 0.0
        self.slow_s = 0.0

    def heal(self) -> None:
        self.__init__()  # type: ignore[misc]


class World:
    """See the module. `now`: true time, in seconds since the simulation began."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.dice = Random(seed)
        self.now = 0.0
        self.story: list[Line] | None = None
        self.events = 0
        self._queue: list[tuple[float, int, Do]] = []
        self._asked = 0

    def after(self, seconds: float, do: Do) -> None:
        """`do` happens so much later. Of two at the same moment the one that was asked for first comes first."""
        self._asked += 1
        heapq.heappush(self._queue, (self.now + seconds, self._asked, do))

    def run_until(self, end: float) -> None:
        """Let everything happen up to that moment."""
        queue = self._queue
        while queue and queue[0][0] <= end:
            self.now, _, do = heapq.heappop(queue)
            self.events += 1
            do()
        self.now = max(self.now, end)

    def between(self, low: float, high: float) -> float:
        return self.dice.uniform(low, high)

    def chance(self, part: float) -> bool:
        return part > 0 and self.dice.random() < part

    def tell(self, who: str, what: str, why: str = "") -> None:
        """A line of the story, where somebody reads it."""
        if self.story is not None:
            self.story.append(Line(self.now, who, what, why))

    def carry(self, wire: Wire, deliver: Do) -> None:
        """A message over the wire: it arrives once, or later, or twice, or never."""
        if wire.cut or self.chance(wire.loses):
            return
        self.after(self.between(0.005, 0.04) + (self.between(0, wire.slow_s) if wire.slow_s else 0.0), deliver)
        if self.chance(wire.doubles):
            self.after(self.between(0.01, 1.0), deliver)

"""Kill -9 of anything while an operation is under way: the victims and the moments are drawn from a seed.

In: a platform and a `random.Random`. Out: kills, from a thread of its own.
"""

import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from anypop.lab import platform
from tests.lab.chaos import victims
from tests.lab.chaos.fault import sent

# an operation on a small platform takes about a second: kills fall before, into and after it
FIRST_S, LAST_S = 0.0, 1.2


@dataclass(slots=True)
class Killer:
    """`done` tells what was killed, for a person who reads a failure."""

    place: platform.Platform
    dice: random.Random
    done: list[str] = field(default_factory=list)

    def strike(self) -> None:
        """One kill: a daemon, or a process that lives in an instance (its application)."""
        inside = victims.of_kind(self.place, "instance")
        found = inside if inside and self.dice.random() < 0.2 else victims.daemons(self.place)
        if found:
            name, pid = self.dice.choice(sorted(found.items()))
            if sent(pid, signal.SIGKILL):
                self.done.append(name)

    @contextmanager
    def at_work(self, kills: int) -> Iterator[None]:
        """So many kills while the block runs, at moments drawn beforehand; all of them have fallen when it ends."""
        moments = sorted(self.dice.uniform(FIRST_S, LAST_S) for _ in range(kills))
        began, quick = time.monotonic(), threading.Event()

        def run() -> None:
            for moment in moments:
                quick.wait(max(0.0, began + moment - time.monotonic()))
                self.strike()

        thread = threading.Thread(target=run, name="killer")
        thread.start()
        try:
            yield
        finally:
            thread.join()

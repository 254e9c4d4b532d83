"""A fault: one real thing that was broken.

In: nothing; these are the words of `faults`, `tunnels`, `registry` and `story`.
"""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

HOLD_S = 3.0  # longer than every probe's patience and BFD's, shorter than what control calls a lost host


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One that has happened. `host`: whose; empty: not one host's alone. `undo`: takes it back `hold_s` later; None:
    the platform's own to mend. `back`: whether what was taken is there again.
    """

    kind: str
    what: str
    host: str = ""
    back: Callable[[], bool] | None = None
    undo: Callable[[], None] | None = None
    hold_s: float = 0.0


Maker = Callable[[], Fault | None]


def sent(pid: int, number: signal.Signals) -> bool:
    """A signal, to a process that may be gone: then False."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True

"""Log lines about what anybody on the network can cause: the first at once, the others counted, so that no flood fills
the log.

In: a line whenever it happens. Out: at most one line in `INTERVAL_S`, with how many there were since the last. It must
not be used for what is of our own making.
"""

import logging
import time

INTERVAL_S = 10.0


class Seldom:
    """One kind of line."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._unsaid = 0
        self._next = 0.0

    def warn(self, line: str) -> None:
        """Say it, or count it."""
        now = time.monotonic()
        if now < self._next:
            self._unsaid += 1
            return
        self._log.warning("%s", f"{line} (and {self._unsaid} more before it)" if self._unsaid else line)
        self._unsaid, self._next = 0, now + INTERVAL_S

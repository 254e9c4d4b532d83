"""The command line, for threads beside each other: what it prints is caught by putting other streams in place of the
process's own, so one command runs at a time.
"""

import threading

from tests.lab.story import Said, Shell

_TURN = threading.RLock()


class OneByOne(Shell):
    """`anypop WORDS`, one after the other, whoever asks."""

    def try_(self, *words: str) -> Said:
        with _TURN:
            return Shell.try_(self, *words)

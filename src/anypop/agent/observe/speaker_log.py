"""What BIRD writes into its log, as it happens: a session that came up or was lost, a word of a neighbour's.

In: the speaker's log. Out: a call when something was written, and not more often than a few times a second, however
much a neighbour makes BIRD say. Reads nothing of the log: that there is something tells that BIRD is to be asked. Where
the kernel gives no watch, `watches` is False, and BIRD has to be asked each second.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path

from anypop.host.inotify import CREATED, MODIFIED, OVERFLOW, Inotify
from anypop.model.errors import WorldError

REST_S = 0.2


class SpeakerLog:
    """Calls `written` in the event loop's thread. `log`: the file; its folder is made where it is missing."""

    def __init__(self, log: Path, written: Callable[[], None]) -> None:
        self._name, self._written = bytes(Path(log.name)), written
        self._events: Inotify | None = None
        self.watches = False
        with contextlib.suppress(WorldError, OSError):
            log.parent.mkdir(parents=True, exist_ok=True)
            self._events = Inotify(self._changed, rest_s=REST_S)
            self._events.add(log.parent, MODIFIED | CREATED)
            self.watches = True

    def _changed(self, watch: int, name: bytes) -> None:
        if watch == OVERFLOW or name == self._name:
            self._written()

    def close(self) -> None:
        if self._events is not None:
            self._events.close()

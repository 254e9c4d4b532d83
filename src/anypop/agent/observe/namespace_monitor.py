"""Names of instances' network namespaces that somebody takes away, as it happens (inotify on /run/netns).

In: the platform's prefix. Out: a call for each. Says that something changed, not what: the next look sees it. A name
that is only unmounted, so that its file stays, is seen by the next pass.
"""

import os
from collections.abc import Callable

from anypop.agent.naming import namespace_of
from anypop.host import netns
from anypop.host.inotify import DELETED, MOVED_FROM, OVERFLOW, Inotify


class NamespaceMonitor:
    """Calls `changed` in the event loop's thread."""

    def __init__(self, prefix: str, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._ours = os.fsencode(namespace_of(prefix, "0" * 10).removesuffix("0" * 10))
        netns.RUN.mkdir(parents=True, exist_ok=True)
        self._events = Inotify(self._told)
        self._events.add(netns.RUN, MOVED_FROM | DELETED)

    def _told(self, watch: int, name: bytes) -> None:
        if watch == OVERFLOW or name.startswith(self._ours):
            self._changed()

    def close(self) -> None:
        self._events.close()

"""The ends of processes that wait for machines, at the moment they happen: what they write of a machine is there then.

In: their pids. Out: one call for each end (pidfd_open(2)). That QEMU itself has died is seen elsewhere, as of any
container; this is the moment from which on it is known how.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Collection


class Ends:
    """Calls `ended` in the event loop's thread."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended
        self._handles: dict[int, int] = {}

    def watch(self, pids: Collection[int]) -> None:
        """Exactly these."""
        for pid in self._handles.keys() - set(pids):
            self._drop(pid)
        for pid in set(pids) - self._handles.keys():
            try:
                self._handles[pid] = os.pidfd_open(pid)
            except ProcessLookupError:
                self._ended()
                continue
            asyncio.get_running_loop().add_reader(self._handles[pid], self._over, pid)

    def _over(self, pid: int) -> None:
        self._drop(pid)
        self._ended()

    def _drop(self, pid: int) -> None:
        handle = self._handles.pop(pid)
        with contextlib.suppress(RuntimeError):  # the loop is gone: we are on our way out
            asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)

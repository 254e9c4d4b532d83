"""Deaths of containers, seen at the moment they happen: a pidfd of each main process in the event loop (pidfd_open(2)).

In: the processes to watch. Out: one call for each death, within a fraction of a millisecond, whoever its parent is. Decides nothing.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping

Key = tuple[str, str]
"""uid and container name."""


class DeathWatch:
    """Watches processes by pidfd. `on_death` is called in the event loop's thread."""

    def __init__(self, on_death: Callable[[Key, int], None]) -> None:
        self._on_death = on_death
        self._watched: dict[Key, tuple[int, int]] = {}

    def set(self, processes: Mapping[Key, int]) -> None:
        """Watch exactly these. A process that is gone already counts as dead now."""
        for key, (pid, _) in list(self._watched.items()):
            if processes.get(key) != pid:
                self._drop(key)
        for key, pid in processes.items():
            if key in self._watched:
                continue
            try:
                handle = os.pidfd_open(pid)
            except ProcessLookupError:
                self._on_death(key, pid)
                continue
            self._watched[key] = (pid, handle)
            asyncio.get_running_loop().add_reader(handle, self._died, key, pid)

    def close(self) -> None:
        for key in list(self._watched):
            self._drop(key)

    def _died(self, key: Key, pid: int) -> None:
        self._drop(key)
        self._on_death(key, pid)

    def _drop(self, key: Key) -> None:
        _, handle = self._watched.pop(key)
        with contextlib.suppress(RuntimeError):  # the loop is gone: we are on our way out
            asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)

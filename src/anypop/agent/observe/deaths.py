"""Deaths of containers, seen at the moment they happen: a pidfd of each main process in the event loop (pidfd_open(2)).

In: the processes to watch. Out: one call for each death, within a fraction of a millisecond, whoever its parent is,
with the answer whether it ended for want of memory. Dead by the kernel's word is dead, whatever a runtime says: also
one whose pid is somebody else's by now. Decides nothing.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from anypop.agent.decide.elements import Key
from anypop.agent.observe.memory_kills import counter_of, has_killed


class DeathWatch:
    """Watches processes by pidfd. `on_death(key, pid, out_of_memory)` is called in the event loop's thread;
    `is_its(key, pid)`: whether the process with this pid is really the one that is meant.
    """

    def __init__(
        self, on_death: Callable[[Key, int, bool], None], is_its: Callable[[Key, int], bool] = lambda *_: True
    ) -> None:
        self._on_death = on_death
        self._is_its = is_its
        self._watched: dict[Key, tuple[int, int, Path | None]] = {}

    def set(self, processes: Mapping[Key, int]) -> None:
        """Watch exactly these. A process that is gone already counts as dead now."""
        for key, (pid, _, _) in list(self._watched.items()):
            if processes.get(key) != pid:
                self._drop(key)
        for key, pid in processes.items():
            if key in self._watched:
                continue
            try:
                handle = os.pidfd_open(pid)
            except ProcessLookupError:
                self._on_death(key, pid, False)
                continue
            if not self._is_its(key, pid):  # asked while we hold it: the pid cannot change hands in between
                os.close(handle)
                self._on_death(key, pid, False)
                continue
            self._watched[key] = (pid, handle, counter_of(pid))
            asyncio.get_running_loop().add_reader(handle, self._died, key, pid)

    def close(self) -> None:
        for key in list(self._watched):
            self._drop(key)

    def _died(self, key: Key, pid: int) -> None:
        _, _, counter = self._watched[key]
        self._drop(key)
        self._on_death(key, pid, has_killed(counter))

    def _drop(self, key: Key) -> None:
        _, handle, _ = self._watched.pop(key)
        with contextlib.suppress(RuntimeError):  # the loop is gone: we are on our way out
            asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)

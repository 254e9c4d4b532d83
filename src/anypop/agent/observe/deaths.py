"""Deaths of containers, seen at the moment they happen: a pidfd of each main process in the event loop (pidfd_open(2)).

In: the processes to watch. Out: one call for each death, within a fraction of a millisecond, whoever its parent is,
with the answer whether it ended for want of memory. Dead by the kernel's word is dead, whatever a runtime says: also
one whose pid is somebody else's by now. The kernel tells of a whole process when its memory has been given back, which
takes ten milliseconds and more for a virtual machine; of these, threads tell before (since Linux 6.9). Decides nothing.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from anypop.agent.decide.elements import Key
from anypop.agent.observe.memory_kills import counter_of, has_killed
from anypop.host import process

_PIDFD_THREAD = os.O_EXCL  # linux/pidfd.h
_THREADS = 3  # the one that ends last gives the memory back and tells with the process; others tell before


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
        self._threads: dict[Key, set[int]] = {}

    def set(self, processes: Mapping[Key, int], large: Collection[Key] = ()) -> None:
        """Watch exactly these. A process that is gone already counts as dead now. `large`: those among them that have
        much memory, and threads for as long as they live.
        """
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
        for key in large:
            if key in self._watched and key not in self._threads:
                self._watch_threads(key, self._watched[key][0])

    def _watch_threads(self, key: Key, pid: int) -> None:
        """Asked for again until it has some: a process is on record before it is what it is to be."""
        others = [thread for thread in process.threads(pid) if thread != pid][:_THREADS]
        if not others:
            return
        self._threads[key] = set()
        for thread in others:
            with contextlib.suppress(OSError):  # it has ended, or the kernel is older
                handle = os.pidfd_open(thread, _PIDFD_THREAD)
                self._threads[key].add(handle)
                asyncio.get_running_loop().add_reader(handle, self._thread_ended, key, pid, handle)

    def _thread_ended(self, key: Key, pid: int, handle: int) -> None:
        self._threads[key].discard(handle)
        _let_go(handle)
        if process.is_dying(pid):
            self._died(key, pid)

    def close(self) -> None:
        for key in list(self._watched):
            self._drop(key)

    def _died(self, key: Key, pid: int) -> None:
        _, _, counter = self._watched[key]
        self._drop(key)
        self._on_death(key, pid, has_killed(counter))

    def _drop(self, key: Key) -> None:
        _, handle, _ = self._watched.pop(key)
        for one in (handle, *self._threads.pop(key, ())):
            _let_go(one)


def _let_go(handle: int) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is gone: we are on our way out
        asyncio.get_running_loop().remove_reader(handle)
    os.close(handle)

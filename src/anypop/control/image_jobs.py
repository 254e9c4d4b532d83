"""Work on images that takes long: one at a time for each account, a few altogether, each in a thread of its own.

In: what is to be done, for whom. Out: nothing; what is done writes down by itself how it went, since control may end at
any moment: no thread keeps the process from ending.
"""

import logging
import threading
from collections.abc import Callable

log = logging.getLogger("anypop.control")

AT_ONCE = 4


class ImageJobs:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[str, str, Callable[[], None]]] = []
        self._running: dict[str, str] = {}
        self.stopped = False

    def begin(self, account: str, key: str, work: Callable[[], None]) -> None:
        """`key`: what it is about; while something about it waits, nothing is added, since `work` looks anew."""
        with self._lock:
            if any(waiting == key for _, waiting, _ in self._waiting):
                return
            self._waiting.append((account, key, work))
        self._next()

    def is_busy(self) -> bool:
        with self._lock:
            return bool(self._waiting or self._running)

    def stop(self) -> None:
        """Nothing more is begun, and what is under way hears of it."""
        with self._lock:
            self.stopped = True
            self._waiting.clear()

    def _next(self) -> None:
        with self._lock:
            while len(self._running) < AT_ONCE and not self.stopped:
                found = next((one for one in self._waiting if one[0] not in self._running), None)
                if found is None:
                    return
                self._waiting.remove(found)
                self._running[found[0]] = found[1]
                threading.Thread(target=self._run, args=found, name="image", daemon=True).start()

    def _run(self, account: str, key: str, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:
            if not self.stopped:
                log.exception("the image %s cannot be brought here", key)
        finally:
            with self._lock:
                del self._running[account]
            self._next()

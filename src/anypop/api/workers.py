"""Heavy work in processes of their own, so that the control process stays small: started when needed, ended when idle.

In: a function that another process finds by its name, its plain argument, and the account that asks. Out: its result,
or a refusal in words: too much is asked at once, or it took too long. No account can keep the workers from the others:
each may only ask for a few things at once. Every worker is a pool of one process, so that one can be ended without the
others.
"""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TypeVar

from anypop.control.refusals import Busy
from anypop.model.errors import WorldError

A = TypeVar("A")
R = TypeVar("R")

NICENESS = 10  # orders and reports come first on a machine that has one core


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is done at once. `workers`: processes. `asked`: questions by everybody, those that wait included;
    `each`: by one account. `timeout_s`: for one question, once its worker has started; `start_s`: for that.
    `idle_s`: how long a worker waits for the next one.
    """

    workers: int = 2
    asked: int = 8
    each: int = 4
    timeout_s: float = 60.0
    start_s: float = 30.0
    idle_s: float = 30.0


class _Worker:
    """One process. `pid` 0: not started yet."""

    def __init__(self) -> None:
        self.pid = 0
        self.ending: asyncio.TimerHandle | None = None
        self._handle = -1  # of the process itself: its number may be another's once it is dead
        context = multiprocessing.get_context("spawn")  # a fork would copy control's memory, its threads and its locks
        self._pool = ProcessPoolExecutor(max_workers=1, mp_context=context, initializer=_begin)

    async def start(self) -> None:
        """Returns when the process is there and has read its modules."""
        if not self.pid:
            self.pid = await asyncio.wrap_future(self._pool.submit(os.getpid))
            with contextlib.suppress(ProcessLookupError):
                self._handle = os.pidfd_open(self.pid)

    async def result(self, work: Callable[[A], R], argument: A) -> R:
        return await asyncio.wrap_future(self._pool.submit(work, argument))

    def end(self) -> None:
        """Let the process go when it has nothing to do."""
        self._pool.shutdown(wait=False)
        self._forget()

    def kill(self) -> None:
        """Whatever it does. The pool sees its death and cleans up."""
        if self._handle >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._forget()

    def _forget(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class Workers:
    """See the module. All methods are for one event loop."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._asked: Counter[str] = Counter()
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._free = asyncio.Semaphore(self.limits.workers)

    @property
    def pids(self) -> list[int]:
        """The processes that are there now."""
        return [worker.pid for worker in (*self._idle, *self._busy) if worker.pid]

    async def run(self, work: Callable[[A], R], argument: A, *, account: str) -> R:
        """`work(argument)`, done elsewhere. Raises what it raises; `Busy` when too much is asked already; `WorldError`
        when it takes too long, or its process dies.
        """
        limits = self.limits
        if self._asked[account] >= limits.each:
            raise Busy(
                f"{limits.each} questions of this account are being worked out already; ask again when one is answered"
            )
        if self._asked.total() >= limits.asked:
            raise Busy(f"{limits.asked} questions are being worked out already; ask again in a moment")
        self._asked[account] += 1
        try:
            async with self._free:
                return await self._done(work, argument)
        finally:
            self._asked[account] -= 1
            self._asked += Counter()  # accounts that ask nothing are forgotten

    async def _done(self, work: Callable[[A], R], argument: A) -> R:
        # The last one that was used: the others come to rest and end.
        worker = self._idle.pop() if self._idle else _Worker()
        if worker.ending is not None:
            worker.ending.cancel()
        self._busy.add(worker)
        whole = False
        try:
            async with asyncio.timeout(self.limits.start_s):
                await worker.start()
            async with asyncio.timeout(self.limits.timeout_s):
                result = await worker.result(work, argument)
            whole = True
            return result
        except TimeoutError as error:
            longest = self.limits.timeout_s if worker.pid else self.limits.start_s
            raise WorldError("work it out", f"it took more than {longest:g} s; ask for less") from error
        except BrokenProcessPool as error:
            raise WorldError("work it out", "the process that did it has died") from error
        except Exception:  # of the work itself: the process is as good as before
            whole = True
            raise
        finally:
            self._busy.discard(worker)
            if whole:
                self._idle.append(worker)
                worker.ending = asyncio.get_running_loop().call_later(self.limits.idle_s, self._end, worker)
            else:
                worker.kill()

    def _end(self, worker: _Worker) -> None:
        self._idle.remove(worker)
        worker.end()

    def close(self) -> None:
        """End all of them, also those that work. Harmless when there are none, and when called again."""
        for worker in (*self._idle, *self._busy):
            if worker.ending is not None:
                worker.ending.cancel()
            worker.kill()
        self._idle.clear()


def _begin() -> None:
    """In the new process: be kind to the others, leave Ctrl-C to the parent, and do not outlive it."""
    os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()  # also when it was killed: a pipe tells
        os._exit(0)

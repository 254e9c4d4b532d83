"""A process of its own beside the agent: told, started, and started anew when it dies.

In: whether anything needs it, and what writes its files. Out: the process, one in its folder, which outlives the agent
and is found again by the next one; SIGHUP where something in its files is new. One of another version is replaced. It
does not know what the process does: that is said by the files, and by whoever makes one of these.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from anypop.agent.observe.deaths import DeathWatch
from anypop.host import process
from anypop.host.recorded import Recorded
from anypop.model.errors import WorldError

LOOKED_AT_EVERY_S = 10.0  # whether its files are there still; its death is seen at once
_REST_S = 0.5  # between two starts
_GRACE_S = 2.0


class KeptProcess:
    """`python -m MODULE FOLDER VERSION`, as `name` in `folder`.

    `needed`: whether there has to be one; None where that is not known yet, and what runs goes on. `write`: have its
    files as they should be; whether something in them is new. They are called in the event loop, may raise `OSError` or
    `WorldError`, and are then tried again.
    """

    def __init__(
        self, folder: Path, name: str, module: str, *,
        needed: Callable[[], bool | None], write: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._folder, self._name = folder, name
        self._argv = [sys.executable, "-m", module, str(folder), version("anypop")]
        self._needed, self._write = needed, write
        self._pid = pid_file(folder, name)
        self._process = Recorded(self._pid)
        self._of_ours: int | None = None  # the one that was found to be of this version: no words of it change
        self._due = asyncio.Event()
        self._due.set()
        self._untold = True  # who wrote the files before us may have died before it told of them
        self.error = ""

    def due(self, *, news: bool = False) -> None:
        """Look now. Waits for nothing. `news`: something in its files is new, whatever `write` says."""
        self._untold |= news
        self._due.set()

    async def run(self, changed: Callable[[], None] = lambda: None) -> None:
        """Until cancelled; the process goes on then. `changed`: `error` is another one."""
        watch = DeathWatch(lambda *_: self._due.set())
        try:
            while True:
                await self._due.wait()
                self._due.clear()
                had = self.error
                try:
                    started = await self._keep()
                    self.error = ""
                except (OSError, WorldError) as error:
                    started, self.error = True, str(error)
                if self.error != had:
                    changed()
                pid = self._process.pid()
                watch.set({(self._name, self._name): pid} if pid is not None else {})
                if started:
                    await asyncio.sleep(_REST_S)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOKED_AT_EVERY_S):
                        await self._due.wait()
                self._due.set()
        finally:
            watch.close()

    async def _keep(self) -> bool:
        """Whether it had to be started."""
        needed = self._needed()
        if needed is None:
            return False
        if not needed:
            if self._pid.exists():
                await asyncio.to_thread(end, self._folder, self._name)
            return False
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._untold |= self._write()
        except (OSError, WorldError):
            self._untold = True  # some of its files may be new already
            raise
        pid = self._process.pid()
        if pid is not None and pid != self._of_ours:
            if process.words(pid)[-1:] not in ([], [self._argv[-1]]):
                await asyncio.to_thread(end, self._folder, self._name)
                pid = None
            self._of_ours = pid
        if pid is None:
            process.spawn(self._argv, pid_file=self._pid, log=self._folder / f"{self._name}.out")
            self._untold = False
            return True
        if self._untold:
            with contextlib.suppress(ProcessLookupError):
                if process.catches(pid, signal.SIGHUP):  # else it has just begun, and reads them later
                    os.kill(pid, signal.SIGHUP)
            self._untold = False
        return False


def pid_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.pid"


def end(folder: Path, name: str) -> None:
    """End the process. Harmless where there is none."""
    process.end(pid_file(folder, name), grace_s=_GRACE_S)

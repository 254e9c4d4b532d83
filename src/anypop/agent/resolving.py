"""The resolver of this host as the agent sees it: a process of its own (`anypop.agent.resolver`), started, told, and
started anew when it dies.

In: facts of each pass. Out: its files, written where something of them differs; its address on `lo`; its process, as
long as there are instances. It outlives the agent, as do the files: an agent that begins finds both.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from anypop.agent.act.network import loopback
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.names import Names, Seen, names_for, seen_by
from anypop.agent.observe.deaths import DeathWatch
from anypop.agent.resolver import files
from anypop.host import process
from anypop.model.errors import WorldError

LOOKED_AT_EVERY_S = 10.0  # whether its address is there still; its death is seen at once
_REST_S = 0.5  # between two starts
_KEY = ("resolver", "resolver")


class Resolving:
    """One process in `folder`. `set` is called in each pass and waits for nothing."""

    def __init__(self, folder: Path, net: Netlink) -> None:
        self._folder, self._net = folder, net
        self._pid = folder / "resolver.pid"
        self._seen: Seen | None = None
        self._wanted: Names | None = None
        self._due = asyncio.Event()
        self._error = ""

    def set(self, facts: Facts) -> None:
        """Tell it what follows from these facts."""
        seen = seen_by(facts)
        if seen == self._seen:
            return
        self._seen, self._wanted = seen, names_for(facts, seen)
        self._due.set()

    def troubles(self) -> str:
        """Why names may not be resolved; empty where nothing is wrong, or nobody is here who asks."""
        if self._wanted is None or not self._wanted.around.askers:
            return ""
        return self._error or "; ".join(files.read_told(self._folder).troubles)

    async def run(self, changed: Callable[[], None]) -> None:
        """Until cancelled. `changed`: there may be another trouble."""
        watch = DeathWatch(lambda *_: self._due.set())
        try:
            while True:
                await self._due.wait()
                self._due.clear()
                had = self._error
                try:
                    started = self._keep()
                    self._error = ""
                except (OSError, WorldError) as error:
                    started, self._error = True, f"the resolver cannot be told: {error}"
                if self._error != had:
                    changed()
                pid = process.alive(self._pid)
                watch.set({_KEY: pid} if pid is not None else {})
                if started:
                    await asyncio.sleep(_REST_S)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOKED_AT_EVERY_S):
                        await self._due.wait()
                self._due.set()
        finally:
            watch.close()

    def _keep(self) -> bool:
        """Whether it had to be started."""
        wanted = self._wanted
        if wanted is None:
            return False
        if not wanted.around.askers:
            end(self._folder)
            return False
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        news = files.write_domains(self._folder, wanted.domains)
        news |= files.write_around(self._folder, wanted.around)
        loopback.prepare(self._net)
        pid = process.alive(self._pid)
        if pid is not None and files.read_told(self._folder).version not in ("", version("anypop")):
            process.end(self._pid, grace_s=1)
            pid = None
        if pid is not None:
            if news:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGHUP)
            return False
        argv = [sys.executable, "-m", "anypop.agent.resolver", str(self._folder), version("anypop")]
        process.spawn(argv, pid_file=self._pid, log=self._folder / "resolver.out")
        return True


def end(folder: Path) -> None:
    """End the process. Harmless where there is none."""
    process.end(folder / "resolver.pid", grace_s=1)

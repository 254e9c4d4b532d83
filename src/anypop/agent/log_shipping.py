"""Sending this host's logs to receivers, as the agent sees it: a process of its own (`anypop.agent.shipping`), told,
started, and started anew when it dies.

In: receivers, from control by a stream; containers, in each pass. Out: its files, written where something of them
differs; its process, as long as there are receivers; what it has counted. Receivers are kept on disk: a host goes on
sending when control is away, or the agent is started anew.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

from anypop.agent.decide.elements import ContainerSeen
from anypop.agent.observe.deaths import DeathWatch
from anypop.agent.shipping import files
from anypop.agent.shipping.formats import Source
from anypop.host import process
from anypop.model.errors import WorldError
from anypop.model.log_sinks import Shipped
from anypop.model.order import Order
from anypop.model.streams import ShippingRequest

LOOKED_AT_EVERY_S = 10.0
_REST_S = 0.5
_KEY = ("shipping", "shipping")


class LogShipping:
    """One process in `folder`. `logs_in`: the folder of a container's log, by its id."""

    def __init__(self, folder: Path, logs_in: Callable[[str], Path | None]) -> None:
        self._folder, self._logs_in = folder, logs_in
        self._pid = folder / "shipping.pid"
        self._receivers = files.read(folder, files.Receivers) or files.Receivers()
        self._sources: files.Sources | None = None
        self._due = asyncio.Event()
        self._due.set()
        self._error = ""

    def set(self, order: Order | None, containers: Iterable[ContainerSeen]) -> None:
        """Tell it whose logs there are. Waits for nothing."""
        if order is None or not self._receivers.sinks:
            return
        named = {one.id: one for one in order.names}
        known = {one.uid: one for one in order.instances}
        found = []
        for seen in containers:
            one, folder = known.get(seen.key[0]), self._logs_in(seen.id)
            if one is None or folder is None:
                continue
            workload = named.get(one.workload_id)
            found.append(
                Source(
                    uid=one.uid, container=seen.key[1], folder=str(folder), instance=one.name, stack=one.stack_id,
                    workload=workload.slug if workload else one.name.rsplit("-", 3)[0],
                    pop=order.pop, host=order.host, stack_name=workload.stack if workload else "",
                )
            )  # fmt: skip
        now = files.Sources(containers=tuple(sorted(found, key=lambda one: one.key)))
        if now != self._sources:
            self._sources = now
            self._due.set()

    def asked(self, wanted: ShippingRequest) -> tuple[Shipped, ...]:
        """These are the receivers from now on; what was counted of them so far."""
        receivers = files.Receivers(sinks=wanted.sinks, forbidden=wanted.forbidden)
        if receivers != self._receivers:
            files.write(self._folder, receivers)
            self._receivers = receivers
            self._due.set()
        told = files.read(self._folder, files.Told)
        counted = {one.id: one for one in told.sinks} if told is not None else {}
        none = "the process that sends has not begun" if self._error == "" else self._error
        return tuple(counted.get(sink.id, Shipped(id=sink.id, error=none)) for sink in wanted.sinks)

    async def run(self) -> None:
        """Until cancelled."""
        watch = DeathWatch(lambda *_: self._due.set())
        try:
            while True:
                await self._due.wait()
                self._due.clear()
                try:
                    started = self._keep()
                    self._error = ""
                except (OSError, WorldError) as error:
                    started, self._error = True, f"logs cannot be sent: {error}"
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
        if not self._receivers.sinks:
            end(self._folder)
            return False
        if self._sources is not None:
            files.write(self._folder, self._sources)
        pid = process.alive(self._pid)
        told = files.read(self._folder, files.Told)
        if pid is not None and told is not None and told.version not in ("", version("anypop")):
            process.end(self._pid, grace_s=2)
            pid = None
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGHUP)
            return False
        argv = [sys.executable, "-m", "anypop.agent.shipping", str(self._folder), version("anypop")]
        process.spawn(argv, pid_file=self._pid, log=self._folder / "shipping.out")
        return True


def end(folder: Path) -> None:
    """End the process. Harmless where there is none."""
    process.end(folder / "shipping.pid", grace_s=2)

"""Sending this host's logs to receivers, as the agent sees it: a process of its own (`anypop.agent.shipping`).

In: receivers, from control by a stream; containers, in each pass. Out: its files, written where something of them
differs; its process, kept as long as there are receivers; what it has counted. Receivers are kept on disk: a host goes
on sending when control is away, or the agent is started anew.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from anypop.agent.decide.elements import ContainerSeen
from anypop.agent.kept_process import KeptProcess
from anypop.agent.shipping import files
from anypop.agent.shipping.formats import Source
from anypop.model.log_sinks import Shipped
from anypop.model.order import Order
from anypop.model.streams import ShippingRequest

NAME = "shipping"


class LogShipping:
    """One process in `folder`. `logs_in`: the folder of a container's log, by its id."""

    def __init__(self, folder: Path, logs_in: Callable[[str], Path | None]) -> None:
        self._folder, self._logs_in = folder, logs_in
        self._receivers = files.read(folder, files.Receivers) or files.Receivers()
        self._sources: files.Sources | None = None
        self._process = KeptProcess(folder, NAME, "anypop.agent.shipping", needed=self._needed, write=self._write)

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
            self._process.due()

    def asked(self, wanted: ShippingRequest) -> tuple[Shipped, ...]:
        """These are the receivers from now on; what was counted of them so far."""
        receivers = files.Receivers(sinks=wanted.sinks, forbidden=wanted.forbidden)
        if receivers != self._receivers:
            files.write(self._folder, receivers)
            self._receivers = receivers
            self._process.due(news=True)
        told = files.read(self._folder, files.Told)
        counted = {one.id: one for one in told.sinks} if told is not None else {}
        error = self._process.error
        none = f"logs cannot be sent: {error}" if error else "the process that sends has not begun"
        return tuple(counted.get(sink.id, Shipped(id=sink.id, error=none)) for sink in wanted.sinks)

    async def run(self) -> None:
        """Until cancelled."""
        await self._process.run()

    def _needed(self) -> bool:
        return bool(self._receivers.sinks)

    def _write(self) -> bool:
        return self._sources is not None and files.write(self._folder, self._sources)

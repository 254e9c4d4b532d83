"""The door by which virtual machines of other hosts come to this one, as the agent sees it.

In: facts of each pass. Out: a door at this host's end of the tunnels, open as long as a guest may come; what is let in
is what the order says at that moment. It decides nothing itself, and knows nothing of what is sent.
"""

import asyncio
import contextlib
from ipaddress import IPv4Address
from pathlib import Path

from anypop.agent.act.instances.machines.arriving import Arrivals
from anypop.agent.act.instances.machines.machines import Machines
from anypop.agent.between_hosts import Door
from anypop.agent.decide import moves
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.steps import CreateContainer, instance_lane
from anypop.model.errors import WorldError
from anypop.model.names import HostName

_AGAIN_S = 2.0  # where it could not be opened: the address may not be there yet


class Moving:
    """One host's. `state`: the agent's folder, `ca`: the authority's file, by which hosts know each other."""

    def __init__(self, state: Path, ca: Path, machines: Machines) -> None:
        self._state, self._ca, self._machines = state, ca, machines
        self._facts: Facts | None = None
        self._wanted: tuple[IPv4Address, int] | None = None
        self._due = asyncio.Event()
        self.error = ""

    def set(self, facts: Facts) -> None:
        """Called in each pass, and waits for nothing."""
        self._facts, backbone = facts, facts.order.backbone
        coming = backbone is not None and any(i.move is not None and i.move.arrives for i in facts.staying)
        wanted = (backbone.address, backbone.rules.port) if backbone is not None and coming else None
        if wanted != self._wanted:
            self._wanted = wanted
            self._due.set()

    async def run(self) -> None:
        """Until cancelled. A guest that is on its way when nobody is wanted any more is cut off, and goes on where it
        was.
        """
        while True:
            self._due.clear()
            if self._wanted is None:
                await self._due.wait()
                continue
            arrivals = Arrivals(self._machines, self._expected, lambda _: self._machines.look_again())
            door = Door(self._state, self._ca, arrivals.take)
            address, port = self._wanted
            try:
                await door.open(str(address), port)
                self.error = ""
                await self._due.wait()
            except WorldError as error:
                self.error = f"virtual machines cannot come here: {error}"
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_AGAIN_S):
                        await self._due.wait()
            finally:
                await door.close()

    def _expected(self, uid: str, sender: HostName) -> CreateContainer | None:
        found = moves.expected(self._facts, uid, sender) if self._facts is not None else None
        if found is None or self._facts is None:
            return None
        instance, container = found
        order = self._facts.order
        return CreateContainer(
            instance=instance, container=container, generation=order.generation, rules=order.rules,
            lane=instance_lane(instance.name, instance.uid),
        )  # fmt: skip

"""The door by which virtual machines of other hosts come to this one, and files of images go to others, as the agent
sees it.

In: facts of each pass. Out: a door at this host's end of the tunnels, open as long as a guest may come or there is an
image to give; what is let in is what the order says at that moment, what is given is what control allows. It decides
nothing itself, and knows nothing of what is sent.
"""

import asyncio
import contextlib
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from anypop.agent.act.instances.machines.arriving import Arrivals
from anypop.agent.act.instances.machines.machines import Machines
from anypop.agent.act.instances.machines.move_words import Opening, Part, Stream
from anypop.agent.between_hosts import Door
from anypop.agent.decide import moves
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.steps import CreateContainer, instance_lane
from anypop.agent.image_hosts import ImageHosts
from anypop.model.errors import WorldError
from anypop.model.names import HostName

_AGAIN_S = 2.0  # where it could not be opened: the address may not be there yet


class Moving:
    """One host's. `state`: the agent's folder, `ca`: the authority's file, by which hosts know each other; `images`:
    gives others files of images.
    """

    def __init__(self, state: Path, ca: Path, machines: Machines, images: ImageHosts | None = None) -> None:
        self._state, self._ca, self.machines, self._images = state, ca, machines, images
        self._facts: Facts | None = None
        self._wanted: tuple[IPv4Address, int] | None = None
        self._due = asyncio.Event()
        self.error = ""

    def set(self, facts: Facts) -> None:
        """Called in each pass, and waits for nothing."""
        self._facts, backbone = facts, facts.order.backbone
        if self._images is not None:
            self._images.backbone = backbone
        wanted = (backbone.address, backbone.rules.port) if backbone is not None and self._needed(facts) else None
        if wanted != self._wanted:
            self._wanted = wanted
            self._due.set()

    def _needed(self, facts: Facts) -> bool:
        gives = self._images is not None
        return any((i.move is not None and i.move.arrives) or (gives and i.machine is not None) for i in facts.staying)

    async def run(self) -> None:
        """Until cancelled. A guest that is on its way when nobody is wanted any more is cut off, and goes on where it
        was.
        """
        while True:
            self._due.clear()
            if self._wanted is None:
                await self._due.wait()
                continue
            arrivals = Arrivals(self.machines, self._expected, lambda _: self.machines.look_again())
            door = Door(self._state, self._ca, partial(self._take, arrivals))
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

    async def _take(self, arrivals: Arrivals, stream: Stream, other: HostName) -> None:
        with contextlib.suppress(WorldError):  # it said nothing that is known here
            opening = await stream.hear(Opening)
            if opening is None:
                return
            if opening.part is not Part.IMAGE:
                await arrivals.take(stream, other, opening)
            elif self._images is not None:
                await self._images.give(stream, other, opening)

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

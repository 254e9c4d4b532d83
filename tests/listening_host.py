"""A host's agent that listens to control in tests: what it was asked, and answers that are written down beforehand."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from anypop.model.codec import from_json
from anypop.model.names import HostName
from anypop.model.streams import StreamRequest
from tests.control_world import World


class Said:
    """A host's end of a stream, which says what it has to and is over."""

    said_all = True

    def __init__(self, *messages: bytes) -> None:
        self.messages = list(messages)

    async def receive(self) -> bytes | None:
        return self.messages.pop(0) if self.messages else None

    async def send(self, message: bytes | str) -> None:
        return None


class Channel:
    """`says`: the frames of the answer to what is wanted."""

    said_all = False

    def __init__(self, world: World, host: HostName, says: Callable[[Any], Sequence[bytes]]) -> None:
        self.world, self.host, self.says = world, host, says
        self.asked: list[Any] = []
        self.answering: set[asyncio.Task[None]] = set()

    async def receive(self) -> bytes | None:
        await asyncio.Event().wait()
        return None

    async def send(self, message: bytes | str) -> None:
        request = from_json(StreamRequest, message)
        self.asked.append(request.wanted)
        said = Said(*self.says(request.wanted))
        self.answering.add(asyncio.create_task(self.world.platform.streams.arrived(self.host, request.id, said)))

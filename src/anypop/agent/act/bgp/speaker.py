"""The speaker as the agent's event loop meets it: BIRD's calls in a thread of their own, and what it was last seen to
say.

In: configurations. Out: `seen`, refreshed by each look. One question at a time, and a silent daemon holds up nobody
else.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from anypop.agent.act.bgp import glass
from anypop.agent.act.bgp.bird import Bird, SpeakerSeen
from anypop.agent.decide.elements import SpeakerConfig
from anypop.model.errors import WorldError
from anypop.model.streams import RoutesRequest

T = TypeVar("T")


class Speaker:
    """See the module. `seen` is None before the first look."""

    def __init__(self, bird: Bird) -> None:
        self._bird = bird
        self._thread = ThreadPoolExecutor(1, "bird")
        self.seen: SpeakerSeen | None = None

    async def set(self, config: SpeakerConfig) -> None:
        """Make it say exactly this. Raises `WorldError` with its own words when it refuses."""
        await self._call(lambda: self._bird.set(config))
        for _ in range(5):  # BIRD sends a few milliseconds after it was told to: one look then tells of both
            seen = await self.look()
            if len(seen.exported) >= len(seen.config.exports if seen.config else ()):
                break
            await asyncio.sleep(0.003)

    async def look(self) -> SpeakerSeen:
        await asyncio.sleep(0)  # what else this beat has to do comes first: two threads at once wait for each other
        self.seen = await self._call(self._bird.look)
        return self.seen

    async def refill(self) -> None:
        """Put what was learnt into the kernel once more."""
        await self._call(self._bird.refill)

    async def answer(self, asked: RoutesRequest) -> str:
        """What the daemon says to a question of the looking glass. Raises `WorldError`. Not in the thread of the
        others: whoever asks for much holds up nothing.
        """
        config = self.seen.config if self.seen is not None else None
        if config is None:
            raise WorldError("ask the speaker", "it does not run")
        return await asyncio.to_thread(glass.answer, self._bird.control, config, asked)

    def pid(self) -> int | None:
        """The daemon's process; None when it does not run."""
        return self._bird.pid()

    def end_stopped(self) -> bool:
        """End one that is stopped; not in the thread that may be waiting for its answer. True: look again soon."""
        return self._bird.end_stopped()

    @property
    def log(self) -> Path:
        """The file in which the daemon says what happens to its sessions."""
        return self._bird.log

    def bfd_pid(self) -> int | None:
        """The process that has the BFD of its sessions; None when it does not run."""
        return self._bird.bfd_pid()

    async def _call(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

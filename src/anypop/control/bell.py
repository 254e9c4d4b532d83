"""Waiting for news without polling: a bell for each topic, rung when the topic's part of the state changed.

Belongs to the event loop: everything here is called on it. Closing wakes everybody, so that a process that ends keeps
no one waiting.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Hashable


class Bell:
    """`wait` parks a caller until `ring` of its topic, the timeout, or `close`."""

    def __init__(self) -> None:
        self._waiting: defaultdict[Hashable, set[asyncio.Future[None]]] = defaultdict(set)
        self.closed = False

    async def wait(self, topic: Hashable, timeout_s: float) -> bool:
        """True when the topic was rung (or the bell closed), False after `timeout_s`. Look at the state first: a
        ring is not kept.
        """
        return await self.wait_any([topic], timeout_s)

    async def wait_any(self, topics: Collection[Hashable], timeout_s: float) -> bool:
        """As `wait`, for whichever of several topics is rung first."""
        if self.closed:
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for topic in topics:
            self._waiting[topic].add(future)
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            return False
        finally:
            for topic in topics:
                self._waiting[topic].discard(future)
                if not self._waiting[topic]:
                    del self._waiting[topic]
        return True

    def ring(self, topic: Hashable) -> None:
        for future in self._waiting.get(topic, ()):
            if not future.done():
                future.set_result(None)

    def close(self) -> None:
        """Wake everyone, now and from now on."""
        self.closed = True
        for topic in list(self._waiting):
            self.ring(topic)

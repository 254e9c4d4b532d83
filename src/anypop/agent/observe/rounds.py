"""Questions that were answered well, asked again and again at their beats, all of a beat in one turn of the loop.

In: a question that takes no time, as a function; how often, and in which slot (`beat`). Out: a wait that ends as soon
as it is answered with no. Of a host on which all is well this is most of what happens: a task that sleeps between two
questions costs as much as the question, a function in a list does not. Who asks, and what a no means, is the business
of `probes`.
"""

import asyncio
from collections.abc import Callable

from anypop.agent.beat import until_beat

_Beat = tuple[float, int]
_One = tuple[Callable[[], bool], "asyncio.Future[None]"]


class Rounds:
    """`clock`: the one that beats are of."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._asked: dict[_Beat, list[_One]] = {}

    async def until_no(self, ask: Callable[[], bool], every_s: float, slot: int) -> None:
        """It is asked at the next beat for the first time. Raises what `ask` does."""
        loop, beat = asyncio.get_running_loop(), (every_s, slot)
        one = ask, loop.create_future()
        if beat in self._asked:
            self._asked[beat].append(one)
        else:
            self._asked[beat] = [one]
            self._ring_later(loop, beat)
        try:
            await one[1]
        finally:
            self._asked[beat].remove(one)

    def _ring_later(self, loop: asyncio.AbstractEventLoop, beat: _Beat) -> None:
        loop.call_later(until_beat(self._clock(), *beat), self._ring, loop, beat)

    def _ring(self, loop: asyncio.AbstractEventLoop, beat: _Beat) -> None:
        if not self._asked[beat]:
            del self._asked[beat]
            return
        self._ring_later(loop, beat)
        for ask, no in tuple(self._asked[beat]):
            if not no.done():
                try:
                    if not ask():
                        no.set_result(None)
                except Exception as error:  # nobody else's question is to stop for it
                    no.set_exception(error)

"""Lanes: steps of one lane run in order, lanes run side by side, and a failing lane rests alone (DESIGN invariant 16).

In: the steps of one pass. Out: effects, `busy` lanes, `trouble` of failed ones with the time of the next try. Steps of the router's
lane are made at once, in the caller: they take microseconds, and what follows (an announcement) waits for them.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from itertools import groupby

from anypop.agent.backoff import BackOff
from anypop.agent.observed import Trouble
from anypop.agent.performing import Performer
from anypop.agent.steps import ROUTER, CreateContainer, PullImage, StartContainer, Step
from anypop.model.errors import WorldError
from anypop.model.reasons import Reason


class Lanes:
    """`seen(step)` returns when a look at the world that began after the step is complete: until then its lane stays busy, or the next
    pass would ask for the step once more. `idle()` is called whenever a lane has ended.
    """

    def __init__(self, hands: Performer, *, seen: Callable[[Step], Awaitable[None]], idle: Callable[[], None]) -> None:
        self._hands = hands
        self._seen = seen
        self._idle = idle
        self._rest = BackOff(first_s=0.2, longest_s=60)
        self._pull_rest = BackOff(first_s=1, longest_s=120)  # registries limit how often one may ask
        self._tasks: set[asyncio.Task[None]] = set()
        self._orders = 0
        self.busy: set[str] = set()
        self.trouble: dict[str, Trouble] = {}

    def run(self, steps: list[Step]) -> None:
        """Begin all lanes of `steps`; none of them is busy."""
        by_lane = {lane: list(group) for lane, group in groupby(sorted(steps, key=lambda s: s.lane), key=lambda s: s.lane)}
        for lane, own in by_lane.items():
            if lane == ROUTER:
                self._run_now(own)
                continue
            self.busy.add(lane)
            task = asyncio.create_task(self._run(lane, own))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def new_order(self, changed: Collection[str]) -> None:
        """Steps of the old order that wait are dropped. What failed in lanes that the new one has `changed` deserves a try at once; the
        others rest on: an order for somebody else's sake is no reason to ask a registry again.
        """
        self._orders += 1
        for lane in changed:
            self.trouble.pop(lane, None)

    def _run_now(self, steps: list[Step]) -> None:
        try:
            for step in steps:
                self._hands.perform_now(step)
        except (WorldError, OSError) as error:
            self._failed(ROUTER, steps[0], error)
        else:
            self._succeeded(ROUTER)
        self._idle()

    async def _run(self, lane: str, steps: list[Step]) -> None:
        order, step = self._orders, steps[0]
        try:
            for step in steps:
                if order != self._orders:
                    return
                await self._hands.perform(step)
        except (WorldError, OSError) as error:
            self._failed(lane, step, error)
        else:
            self._succeeded(lane)
        finally:
            await self._seen(step)
            self.busy.discard(lane)
            self._idle()

    def _failed(self, lane: str, step: Step, error: Exception) -> None:
        pull = isinstance(step, PullImage)
        wait = (self._pull_rest if pull else self._rest).failed(lane)
        reason = (
            Reason.PULL_FAILED if pull else Reason.CREATE_FAILED if isinstance(step, CreateContainer | StartContainer) else Reason.BACK_OFF
        )
        self.trouble[lane] = Trouble(reason=reason, message=str(error), until=time.time() + wait)

    def _succeeded(self, lane: str) -> None:
        self.trouble.pop(lane, None)
        self._rest.succeeded(lane)
        self._pull_rest.succeeded(lane)

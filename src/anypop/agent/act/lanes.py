"""Lanes: steps of one lane run in order, lanes run side by side, and a failing lane rests alone (DESIGN invariant 16).

In: the steps of one pass. Out: effects, the `busy` lanes, and a word to `told` about each step that was done and each
that failed. Steps of the router's lane are made at once, in the caller: they take microseconds, and what follows (an
announcement) waits for them.
"""

import asyncio
from collections.abc import Sequence
from itertools import groupby
from typing import Protocol

from anypop.agent.decide.steps import ROUTER, Step
from anypop.model.errors import WorldError


class Acts(Protocol):
    """Carries out one step: at once for those of the router's lane, else in its own time. Raises `WorldError` or
    `OSError`.
    """

    def perform_now(self, step: Step) -> None: ...

    async def perform(self, step: Step) -> None: ...


class Outcomes(Protocol):
    """Who wants to know what became of steps. `seen(steps)` returns when a look at the world that began after them is
    complete: until then their lane stays busy, or the next pass would ask for them once more.
    """

    def done(self, step: Step) -> None: ...

    def failed(self, step: Step, message: str) -> None: ...

    async def seen(self, steps: Sequence[Step]) -> None: ...

    def lane_ended(self, lane: str, *, well: bool) -> None: ...


class Lanes:
    """See the module. A new order makes all lanes drop the steps of the old one that still wait (`new_order`)."""

    def __init__(self, acts: Acts, outcomes: Outcomes) -> None:
        self._acts = acts
        self._outcomes = outcomes
        self._tasks: set[asyncio.Task[None]] = set()
        self._orders = 0
        self.busy: set[str] = set()

    def run(self, steps: list[Step]) -> None:
        """Begin all lanes of `steps`; none of them is busy."""
        by_lane = {lane: list(group) for lane, group in groupby(sorted(steps, key=_lane), key=_lane)}
        for lane, own in by_lane.items():
            if lane == ROUTER:
                self._run_now(own)
                continue
            self.busy.add(lane)
            task = asyncio.create_task(self._run(lane, own))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def new_order(self) -> None:
        self._orders += 1

    def _run_now(self, steps: list[Step]) -> None:
        well, step = True, steps[0]
        try:
            for step in steps:
                self._acts.perform_now(step)
                self._outcomes.done(step)
        except (WorldError, OSError) as error:
            well = False
            self._outcomes.failed(step, str(error))
        self._outcomes.lane_ended(ROUTER, well=well)

    async def _run(self, lane: str, steps: list[Step]) -> None:
        order, step, well, begun = self._orders, steps[0], True, list[Step]()
        try:
            for step in steps:
                if order != self._orders:
                    return
                begun.append(step)
                await self._acts.perform(step)
                self._outcomes.done(step)
        except (WorldError, OSError) as error:
            well = False
            self._outcomes.failed(step, str(error))
        finally:
            await self._outcomes.seen(begun)
            self.busy.discard(lane)
            self._outcomes.lane_ended(lane, well=well)


def _lane(step: Step) -> str:
    return step.lane

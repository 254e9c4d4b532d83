"""Hooks of containers, and how their processes are ended: what is asked of them first, and the time that they have.

In: the steps `RunHook` and `StopContainers`. Out: their effect, or `WorldError`. A hook that is asked by network leaves
by the instance's own link. All of one step end side by side, and none takes longer than its grace period by more than a
moment, whatever its hook does. It decides nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from math import ceil

from anypop.agent.act.instances.runtime import InstanceRuntime
from anypop.agent.decide.elements import Key
from anypop.agent.decide.steps import RunHook, Stop, StopContainers
from anypop.agent.naming import link_of
from anypop.model.announce import Address
from anypop.model.errors import WorldError
from anypop.model.workload import Probe

RunInside = Callable[[tuple[str, ...], float], Awaitable[int]]
Ask = Callable[[Probe, Address, RunInside, str], Awaitable[str | None]]
"""Asks once: None, or why it was not well. See `observe.ask`."""

HOOK_S = 300.0  # of a postStart hook; as long as the longest grace period
LEFT_S = 2  # what a process has to end after a hook that took all of its time


class Hooks:
    """Of one host's containers."""

    def __init__(self, runtime: InstanceRuntime, ask: Ask) -> None:
        self._runtime, self._ask = runtime, ask

    async def run(self, step: RunHook) -> None:
        trouble = await self._run((step.uid, step.container), step.hook, step.address, HOOK_S)
        if trouble is not None:
            raise WorldError("postStart hook", trouble)

    async def stop(self, step: StopContainers) -> None:
        ends = (self._stop(step, stop) for stop in step.stops)
        for outcome in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _stop(self, step: StopContainers, stop: Stop) -> None:
        key, clock = (step.uid, stop.container), asyncio.get_running_loop().time
        begun, left_s = clock(), step.grace_s
        if stop.hook is not None and step.grace_s > 0:
            # one that fails keeps nobody from ending
            await self._run(key, stop.hook, step.address, step.grace_s)
            left_s = max(min(LEFT_S, step.grace_s), ceil(step.grace_s - (clock() - begun)))
        await self._runtime.stop(key, left_s)

    async def _run(self, key: Key, hook: Probe, address: Address, within_s: float) -> str | None:
        async def inside(command: tuple[str, ...], timeout_s: float) -> int:
            return await self._runtime.run_inside(key, command, timeout_s)

        return await self._ask(replace(hook, timeout_s=within_s), address, inside, link_of(key[0]))

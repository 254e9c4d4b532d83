"""The templates of containers that an older version of Anypop made: it kept none, so each is compared once with its
order.

In: a container as it is seen, the order's instances. Out: the same container, with the order's template where it was
made from what the order says, else with UNKNOWN; without one until the runtime has answered. Changes nothing.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from anypop.agent.act.instances.runtime import InstanceRuntime
from anypop.agent.decide.elements import UNKNOWN, ContainerSeen
from anypop.model.errors import WorldError
from anypop.model.order import InstanceOrder
from anypop.model.workload import Container


class Templates:
    """Answers are kept for as long as the agent runs: a container is what it was made from for ever."""

    def __init__(self, runtime: InstanceRuntime, wake: Callable[[], None]) -> None:
        self._runtime = runtime
        self._wake = wake
        self._known: dict[str, bool] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}

    def of(self, seen: ContainerSeen, instances: Mapping[str, InstanceOrder]) -> ContainerSeen:
        """The container with its template. One that no order names, or whose order has no template either, has none."""
        instance = instances.get(seen.uid)
        if seen.template or instance is None or not instance.template:
            return seen
        same = self._known.get(seen.id)
        if same is not None:
            return replace(seen, template=instance.template if same else UNKNOWN)
        container = next((c for c in instance.containers if c.name == seen.container), None)
        if container is None:
            return replace(seen, template=UNKNOWN)
        if seen.id not in self._asking:
            self._asking[seen.id] = asyncio.create_task(self._ask(seen, container))
        return seen

    async def _ask(self, seen: ContainerSeen, container: Container) -> None:
        try:
            self._known[seen.id] = await self._runtime.is_made_of(seen, container)
            self._wake()
        except WorldError:
            await asyncio.sleep(1)  # a pass that comes later asks again
        finally:
            del self._asking[seen.id]

"""Containers and virtual machines as one runtime: each step goes to whom it concerns.

In: the steps of `runtime.InstanceRuntime`. Out: what Podman and QEMU make of them, and what both see. An instance is
either containers or one machine. Where it does not follow from the step, whoever has made the instance's machine knows
it; all others are containers.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from anypop.agent.act.instances.machines.machines import Machines
from anypop.agent.act.instances.runtime import InstanceRuntime, Running
from anypop.agent.decide.elements import ContainerSeen, Key
from anypop.agent.decide.steps import CreateContainer, DropImage, PayloadStep, PullImage
from anypop.model.confinement import Confinement
from anypop.model.machine import Acceleration
from anypop.model.names import InstanceName
from anypop.model.order import InstanceOrder, LinkAddress
from anypop.model.streams import CommandRequest
from anypop.model.workload import Container


class Runtimes:
    """Both, behind `runtime.InstanceRuntime`."""

    def __init__(self, containers: InstanceRuntime, machines: Machines) -> None:
        self._containers, self._machines = containers, machines

    def _of(self, uid: str) -> InstanceRuntime:
        return self._machines if self._machines.knows(uid) else self._containers

    async def seen(self) -> Sequence[ContainerSeen]:
        # one after the other: machines are told from files, and nothing waits for them where Podman does not answer
        return [*await self._machines.seen(), *await self._containers.seen()]

    async def carry_out(self, step: PayloadStep) -> None:
        match step:
            case CreateContainer():
                runtime = self._machines if step.container.machine is not None else self._containers
            case PullImage():
                runtime = self._machines if step.machine is not None else self._containers
            case DropImage():
                runtime = self._machines if step.image in self._machines.fetched() else self._containers
            case _:
                runtime = self._of(step.uid)
        await runtime.carry_out(step)

    def fetched(self) -> Collection[str]:
        return {*self._containers.fetched(), *self._machines.fetched()}

    async def first_user(self, instance: InstanceOrder, before: Confinement | None) -> int:
        runtime = self._machines if instance.machine is not None else self._containers
        return await runtime.first_user(instance, before)

    async def is_made_of(self, seen: ContainerSeen, container: Container) -> bool:
        return await self._of(seen.uid).is_made_of(seen, container)

    async def stop(self, key: Key, grace_s: int) -> None:
        await self._of(key[0]).stop(key, grace_s)

    async def run_inside(self, key: Key, command: tuple[str, ...], timeout_s: float) -> int:
        return await self._of(key[0]).run_inside(key, command, timeout_s)

    async def begin(self, key: Key, wanted: CommandRequest) -> Running:
        return await self._of(key[0]).begin(key, wanted)

    def still(self, instance: InstanceName) -> AbstractAsyncContextManager[None]:
        return self._machines.still(instance)

    async def grown(self, uid: str, claim: str, size_bytes: int) -> None:
        await self._machines.grown(uid, claim, size_bytes)

    def known_to_guest(self, uid: str) -> Collection[LinkAddress]:
        return self._machines.known_to_guest(uid)

    async def machines(self) -> Acceleration:
        return await self._machines.machines()

    async def processor(self) -> str:
        return await self._machines.processor()

    async def disk_bytes(self) -> int:
        return await self._containers.disk_bytes()

    async def written(self) -> Mapping[str, int]:
        return {**await self._containers.written(), **await self._machines.written()}

    async def storage(self) -> Path | None:
        return await self._containers.storage()

    async def changes(self) -> AsyncIterator[None]:
        """Of either; ends with whichever ends first, as each of them does."""
        told = asyncio.Event()

        async def follow(runtime: InstanceRuntime) -> None:
            async for _ in runtime.changes():
                told.set()

        tasks = [asyncio.create_task(follow(runtime)) for runtime in (self._containers, self._machines)]
        try:
            while True:
                waiting = asyncio.create_task(told.wait())
                done, _ = await asyncio.wait({*tasks, waiting}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                if told.is_set():
                    told.clear()
                    yield None
                if over := done & set(tasks):
                    for task in over:
                        task.result()
                    return
        finally:
            for task in tasks:
                task.cancel()

"""A runtime in memory, for tests: what `Podman` promises by `seam.Runtime`, without a process. The contract suite holds it to that."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace

from anypop.agent.observed import ContainerSeen, ContainerState
from anypop.agent.runtime.seam import Spec
from anypop.model.errors import WorldError


class FakeRuntime:
    """`images`: those that are here; `registry`: those that can be pulled. Commands run inside are `true`, `false` and `sleep`."""

    def __init__(self, images: set[str] | None = None, registry: set[str] | None = None) -> None:
        self.images = images or set()
        self.registry = registry or set()
        self.specs: dict[tuple[str, str], Spec] = {}
        self._all: dict[tuple[str, str], ContainerSeen] = {}
        self._pids = itertools.count(1000)
        self._changed: list[asyncio.Queue[None]] = []

    async def containers(self) -> list[ContainerSeen]:
        return list(self._all.values())

    async def has_image(self, image: str) -> bool:
        return image in self.images

    async def pull(self, image: str) -> None:
        if image not in self.registry:
            raise WorldError(f"pull {image}", "no such image in the registry")
        self.images.add(image)

    async def create(self, spec: Spec) -> None:
        key = (spec.instance.uid, spec.container.name)
        if key in self._all:
            return
        if spec.container.image not in self.images:
            raise WorldError(f"create container {spec.container.name} of {spec.instance.name}", "no such image")
        self.specs[key] = spec
        self._all[key] = ContainerSeen(
            id=f"fake-{key[0]}-{key[1]}", instance=spec.instance.name, uid=key[0], container=key[1], state=ContainerState.CREATED
        )

    async def start(self, uid: str, container: str) -> None:
        seen = self._known("start", uid, container)
        if seen.state is not ContainerState.RUNNING:
            started = replace(seen, state=ContainerState.RUNNING, pid=next(self._pids), started_at=1.0, exit_code=None, finished_at=None)
            self._all[uid, container] = started

    async def stop(self, uid: str, container: str) -> None:
        if (uid, container) in self._all and self._all[uid, container].state is ContainerState.RUNNING:
            self.die(uid, container)

    async def remove(self, uid: str, container: str) -> None:
        if self._all.pop((uid, container), None):
            self._tell()

    async def run_inside(self, uid: str, container: str, command: tuple[str, ...], timeout_s: float) -> int:
        if self._known("run", uid, container).state is not ContainerState.RUNNING:
            raise WorldError(f"run {command[0]} in {container}", "it does not run")
        if command[0].endswith("sleep"):
            raise WorldError(f"run {command[0]} in {container}", "took too long")
        return 0 if command[0].endswith("true") else 1

    async def changes(self) -> AsyncIterator[None]:
        queue: asyncio.Queue[None] = asyncio.Queue()
        self._changed.append(queue)
        while True:
            await queue.get()
            yield

    def die(self, uid: str, container: str, code: int = 137) -> None:
        """Its process ends."""
        self._all[uid, container] = replace(self._all[uid, container], state=ContainerState.EXITED, pid=0, exit_code=code, finished_at=2.0)
        self._tell()

    def _known(self, verb: str, uid: str, container: str) -> ContainerSeen:
        if (uid, container) not in self._all:
            raise WorldError(f"{verb} container {container} of {uid}", "no such container")
        return self._all[uid, container]

    def _tell(self) -> None:
        for queue in self._changed:
            queue.put_nowait(None)

"""A runtime in memory, for tests: what `Podman` promises by `InstanceRuntime`, without a process. The contract suite
holds it to that.
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import assert_never

from anypop.agent.act.instances.shutting_in import first_user
from anypop.agent.decide.elements import ContainerSeen, ContainerState, Key
from anypop.agent.decide.steps import (
    CreateContainer,
    DropImage,
    PayloadStep,
    PowerOff,
    PullImage,
    RemoveContainer,
    SendMachine,
    StartContainer,
)
from anypop.model.confinement import Confinement
from anypop.model.errors import WorldError
from anypop.model.machine import Acceleration
from anypop.model.names import InstanceName
from anypop.model.order import InstanceOrder, LinkAddress
from anypop.model.streams import CommandRequest, Frame
from anypop.model.surroundings import Login
from anypop.model.workload import Container


class FakeRuntime:
    """`images`: those that are here; `registry`: those that can be pulled, `logins`: as whom some of them are.
    Commands run inside are `true`, `false` and `sleep`.
    """

    def __init__(
        self,
        images: set[str] | None = None,
        registry: set[str] | None = None,
        logins: dict[str, Login] | None = None,
    ) -> None:
        self.images = images or set()
        self.registry = registry or set()
        self.logins = logins or {}
        self._fetched: set[str] = set()
        self._all: dict[Key, ContainerSeen] = {}
        self._made_from: dict[Key, Container] = {}
        self._numbers = itertools.count(1000)
        self._changed: list[asyncio.Queue[None]] = []

    async def seen(self) -> Sequence[ContainerSeen]:
        return list(self._all.values())

    async def carry_out(self, step: PayloadStep) -> None:
        match step:
            case PullImage():
                self._fetch(step)
            case DropImage():
                if any(made.image == step.image for made in self._made_from.values()):
                    raise WorldError(f"remove image {step.image}", "image is in use by a container")
                self.images.discard(step.image)
            case CreateContainer():
                self._create(step)
            case StartContainer():
                self._start((step.uid, step.container))
            case RemoveContainer():
                self._made_from.pop((step.uid, step.container), None)
                if self._all.pop((step.uid, step.container), None):
                    self._tell()
            case PowerOff():
                await self.stop((step.uid, step.container), step.grace_s)
                if (seen := self._all.get((step.uid, step.container))) is not None:
                    self._all[seen.key] = replace(seen, state=ContainerState.CREATED, exit_code=None, finished_at=None)
            case SendMachine():
                raise WorldError(f"move {step.instance.name}", "it is no virtual machine")
            case _:
                assert_never(step)

    def _fetch(self, step: PullImage) -> None:
        if step.image in self.images and not step.anew:
            return
        if step.image not in self.registry:
            raise WorldError(f"pull {step.image}", "no such image in the registry")
        if step.image in self.logins and step.login != self.logins[step.image]:
            raise WorldError(f"pull {step.image}", "unauthorized: authentication required")
        self.images.add(step.image)
        self._fetched.add(step.image)

    def fetched(self) -> Collection[str]:
        return self._fetched

    def _create(self, step: CreateContainer) -> None:
        key = (step.instance.uid, step.container.name)
        if key in self._all:
            return
        if step.container.image_key not in self.images:
            raise WorldError(f"create container {step.container.name} of {step.instance.name}", "no such image")
        self._made_from[key] = replace(step.container, ports=(), readiness=None, liveness=None)
        past = replace(
            step.past, image="", confinement=None
        )  # it is not carried: the container has an image of its own
        self._all[key] = ContainerSeen(
            id=f"fake-{next(self._numbers)}", instance=step.instance.name, uid=key[0], container=key[1],
            state=ContainerState.CREATED, image=f"id-of-{step.container.image_key}", past=past,
            template=step.instance.template, confinement=step.past.confinement or Confinement.OWN_USERS,
            image_digest=f"sha256:{step.container.image_key}", init=step.container in step.instance.init,
        )  # fmt: skip

    def _start(self, key: Key) -> None:
        seen = self._known("start", key)
        if seen.state is ContainerState.CREATED:
            self._all[key] = replace(seen, state=ContainerState.RUNNING, pid=next(self._numbers), started_at=1.0)

    async def first_user(self, instance: InstanceOrder, before: Confinement | None) -> int:
        return first_user(instance) if before in (None, Confinement.OWN_USERS) else 0

    async def is_made_of(self, seen: ContainerSeen, container: Container) -> bool:
        return seen.key in self._made_from and self._made_from[seen.key] == replace(
            container, ports=(), readiness=None, liveness=None
        )

    async def stop(self, key: Key, grace_s: int) -> None:
        """Its process heeds the signal, where it has time to."""
        if key in self._all and self._all[key].state is ContainerState.RUNNING:
            self.die(key, 0 if grace_s else 137)

    async def run_inside(self, key: Key, command: tuple[str, ...], timeout_s: float) -> int:
        if self._known("run", key).state is not ContainerState.RUNNING:
            raise WorldError(f"run {command[0]} in {key[1]}", "it does not run")
        if command[0].endswith("sleep"):
            raise WorldError(f"run {command[0]} in {key[1]}", "took too long")
        return 0 if command[0].endswith("true") else 1

    async def begin(self, key: Key, wanted: CommandRequest) -> "FakeCommand":
        if key not in self._all:
            raise WorldError("begin the command", "no such container")
        return FakeCommand(wanted.command)

    def still(self, instance: InstanceName) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def grown(self, uid: str, claim: str, size_bytes: int) -> None:
        return

    def known_to_guest(self, uid: str) -> Collection[LinkAddress]:
        return ()

    async def machines(self) -> Acceleration:
        return Acceleration.NONE

    async def processor(self) -> str:
        return ""

    async def disk_bytes(self) -> int:
        return 100 << 30

    async def written(self) -> Mapping[str, int]:
        return dict.fromkeys((seen.id for seen in self._all.values()), 0)

    async def storage(self) -> Path | None:
        return None

    async def changes(self) -> AsyncIterator[None]:
        queue: asyncio.Queue[None] = asyncio.Queue()
        self._changed.append(queue)
        while True:
            await queue.get()
            yield

    def die(self, key: Key, code: int = 137, *, out_of_memory: bool = False) -> None:
        """Its process ends."""
        ended = {
            "state": ContainerState.EXITED,
            "pid": 0,
            "exit_code": code,
            "finished_at": 2.0,
            "out_of_memory": out_of_memory,
        }
        self._all[key] = replace(self._all[key], **ended)  # type: ignore[arg-type]
        self._tell()

    def _known(self, verb: str, key: Key) -> ContainerSeen:
        if key not in self._all:
            raise WorldError(f"{verb} container {key[1]} of {key[0]}", "no such container")
        return self._all[key]

    def _tell(self) -> None:
        for queue in self._changed:
            queue.put_nowait(None)


class FakeCommand:
    """`/bin/false`, and of the shell what the contract suite asks of it."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self._said: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._code = {"sh": 0, "/bin/false": 1}.get(command[0], 127)
        self._echoes = command[-1] == "read x; echo $x"
        if command[-1].startswith("echo "):
            self._said.put_nowait(" ".join(command[-1].split()[1:]).encode() + b"\n")
        if not self._echoes:
            self._said.put_nowait(None)

    async def frames(self) -> AsyncGenerator[bytes, None]:
        while (piece := await self._said.get()) is not None:
            yield bytes([Frame.OUTPUT]) + piece
        yield bytes([Frame.EXIT]) + f'{{"code": {self._code}}}'.encode()

    async def take(self, frame: bytes) -> None:
        if frame[0] == Frame.INPUT and self._echoes:
            self._said.put_nowait(frame[1:] + b"\n")
        elif frame[0] == Frame.END:
            self._said.put_nowait(None)

    async def close(self) -> None:
        self._said.put_nowait(None)

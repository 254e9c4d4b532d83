"""The seam between the agent and whatever makes instances run: containers now, machines later.

In: the steps of `converge` that concern what an instance is made from. Out: what is there, and a sign whenever it
changes by itself. `Podman` is behind it in production, a fake in unit tests; one contract suite runs on both. Every
step may be repeated, and what fails raises `WorldError` in words that a user can act on.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from anypop.agent.decide.elements import ContainerSeen, Key
from anypop.agent.decide.steps import PayloadStep
from anypop.model.confinement import Confinement
from anypop.model.machine import Acceleration
from anypop.model.names import InstanceName
from anypop.model.order import InstanceOrder, LinkAddress
from anypop.model.streams import CommandRequest
from anypop.model.workload import Container

STOP_GRACE_S = 2
"""TERM to KILL. By then the instance is withdrawn and drained: what it still does is its own."""


class Running(Protocol):
    """A command that runs in an instance. Frames: see `model.streams`."""

    def frames(self) -> AsyncGenerator[bytes, None]:
        """What it says, as it comes, and at last how it ended."""
        ...

    async def take(self, frame: bytes) -> None:
        """What it is told."""
        ...

    async def close(self) -> None:
        """End it where it still runs."""
        ...


class InstanceRuntime(Protocol):
    """Instances that carry our labels, whoever started them."""

    async def seen(self) -> Sequence[ContainerSeen]:
        """All that is there, whatever its state."""
        ...

    async def carry_out(self, step: PayloadStep) -> None:
        """Make one step's effect true; harmless where it is already."""
        ...

    def fetched(self) -> Collection[str]:
        """Images that came from registries since it began: names, and ids of those that lost their name to a newer
        one.
        """
        ...

    async def first_user(self, instance: InstanceOrder, before: Confinement | None) -> int:
        """The host's user that is root in an instance; 0: it has the host's users. `before`: how its containers were
        shut in, None: there were none.
        """
        ...

    async def is_made_of(self, seen: ContainerSeen, container: Container) -> bool:
        """Whether one whose template is not known was made from exactly this."""
        ...

    async def stop(self, key: Key, grace_s: int) -> None:
        """End its process: its stop signal, and SIGKILL when it still runs after `grace_s` seconds. It stays there as
        one that has ended. Harmless where nothing runs.
        """
        ...

    async def run_inside(self, key: Key, command: tuple[str, ...], timeout_s: float) -> int:
        """The exit code of a command run beside the application. One that does not end in time is ended, and
        `WorldError` raised.
        """
        ...

    async def begin(self, key: Key, wanted: CommandRequest) -> "Running":
        """Run a command with input and output. Raises `WorldError`."""
        ...

    def still(self, instance: InstanceName) -> AbstractAsyncContextManager[None]:
        """Nothing is written to the disks of a virtual machine of this name meanwhile, where its guest can do that; of
        all others nothing is asked.
        """
        ...

    async def grown(self, uid: str, claim: str, size_bytes: int) -> None:
        """Have a virtual machine that runs see its disk as large as its file is by now; of all others nothing is
        asked. Raises `WorldError`.
        """
        ...

    def known_to_guest(self, uid: str) -> Collection[LinkAddress]:
        """The addresses of its link that the guest of a virtual machine knows, where it has begun its life on another
        host; of all others none.
        """
        ...

    async def machines(self) -> Acceleration:
        """With what it would run virtual machines."""
        ...

    async def processor(self) -> str:
        """What guests of virtual machines here are given of the processor, in words that are the same where one of them
        can go on; empty: there are none.
        """
        ...

    async def disk_bytes(self) -> int:
        """The size of the disk that images and instances are kept on."""
        ...

    async def written(self) -> Mapping[str, int]:
        """Bytes that each container has written beside its image, by id. Costs a look at all of it."""
        ...

    async def storage(self) -> Path | None:
        """The folder that holds its containers' own, with their logs; None: it keeps none."""
        ...

    def changes(self) -> AsyncIterator[None]:
        """One item for each change that we may not have caused. Ends when its source ends."""
        ...

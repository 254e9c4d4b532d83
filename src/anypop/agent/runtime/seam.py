"""The seam between the agent and whatever runs containers: eight verbs on containers and images, all asynchronous.

`Podman` is behind it in production, a fake in unit tests; one contract suite runs on both. Every verb is idempotent, and raises
`WorldError` in words that a user can act on.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from anypop.agent.observed import ContainerSeen
from anypop.model.names import CityCode
from anypop.model.order import InstanceOrder
from anypop.model.workload import Container

STOP_GRACE_S = 2
"""TERM to KILL. By then the instance is withdrawn and drained: what it still does is its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A container to be made: for which instance, by which order."""

    pop: CityCode
    generation: int
    instance: InstanceOrder
    container: Container


class Runtime(Protocol):
    """Containers that carry our labels, by (uid, container name); and images by reference."""

    async def containers(self) -> list[ContainerSeen]: ...

    async def has_image(self, image: str) -> bool: ...

    async def pull(self, image: str) -> None: ...

    async def create(self, spec: Spec) -> None: ...

    async def start(self, uid: str, container: str) -> None: ...

    async def stop(self, uid: str, container: str) -> None: ...

    async def remove(self, uid: str, container: str) -> None: ...

    async def run_inside(self, uid: str, container: str, command: tuple[str, ...], timeout_s: float) -> int: ...

    def changes(self) -> AsyncIterator[None]: ...

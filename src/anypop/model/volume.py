"""Volumes: what a workload claims, what a host is told to keep, and what it says of it.

A volume belongs to a slot (an instance's name) and a claim, for the workload's whole life, and lies on one host. It is
taken away only when its id stands under `volumes_removed` of an order: leaving it out is never enough.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from anypop.model.errors import Problem
from anypop.model.names import CityCode, HostName, InstanceName, StackId, WorkloadId, is_slug

DEFAULT_CLASS = "standard"
"""The storage class that is there on every host without anybody's doing: a folder of the agent's own."""

LEAST_BYTES = 32 << 20
"""The smallest volume: below it a file system takes more for itself than it gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A volume that every instance of a workload has. `slug`: by which containers mount it."""

    slug: str
    size_bytes: int
    storage_class: str = DEFAULT_CLASS


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """Where a container sees a claim's volume."""

    claim: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageClass:
    """A kind of storage that the operator has on some hosts. `path`: the folder there that holds the volumes, made by
    the operator; `hosts`: those that have it, by name (none named: all).
    """

    name: str
    path: str = ""
    hosts: tuple[HostName, ...] = ()

    def is_on(self, host: HostName) -> bool:
        return not self.hosts or host in self.hosts


def problems(classes: Sequence[StorageClass], path: str) -> Iterator[Problem]:
    """What is wrong with the storage classes that an operator wrote."""
    names = [c.name for c in classes]
    for n, one in enumerate(classes):
        if one.name == DEFAULT_CLASS:
            yield Problem(path=f"{path}[{n}].name", message=f"{DEFAULT_CLASS} is there on every host already")
        elif not is_slug(one.name) or one.name in names[:n]:
            yield Problem(path=f"{path}[{n}].name", message=f"{one.name!r} must be a name of its own: a-z, 0-9 and -")
        if not one.path.startswith("/") or ".." in one.path.split("/"):
            yield Problem(path=f"{path}[{n}].path", message="must be an absolute path of a folder on the hosts")


def class_named(classes: Sequence[StorageClass], name: str) -> StorageClass | None:
    """None: there is no such class any more."""
    if name == DEFAULT_CLASS:
        return _DEFAULT
    return next((c for c in classes if c.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """How often somebody asked that a volume become what a snapshot is, and which one the last time."""

    count: int = 0
    snapshot: str = ""


NEVER_RESTORED = Restore()
_DEFAULT = StorageClass(name=DEFAULT_CLASS)


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeOrder:
    """A volume that a host is to keep. `path`: the folder of its storage class ("": the agent's own). `made`: the host
    has said that it is there, so it is never made anew. `snapshots`: those that are to be there; `dropped`: those that
    are to go, by name: what is in neither is left alone.
    """

    id: str
    workload_id: WorkloadId
    instance: InstanceName
    claim: str
    size_bytes: int
    path: str = ""
    made: bool = False
    snapshots: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    restore: Restore = NEVER_RESTORED


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRemoval:
    """An explicit token to take one volume away, with all its snapshots."""

    id: str
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotReport:
    """A snapshot that is complete. `at`: since when."""

    name: str
    at: float
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeReport:
    """A volume as its host sees it. `used_bytes` None: it is not mounted, so nobody knows. `mounted`: for an
    incarnation. `restored`: how many of the restores that were asked for are done. `message`: what went wrong.
    """

    id: str
    size_bytes: int
    used_bytes: int | None = None
    mounted: bool = False
    snapshots: tuple[SnapshotReport, ...] = ()
    restored: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume as control knows it. `doomed_at`: since when it is being taken away; it counts for nobody then.
    Times: epoch seconds.
    """

    id: str
    host: HostName
    pop: CityCode
    workload_id: WorkloadId
    stack_id: StackId
    instance: InstanceName
    claim: str
    size_bytes: int
    storage_class: str = DEFAULT_CLASS
    created_at: float
    made: bool = False
    doomed_at: float | None = None
    snapshots: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    restore: Restore = NEVER_RESTORED

    @property
    def taken_bytes(self) -> int:
        """What it takes of its host's disk at most: itself and as much for each snapshot."""
        return self.size_bytes * (1 + len({*self.snapshots, *self.dropped}))


def volume_id(workload_id: WorkloadId, instance: InstanceName, claim: str) -> str:
    """Sixteen hex digits. The workload is in it: who comes later under the same names finds nothing of this one."""
    text = f"{workload_id}/{instance}/{claim}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

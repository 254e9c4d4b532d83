"""Volumes: how they stand, and what may be asked of them."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from anypop.api.models.common import Answer, Id, Moment, Name, Request, left_out


class SnapshotBody(Request):
    """A copy of a volume, on its host."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[Name, Field(description="1 to 63 of a-z, 0-9 and -")]


class SnapshotRequest(Request):
    """A snapshot, wrapped."""

    snapshot: SnapshotBody


class RestoreRequest(Request):
    """Which of its snapshots a volume is to become."""

    model_config = ConfigDict(extra="forbid")

    snapshot: Name


class Snapshot(Answer):
    """`complete` False: it is asked for, and its host has not said that it is there. `leaving`: it is being deleted."""

    name: str
    complete: bool
    leaving: bool
    created_at: Annotated[Moment, Field(alias="createdAt")] = left_out()
    size_bytes: int = left_out()


class VolumeState(Answer):
    """A volume. `phase`: PENDING until its host has made it, BOUND while an instance has it, UNBOUND else. `told`: its
    host's last report is to be believed; without it, phase and sizes are the last that were known.
    """

    id: str
    instance: str
    claim: str
    workload_id: Id
    workload: str = left_out("the workload is gone")
    pop: str
    host: str
    phase: Literal["PENDING", "UNBOUND", "BOUND"]
    told: bool
    size_bytes: int
    used_bytes: int = left_out("nobody has it, or it was not measured yet")
    storage_class: str
    snapshots: list[Snapshot]
    restoring: str = left_out("the snapshot that it is to become")
    leaving: Annotated[bool, Field(description="it is being taken away, with what is in it")]
    message: str = left_out("what went wrong, or what it waits for")
    created_at: Annotated[Moment, Field(alias="createdAt")]


class VolumeAnswer(Answer):
    volume: VolumeState


class Volumes(Answer):
    results: list[VolumeState]

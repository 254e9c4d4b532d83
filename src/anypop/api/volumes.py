"""/anypop/v1/stacks/.../volumes: the volumes of a stack, their snapshots, and how one is let go.

In: requests. Out: where each volume is and how it stands by its host's last report; what is asked goes to the book and
from there to the host. Nothing of what is in a volume passes here.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from fastapi.responses import StreamingResponse

from anypop.api import shapes, told
from anypop.api.bodies import JsonBody
from anypop.api.context import AskingCaller, CallerStack, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.volumes import RestoreRequest, SnapshotRequest, VolumeAnswer, Volumes
from anypop.control import volumes
from anypop.control.state import State
from anypop.control.volume_book import phase_of
from anypop.model.names import StackId
from anypop.model.volume import Volume

router = APIRouter(prefix="/anypop/v1/stacks/{stack_id}/volumes", tags=["volumes"])

VolumeId = Annotated[str, Path(description="id, or INSTANCE:CLAIM")]
SnapshotName = Annotated[str, Path(description="a snapshot's name")]


@router.get("")
@answers(Volumes)
async def list_volumes(stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    """List the volumes of a stack: those of instances, and those that a smaller scale left behind."""
    return _listed(platform.core.state, stack.id)


@router.get("/watch")
@answers(Volumes, media_type="text/event-stream")
async def watch_volumes(
    stack: CallerStack, caller: AskingCaller, platform: PlatformDep, longest_s: told.LongestS = 0
) -> StreamingResponse:
    """Watch the volumes of a stack.

    Server-sent events: `volumes` with all of them at once and after each change; `ended`, with why, when the caller may
    watch no longer; a comment is a sign of life.
    """
    return await told.stream(
        platform, caller, "volumes", lambda: _listed(platform.core.state, stack.id), longest_s=longest_s
    )


def _listed(state: State, stack: StackId) -> dict[str, Any]:
    found = sorted(state.volumes_in(stack).values(), key=lambda v: (v.instance, v.claim, v.host))
    return {"results": [data_of(state, volume) for volume in found]}


@router.post("/{volume_id}/snapshots")
@answers(VolumeAnswer, Code.NOT_FOUND, Code.FAILED_PRECONDITION, Code.ALREADY_EXISTS)
async def take_snapshot(
    volume_id: VolumeId,
    stack: CallerStack,
    platform: PlatformDep,
    body: Annotated[SnapshotRequest, Depends(JsonBody(SnapshotRequest))],
) -> dict[str, Any]:
    """Copy a volume as it is now, on its host.

    Who writes to it waits while it is copied: a moment where the host's file system shares blocks (xfs, btrfs), else as
    long as the copy takes. It is complete when the list says so.
    """
    step = volumes.take_snapshot(stack.id, volume_id, body.snapshot.name)
    return _answer(await platform.core.change(step), stack.id, volume_id)


@router.delete("/{volume_id}/snapshots/{name}")
@answers(VolumeAnswer, Code.NOT_FOUND, Code.FAILED_PRECONDITION)
async def delete_snapshot(
    volume_id: VolumeId, name: SnapshotName, stack: CallerStack, platform: PlatformDep
) -> dict[str, Any]:
    """Delete a snapshot of a volume."""
    state = await platform.core.change(volumes.drop_snapshot(stack.id, volume_id, name))
    return _answer(state, stack.id, volume_id)


@router.post("/{volume_id}/restore")
@answers(VolumeAnswer, Code.NOT_FOUND, Code.FAILED_PRECONDITION)
async def restore_volume(
    volume_id: VolumeId,
    stack: CallerStack,
    platform: PlatformDep,
    body: Annotated[RestoreRequest, Depends(JsonBody(RestoreRequest))],
) -> dict[str, Any]:
    """Make a volume what its snapshot is.

    Its instance is stopped for that, and started again; what was written since is lost.
    """
    state = await platform.core.change(volumes.restore(stack.id, volume_id, body.snapshot))
    return _answer(state, stack.id, volume_id)


@router.delete("/{volume_id}")
@answers(VolumeAnswer, Code.NOT_FOUND, Code.FAILED_PRECONDITION)
async def release_volume(volume_id: VolumeId, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    """Let a volume go, with what is in it and its snapshots.

    One that no instance has, or one on a host that is lost or given up. An instance that waited for it may then live
    elsewhere, with an empty one.
    """
    before = volumes.find(platform.core.state, stack.id, volume_id)
    state = await platform.core.change(volumes.release(stack.id, volume_id))
    return {"volume": data_of(state, state.volumes.get((before.host, before.id), before))}


def _answer(state: State, stack: Any, volume_id: str) -> dict[str, Any]:
    return {"volume": data_of(state, volumes.find(state, stack, volume_id))}


def data_of(state: State, volume: Volume) -> dict[str, Any]:
    """A volume as people and programs read it."""
    declared, received = state.workloads.get(volume.workload_id), state.reports.get(volume.host)
    verdict = state.verdict.hosts.get(volume.host)
    seen = next((v for v in received.report.volumes if v.id == volume.id), None) if received is not None else None
    complete = {s.name: s for s in seen.snapshots} if seen is not None else {}
    snapshots = [
        shapes.filled(
            {
                "name": name,
                "complete": name in complete,
                "leaving": name in volume.dropped,
                "createdAt": shapes.moment(complete[name].at) if name in complete else None,
                "size_bytes": complete[name].size_bytes if name in complete else None,
            }
        )
        for name in (*volume.snapshots, *volume.dropped)
    ]
    restoring = volume.restore.snapshot if seen is not None and seen.restored < volume.restore.count else ""
    return shapes.filled(
        {
            "id": volume.id,
            "instance": volume.instance,
            "claim": volume.claim,
            "workload_id": volume.workload_id,
            "workload": declared.workload.slug if declared is not None else None,
            "pop": volume.pop,
            "host": volume.host,
            "phase": phase_of(volume, seen),
            "told": verdict is not None and verdict.trusted,
            "size_bytes": volume.size_bytes,
            "used_bytes": seen.used_bytes if seen is not None else None,
            "storage_class": volume.storage_class,
            "restoring": restoring or None,
            "leaving": volume.doomed_at is not None,
            "message": seen.message if seen is not None else None,
            "createdAt": shapes.moment(volume.created_at),
        }
    ) | {"snapshots": snapshots}

"""A host's volumes: what is asked of them, done one thing after the other, and how they are now.

In: steps of `converge` that concern volumes; for a look, the order. Out: their effect, or `WorldError`; what is on the
disk and what is mounted. Everything that takes time runs in a thread. What somebody else may be in the middle of
(two steps about one volume in two lanes) waits here.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import assert_never

from anypop.agent.act.volumes import mounts
from anypop.agent.act.volumes.files import VolumeFiles
from anypop.agent.decide.steps import (
    AttachVolume,
    DeleteVolume,
    DetachVolumes,
    DropSnapshot,
    GrowVolume,
    RestoreVolume,
    TakeSnapshot,
    VolumeStep,
)
from anypop.agent.decide.volumes_seen import NO_VOLUMES, VolumeSeen, VolumesSeen
from anypop.agent.naming import short
from anypop.host.shared_mounts import volumes_top
from anypop.model.errors import WorldError
from anypop.model.order import Order
from anypop.model.volume import SnapshotReport


class Keeper:
    """`state`: the agent's folder; `podman`: its service's socket, None where nobody has to see the mounts."""

    def __init__(self, state: Path, podman: Path | None) -> None:
        self._own, self._top, self._podman = state / "volumes" / "standard", volumes_top(state), podman
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._known: dict[tuple[str, str], VolumeSeen] = {}
        self._used: Mapping[str, int] = {}

    async def perform(self, step: VolumeStep, first_user: int = 0) -> None:
        """`first_user`: the host's user that is root in the instance, where a volume is mounted for it."""
        match step:
            case AttachVolume():
                async with self._locks[step.volume.id]:
                    await asyncio.to_thread(self._attach, step, first_user)
            case DetachVolumes():
                await asyncio.to_thread(mounts.detach, self._top, short(step.uid))
            case GrowVolume():
                async with self._locks[step.volume.id]:
                    files = self._files(step.volume.id, step.volume.path)
                    await asyncio.to_thread(files.grow, step.volume.size_bytes, alone=True)
            case TakeSnapshot():
                async with self._locks[step.volume.id]:
                    await asyncio.to_thread(self._take, step)
            case DropSnapshot():
                await asyncio.to_thread(self._files(step.volume.id, step.volume.path).drop_snapshot, step.name)
            case RestoreVolume():
                async with self._locks[step.volume.id]:
                    await asyncio.to_thread(self._restore, step)
            case DeleteVolume():
                async with self._locks[step.id]:
                    await asyncio.to_thread(self._delete, step)
            case _:
                assert_never(step)
        self._known.clear()

    async def settle(self, step: GrowVolume) -> None:
        """Whoever has it knows how large it is now."""
        files = self._files(step.volume.id, step.volume.path)
        await asyncio.to_thread(files.settle, step.volume.size_bytes)
        self._known.clear()

    def begin(self) -> None:
        """After the death of whoever held file systems still."""
        for key, ids in mounts.mounted(self._top).items():
            for id_ in ids:
                mounts.thaw(self._top / key / id_)

    def look(self, order: Order) -> VolumesSeen:
        """What there is of the order's volumes. Without any it costs nothing but a look for the folder."""
        if not order.volumes and not order.volumes_removed and not self._top.exists():
            return NO_VOLUMES
        there: dict[str, VolumeSeen] = {}
        hidden = set()
        named = {v.id: v.path for v in order.volumes} | {token.id: token.path for token in order.volumes_removed}
        for id_, path in named.items():
            if path and not Path(path).is_dir():
                hidden.add(id_)
            elif (seen := self._seen(id_, path)) is not None:
                there[id_] = replace(seen, used_bytes=self._used.get(id_))
        return VolumesSeen(there=there, hidden=frozenset(hidden), mounted=mounts.mounted(self._top))

    def measure(self) -> None:
        """How much is in those that are mounted."""
        used = {}
        for key, ids in mounts.mounted(self._top).items():
            for id_ in ids:
                if not (self._top / key / id_).is_dir():
                    continue  # what is in a guest's disk, the guest knows
                try:
                    found = os.statvfs(self._top / key / id_)
                except OSError:
                    continue
                used[id_] = (found.f_blocks - found.f_bfree) * found.f_frsize
        self._used = used
        self._known.clear()

    def _files(self, id_: str, path: str) -> VolumeFiles:
        return VolumeFiles(folder=Path(path) if path else self._own, id=id_)

    def _seen(self, id_: str, path: str) -> VolumeSeen | None:
        known = self._known.get((id_, path))
        if known is None:
            files = self._files(id_, path)
            if not files.is_there():
                return None
            known = self._known[id_, path] = VolumeSeen(
                size_bytes=files.size(),
                settled_bytes=files.record().size_bytes,
                snapshots=tuple(
                    SnapshotReport(name=s.name, at=s.at, size_bytes=s.size_bytes) for s in files.snapshots()
                ),
                restored=files.record().restored,
            )
        return known

    def _attach(self, step: AttachVolume, first_user: int) -> None:
        volume = step.volume
        files = self._files(volume.id, volume.path)
        if volume.made and not files.is_there():
            why = f"it was in {files.folder} and is not there any more: nothing is made in its place"
            raise WorldError(f"mount volume {volume.claim} of {volume.instance}", why)
        files.make(volume.size_bytes)
        if step.instance.machine is not None:
            if volume.id not in mounts.mounted(self._top).get(short(step.instance.uid), ()):
                files.grow(volume.size_bytes, alone=True)
            mounts.lend_disk(self._top, files.data, volume.id, short(step.instance.uid))
            return
        if volume.id not in mounts.mounted(self._top).get(short(step.instance.uid), ()):
            mounts.release(self._top, files.data, volume.id)
            files.grow(volume.size_bytes)
            files.hold()
        mounts.attach(self._top, files.data, volume.id, short(step.instance.uid), first_user)
        if self._podman is not None:
            mounts.must_be_seen(self._top, volume.id, short(step.instance.uid), self._podman)

    def _take(self, step: TakeSnapshot) -> None:
        id_ = step.volume.id
        point = next((self._top / key / id_ for key, ids in mounts.mounted(self._top).items() if id_ in ids), None)
        with mounts.still(point):
            self._files(id_, step.volume.path).take_snapshot(step.name)

    def _restore(self, step: RestoreVolume) -> None:
        files = self._files(step.volume.id, step.volume.path)
        mounts.release(self._top, files.data, step.volume.id)
        files.restore(step.volume.restore.snapshot, step.volume.restore.count)

    def _delete(self, step: DeleteVolume) -> None:
        files = self._files(step.id, step.path)
        if any(step.id in ids for ids in mounts.mounted(self._top).values()):
            raise WorldError(f"remove volume {step.id}", "an incarnation still has it")
        mounts.release(self._top, files.data, step.id)
        files.remove()

"""Volumes of a host that is not there: what the real ones do, and a refusal of what must never happen."""

from dataclasses import dataclass, field, replace

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
from anypop.agent.decide.volumes_seen import VolumeSeen, VolumesSeen
from anypop.agent.naming import short
from anypop.model.volume import SnapshotReport


@dataclass
class FakeVolumes:
    """By id what is on the disk; by the name of a link what an incarnation has."""

    there: dict[str, VolumeSeen] = field(default_factory=dict)
    mounted: dict[str, set[str]] = field(default_factory=dict)

    def seen(self) -> VolumesSeen:
        return VolumesSeen(
            there=dict(self.there), mounted={k: frozenset(ids) for k, ids in self.mounted.items() if ids}
        )

    def apply(self, step: VolumeStep, boxed: set[str]) -> None:
        """`boxed`: uids that have a container."""
        match step:
            case AttachVolume():
                key, id_ = short(step.instance.uid), step.volume.id
                assert not any(id_ in ids for k, ids in self.mounted.items() if k != key), "two have one volume"
                assert not step.volume.made or id_ in self.there, "what was there is never made anew"
                self.there.setdefault(
                    id_, VolumeSeen(size_bytes=step.volume.size_bytes, settled_bytes=step.volume.size_bytes)
                )
                self.mounted.setdefault(key, set()).add(id_)
            case GrowVolume():
                assert step.volume.id in self.mounted.get(short(step.uid), ()), "it is somebody else's"
                size = step.volume.size_bytes
                self.there[step.volume.id] = replace(self.there[step.volume.id], size_bytes=size, settled_bytes=size)
            case DetachVolumes():
                assert step.uid not in boxed, "a container still has it"
                self.mounted.pop(short(step.uid), None)
            case TakeSnapshot():
                old = self.there[step.volume.id]
                taken = SnapshotReport(name=step.name, at=0.0, size_bytes=old.size_bytes)
                self.there[step.volume.id] = replace(old, snapshots=(*old.snapshots, taken))
            case DropSnapshot():
                old = self.there[step.volume.id]
                left = tuple(s for s in old.snapshots if s.name != step.name)
                self.there[step.volume.id] = replace(old, snapshots=left)
            case RestoreVolume():
                assert not self._has(step.volume.id), "somebody writes to it"
                self.there[step.volume.id] = replace(self.there[step.volume.id], restored=step.volume.restore.count)
            case DeleteVolume():
                assert not self._has(step.id), "somebody has it"
                self.there.pop(step.id, None)

    def _has(self, id_: str) -> bool:
        return any(id_ in ids for ids in self.mounted.values())

"""Volumes as a host really has them, in a form that decisions take: on the disk, and mounted. Pure and frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from anypop.model.volume import SnapshotReport


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSeen:
    """A volume that is on the disk. `used_bytes` None: not mounted, or not measured yet. `settled_bytes`: the size that
    whoever has it was told of.
    """

    size_bytes: int
    settled_bytes: int = 0
    used_bytes: int | None = None
    snapshots: tuple[SnapshotReport, ...] = ()
    restored: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumesSeen:
    """`there`: by id, of those that the order names. `hidden`: ids whose folder is not to be seen now, so nobody knows.
    `mounted`: by `short(uid)`, the ids that an incarnation has.
    """

    there: Mapping[str, VolumeSeen] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    mounted: Mapping[str, frozenset[str]] = field(default_factory=dict)


NO_VOLUMES = VolumesSeen()

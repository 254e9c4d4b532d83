"""What people may ask of volumes: a snapshot, to become one again, to be let go.

In: what a request names. Out: the `alter` step for `Core.change`, which checks against what is there inside the step.
What follows is `volume_book`'s and the hosts'. Pure.
"""

from dataclasses import replace

from anypop.control.core import Alter
from anypop.control.refusals import Exists, NotFound, Precondition
from anypop.control.state import State
from anypop.model.names import StackId, is_slug
from anypop.model.report_limits import MOST_SNAPSHOTS
from anypop.model.table import with_entries
from anypop.model.volume import Restore, Volume


def find(state: State, stack: StackId, identity: str) -> Volume:
    """A volume of a stack by its id, or as `INSTANCE:CLAIM`. Raises `NotFound`."""
    found = [v for v in state.volumes_in(stack).values() if identity in (v.id, f"{v.instance}:{v.claim}")]
    if not found:
        raise NotFound(f"no volume {identity}")
    return min(found, key=lambda v: (v.doomed_at is not None, v.host))


def take_snapshot(stack: StackId, identity: str, name: str) -> Alter:
    """Have its host copy a volume. The step raises `NotFound`, `Precondition`, or `Exists` where there is one of that
    name.
    """

    def alter(state: State, now: float) -> State:
        volume = _standing(find(state, stack, identity))
        if not is_slug(name):
            raise Precondition(f"{name!r} is no name for a snapshot: 1 to 63 of a-z, 0-9 and -")
        if name in volume.snapshots or name in volume.dropped:
            raise Exists(f"snapshot {name} of {volume.instance}:{volume.claim} is there already")
        if len(volume.snapshots) + len(volume.dropped) >= MOST_SNAPSHOTS:
            raise Precondition(f"{volume.instance}:{volume.claim} has {MOST_SNAPSHOTS} snapshots: delete one first")
        return _with(state, replace(volume, snapshots=(*volume.snapshots, name)))

    return alter


def drop_snapshot(stack: StackId, identity: str, name: str) -> Alter:
    def alter(state: State, now: float) -> State:
        volume = _standing(find(state, stack, identity))
        _must_have(volume, name)
        kept = tuple(n for n in volume.snapshots if n != name)
        return _with(state, replace(volume, snapshots=kept, dropped=(*volume.dropped, name)))

    return alter


def restore(stack: StackId, identity: str, name: str) -> Alter:
    """Have a volume become what its snapshot is: its instance is stopped for that, and started again."""

    def alter(state: State, now: float) -> State:
        volume = _standing(find(state, stack, identity))
        _must_have(volume, name)
        return _with(state, replace(volume, restore=Restore(count=volume.restore.count + 1, snapshot=name)))

    return alter


def release(stack: StackId, identity: str) -> Alter:
    """Let a volume go, with what is in it: one that no instance has, or one on a host that is lost or given up. Its
    instance may then live elsewhere, with an empty one.
    """

    def alter(state: State, now: float) -> State:
        volume = find(state, stack, identity)
        if volume.doomed_at is not None:
            return state
        lost = volume.host in state.lost or volume.host in state.evicted or state.network.host(volume.host) is None
        lives = [p.incarnation for p in state.incarnations_of(volume.workload_id).values()]
        if not lost and any(i.name == volume.instance and i.host == volume.host for i in lives):
            raise Precondition(
                f"{volume.instance} has it on {volume.host}, which is in use: scale down or delete the workload, or "
                f"give the host up first (anypop host evict {volume.host})"
            )
        return _with(state, replace(volume, doomed_at=now))

    return alter


def _standing(volume: Volume) -> Volume:
    if volume.doomed_at is not None:
        raise Precondition(f"{volume.instance}:{volume.claim} is being taken away")
    return volume


def _must_have(volume: Volume, name: str) -> None:
    if name not in volume.snapshots:
        there = f"it has {', '.join(volume.snapshots)}" if volume.snapshots else "it has none"
        raise NotFound(f"no snapshot {name} of {volume.instance}:{volume.claim} ({there})")


def _with(state: State, volume: Volume) -> State:
    return replace(state, volumes=with_entries(state.volumes, {(volume.host, volume.id): volume}))

"""What volumes want: mounted before a container, never by two, unmounted after the last one, gone by a token. Pure.

In: `Facts`. Out: steps, and whether an instance's containers may be made. A volume is never made, put back or taken
away for what an order leaves out.
"""

from collections.abc import Iterable

from anypop.agent.decide import lives
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.steps import (
    AttachVolume,
    DeleteVolume,
    DetachVolumes,
    DropSnapshot,
    GrowVolume,
    RestoreVolume,
    Step,
    TakeSnapshot,
    instance_lane,
    volume_lane,
)
from anypop.agent.naming import short
from anypop.model.order import InstanceOrder
from anypop.model.volume import VolumeOrder, VolumeReport


def may_have_containers(instance: InstanceOrder, facts: Facts) -> tuple[list[Step], bool]:
    """The steps before an incarnation's containers, and whether these may be made after them."""
    wanted, lane = instance.volumes, instance_lane(instance.name, instance.uid)
    if not wanted:
        return [], True
    ordered = {v.id: v for v in facts.order.volumes}
    own = [ordered[id_] for id_ in sorted(wanted & ordered.keys())]
    key, there = short(instance.uid), facts.containers_of(instance.uid)
    has = facts.observed.volumes.mounted.get(key, frozenset())
    if any(is_to_be_restored(v, facts) for v in own):
        steps = lives.ended(there.values(), instance.name, instance.uid, instance, again=True)
        return [*steps, *([DetachVolumes(uid=instance.uid, lane=lane)] if has else [])], False
    if facts.has_process(instance.uid) or wanted <= has:
        return [], True  # what a process has, it keeps, whoever has unmounted it here
    if len(own) < len(wanted) or any(why_not(v, instance.uid, facts) for v in own):
        return [], False
    pasts = facts.observed.memory.pasts
    confinement = next((past.confinement for (uid, _), past in pasts.items() if uid == instance.uid), None)
    return [
        AttachVolume(instance=instance, volume=v, confinement=confinement, lane=lane) for v in own if v.id not in has
    ], True


def why_not(volume: VolumeOrder, uid: str, facts: Facts) -> str:
    """Why an incarnation cannot have a volume now; empty: it can."""
    holders = _holders(volume.id, facts) - {short(uid)}
    # of two that are ordered at once the older one comes first
    turns = [i for i in facts.lives.get(volume.instance, ()) if volume.id in i.volumes]
    if holders or (turns and turns[-1].uid != uid):
        return f"volume {volume.claim} is still with the incarnation before it"
    if volume_lane(volume.id) in facts.observed.busy:
        return f"volume {volume.claim} is being copied or put back"
    if volume.id in facts.observed.volumes.hidden:
        return f"volume {volume.claim}: there is no folder {volume.path} on this host"
    if volume.made and volume.id not in facts.observed.volumes.there:
        return f"volume {volume.claim} was on this host and is not there any more: nothing is made in its place"
    return ""


def waits_for(instance: InstanceOrder, facts: Facts) -> str:
    """What an incarnation without containers waits for, in words."""
    wanted = instance.volumes
    ordered = [v for v in facts.order.volumes if v.id in wanted]
    if any(is_to_be_restored(v, facts) for v in ordered):
        return "a volume is being put back to a snapshot"
    if len(ordered) < len(wanted):
        return "the order does not name its volumes"
    return next((why for v in ordered if (why := why_not(v, instance.uid, facts))), "")


def _holders(id_: str, facts: Facts) -> set[str]:
    """Incarnations, by `short(uid)`, that have a volume mounted, or a container that may have it."""
    found = {key for key, ids in facts.observed.volumes.mounted.items() if id_ in ids}
    for key, instance in facts.known.items():
        if id_ in instance.volumes and facts.containers_of(instance.uid):
            found.add(key)
    return found


def is_to_be_restored(volume: VolumeOrder, facts: Facts) -> bool:
    """Whether somebody asked that it become what a snapshot is, and that has not been done."""
    seen = facts.observed.volumes.there.get(volume.id)
    return seen is not None and seen.restored < volume.restore.count


def upkeep(facts: Facts) -> list[Step]:
    """What is to be done with volumes beside the instances' own."""
    seen, steps = facts.observed.volumes, list[Step]()
    for volume in facts.order.volumes:
        there = seen.there.get(volume.id)
        if there is None:
            continue
        lane, names = volume_lane(volume.id), {s.name for s in there.snapshots}
        # a snapshot that is asked for with a restore is of what was there before
        steps += [TakeSnapshot(volume=volume, name=n, lane=lane) for n in volume.snapshots if n not in names]
        steps += [DropSnapshot(volume=volume, name=n, lane=lane) for n in volume.dropped if n in names]
        if there.settled_bytes < volume.size_bytes and (guest := _guest_with(volume, facts)) is not None:
            steps.append(GrowVolume(volume=volume, uid=guest.uid, lane=lane))
        if is_to_be_restored(volume, facts) and not _holders(volume.id, facts):
            steps.append(RestoreVolume(volume=volume, lane=lane))
    needed = _needed(facts) if facts.order.volumes_removed else frozenset()
    for token in facts.order.volumes_removed:
        if token.id in seen.there and token.id not in needed and not _holders(token.id, facts):
            steps.append(DeleteVolume(id=token.id, path=token.path, lane=volume_lane(token.id)))
    return steps


def _guest_with(volume: VolumeOrder, facts: Facts) -> InstanceOrder | None:
    """The virtual machine that has it as a disk and runs; one that does not finds it as it is when it starts."""
    return next(
        (
            one
            for one in facts.staying
            if one.machine is not None
            and volume.id in one.volumes
            and volume.id in facts.observed.volumes.mounted.get(short(one.uid), ())
            and facts.has_process(one.uid)
        ),
        None,
    )


def _needed(facts: Facts) -> frozenset[str]:
    """The volumes of all that stays, and of what is still there of those that leave."""
    leaving = (x.instance for x in facts.remains if x.instance is not None)
    return frozenset(id_ for instance in (*facts.staying, *leaving) for id_ in instance.volumes)


def told(facts: Facts) -> tuple[VolumeReport, ...]:
    """What is said of the volumes that the order names."""
    seen, troubles = facts.observed.volumes, facts.observed.memory.trouble
    with_them = {id_ for ids in seen.mounted.values() for id_ in ids}
    found = []
    for volume in facts.order.volumes:
        there, trouble = seen.there.get(volume.id), troubles.get(volume_lane(volume.id))
        if there is not None:
            found.append(
                VolumeReport(
                    id=volume.id, size_bytes=there.size_bytes, used_bytes=there.used_bytes,
                    mounted=volume.id in with_them, snapshots=there.snapshots, restored=there.restored,
                    message=trouble.message if trouble is not None else "",
                )
            )  # fmt: skip
    return tuple(found)


def gone(facts: Facts) -> tuple[str, ...]:
    """The ids of volumes that were to go and are not there."""
    seen = facts.observed.volumes
    ids: Iterable[str] = (token.id for token in facts.order.volumes_removed)
    return tuple(sorted(id_ for id_ in ids if id_ not in seen.there and id_ not in seen.hidden))

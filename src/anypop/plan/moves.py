"""Which virtual machines change hosts: those that a drained host is to let go, while they run or while they are off.
Pure.

In: one workload's incarnations as they are placed, and the ground. Out: by uid, what each half of a move is told. A
successor on another host of the PoP takes the guest over instead of beginning one; where that fails it begins one, as
do all others: those of containers, with volumes or several interfaces, and those that the loss of their host moves. Of
one that is off the root disk goes alone: its successor is off as long as it waits for that, whatever becomes of the
drain or is asked of the older one, since there may be a moment at which it is the only one that has the disk.
"""

from collections.abc import Iterable, Mapping, Sequence

from anypop.model.machine import Power
from anypop.model.names import HostName, InstanceName
from anypop.model.order import Move
from anypop.model.plan import Incarnation
from anypop.model.workload import Workload
from anypop.plan.ground import Ground

_NONE: Mapping[str, Move] = {}


def moves_of(ground: Ground, kept: Iterable[Incarnation]) -> Mapping[str, Move]:
    """`kept`: all of one workload."""
    kept = tuple(kept)
    if not ground.emptied and all(i.power is not Power.OFF for i in kept):
        return _NONE
    slots: dict[InstanceName, list[Incarnation]] = {}
    for incarnation in kept:
        slots.setdefault(incarnation.name, []).append(incarnation)
    found: dict[str, Move] = {}
    for lives in slots.values():
        if len(lives) == 2:
            old, new = sorted(lives, key=lambda i: i.life)
            rests = takes_disk(old, new) and is_carried(_made_from(ground, old))
            if rests or _moves(ground, old, new):
                found[old.uid] = Move(uid=new.uid, host=new.host, arrives=False, rests=rests)
                found[new.uid] = Move(uid=old.uid, host=old.host, arrives=True, rests=rests)
    return found


def takes_disk(old: Incarnation, new: Incarnation) -> bool:
    """Whether the newer one waits for the root disk of the older, which was off when it was placed. No other two of one
    template live on two hosts while the newer one is off.
    """
    return new.power is Power.OFF and same_elsewhere(old, new) and old.life < new.life


def same_elsewhere(one: Incarnation, other: Incarnation) -> bool:
    """Two lives of a slot, made from the same, on two hosts of a PoP."""
    return one.host != other.host and (one.slot, one.pop, one.template) == (other.slot, other.pop, other.template)


def resting(lives: Sequence[Incarnation]) -> tuple[Incarnation, Incarnation] | None:
    """The two of a slot of which the newer takes the disk of the older; None: there are none."""
    if len(lives) != 2:
        return None
    old, new = sorted(lives, key=lambda i: i.life)
    return (old, new) if takes_disk(old, new) else None


def may_go_alone(held: Incarnation, made_from: Workload) -> bool:
    """Whether the root disk of one can go to another host while it is off."""
    return held.power is Power.OFF and held.rescue is None and bool(held.template) and is_carried(made_from)


def is_carried(made_from: Workload | None) -> bool:
    """Whether instances of it can go to another host at all, where hosts reach each other."""
    return made_from is not None and made_from.is_machine and not made_from.volumes and not made_from.further


def _made_from(ground: Ground, life: Incarnation) -> Workload | None:
    return ground.revision(life.workload_id, life.revision) or ground.workload(life.workload_id)


def alike(ground: Ground, one: HostName, other: HostName) -> bool:
    """Whether a guest of one host can go on at the other: not where their processors are known to differ."""
    return len({told for host in (one, other) if (told := ground.processor(host))}) < 2


def _moves(ground: Ground, old: Incarnation, new: Incarnation) -> bool:
    if old.host == new.host or old.pop != new.pop or old.template != new.template or not old.template:
        return False
    if old.host not in ground.emptied or {old.host, new.host} & {*ground.lost}:
        return False
    if not is_carried(_made_from(ground, old)):
        return False
    if not old.serves or not new.serves:  # off, or running another image
        return False
    if not alike(ground, old.host, new.host):
        return False
    # what serves already has begun by itself, or has come
    return new.uid not in ground.ready(old.workload_id)

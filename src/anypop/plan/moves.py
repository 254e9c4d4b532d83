"""Which virtual machines change hosts while they run: those that a drained host is to let go. Pure.

In: one workload's incarnations as they are placed, and the ground. Out: by uid, what each half of a move is told. A
successor on another host of the PoP takes the guest over instead of beginning one; where that fails it begins one, as
do all others: those of containers, with volumes or several interfaces, and those that the loss of their host moves.
"""

from collections.abc import Iterable, Mapping

from anypop.model.names import HostName, InstanceName
from anypop.model.order import Move
from anypop.model.plan import Incarnation
from anypop.plan.ground import Ground

_NONE: Mapping[str, Move] = {}


def moves_of(ground: Ground, kept: Iterable[Incarnation]) -> Mapping[str, Move]:
    """`kept`: all of one workload."""
    if not ground.emptied:
        return _NONE
    slots: dict[InstanceName, list[Incarnation]] = {}
    for incarnation in kept:
        slots.setdefault(incarnation.name, []).append(incarnation)
    found: dict[str, Move] = {}
    for lives in slots.values():
        if len(lives) == 2:
            old, new = sorted(lives, key=lambda i: i.life)
            if _moves(ground, old, new):
                found[old.uid] = Move(uid=new.uid, host=new.host, arrives=False)
                found[new.uid] = Move(uid=old.uid, host=old.host, arrives=True)
    return found


def alike(ground: Ground, one: HostName, other: HostName) -> bool:
    """Whether a guest of one host can go on at the other: not where their processors are known to differ."""
    return len({told for host in (one, other) if (told := ground.processor(host))}) < 2


def _moves(ground: Ground, old: Incarnation, new: Incarnation) -> bool:
    if old.host == new.host or old.pop != new.pop or old.template != new.template or not old.template:
        return False
    if old.host not in ground.emptied or {old.host, new.host} & {*ground.lost}:
        return False
    made_from = ground.revision(old.workload_id, old.revision) or ground.workload(old.workload_id)
    if made_from is None or not made_from.is_machine or made_from.volumes or made_from.further:
        return False
    if not old.serves or not new.serves:  # off, or running another image
        return False
    if not alike(ground, old.host, new.host):
        return False
    # what serves already has begun by itself, or has come
    return new.uid not in ground.ready(old.workload_id)

"""Lives of instances: how one is called for ever, and why it goes.

In: what it is made of, or a workload as it is declared now. Out: a uid, or a reason in words. Pure.
"""

import hashlib
from collections.abc import Iterator
from uuid import UUID

from anypop.model.names import CityCode
from anypop.model.order import Removal
from anypop.model.plan import Incarnation
from anypop.model.reasons import Reason
from anypop.model.workload import Target, Workload
from anypop.plan.ground import Ground

# any fixed UUID does: it only keeps our names apart from other people's version 5 names
_UIDS = UUID("5a9bb1d6-3c4e-4f0a-9a5e-0d2f6b7c8e91").bytes


def uuid5(name: str) -> str:
    """`uuid.uuid5` as text, at a fifth of its cost: a first plan makes one for every instance there is."""
    number = int.from_bytes(hashlib.sha1(_UIDS + name.encode(), usedforsecurity=False).digest()[:16])
    number = number & ~(0xF000 << 64) & ~(0xC000 << 48) | (5 << 76) | (0x8000 << 48)
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def cities_of(workload: Workload) -> Iterator[tuple[Target, CityCode]]:
    """Each city of each target, once."""
    return ((target, city) for target in workload.targets for city in dict.fromkeys(target.cities))


def why_gone(incarnation: Incarnation, workload: Workload | None, ground: Ground) -> tuple[Reason, str]:
    if workload is None or workload.deleting:
        return Reason.WORKLOAD_DELETED, ""
    target = next((t for t in workload.targets if t.name == incarnation.target), None)
    if target is None:
        return Reason.TARGET_REMOVED, f"target {incarnation.target}"
    if incarnation.pop not in target.cities:
        return Reason.CITY_REMOVED, f"{incarnation.pop} of target {incarnation.target}"
    if target.scale is not None:
        count = ground.replicas(workload.id, target, incarnation.pop)
        return Reason.LOAD_FELL, f"{count} in {incarnation.pop} of target {incarnation.target}"
    return Reason.SCALED_DOWN, f"{target.replicas} in each city of target {incarnation.target}"


def removal_of(incarnation: Incarnation, reason: Reason, detail: str = "") -> Removal:
    return Removal(
        name=incarnation.name,
        uid=incarnation.uid,
        reason=reason,
        detail=detail,
        workload_id=incarnation.workload_id,
        index=incarnation.index,
        link=incarnation.link,
        further=incarnation.further,
        revision=incarnation.revision if incarnation.further else 0,
        target=incarnation.target,
    )

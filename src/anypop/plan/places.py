"""Placement: which instance has a place, and which one must leave.

In: the world. Out: every slot that should be, the tombstones of those that should not, and a note for each that found no place. A slot once
given never moves: what one workload asks for moves nobody of another. Cost is linear in the number of instances.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID, uuid5

from anypop.model.names import CityCode, InstanceName, WorkloadId, instance_name
from anypop.model.order import Removal
from anypop.model.plan import PlanNote, Slot, World
from anypop.model.reasons import Reason
from anypop.model.workload import Target, Workload
from anypop.plan.addresses import Numbering

# any fixed UUID does: it only keeps our names apart from other people's version 5 names
_UIDS = UUID("5a9bb1d6-3c4e-4f0a-9a5e-0d2f6b7c8e91")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """`slots` in order of PoP and index; `removals` are all tombstones, those of the world first."""

    slots: tuple[Slot, ...]
    removals: tuple[tuple[CityCode, Removal], ...]
    notes: tuple[PlanNote, ...]


@dataclass(slots=True, kw_only=True)
class _Shelf:
    """The indexes of one PoP while a plan is made."""

    capacity: int
    taken: set[int] = field(default_factory=set)
    lowest: int = 0

    def take(self) -> int | None:
        """The lowest free index; None when the PoP is full."""
        while self.lowest in self.taken:
            self.lowest += 1
        if self.lowest >= self.capacity:
            return None
        self.taken.add(self.lowest)
        return self.lowest


def place(world: World, numbering: dict[CityCode, Numbering]) -> Places:
    """`numbering` has the PoPs of the network."""
    shelves = {city: _Shelf(capacity=numbers.capacity) for city, numbers in numbering.items()}
    for city, used in _occupied(world):
        if city in shelves:
            shelves[city].taken.add(used)

    present: dict[tuple[WorkloadId, InstanceName], Slot] = {(s.workload_id, s.name): s for s in world.slots}
    buried = {removal.uid for _, removal in world.removals}
    slots: list[Slot] = []
    notes: list[PlanNote] = []
    for workload in world.workloads:
        if workload.deleting:
            continue
        for target, city in _cities(workload):
            found_no_pop = False
            for ordinal in range(target.replicas):
                name = instance_name(workload.slug, target.name, city, ordinal)
                kept = present.pop((workload.id, name), None)
                if kept is not None:
                    # also in a city whose PoP is gone for now: what returns after any absence finds its instances still wanted
                    slots.append(kept)
                elif city not in shelves:
                    found_no_pop = True
                elif (index := shelves[city].take()) is None:
                    detail = f"{city} has room for {shelves[city].capacity} instances"
                    notes.append(PlanNote(subject=name, reason=Reason.POP_FULL, detail=detail))
                else:
                    uid = _new_uid(workload.id, name, world.incarnation, index, buried)
                    slots.append(
                        Slot(workload_id=workload.id, target=target.name, pop=city, ordinal=ordinal, name=name, index=index, uid=uid)
                    )
            if found_no_pop:
                detail = f"target {target.name} asks for {city}"
                notes.append(PlanNote(subject=workload.slug, reason=Reason.NO_SUCH_POP, detail=detail))

    removals = list(world.removals)
    known = {w.id: w for w in world.workloads}
    for slot in present.values():
        removal = Removal(name=slot.name, uid=slot.uid, reason=_why_gone(slot, known), workload_id=slot.workload_id, index=slot.index)
        if slot.uid not in buried:
            removals.append((slot.pop, removal))
    slots.sort(key=lambda s: (s.pop, s.index))
    return Places(slots=tuple(slots), removals=tuple(removals), notes=tuple(notes))


def _occupied(world: World) -> Iterator[tuple[CityCode, int]]:
    """Every index that nobody new may have: in use, waiting for its instance to be gone, or resting."""
    yield from ((s.pop, s.index) for s in world.slots)
    yield from ((city, removal.index) for city, removal in world.removals)
    yield from world.resting_indexes


def _cities(workload: Workload) -> Iterator[tuple[Target, CityCode]]:
    return ((target, city) for target in workload.targets for city in dict.fromkeys(target.cities))


def _new_uid(workload: WorkloadId, name: InstanceName, incarnation: int, index: int, buried: set[str]) -> str:
    """A uid that no living or dying instance has. The index is in it since it rests: it alone keeps two lives of a name apart."""
    attempt = 0
    while True:
        uid = str(uuid5(_UIDS, f"{workload}/{name}/{incarnation}/{index}/{attempt}"))
        if uid not in buried:
            return uid
        attempt += 1


def _why_gone(slot: Slot, known: dict[WorkloadId, Workload]) -> str:
    workload = known.get(slot.workload_id)
    if workload is None or workload.deleting:
        return "the workload was deleted"
    target = next((t for t in workload.targets if t.name == slot.target), None)
    if target is None:
        return f"target {slot.target} was taken away"
    if slot.pop not in target.cities:
        return f"{slot.pop} was taken out of target {slot.target}"
    return f"target {slot.target} asks for {target.replicas} in each city"

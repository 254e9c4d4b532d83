"""Placement: which instance has a place, which incarnation lives there, and which one must leave.

In: the world. Out: every incarnation that should live, the tombstones of those that should not, and a note for each that found no place. A
slot once placed never moves by itself, and whatever one workload asks for moves nobody of another. A template changes only where a rollout
lets it: then a new incarnation is placed beside the old one, and the old one leaves once the new one has been healthy. Cost is linear in
the number of instances.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from uuid import UUID, uuid5

from anypop.model.names import CityCode, HostName, InstanceName, WorkloadId, instance_name
from anypop.model.network import Capacity
from anypop.model.order import Removal
from anypop.model.plan import Incarnation, PlanNote, World
from anypop.model.reasons import Reason
from anypop.model.rollout import Rollout
from anypop.model.workload import Target, Workload
from anypop.plan.addresses import Numbering
from anypop.plan.rollout import changes_at
from anypop.plan.rooms import Room, best, needs_of, shortage

# any fixed UUID does: it only keeps our names apart from other people's version 5 names
_UIDS = UUID("5a9bb1d6-3c4e-4f0a-9a5e-0d2f6b7c8e91")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """`incarnations` in order of host and index; `removals` are all tombstones, those of the world first."""

    incarnations: tuple[Incarnation, ...]
    removals: tuple[tuple[HostName, Removal], ...]
    notes: tuple[PlanNote, ...]


@dataclass(slots=True)
class _Draft:
    """What placement adds up while it walks over the workloads."""

    world: World
    rooms: dict[HostName, Room]
    by_pop: dict[CityCode, list[Room]]
    revisions: dict[tuple[WorkloadId, int], Workload]
    buried: set[str]
    kept: list[Incarnation] = field(default_factory=list)
    removals: list[tuple[HostName, Removal]] = field(default_factory=list)
    notes: list[PlanNote] = field(default_factory=list)

    def remove(self, incarnation: Incarnation, reason: Reason, detail: str = "") -> None:
        if incarnation.uid not in self.buried:
            self.removals.append((incarnation.host, removal_of(incarnation, reason, detail)))

    def note(self, subject: str, reason: Reason, detail: str) -> None:
        self.notes.append(PlanNote(subject=subject, reason=reason, detail=detail))


def removal_of(incarnation: Incarnation, reason: Reason, detail: str = "") -> Removal:
    return Removal(
        name=incarnation.name,
        uid=incarnation.uid,
        reason=reason,
        detail=detail,
        workload_id=incarnation.workload_id,
        index=incarnation.index,
        link=incarnation.link,
    )


def place(world: World, numbering: dict[HostName, Numbering]) -> Placement:
    """`numbering` has the hosts of the network."""
    draft = _draft(world, numbering)
    present: dict[tuple[WorkloadId, InstanceName], list[Incarnation]] = defaultdict(list)
    for incarnation in world.incarnations:
        present[incarnation.slot].append(incarnation)
    rollouts = {r.workload_id: r for r in world.rollouts}

    for workload in world.workloads:
        if workload.deleting:
            continue
        step = _Step(draft, workload, rollouts.get(workload.id))
        for target, city in _cities(workload):
            found_no_pop = False
            for ordinal in range(target.replicas):
                name = instance_name(workload.slug, target.name, city, ordinal)
                lives = present.pop((workload.id, name), [])
                if not lives and city not in draft.by_pop:
                    found_no_pop = True
                else:
                    step.settle(target, city, ordinal, name, lives)
            if found_no_pop:
                draft.note(workload.slug, Reason.NO_SUCH_POP, f"target {target.name} asks for {city}")

    known = {w.id: w for w in world.workloads}
    for lives in present.values():
        for incarnation in lives:
            draft.remove(incarnation, *_why_gone(incarnation, known))
    draft.kept.sort(key=lambda i: (i.host, i.index, i.life))
    return Placement(incarnations=tuple(draft.kept), removals=(*world.removals, *draft.removals), notes=tuple(draft.notes))


def _draft(world: World, numbering: dict[HostName, Numbering]) -> _Draft:
    rooms = {host: Room.of(host, numbers, world.capacities.get(host)) for host, numbers in numbering.items()}
    by_pop: dict[CityCode, list[Room]] = defaultdict(list)
    for pop, host in world.network.hosts():
        by_pop[pop.city].append(rooms[host.name])
    revisions = {(w.id, w.revision): w for w in (*world.revisions, *world.workloads)}
    newest = {w.id: w for w in world.workloads}
    needs: dict[tuple[WorkloadId, int], Capacity] = {}
    for incarnation in world.incarnations:
        if (room := rooms.get(incarnation.host)) is None:
            continue
        room.indexes.taken.add(incarnation.index)
        room.links.taken.add(incarnation.link)
        key = incarnation.workload_id, incarnation.revision
        if key not in needs:
            workload = revisions.get(key) or newest.get(incarnation.workload_id)
            needs[key] = needs_of(workload) if workload is not None else Capacity(cpu_millis=0, memory_bytes=0, disk_bytes=0)
        room.add(incarnation.workload_id, needs[key])
    for name, removal in world.removals:
        if (room := rooms.get(name)) is not None:
            room.indexes.taken.add(removal.index)
            room.links.taken.add(removal.link)
    for name, index in world.resting_indexes:
        if name in rooms:
            rooms[name].indexes.taken.add(index)
    for name, link in world.resting_links:
        if name in rooms:
            rooms[name].links.taken.add(link)
    return _Draft(world=world, rooms=rooms, by_pop=dict(by_pop), revisions=revisions, buried={removal.uid for _, removal in world.removals})


class _Step:
    """One workload's turn."""

    def __init__(self, draft: _Draft, workload: Workload, rollout: Rollout | None) -> None:
        self.draft = draft
        self.workload = workload
        self.rollout = rollout
        self.needs = needs_of(workload)
        self.changing: dict[HostName, int] = defaultdict(int)
        for host, removal in draft.world.removals:
            if removal.workload_id == workload.id and removal.reason in (Reason.SUPERSEDED, Reason.REPLACED, Reason.REVERTED):
                self.changing[host] += 1
        lives: dict[InstanceName, int] = defaultdict(int)
        for incarnation in draft.world.incarnations:
            if incarnation.workload_id == workload.id:
                lives[incarnation.name] += 1
                if lives[incarnation.name] > 1:
                    self.changing[incarnation.host] += 1

    def settle(self, target: Target, city: CityCode, ordinal: int, name: InstanceName, lives: list[Incarnation]) -> None:
        """Decide who lives in one slot."""
        lives = sorted((self._adopted(i) for i in lives), key=lambda i: i.life)
        moves = self.draft.world.moves
        if not lives or all(i.uid in moves for i in lives):
            placed = self._place_new(target, city, ordinal, name)
            for incarnation in lives:
                # what may still run on a host that is cut off keeps its addresses there; the name and the anycast address go on
                if placed:
                    self.draft.remove(incarnation, Reason.HOST_LOST, incarnation.host)
                else:
                    self.draft.kept.append(incarnation)
            return
        right = [i for i in lives if i.template in ("", self.workload.template)]
        if right:
            self._keep(right[-1], [i for i in lives if i is not right[-1]])
            return
        if len(lives) > 1:
            self._reduce(lives)
            return
        current = lives[0]
        self.draft.kept.append(current)
        if self.rollout is None or not changes_at(self.rollout, city):
            return
        if self.changing[current.host] < self.rollout.strategy.surge:  # otherwise its turn comes when the one before it is through
            self._place_beside(current)

    def _adopted(self, incarnation: Incarnation) -> Incarnation:
        """One that has the newest template needs no new process to be on the newest revision."""
        if incarnation.template == self.workload.template and incarnation.revision != self.workload.revision:
            return replace(incarnation, revision=self.workload.revision)
        return incarnation

    def _keep(self, right: Incarnation, others: list[Incarnation]) -> None:
        """`right` has the newest template. The others go once it is ready; those that are newer than it are a change taken back."""
        self.draft.kept.append(right)
        ready = right.uid in self.draft.world.ready
        for other in others:
            if other.life > right.life:
                self.draft.remove(other, Reason.REVERTED)
            elif ready:
                self.draft.remove(other, Reason.SUPERSEDED)
            else:
                self.draft.kept.append(other)

    def _reduce(self, lives: list[Incarnation]) -> None:
        """A change that was overtaken by a newer one: the incarnation that serves stays, the other goes."""
        stays = next((i for i in reversed(lives) if i.uid in self.draft.world.ready), lives[0])
        self.draft.kept.append(stays)
        for other in lives:
            if other is not stays:
                self.draft.remove(other, Reason.SUPERSEDED)

    def _place_new(self, target: Target, city: CityCode, ordinal: int, name: InstanceName) -> bool:
        """A slot without a living incarnation in reach: a new one, where there is room. Whether there was."""
        made_from = self.workload
        if self.rollout is not None and not changes_at(self.rollout, city):
            # not proven here yet: a slot that is new begins as its neighbours are, and changes with them
            made_from = self.draft.revisions.get((self.workload.id, self.rollout.previous), self.workload)
        rooms = [r for r in self.draft.by_pop.get(city, ()) if r.host not in self.draft.world.lost]
        needs = needs_of(made_from)
        room = best(rooms, self.workload.id, needs)
        if room is None:
            reason = Reason.NO_ROOM if any(not r.fits(needs) for r in rooms) or not rooms else Reason.POP_FULL
            self.draft.note(name, reason, f"{city}: {shortage(rooms, needs)}" if rooms else f"no host of {city} is in reach")
            return False
        index, link = room.take_place(), room.take_link()
        assert index is not None and link is not None
        self._add(
            room,
            needs,
            Incarnation(
                workload_id=self.workload.id,
                target=target.name,
                pop=city,
                host=room.host,
                ordinal=ordinal,
                name=name,
                index=index,
                uid=self._new_uid(name, index, link),
                link=link,
                life=self.draft.world.serial,
                template=made_from.template,
                revision=made_from.revision,
            ),
        )
        return True

    def _place_beside(self, current: Incarnation) -> None:
        room = self.draft.rooms.get(current.host)
        if room is None or self.rollout is None:
            return  # its host is gone for now: it changes when that returns
        lacking = room.lacking(self.needs)
        if lacking and current.uid not in self.rollout.may_stop_first:
            self.draft.note(current.name, Reason.WAITS_FOR_ROOM, "; ".join(lacking))
            return
        link = room.take_link()
        if link is None:
            self.draft.note(current.name, Reason.WAITS_FOR_ROOM, f"all {room.links.capacity} private links of {room.host} are taken")
            return
        self.changing[current.host] += 1
        if lacking:
            # the new one is ordered when the old one is gone: see `planner`
            self.draft.kept.remove(current)
            self.draft.remove(current, Reason.REPLACED, "; ".join(lacking))
        self._add(
            room,
            self.needs,
            replace(
                current,
                uid=self._new_uid(current.name, current.index, link),
                link=link,
                life=max(self.draft.world.serial, current.life + 1),
                template=self.workload.template,
                revision=self.workload.revision,
            ),
        )

    def _add(self, room: Room, needs: Capacity, incarnation: Incarnation) -> None:
        room.add(self.workload.id, needs)
        self.draft.kept.append(incarnation)

    def _new_uid(self, name: InstanceName, index: int, link: int) -> str:
        """A uid that no living or dying incarnation has. The link is in it since it rests: it alone keeps two lives of a name apart."""
        attempt = 0
        while True:
            uid = str(uuid5(_UIDS, f"{self.workload.id}/{name}/{self.draft.world.serial}/{index}/{link}/{attempt}"))
            if uid not in self.draft.buried:
                return uid
            attempt += 1


def _cities(workload: Workload) -> Iterator[tuple[Target, CityCode]]:
    return ((target, city) for target in workload.targets for city in dict.fromkeys(target.cities))


def _why_gone(incarnation: Incarnation, known: dict[WorkloadId, Workload]) -> tuple[Reason, str]:
    workload = known.get(incarnation.workload_id)
    if workload is None or workload.deleting:
        return Reason.WORKLOAD_DELETED, ""
    target = next((t for t in workload.targets if t.name == incarnation.target), None)
    if target is None:
        return Reason.TARGET_REMOVED, f"target {incarnation.target}"
    if incarnation.pop not in target.cities:
        return Reason.CITY_REMOVED, f"{incarnation.pop} of target {incarnation.target}"
    return Reason.SCALED_DOWN, f"{target.replicas} in each city of target {incarnation.target}"

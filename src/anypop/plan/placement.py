"""Placement: which instance has a place, which incarnation lives there, and which one must leave.

In: the ground and one workload. Out: every incarnation of it that should live, the tombstones of those that should
not, and a note for each that found no place. A slot once placed never moves by itself, and whatever one workload
asks for moves nobody of another. A template changes only where a rollout lets it: then a new incarnation is placed
beside the old one, and the old one leaves once the new one has been healthy. Cost is linear in the workload's
instances, and in those of the hosts where it takes room.
"""

from collections import defaultdict
from dataclasses import dataclass, replace

from anypop.model.machine import Power
from anypop.model.names import CityCode, HostName, InstanceName, WorkloadId, instance_name
from anypop.model.network import Capacity
from anypop.model.order import Removal
from anypop.model.plan import Homes, Incarnation, PlanNote
from anypop.model.reasons import Reason
from anypop.model.volume import Volume
from anypop.model.workload import Target, Workload
from anypop.plan import pinned
from anypop.plan.following import may_have_all
from anypop.plan.ground import Ground
from anypop.plan.lives import cities_of, removal_of, uuid5, why_gone
from anypop.plan.moves import alike, is_carried, may_go_alone, resting
from anypop.plan.rollout import changes_at
from anypop.plan.rooms import LinksAsked, Room, Rooms, best, needs_of, shortage


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """One workload's part of a placement. `removals`: those that were not asked for before. `waits`: the cities where
    something of it waits for room. `took`: the hosts where it took some.
    """

    kept: tuple[Incarnation, ...] = ()
    removals: tuple[tuple[HostName, Removal], ...] = ()
    notes: tuple[PlanNote, ...] = ()
    waits: frozenset[CityCode] = frozenset()
    took: frozenset[HostName] = frozenset()

    @property
    def homes(self) -> Homes:
        """What is off or is mended serves nobody: for its sake nothing is announced."""
        kept = [i for i in self.kept if i.serves]
        return Homes(hosts=frozenset(i.host for i in kept), pops=frozenset(i.pop for i in kept))


def settle(ground: Ground, rooms: Rooms, workload: WorkloadId) -> Settled:
    """Who of a workload lives where, and who must go. Called for one workload after the other, in their order: each
    takes of `rooms`.
    """
    step = _Step(ground, rooms, workload)
    step.settle_all()
    return Settled(
        kept=tuple(step.kept),
        removals=tuple(step.removals),
        notes=tuple(step.notes),
        waits=frozenset(step.waits),
        took=frozenset(step.took),
    )


class _Step:
    """One workload's turn."""

    def __init__(self, ground: Ground, rooms: Rooms, workload: WorkloadId) -> None:
        self.ground = ground
        self.rooms = rooms
        self.id = workload
        self.kept: list[Incarnation] = []
        self.removals: list[tuple[HostName, Removal]] = []
        self.notes: list[PlanNote] = []
        self.waits: set[CityCode] = set()
        self.took: set[HostName] = set()
        # one that is off is as ready as it will be
        off = {i.uid for i in ground.incarnations_of(workload) if i.power is Power.OFF}
        self.ready = {*ground.ready(workload), *off} if off else ground.ready(workload)
        self.rollout = ground.update_of(workload)
        self.present: dict[InstanceName, list[Incarnation]] = {}
        # where a slot's volumes are: it lives there or nowhere
        self.volumes: dict[InstanceName, list[Volume]] = defaultdict(list)
        for volume in ground.volumes_of(workload):
            if volume.doomed_at is None:
                self.volumes[volume.instance].append(volume)
        # where a slot's claimed addresses are: so does it
        self.pins = ground.pins_of(workload)
        self.buried: set[str] = set()
        # of each host, how many of the workload are on their way out or have a successor beside them
        self.changing: dict[HostName, int] = defaultdict(int)
        for host, removal in ground.removals_of(workload):
            self.buried.add(removal.uid)
            if removal.reason in (Reason.SUPERSEDED, Reason.REPLACED, Reason.REVERTED):
                self.changing[host] += 1
        for incarnation in sorted(ground.incarnations_of(workload), key=lambda i: (i.host, i.index, i.life)):
            lives = self.present.setdefault(incarnation.name, [])
            if lives:
                self.changing[incarnation.host] += 1
            lives.append(incarnation)

    def settle_all(self) -> None:
        workload = self.ground.workload(self.id)
        if workload is not None and not workload.deleting:
            turn = _Turn(self, workload)
            for target, city in cities_of(workload):
                found_no_pop = False
                for ordinal in self.ground.ordinals(workload.id, target, city):
                    name = instance_name(workload.slug, target.name, city, ordinal)
                    lives = self.present.pop(name, [])
                    if not lives and not self.rooms.has(city):
                        found_no_pop = True
                    else:
                        turn.settle(target, city, ordinal, name, lives)
                if found_no_pop:
                    self.note(workload.slug, Reason.NO_SUCH_POP, f"target {target.name} asks for {city}")
        for lives in self.present.values():
            for incarnation in lives:
                self.remove(incarnation, *why_gone(incarnation, workload, self.ground))

    def remove(self, incarnation: Incarnation, reason: Reason, detail: str = "") -> None:
        if incarnation.uid not in self.buried:
            self.removals.append((incarnation.host, removal_of(incarnation, reason, detail)))

    def note(self, subject: str, reason: Reason, detail: str) -> None:
        self.notes.append(PlanNote(subject=subject, reason=reason, detail=detail))


class _Turn:
    """One workload that is wanted, slot by slot."""

    def __init__(self, step: _Step, workload: Workload) -> None:
        self.step = step
        self.ground = step.ground
        self.workload = workload
        self.rollout = step.rollout
        self.needs = needs_of(workload)
        self.asked = LinksAsked.of(workload)
        self.reach: dict[CityCode, tuple[list[Room], list[Room]]] = {}

    def settle(
        self, target: Target, city: CityCode, ordinal: int, name: InstanceName, lives: list[Incarnation]
    ) -> None:
        """Decide who lives in one slot."""
        if not lives:
            self._place_new(target, city, ordinal, name, moving=False)
            return
        lives = sorted((self._adopted(i) for i in lives), key=lambda i: i.life)
        if (pair := resting(lives)) is not None and self._carries_over(*pair):
            return
        moves, stays = self.ground.moves, self._stays(name, lives)
        if stays:
            moves = frozenset()
        if all(i.uid in moves for i in lives):
            placed = self._place_new(target, city, ordinal, name, moving=True, power=lives[-1].power)
            for incarnation in lives:
                # what may still run on a host that is cut off keeps its addresses there; the name and the anycast
                # address go on
                if placed:
                    self._leave(incarnation)
                else:
                    self.step.kept.append(incarnation)
            return
        lives = self._off_lost_hosts(lives, city)
        right = [i for i in lives if i.template in ("", self.workload.template)]
        alone = lives[0] if len(lives) == 1 and lives[0].uid in self.ground.eases and not stays else None
        if alone is not None and self._has_its_disk_alone(alone):
            alone = None
        if alone is not None and (right or alone.host in self.ground.lost):
            self.step.kept.append(alone)
            self._place_successor(alone)
            return
        if right:
            self._keep(right[-1], [i for i in lives if i is not right[-1]])
            return
        if len(lives) > 1:
            self._reduce(lives)
            return
        current = lives[0]
        self.step.kept.append(current)
        if self.rollout is None or not changes_at(self.rollout, city):
            return
        # otherwise its turn comes when the one before it is through
        if self.step.changing[current.host] < self.rollout.strategy.surge:
            self._place_beside(current)

    def _carries_over(self, old: Incarnation, new: Incarnation) -> bool:
        """Of two, one has the root disk, and both live until it is known which: then the other goes. False: both are on
        hosts that are lost, or no disk can be carried.
        """
        made_from = self.ground.revision(self.workload.id, old.revision) or self.workload
        if not self.step.rooms.sites.backbones or not is_carried(made_from):
            return False
        ready, moves = self.ground.ready(self.workload.id), self.ground.moves
        if old.uid in moves and new.uid in moves:
            return False
        if new.uid in ready or old.uid in moves:
            if new.uid in ready:
                self.step.remove(old, Reason.SUPERSEDED)
            else:
                self._leave(old)
            # what was asked of it meanwhile
            self.step.kept.append(replace(new, power=old.power, rescue=old.rescue))
        elif new.uid in moves:
            self._leave(new)
            self.step.kept.append(old)
        elif old.uid in ready:  # it was powered on before its disk went, and goes as one that runs
            self.step.remove(new, Reason.REVERTED)
            self.step.kept.append(old)
        else:
            self.step.kept.extend((old, new))
        return True

    def _stays(self, name: InstanceName, lives: list[Incarnation]) -> bool:
        """Whether a slot's volumes or addresses keep it where it lives; told where something else would have it live
        elsewhere.
        """
        homes = {v.host for v in self.step.volumes.get(name, ())}
        held = next((i for i in lives if i.host in homes), None)
        if held is None:
            return bool(self.step.pins) and self._is_pinned(name, lives)
        if held.uid in self.ground.moves or held.host in self.ground.lost:
            self.step.note(name, Reason.VOLUME_LOST, f"{held.host} has it, and is lost or given up")
        elif held.uid in self.ground.eases:
            self.step.note(name, Reason.VOLUME_STAYS, f"{held.host} has it")
        return True

    def _has_its_disk_alone(self, held: Incarnation) -> bool:
        """Whether one that is off or is mended stays with its root disk, which is what it was kept for: elsewhere it
        would begin with an empty one. Of one that is off the disk goes alone where hosts reach each other. Told.
        """
        if held.serves or held.host in self.ground.lost:
            return False
        made_from = self.ground.revision(self.workload.id, held.revision) or self.workload
        if held.host in self.ground.emptied and self.step.rooms.sites.backbones and may_go_alone(held, made_from):
            return False
        how = "off" if held.power is Power.OFF else "mended"
        self.step.note(held.name, Reason.DISK_STAYS, f"it is {how} on {held.host}")
        return True

    def _is_pinned(self, name: InstanceName, lives: list[Incarnation]) -> bool:
        """The same for the addresses that it claims alone."""
        sites, pin = self.step.rooms.sites, self.step.pins.get(name, pinned.UNPINNED)
        held = pinned.held(sites, pin, lives)
        if held is None:
            return False
        if {held.uid} & {*self.ground.moves, *self.ground.eases} or held.host in self.ground.lost:
            self.step.note(name, Reason.ADDRESS_STAYS, pinned.stays_on(sites, pin, held.host))
        return True

    def _off_lost_hosts(self, lives: list[Incarnation], city: CityCode) -> list[Incarnation]:
        """Those that are to live on, where others of the slot are on a host that was given up: these go once one of the
        former is ready, and stay until then where they serve.
        """
        left = [i for i in lives if i.host in self.ground.lost]
        on = [i for i in lives if i.host not in self.ground.lost]
        if not left or not on:
            return lives
        over = any(i.uid in self.step.ready for i in on)
        for incarnation in [i for i in left if over or i.uid in self.ground.moves]:
            self._leave(incarnation)
            left.remove(incarnation)
        if not left:
            return on
        if self._is_to_change(city) and all(i.template != self.workload.template for i in on):
            # overtaken by a newer template before it served: the one that stays gets another successor
            for incarnation in on:
                self.step.remove(incarnation, Reason.SUPERSEDED)
            return left
        self.step.kept.extend(left)
        return on

    def _leave(self, incarnation: Incarnation) -> None:
        """Its host is lost or was given up, and it lives elsewhere now."""
        evicted = incarnation.host in self.ground.evicted
        self.step.remove(incarnation, Reason.HOST_EVICTED if evicted else Reason.HOST_LOST, incarnation.host)

    def _is_to_change(self, city: CityCode) -> bool:
        return self.rollout is not None and changes_at(self.rollout, city)

    def _adopted(self, incarnation: Incarnation) -> Incarnation:
        """One that has the newest template needs no new process to be on the newest revision."""
        if incarnation.template == self.workload.template and incarnation.revision != self.workload.revision:
            return replace(incarnation, revision=self.workload.revision)
        return incarnation

    def _keep(self, right: Incarnation, others: list[Incarnation]) -> None:
        """`right` has the newest template. The others go once it is ready; those that are newer than it are a change
        taken back, and go at once unless they serve and it does not.
        """
        self.step.kept.append(right)
        ready = right.uid in self.step.ready
        for other in others:
            if other.life > right.life and (ready or other.uid not in self.step.ready):
                self.step.remove(other, Reason.REVERTED)
            elif ready:
                self.step.remove(other, Reason.SUPERSEDED)
            else:
                self.step.kept.append(other)

    def _reduce(self, lives: list[Incarnation]) -> None:
        """A change that was overtaken by a newer one: the incarnation that serves stays, the other goes."""
        stays = next((i for i in reversed(lives) if i.uid in self.step.ready), lives[0])
        self.step.kept.append(stays)
        for other in lives:
            if other is not stays:
                self.step.remove(other, Reason.SUPERSEDED)

    def _place_new(
        self,
        target: Target,
        city: CityCode,
        ordinal: int,
        name: InstanceName,
        *,
        moving: bool,
        power: Power = Power.ON,
    ) -> bool:
        """A slot without a living incarnation in reach: a new one, where there is room. Whether there was."""
        made_from = self.workload
        if self.rollout is not None and not changes_at(self.rollout, city):
            # not proven here yet: a slot that is new begins as its neighbours are, and changes with them
            made_from = self.ground.revision(self.workload.id, self.rollout.previous) or self.workload
        all_rooms, rooms = self._rooms_in(city)
        if not rooms and not moving:
            rooms = all_rooms  # a PoP that is silent as a whole gets its instances when it returns
        needs = self.needs if made_from is self.workload else needs_of(made_from)
        if there := self.step.volumes.get(name):
            home = there[0].host
            rooms = [r for r in all_rooms if r.host == home and r.host not in self.ground.lost]
            if not rooms:
                why = f"{home} has it, and is lost, given up or out of the network"
                return self._waits(city, name, Reason.VOLUME_LOST, why)
            claimed = {c.slug for c in made_from.volumes}
            known = sum(v.size_bytes for v in there if v.claim in claimed and v.host == home)
            needs = replace(needs, disk_bytes=needs.disk_bytes - known)  # its volumes are counted there already
        elif made_from.volumes:
            offering = [r for r in rooms if self.step.rooms.offers(r.host, made_from)]
            if rooms and not offering:
                names = ", ".join(sorted({c.storage_class for c in made_from.volumes}))
                why = f"{city}: no host in reach has the storage classes {names}"
                return self._waits(city, name, Reason.NO_ROOM, why)
            rooms = offering
        if made_from.is_machine and rooms:
            refusals = {r.host: self.step.rooms.refusal(r.host, made_from) for r in rooms}
            rooms = [r for r in rooms if refusals[r.host] is None]
            if not rooms:
                told = [refused for refused in refusals.values() if refused is not None]
                # a host that runs machines and only lacks a version is nearer to the mark
                return self._waits(city, name, *min(told, key=lambda refused: refused[0] is Reason.NO_MACHINES))
        asked = self.asked if made_from is self.workload else LinksAsked.of(made_from)
        pin = self.step.pins.get(name, pinned.UNPINNED)
        volumes_at = there[0].host if there else None
        if pin is not pinned.UNPINNED:
            slot = pinned.Asked(
                pin=pin, slot=(self.workload.id, name), needs=needs, links=asked, volumes_at=volumes_at
            )  # fmt: skip
            taken = slot.take(self.ground, self.step.rooms.sites, rooms=all_rooms, allowed=rooms)
            if isinstance(taken, str):
                return self._waits(city, name, Reason.WAITS_FOR_ADDRESS, taken)
            room, index, links = taken
        elif (found := best(rooms, self.workload.id, needs, asked)) is not None:
            room, index, links = pinned.taken(pinned.UNPINNED, found, asked)
        else:
            reason = Reason.NO_ROOM if any(not r.fits(needs) for r in rooms) or not rooms else Reason.POP_FULL
            why = f"{city}: {shortage(rooms, needs, asked)}" if rooms else f"no host of {city} is in reach"
            return self._waits(city, name, reason, why)
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
                uid=self._new_uid(name, made_from.template, index, links[0]),
                link=links[0],
                further=links[1:],
                life=self.ground.serial,
                template=made_from.template,
                revision=made_from.revision,
                power=power,
            ),
        )
        return True

    def _waits(self, city: CityCode, name: InstanceName, reason: Reason, why: str) -> bool:
        """Tell why a slot has no place. False: it has none."""
        self.step.waits.add(city)
        self.step.note(name, reason, why)
        return False

    def _rooms_in(self, city: CityCode) -> tuple[list[Room], list[Room]]:
        """All of a city, and those that are in reach; the same for every slot of it."""
        if (known := self.reach.get(city)) is None:
            all_rooms = self.step.rooms.in_city(city)
            rooms = [r for r in all_rooms if r.host not in self.ground.lost]
            rooms = [r for r in rooms if r.host not in self.ground.emptied] or rooms
            known = self.reach[city] = all_rooms, rooms
        return known

    def _place_beside(self, current: Incarnation) -> None:
        room = self.step.rooms.of(current.host)
        if room is None or self.rollout is None or current.host in self.ground.lost:
            return  # its host is gone for now: it changes when that returns, or elsewhere
        if (refused := self.step.rooms.refusal(current.host, self.workload)) is not None:
            self.step.waits.add(current.pop)
            self.step.note(current.name, *refused)
            return
        lacking = room.lacking(self.needs)
        may_stop_first = current.uid in self.rollout.may_stop_first
        runs = self.ground.revision(self.workload.id, current.revision) or self.workload
        shared = {f"volume {c.slug}" for c in runs.volumes} & {f"volume {c.slug}" for c in self.workload.volumes}
        kept = self.step.pins.get(current.name, pinned.UNPINNED).link
        if kept is not None:
            shared |= {"the private address that it claims"}
        if shared:
            # two must never write to one volume, or have one address
            lacking = room.lacking(self.needs, instead_of=needs_of(runs))
            if not lacking and not may_stop_first:
                self.step.waits.add(current.pop)
                why = f"both would have {', '.join(sorted(shared))}, and nobody else serves while it is stopped"
                reason = Reason.WAITS_FOR_VOLUME if kept is None else Reason.WAITS_FOR_ADDRESS
                self.step.note(current.name, reason, why)
                return
            if lacking:
                may_stop_first = False
        elif lacking and may_stop_first:
            may_stop_first = not room.lacking(self.needs, instead_of=needs_of(runs))  # else it would go for nothing
        if lacking and not may_stop_first:
            self.step.waits.add(current.pop)
            self.step.note(current.name, Reason.WAITS_FOR_ROOM, "; ".join(lacking))
            return
        asked = LinksAsked.of(self.workload)
        links = room.take_links(asked, kept)
        if links is None:
            self.step.waits.add(current.pop)
            limit = room.links.capacity if asked.below is None else min(asked.below, room.links.capacity)
            what = f"all {limit}" if asked.count == 1 else f"all or all but {asked.count - 1} of {limit}"
            why = f"{what} private links of {room.host} are taken"
            self.step.note(current.name, Reason.WAITS_FOR_ROOM, why)
            return
        self.step.changing[current.host] += 1
        if lacking or shared:
            # the new one is ordered when the old one is gone: see `planner`
            self.step.kept.remove(current)
            why = "; ".join(lacking) or f"both have {', '.join(sorted(shared))}"
            self.step.remove(current, Reason.REPLACED, why)
        self._add(
            room,
            self.needs,
            replace(
                current,
                uid=self._new_uid(current.name, self.workload.template, current.index, links[0]),
                link=links[0],
                further=links[1:],
                life=max(self.ground.serial, current.life + 1),
                template=self.workload.template,
                revision=self.workload.revision,
                rescue=None,  # its root disk is another one
            ),
        )

    def _place_successor(self, current: Incarnation) -> None:
        """One that a drain takes the traffic from gets a successor: beside it, or on another host of its PoP where its
        own is drained too or has no room. It goes on until that one is ready.
        """
        lost, emptied = self.ground.lost, self.ground.emptied
        made_from = self.ground.revision(self.workload.id, current.revision) or self.workload
        template = current.template or made_from.template
        if current.host in lost and self._is_to_change(current.pop):
            made_from, template = self.workload, self.workload.template
        needs = needs_of(made_from)
        own, asked = self.step.rooms.of(current.host), LinksAsked.of(made_from)
        links = None
        if own is not None and current.host not in emptied and current.host not in lost and not own.lacking(needs):
            links = own.take_links(asked)
        if own is not None and links is not None:
            room, index = own, current.index
        else:
            others = [r for r in self.step.rooms.in_city(current.pop) if r.host != current.host]
            others = [r for r in others if r.host not in lost and r.host not in emptied]
            others = [r for r in others if self.step.rooms.refusal(r.host, made_from) is None]
            pin, sites = self.step.pins.get(current.name, pinned.UNPINNED), self.step.rooms.sites
            others = [r for r in others if may_have_all(sites, pin, r.host)]
            same = [r for r in others if made_from.is_machine and alike(self.ground, current.host, r.host)]
            # first where it can go on as it is
            found = best(same, self.workload.id, needs, asked) or best(others, self.workload.id, needs, asked)
            if found is None:
                said = shortage(
                    [*([own] if own is not None and current.host not in emptied else []), *others], needs, asked
                )
                said = said or f"no other host of {current.pop} is in use"
                self.step.waits.add(current.pop)
                self.step.note(current.name, Reason.WAITS_FOR_ROOM, said)
                return
            room, index, links = pinned.taken(pin, found, asked)
        self.step.changing[room.host] += 1
        self._add(
            room,
            needs,
            replace(
                current,
                host=room.host,
                index=index,
                uid=self._new_uid(current.name, template, index, links[0]),
                link=links[0],
                further=links[1:],
                life=max(self.ground.serial, current.life + 1),
                template=template,
                revision=made_from.revision,
                rescue=None,
            ),
        )

    def _add(self, room: Room, needs: Capacity, incarnation: Incarnation) -> None:
        room.add(self.workload.id, needs)
        self.step.took.add(room.host)
        self.step.kept.append(incarnation)

    def _new_uid(self, name: InstanceName, template: str, index: int, link: int) -> str:
        """A uid that no living or dying incarnation has. The link is in it since it rests: it alone keeps two lives of
        a name apart. The template is in it since the serial goes back where an older copy of the store is restored:
        what a host made then under a uid that comes again was made from the same.
        """
        attempt = 0
        while True:
            uid = uuid5(f"{self.workload.id}/{name}/{self.ground.serial}/{template}/{index}/{link}/{attempt}")
            if uid not in self.step.buried:
                return uid
            attempt += 1

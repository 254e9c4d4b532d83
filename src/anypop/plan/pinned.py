"""Slots whose addresses are claimed: they live where these may be had, by the numbers from which these follow, or wait.

In: the ground, the rooms of a city and a slot's pin. Out: the room and the numbers there, or in words what the slot
waits for. At home first: where its addresses are from; then where they may follow it (`following`). Pure.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from anypop.model.allocation import Pin, Place
from anypop.model.names import HostName, InstanceName, WorkloadId
from anypop.model.network import Capacity
from anypop.model.plan import Incarnation
from anypop.plan import following
from anypop.plan.ground import Ground
from anypop.plan.rooms import LinksAsked, Room, best, shortage
from anypop.plan.sites import Sites

UNPINNED = Pin()
Slot = tuple[WorkloadId, InstanceName]


class Taken(NamedTuple):
    """A room, and the numbers of a new incarnation there."""

    room: Room
    place: int
    links: tuple[int, ...]


def taken(pin: Pin, room: Room, asked: LinksAsked) -> Taken:
    """The numbers of a new incarnation in a room that has some."""
    index = _index(pin, room.host)
    if index is None:
        index = room.take_place()
    links = room.take_links(asked, pin.link)
    assert index is not None and links is not None, "it was asked for before"
    return Taken(room, index, links)


def why_it_stays(sites: Sites, pin: Pin) -> str:
    """In words, why what a slot claims binds it to a host; empty where it does not."""
    if pin.host is not None:
        return "a private address is its host's"
    return next((why for place in (*pin.own, *pin.beside) if (why := following.why_it_stays(sites, place))), "")


def stays_on(sites: Sites, pin: Pin, host: HostName) -> str:
    """The same of one that lives there."""
    why = why_it_stays(sites, pin)
    return f"{host} has it: {why}" if why else f"{host} has it"


def held(sites: Sites, pin: Pin, lives: Iterable[Incarnation]) -> Incarnation | None:
    """Of a slot's lives the one that has to stay where it is, since its addresses may be had nowhere else."""
    homes = following.homes(pin)
    found = next((i for i in lives if i.host in homes), None)
    if found is None or {*following.hosts_for(sites, pin, found.pop)} - {found.host}:
        return None
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a slot that claims addresses needs of its place. `volumes_at`: where its volumes are."""

    pin: Pin
    slot: Slot
    needs: Capacity
    links: LinksAsked
    volumes_at: HostName | None

    def take(
        self, ground: Ground, sites: Sites, *, rooms: Iterable[Room], allowed: Iterable[Room]
    ) -> Taken | str:  # fmt: skip
        """Where it goes, taken now; or why it cannot be placed. `rooms`: of its city; `allowed`: those in which a new
        one may be placed.
        """
        if self.pin.waits:
            return self.pin.waits
        if users := sorted(set(_users(ground, self.pin, self.slot))):
            return f"its address is in use by {', '.join(users)}"
        here, found, why = {room.host: room for room in rooms}, list[Room](), ""
        homes = following.homes(self.pin)
        for host in homes:
            problem = self._closed(ground, sites, host, here) or self._lacks(here[host])
            if not problem:
                found.append(here[host])
            why = why or problem
        others = [r for r in allowed if r.host not in homes and following.may_have_all(sites, self.pin, r.host)]
        room = found[0] if found else best(others, self.slot[0], self.needs, self.links)
        if room is None:
            if others:
                return f"{why}; {shortage(others, self.needs, self.links)}"
            return f"{why}; {stays}" if (stays := why_it_stays(sites, self.pin)) else why
        return taken(self.pin, room, self.links)

    def _closed(self, ground: Ground, sites: Sites, host: HostName, here: Mapping[HostName, Room]) -> str:
        """Why it cannot be placed where one of its addresses is from; empty where it can."""
        at = f"its address is on {host}"
        if host in ground.lost:
            return f"{at}, which is lost or given up"
        if host in ground.emptied:
            return f"{at}, which is drained"
        if host not in here:
            return f"{at}, which is not in the network, or not in this city"
        if not following.may_have_all(sites, self.pin, host):
            return "the addresses that it claims are not at one place of one host: claim those that are"
        return f"{at}, and {self.volumes_at} has its volume" if self.volumes_at not in (None, host) else ""

    def _lacks(self, room: Room) -> str:
        lacking = room.lacking(self.needs)
        if _index(self.pin, room.host) is None and room.indexes.next() is None:
            lacking.append(f"all {room.indexes.capacity} external addresses of {room.host} are taken")
        new = self.links.count - (self.pin.link is not None)
        if new and room.links.free(replace(self.links, count=new)) is None:
            lacking.append(f"all {room.links.capacity} private links of {room.host} are taken")
        return f"its address is on {room.host}: {'; '.join(lacking)}" if lacking else ""


def _index(pin: Pin, host: HostName) -> int | None:
    """The number that an external address of the slot has there: then that one follows from its place, as others do."""
    return None if pin.apart else min((p.number for p in pin.own if p.host == host), default=None)


def _users(ground: Ground, pin: Pin, slot: Slot) -> Iterator[str]:
    """Other slots that have one of the numbers; and its own last life, where that still has the link."""
    places: dict[HostName, list[Place]] = {host: [] for host in following.homes(pin)}
    for place in (*pin.own, *pin.beside):
        places[place.host].append(place)
    for host, there in places.items():
        indexes, link = {place.number for place in there}, pin.link if host == pin.host else None
        for life in ground.incarnations_on(host):
            if life.slot != slot and (life.index in indexes or link in life.links):
                yield life.name
        for gone in ground.removals_on(host):
            same = (gone.workload_id, gone.name) == slot
            if link in gone.links or (not same and gone.index in indexes):
                yield f"{gone.name}, which is on its way out"

"""Slots whose addresses are claimed: they live where these are, with the numbers from which these follow, or wait.

In: the ground, the rooms of a city and a slot's pin. Out: the room that the pin leaves and the numbers there, or in
words what the slot waits for. Pure.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from anypop.model.allocation import Pin
from anypop.model.names import HostName, InstanceName, WorkloadId
from anypop.model.network import Capacity
from anypop.plan.ground import Ground
from anypop.plan.rooms import LinksAsked, Room

UNPINNED = Pin()


def unmet(
    ground: Ground,
    rooms: Iterable[Room],
    pin: Pin,
    slot: tuple[WorkloadId, InstanceName],
    needs: Capacity,
    *,
    asked: LinksAsked,
    volumes_at: HostName | None,
) -> str:
    """Why a slot cannot be placed where its addresses are; empty where it can. `rooms`: of its city. `volumes_at`:
    where its volumes are.
    """
    if pin.waits:
        return pin.waits
    if pin.host is None:
        return ""
    if pin.host in ground.lost:
        return f"its address is on {pin.host}, which is lost or given up"
    if pin.host in ground.emptied:
        return f"its address is on {pin.host}, which is drained"
    room = next((r for r in rooms if r.host == pin.host), None)
    if room is None:
        return f"its address is on {pin.host}, which is not in the network, or not in this city"
    if volumes_at not in (None, pin.host):
        return f"its address is on {pin.host}, and {volumes_at} has its volume"
    if users := sorted(set(_users(ground, pin, pin.host, slot))):
        return f"its address is in use by {', '.join(users)}"
    lacking = room.lacking(needs)
    if pin.index is None and room.indexes.next() is None:
        lacking.append(f"all {room.indexes.capacity} external addresses of {room.host} are taken")
    if room.links.free(replace(asked, count=max(1, asked.count - (pin.link is not None)))) is None and (
        pin.link is None or asked.count > 1
    ):
        lacking.append(f"all {room.links.capacity} private links of {room.host} are taken")
    return f"its address is on {pin.host}: {'; '.join(lacking)}" if lacking else ""


def _users(ground: Ground, pin: Pin, host: HostName, slot: tuple[WorkloadId, InstanceName]) -> Iterator[str]:
    """Other slots that have one of the numbers; and its own last life, where that still has the link."""
    for life in ground.incarnations_on(host):
        if life.slot != slot and (life.index == pin.index or pin.link in life.links):
            yield life.name
    for gone in ground.removals_on(host):
        same = (gone.workload_id, gone.name) == slot
        if pin.link in gone.links or (not same and gone.index == pin.index):
            yield f"{gone.name}, which is on its way out"


def numbers(room: Room, pin: Pin, asked: LinksAsked) -> tuple[int | None, tuple[int, ...] | None]:
    """The index and the links of a new incarnation there, taken now."""
    index = pin.index if pin.index is not None else room.take_place()
    return index, room.take_links(asked, pin.link)

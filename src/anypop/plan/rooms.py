"""Room on hosts: what instances take of CPU, memory and disk, and what is left.

In: the network, capacities, and who stands where. Out: a `Room` for each host that is asked about, which says
whether one more fits and keeps count while a plan is made. Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from operator import attrgetter

from anypop.model.allocation import AddressClass
from anypop.model.machine import OVERHEAD_BYTES
from anypop.model.names import CityCode, HostName, WorkloadId
from anypop.model.network import Capacity
from anypop.model.order_since import does_not_know, unknown_in
from anypop.model.plan import Incarnation
from anypop.model.reasons import Reason
from anypop.model.subnets import LINKS
from anypop.model.volume import Claim, class_named
from anypop.model.workload import Workload
from anypop.plan.addresses import Numbering
from anypop.plan.ground import Ground
from anypop.plan.life import taken
from anypop.plan.sites import Sites

_CANNOT = "QEMU is not there, or its agent has not told yet (`anypop host describe`)"

NOTHING = Capacity(cpu_millis=0, memory_bytes=0, disk_bytes=0)
ROOT_DISK_BYTES = 1 << 30  # an instance's writable layer and logs: what it may be expected to take of its host's disk


def needs_of(workload: Workload) -> Capacity:
    """What one instance takes."""
    cpu, memory = taken(workload)
    disk = ROOT_DISK_BYTES
    for container in workload.containers:
        if container.machine is not None:
            memory += OVERHEAD_BYTES
            image = container.machine.image
            disk = max(disk, image.disk_bytes if image is not None else 0)  # a guest may write all of its root disk
    return Capacity(cpu_millis=cpu, memory_bytes=memory, disk_bytes=disk + volume_bytes(workload))


def volume_bytes(workload: Workload) -> int:
    """What the volumes of one instance take."""
    return sum(claim.size_bytes for claim in workload.volumes)


@dataclass(slots=True, kw_only=True)
class _Numbers:
    """Numbers given out from 0, the lowest free one first."""

    capacity: int
    taken: set[int] = field(default_factory=set)
    lowest: int = 0

    def next(self) -> int | None:
        """The one that is next."""
        while self.lowest in self.taken:
            self.lowest += 1
        return self.lowest if self.lowest < self.capacity else None

    def free(self, asked: "LinksAsked") -> tuple[int, ...] | None:
        """So many as are asked for, the lowest ones; None where there are not so many."""
        first, end = self.next(), self.capacity if asked.below is None else min(asked.below, self.capacity)
        if first is None or first >= end or asked.count == 1:
            return (first,) if first is not None and first < end else None
        found = tuple(islice((n for n in range(first, end) if n not in self.taken), asked.count))
        return found if len(found) == asked.count else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinksAsked:
    """The private links of one instance: one for each of its interfaces. `below`: their numbers must be below that;
    None: any will do.
    """

    count: int = 1
    below: int | None = None

    @classmethod
    def of(cls, workload: Workload) -> "LinksAsked":
        if not workload.further:
            return _ONE_IN_SUBNETS if workload.vpc.subnets else ONE_LINK
        return cls(count=1 + len(workload.further), below=LINKS)  # a further interface is in a subnet


ONE_LINK, _ONE_IN_SUBNETS = LinksAsked(), LinksAsked(below=LINKS)


@dataclass(slots=True, kw_only=True)
class Room:
    """One host while a plan is made. `capacity` None: only its addresses limit it."""

    host: HostName
    indexes: _Numbers
    links: _Numbers
    capacity: Capacity | None
    cpu_millis: int = 0
    memory_bytes: int = 0
    disk_bytes: int = 0
    instances: dict[WorkloadId, int] = field(default_factory=dict)
    count: int = 0

    @classmethod
    def of(cls, host: HostName, numbers: Numbering, capacity: Capacity | None) -> "Room":
        return cls(
            host=host,
            indexes=_Numbers(capacity=numbers.places),
            links=_Numbers(capacity=numbers.links),
            capacity=capacity,
        )

    def add(self, workload: WorkloadId, needs: Capacity) -> None:
        """Count one that stands here."""
        self.cpu_millis += needs.cpu_millis
        self.memory_bytes += needs.memory_bytes
        self.disk_bytes += needs.disk_bytes
        self.instances[workload] = self.instances.get(workload, 0) + 1
        self.count += 1

    def fits(self, needs: Capacity) -> bool:
        """Whether CPU, memory and disk are enough for one more."""
        return self.capacity is None or not self.lacking(needs)

    def lacking(self, needs: Capacity, *, instead_of: Capacity = NOTHING) -> list[str]:
        """What one more would lack, in words: `8 CPUs; 3.5 of 4 free`. `instead_of`: of one that stands here and would
        go for it.
        """
        if self.capacity is None:
            return []
        found = []
        for name, unit, of in (
            ("CPUs", 1000, attrgetter("cpu_millis")),
            ("GiB of memory", 2**30, attrgetter("memory_bytes")),
            ("GiB of disk", 2**30, attrgetter("disk_bytes")),
        ):
            asked, total, left = of(needs), of(self.capacity), of(self.capacity) - of(self) + of(instead_of)
            if asked > left:
                found.append(
                    f"needs {asked / unit:.3g} {name}, "
                    f"{max(0, left) / unit:.3g} of {total / unit:.3g} are free on {self.host}"
                )
        return found

    def take_place(self) -> int | None:
        """The index for external addresses; None where all are taken."""
        index = self.indexes.next()
        if index is not None:
            self.indexes.taken.add(index)
        return index

    def take_links(self, asked: LinksAsked, kept: int | None = None) -> tuple[int, ...] | None:
        """The numbers of an instance's private links, the first of which may be kept for it; None where there are not
        enough.
        """
        if kept is None:
            found = self.links.free(asked)
            self.links.taken.update(found or ())
            return found
        more = self.links.free(replace(asked, count=asked.count - 1)) if asked.count > 1 else ()
        if more is None:
            return None
        self.links.taken.update(more)
        return (kept, *more)


class Rooms:
    """The hosts' rooms, each counted when it is first asked for: as the ground has it, and then with what the plan
    adds.
    """

    def __init__(self, ground: Ground, sites: Sites) -> None:
        self._ground = ground
        self.sites = sites
        self._rooms: dict[HostName, Room] = {}
        self._needs: dict[tuple[WorkloadId, int], Capacity] = {}

    def of(self, host: HostName) -> Room | None:
        """None where the network has no such host."""
        if (room := self._rooms.get(host)) is None and host in self.sites.hosts:
            room = self._rooms[host] = self._counted(host)
        return room

    def has(self, city: CityCode) -> bool:
        """Whether there is such a PoP."""
        return city in self.sites.pops

    def in_city(self, city: CityCode) -> list[Room]:
        pop = self.sites.pops.get(city)
        return [room for host in (pop.hosts if pop is not None else ()) if (room := self.of(host.name)) is not None]

    def _counted(self, host: HostName) -> Room:
        ground = self._ground
        room = Room.of(host, self.sites.hosts[host].numbers, ground.capacity(host))
        claimed: set[tuple[WorkloadId, str, str]] = set()
        for incarnation in ground.incarnations_on(host):
            claimed |= {(*incarnation.slot, c.slug) for c in self._claims_of(incarnation)}
            room.indexes.taken.add(incarnation.index)
            room.links.taken.update(incarnation.links)
            room.add(incarnation.workload_id, self._needs_of(incarnation.workload_id, incarnation.revision))
        for volume in ground.volumes_on(host):
            # what an instance claims is counted with it already
            claims = (volume.workload_id, volume.instance, volume.claim) in claimed
            room.disk_bytes += volume.taken_bytes - (volume.size_bytes if claims else 0)
        for removal in ground.removals_on(host):
            room.indexes.taken.add(removal.index)
            room.links.taken.update(removal.links)
        for _, kind, number in ground.reserved_on(host):
            (room.indexes if kind is AddressClass.UNICAST else room.links).taken.add(number)
        indexes, links = ground.resting_on(host)
        room.indexes.taken.update(indexes)
        room.links.taken.update(links)
        return room

    def refusal(self, host: HostName, workload: Workload) -> tuple[Reason, str] | None:
        """Why a host cannot run what an instance is made of, in words; None: it can."""
        if not workload.is_machine:
            return None
        if not self._ground.runs_machines(host):
            return Reason.NO_MACHINES, f"{host}: {_CANNOT}"
        unknown = unknown_in(workload.containers, self._ground.understands(host))
        return (Reason.OLDER_AGENT, f"{host}: {does_not_know(unknown)}") if unknown else None

    def offers(self, host: HostName, workload: Workload) -> bool:
        """Whether a host has the storage classes of all volumes of a workload."""
        classes = self.sites.network.instances.storage_classes
        found = (class_named(classes, claim.storage_class) for claim in workload.volumes)
        return all(one is not None and one.is_on(host) for one in found)

    def _claims_of(self, incarnation: Incarnation) -> tuple[Claim, ...]:
        made_from = self._ground.revision(incarnation.workload_id, incarnation.revision)
        return made_from.volumes if made_from is not None else ()

    def _needs_of(self, workload: WorkloadId, number: int) -> Capacity:
        """What is not known any more is counted by the newest revision; without one it takes nothing."""
        key = workload, number
        if (needs := self._needs.get(key)) is None:
            made_from = self._ground.revision(workload, number) or self._ground.workload(workload)
            needs = (
                needs_of(made_from) if made_from is not None else Capacity(cpu_millis=0, memory_bytes=0, disk_bytes=0)
            )
            self._needs[key] = needs
        return needs


def best(rooms: Iterable[Room], workload: WorkloadId, needs: Capacity, asked: LinksAsked = ONE_LINK) -> Room | None:
    """The host of a PoP that one more instance goes to: where the workload has fewest, then where fewest are, then the
    first by name.
    """
    fitting = [r for r in rooms if r.fits(needs) and r.indexes.next() is not None and r.links.free(asked) is not None]
    if len(fitting) < 2:
        return fitting[0] if fitting else None
    return min(fitting, key=lambda r: (r.instances.get(workload, 0), r.count, r.host))


def shortage(rooms: Iterable[Room], needs: Capacity, asked: LinksAsked = ONE_LINK) -> str:
    """Why no host of a PoP has room, in words with the numbers."""
    reasons = []
    for room in rooms:
        lacking = room.lacking(needs)
        if not lacking:
            limit = min(room.indexes.capacity, room.links.capacity)
            what = "addresses"
            if asked.below is not None and room.links.next() is not None and room.links.free(asked) is None:
                limit, what = asked.below, "addresses in subnets"
            few = room.links.next() is not None and room.links.free(replace(asked, count=1)) is not None
            if room.indexes.next() is not None and few and asked.count > 1:
                lacking = [f"{asked.count} private links are needed, and fewer of {room.host} are free"]
            else:
                lacking = [f"all {limit} {what} of {room.host} are taken"]
        reasons += lacking
    return "; ".join(reasons)


def capacities_of(
    hosts: Mapping[HostName, Capacity | None], told: Mapping[HostName, Capacity]
) -> dict[HostName, Capacity]:
    """The operator's own figures, and what agents told for the other hosts."""
    return {host: figure for host, own in hosts.items() if (figure := own or told.get(host)) is not None}

"""Planning again, only what changed: the same plan as `planner.plan` gives, at the cost of the difference.

In: the plan that stands, the ground as it is now, and what was touched since. Out: the new plan and which of its
parts differ. It repeats for the touched workloads, hosts and prefixes what the planner does for all, with the
planner's own functions; a property test holds the two equal over random histories. Pure. What a plan itself changes
(who is placed, who is removed) is touched for the next one.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from anypop.model.announce import Announcement, Prefix
from anypop.model.names import CityCode, HostName, InstanceName, WorkloadId
from anypop.model.order import Move, Removal
from anypop.model.plan import AnycastAddress, Homes, HostPlan, Incarnation, PlanNote
from anypop.model.reasons import Reason
from anypop.plan.announcements import Told, order_of, own, told_of
from anypop.plan.anycast import Tenancy, footprint, give, is_needed, wants
from anypop.plan.ground import Ground
from anypop.plan.moves import moves_of
from anypop.plan.placement import Settled, settle
from anypop.plan.planned import NOWHERE, Planned, Row, Touched
from anypop.plan.planner import Instances, turn_of
from anypop.plan.rooms import Rooms
from anypop.plan.sites import Sites


@dataclass(frozen=True, slots=True, kw_only=True)
class Replanned:
    """A plan made again, and what of it was looked at: whatever is not named here is as it was. `whole`: everything
    was.
    """

    plan: Planned
    whole: bool
    workloads: frozenset[WorkloadId]
    prefixes: frozenset[Prefix]
    hosts: frozenset[HostName]


def replan(before: Planned | None, sites: Sites, ground: Ground, touched: Touched) -> Replanned:
    """`before` None: there is no plan yet, and all is planned; so it is when the network has changed, and with it
    `sites`.
    """
    if before is None or before.sites is not sites:
        everything = Touched(
            workloads=frozenset(ground.workload_ids()), hosts=frozenset(sites.hosts) | frozenset(ground.removal_hosts())
        )
        return _Replanning(Planned(sites=sites), ground, everything, whole=True).done()
    return _Replanning(before, ground, touched, whole=False).done()


class _Replanning:
    """One plan in the making. Its steps are the planner's: place, give addresses, announce, put together by host."""

    def __init__(self, before: Planned, ground: Ground, touched: Touched, *, whole: bool) -> None:
        self.before = before
        self.ground = ground
        self.sites = before.sites
        self.whole = whole
        self.touched = touched
        self.makes = Instances(ground)
        self.settled: dict[WorkloadId, Settled] = {}
        self.waiting = before.waiting
        self._place()
        self.placed = before.placed.put(self.settled).drop(
            [w for w, s in self.settled.items() if not self._is_there(w, s)]
        )
        self.ranks = before.ranks.put({w: ground.rank(w) for w in self.settled}).drop(
            [w for w in self.settled if w not in self.placed]
        )
        self._give_addresses()
        self._tell()
        self._put_together()

    def done(self) -> Replanned:
        # who was only placed will be found as he is now; who was removed, as a tombstone
        pending = Touched(
            workloads=frozenset(w for w, s in self.settled.items() if s.removals),
            hosts=frozenset(h for w, s in self.settled.items() if self._differs(w, s) for h in self._hosts_of(w, s)),
            addresses=self.released,
        )
        plan = Planned(
            sites=self.sites,
            hosts=self.hosts,
            placed=self.placed,
            waiting=self.waiting,
            rows=self.rows,
            removed=self.removed,
            anycast=self.anycast,
            footprints=self.footprints,
            unserved=self.unserved,
            given=self.given,
            told=self.told,
            telling=self.telling,
            carried=self.carried,
            slots=self.slots,
            ranks=self.ranks,
            pending=pending,
        )
        return Replanned(
            plan=plan,
            whole=self.whole,
            workloads=frozenset(self.settled) | self.rehomed,
            prefixes=self.prefixes,
            hosts=self.changed_hosts,
        )

    def _is_there(self, workload: WorkloadId, settled: Settled) -> bool:
        return bool(
            settled.kept
            or settled.removals
            or self.ground.workload(workload) is not None
            or any(True for _ in self.ground.removals_of(workload))
        )

    def _differs(self, workload: WorkloadId, settled: Settled) -> bool:
        """Whether what was decided changes what the next plan will find."""
        if settled.removals or settled.took:
            return True
        return {i.uid: i for i in settled.kept} != {i.uid: i for i in self.ground.incarnations_of(workload)}

    def _hosts_of(self, workload: WorkloadId, settled: Settled) -> set[HostName]:
        """Where a workload stood, stands, or is being removed."""
        hosts = {i.host for i in settled.kept} | {i.host for i in self.ground.incarnations_of(workload)}
        return hosts | {host for host, _ in settled.removals}

    def _place(self) -> None:
        """Settle what is touched, and who waits for room where room changed: in this plan too, by those whose turn was
        earlier.
        """
        rooms = Rooms(self.ground, self.sites)
        pending = self.before.pending
        cities = (
            {self.sites.pop_of(host) for host in self.touched.hosts | pending.hosts} if self.before.waiting else set()
        )
        concerned = self.touched.workloads | pending.workloads
        queue = sorted({*concerned, *self._who_wait(cities)}, key=self.ground.rank, reverse=True)
        while queue:
            workload = queue.pop()
            settled = settle(self.ground, rooms, workload)
            self.settled[workload] = settled
            was = self.before.placed.get(workload)
            old = was.waits if was is not None else frozenset()
            if old != settled.waits:
                self.waiting = self.waiting.drop([(city, workload) for city in old - settled.waits])
                self.waiting = self.waiting.put({(city, workload): None for city in settled.waits})
            if settled.took and not self.whole:
                turn = self.ground.rank(workload)
                woken = self._who_wait({self.sites.pop_of(host) for host in settled.took}) - self.settled.keys()
                if later := [w for w in woken if self.ground.rank(w) > turn and w not in queue]:
                    queue = sorted((*queue, *later), key=self.ground.rank, reverse=True)

    def _who_wait(self, cities: Iterable[CityCode]) -> set[WorkloadId]:
        return {workload for city in cities for _, workload in self.before.waiting.group("city", city)}

    def _give_addresses(self) -> None:
        """Addresses that are not needed go; whoever wants one and has none is asked again where that may help."""
        ground = self.ground
        anycast, unserved = self.before.anycast, self.before.unserved
        if self.whole:
            held = {w: entry for w in self.settled if (entry := ground.held(w)) is not None}
            anycast = anycast.put(held)
        over = [w for w, settled in self.settled.items() if w in anycast and not is_needed(ground, w, settled)]
        anycast = anycast.drop(over)
        self.released = bool(over)
        asking = [w for w in self.settled if wants(ground, w) and w not in anycast]
        marked = {
            w: footprint(ground, self.sites, w, s) for w, s in self.settled.items() if w in anycast or wants(ground, w)
        }
        self.footprints = self.before.footprints.put(marked)
        moved = self.footprints is not self.before.footprints
        self.footprints = self.footprints.drop([w for w in self.settled if w not in marked])
        unserved = unserved.drop([w for w in self.settled if w in unserved and w not in asking])
        self.anycast, self.unserved = anycast, unserved
        given: set[WorkloadId] = set()
        if asking or (
            unserved and (over or moved or self.touched.addresses or self.before.pending.addresses or self.before.given)
        ):
            tenancy, tried = Tenancy(self._tenants, self.footprints), dict[IPv4Network, int]()
            for workload in sorted({*asking, *unserved}, key=ground.rank):
                wanted = ground.workload(workload)
                assert wanted is not None  # who asks for an address is there
                found = give(wanted, self.sites, tenancy, is_taken=self._is_taken, tried=tried)
                if isinstance(found, PlanNote):
                    self.unserved = self.unserved.put({workload: found})
                else:
                    self.anycast, self.unserved = self.anycast.put({workload: found}), self.unserved.drop([workload])
                    given.add(workload)
                    tenancy.joined(found)
        self.given = frozenset(given)
        self.rehomed = frozenset(given) - self.settled.keys()

    def _tenants(self, prefix: Prefix) -> Mapping[WorkloadId, AnycastAddress]:
        return self.anycast.group(f"prefix{prefix.version}", prefix)

    def _is_taken(self, address: IPv4Address) -> bool:
        return bool(self.anycast.group("address4", address)) or self.ground.rests(address)

    def _tell(self) -> None:
        """The covering prefixes of all who were settled, or whose address is new or gone, and those that are touched
        themselves, as they are announced now.
        """
        prefixes: set[Prefix] = set(self.touched.prefixes & self.before.told.keys())
        for workload in (*self.settled, *self.rehomed):
            for held in (self.before.anycast.get(workload), self.anycast.get(workload)):
                if held is not None:
                    prefixes |= {held.prefix4, held.prefix6}
        self.prefixes = frozenset(prefixes)
        told: dict[Prefix, Told] = {}
        telling: dict[HostName, set[Prefix]] = {}
        for prefix in prefixes:
            tenants = self._tenants(prefix)
            told[prefix] = told_of(
                self.ground, self.sites, prefix, tenants.values(), {w: self._homes_of(w) for w in tenants}
            )
            was = self.before.told.get(prefix, _UNTOLD)
            for host in {*was.hosts, *told[prefix].hosts}:
                known = telling.setdefault(host, set(self.before.telling.get(host, ())))
                (known.add if host in told[prefix].hosts else known.discard)(prefix)
        now_carried = {prefix for prefix, of_prefix in told.items() if of_prefix.carried}
        self.carried = (self.before.carried - told.keys()) | now_carried
        # what is carried stands in the order of every host
        self.retold = frozenset(telling if self.carried == self.before.carried else self.sites.hosts) | telling.keys()
        self.carried_in_order = tuple(sorted(self.carried, key=order_of))
        self.told = self.before.told.put(told).drop(
            [prefix for prefix, of_prefix in told.items() if of_prefix == _UNTOLD]
        )
        sorted_ones = {host: tuple(sorted(known, key=order_of)) for host, known in telling.items()}
        self.telling = self.before.telling.put(sorted_ones).drop(
            [host for host, known in sorted_ones.items() if not known]
        )

    def _homes_of(self, workload: WorkloadId) -> Homes:
        settled = self.placed.get(workload)
        return settled.homes if settled is not None else NOWHERE

    def _put_together(self) -> None:
        """The parts of all hosts where something of that changed."""
        again = {**self.settled, **{w: self.placed[w] for w in self.rehomed}}
        coming: dict[HostName, list[Incarnation]] = {}
        going: dict[HostName, list[Removal]] = {}
        slots: dict[CityCode, int] = {}
        for workload, settled in again.items():
            was = self.before.placed.get(workload)
            for incarnation in was.kept if was is not None else ():
                coming.setdefault(incarnation.host, [])
            for incarnation in settled.kept:
                coming.setdefault(incarnation.host, []).append(incarnation)
            for host, removal in settled.removals:
                going.setdefault(host, []).append(removal)
            for sign, kept in ((-1, was.kept if was is not None else ()), (1, settled.kept)):
                for pop in {i.name: i.pop for i in kept}.values():
                    slots[pop] = slots.get(pop, 0) + sign
        self.slots = self.before.slots.put({pop: self.before.slots.get(pop, 0) + n for pop, n in slots.items() if n})
        held_back = {
            (host, workload, removal.name)
            for workload, settled in again.items()
            for host, removal in (*self.ground.removals_of(workload), *settled.removals)
            if removal.reason is Reason.REPLACED
        }
        moves = {u: move for settled in again.values() for u, move in moves_of(self.ground, settled.kept).items()}
        rows = {host: self._rows(host, again, incarnations, held_back, moves) for host, incarnations in coming.items()}
        self.rows = self.before.rows.put(rows).drop([host for host, found in rows.items() if not found])
        cleared = {*going, *self.touched.hosts}
        removed = {
            host: tuple(sorted((*self.ground.removals_on(host), *going.get(host, ())), key=turn_of)) for host in cleared
        }
        self.removed = self.before.removed.put(removed).drop([host for host, found in removed.items() if not found])
        parts = {
            host: self._part(host)
            for host in {*rows, *removed, *self.retold, *self._new_hosts()}
            if host in self.sites.hosts
        }
        self.hosts = self.before.hosts.put(parts)
        self.changed_hosts = frozenset(
            host for host, part in parts.items() if self.before.hosts.get(host) is not self.hosts[host]
        )

    def _new_hosts(self) -> Collection[HostName]:
        return self.sites.hosts if self.whole else ()

    def _rows(
        self,
        host: HostName,
        again: Mapping[WorkloadId, Settled],
        incarnations: list[Incarnation],
        held_back: Collection[tuple[HostName, WorkloadId, InstanceName]],
        moves: Mapping[str, Move],
    ) -> tuple[Row, ...]:
        """`held_back`: slots whose next incarnation waits until the one before it has made room there."""
        site, old = self.sites.hosts.get(host), self.before.rows.get(host, ())
        stay = [row for row in old if row.incarnation.workload_id not in again]
        known = {row.incarnation.uid: row.order for row in old if row.incarnation.workload_id in again}
        for incarnation in incarnations:
            order = None
            if site is not None and (not held_back or (host, *incarnation.slot) not in held_back):
                order = self.makes.order(
                    incarnation, site.numbers, self.anycast.get(incarnation.workload_id), moves.get(incarnation.uid)
                )
                if (was := known.get(incarnation.uid)) is not None and was == order:
                    order = was  # the very same object tells everyone later that nothing changed
            stay.append(Row(incarnation, order))
        return tuple(sorted(stay, key=lambda row: (row.incarnation.index, row.incarnation.life)))

    def _part(self, host: HostName) -> HostPlan:
        site, rows = self.sites.hosts[host], self.rows.get(host, ())
        drains = self.ground.drains_at(site.pop.city)
        used = self.makes.outside(row.incarnation for row in rows)
        announced: list[Announcement] = [*own(site.pop, site.host, used, drains, tunnels=bool(self.sites.backbones))]
        for prefix in self.telling.get(host, ()):
            announced += self.told[prefix].hosts[host]
        was, backbone = self.before.hosts.get(host), self.sites.backbone_of(host, self.carried_in_order)
        if was is not None and was.backbone == backbone:
            backbone = was.backbone  # the very same object tells everyone later that nothing changed
        return HostPlan(
            pop=site.pop.city,
            host=host,
            instances=tuple(row.order for row in rows if row.order is not None),
            removed=self.removed.get(host, ()),
            announcements=tuple(announced),
            backbone=backbone,
        )


_UNTOLD = Told()

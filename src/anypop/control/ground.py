"""Control's state as the planner's ground, and what was touched in it between two states.

In: a draft of the state. Out: answers to what `plan.ground.Ground` asks, each at the cost of the answer. Pure; it
decides nothing.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address

from anypop.control.allocation_pins import pins_of, reserved
from anypop.control.rests import resting
from anypop.control.state import State
from anypop.model.allocation import Pin, PlaceKey
from anypop.model.announce import Prefix, ScopeRule
from anypop.model.drain import Drain
from anypop.model.names import CityCode, HostName, InstanceName, WorkloadId
from anypop.model.network import Capacity
from anypop.model.order import Removal
from anypop.model.plan import AnycastAddress, Incarnation
from anypop.model.rollout import Rollout, RolloutKind
from anypop.model.table import Table, differing, grouped
from anypop.model.volume import Volume
from anypop.model.workload import Target, Workload
from anypop.plan.drain import emptied_by
from anypop.plan.planned import Touched
from anypop.plan.scaling import ordinals_of
from anypop.plan.sites import Sites

_LAST = (float("inf"), "")


class StateGround:
    """A draft as the planner asks for it. It is what `State.world` is, piece by piece."""

    def __init__(self, state: State, sites: Sites) -> None:
        self._state = state
        self._own = sites.hosts
        self.sites = sites
        self.serial = state.serial
        self.lost = state.lost
        self.moves = state.moves
        self.evicted = state.evicted
        self.eases = state.eases
        self.emptied = frozenset(host for d in state.active_drains() if (host := emptied_by(d)) is not None)

    def replicas(self, workload: WorkloadId, target: Target, city: CityCode) -> int:
        return self._state.replicas(workload, target, city)

    def ordinals(self, workload: WorkloadId, target: Target, city: CityCode) -> Sequence[int]:
        return ordinals_of(target, self._state.scaled.get((workload, target.name, city)))

    def drains_at(self, pop: CityCode) -> Iterable[Drain]:
        return self._state.drains_at(pop)

    def workload_ids(self) -> Collection[WorkloadId]:
        assert isinstance(self._state.incarnations, Table)
        assert isinstance(self._state.tombstones, Table)
        left = {*self._state.incarnations.group_names("workload"), *self._state.tombstones.group_names("workload")}
        return left | self._state.workloads.keys() | self._state.anycast.keys()

    def rank(self, workload: WorkloadId) -> tuple[float, str]:
        declared = self._state.workloads.get(workload)
        return (declared.created_at, workload) if declared is not None else (_LAST[0], workload)

    def workload(self, workload: WorkloadId) -> Workload | None:
        declared = self._state.workloads.get(workload)
        return declared.workload if declared is not None else None

    def revision(self, workload: WorkloadId, number: int) -> Workload | None:
        revision = self._state.revision(workload, number)
        return revision.workload if revision is not None else None

    def update_of(self, workload: WorkloadId) -> Rollout | None:
        return self._state.rollout_of(workload, RolloutKind.UPDATE)

    def ready(self, workload: WorkloadId) -> Collection[str]:
        found = frozenset(uid for rollout in self._state.rollouts_of(workload).values() for uid in rollout.ready)
        return (
            found | self._state.arrived | frozenset(uid for drain in self._state.drains.values() for uid in drain.ready)
        )

    def incarnations_of(self, workload: WorkloadId) -> Iterable[Incarnation]:
        return [placed.incarnation for placed in self._state.incarnations_of(workload).values()]

    def incarnations_on(self, host: HostName) -> Iterable[Incarnation]:
        return [placed.incarnation for placed in self._state.incarnations_on(host).values()]

    def removals_of(self, workload: WorkloadId) -> Iterable[tuple[HostName, Removal]]:
        return [(stone.incarnation.host, stone.removal) for stone in self._state.tombstones_of(workload).values()]

    def removals_on(self, host: HostName) -> Iterable[Removal]:
        return [stone.removal for stone in self._state.tombstones_on(host).values()]

    def removal_hosts(self) -> Iterable[HostName]:
        assert isinstance(self._state.tombstones, Table)
        return self._state.tombstones.group_names("host")

    def resting_on(self, host: HostName) -> tuple[Iterable[int], Iterable[int]]:
        found = [resting(what) for what in self._state.rests_on(host)]
        return [n for _, kind, n in found if kind == "place"], [n for _, kind, n in found if kind == "link"]

    def rests(self, address: IPv4Address) -> bool:
        return str(address) in self._state.rests

    def held(self, workload: WorkloadId) -> AnycastAddress | None:
        return self._state.anycast.get(workload)

    def rules_of(self, workload: WorkloadId) -> Iterable[ScopeRule]:
        return self._state.rules_of(workload).values()

    def volumes_of(self, workload: WorkloadId) -> Iterable[Volume]:
        return self._state.volumes_of(workload).values()

    def volumes_on(self, host: HostName) -> Iterable[Volume]:
        return self._state.volumes_on(host).values()

    def pins_of(self, workload: WorkloadId) -> Mapping[InstanceName, Pin]:
        return pins_of(self._state, workload)

    def reserved_on(self, host: HostName) -> Iterable[PlaceKey]:
        return reserved(grouped(self._state.allocations, "host", host).values())

    def capacity(self, host: HostName) -> Capacity | None:
        site, received = self._own.get(host), self._state.reports.get(host)
        own = site.host.capacity if site is not None else None
        return own or (received.report.capacity if received is not None else None)

    def runs_machines(self, host: HostName) -> bool:
        return self._state.runs_machines(host)

    def processor(self, host: HostName) -> str:
        return self._state.processor(host)

    def understands(self, host: HostName) -> int:
        return self._state.understands(host)


def touched_between(before: State, after: State) -> Touched:
    """What may be planned otherwise in `after`."""
    workloads = differing(before.workloads, after.workloads) | differing(before.anycast, after.anycast)
    workloads |= {key[0] for key in differing(before.revisions, after.revisions) | differing(before.rules, after.rules)}
    hosts: set[HostName] = set(before.lost ^ after.lost)
    for host in before.lost ^ after.lost:
        for state in (before, after):
            workloads |= {p.incarnation.workload_id for p in state.incarnations_on(host).values()}
            workloads |= {t.incarnation.workload_id for t in state.tombstones_on(host).values()}
    for place in differing(before.volumes, after.volumes):
        hosts.add(place[0])
        workloads |= {state.volumes[place].workload_id for state in (before, after) if place in state.volumes}
    for scaled in differing(before.scaled, after.scaled):
        was, now = before.scaled.get(scaled), after.scaled.get(scaled)
        if was is None or now is None or (was.replicas, was.left_out) != (now.replicas, now.left_out):
            workloads.add(scaled[0])
    hosts |= allocations_touched(before, after)
    workloads |= claims_touched(before, after)
    for key in differing(before.rollouts, after.rollouts):
        workloads |= {state.rollouts[key].workload_id for state in (before, after) if key in state.rollouts}
    for uid in (before.moves ^ after.moves) | (before.eases ^ after.eases) | (before.arrived ^ after.arrived):
        workloads |= {
            state.incarnations[uid].incarnation.workload_id for state in (before, after) if uid in state.incarnations
        }
    placed, stones = differing(before.incarnations, after.incarnations), differing(before.tombstones, after.tombstones)
    for state in (before, after):
        for uid in placed:
            if (life := state.incarnations.get(uid)) is not None:
                workloads.add(life.incarnation.workload_id)
                hosts.add(life.incarnation.host)
        for uid in stones:
            if (stone := state.tombstones.get(uid)) is not None:
                workloads.add(stone.incarnation.workload_id)
                hosts.add(stone.incarnation.host)
    drained, prefixes = list(_drained_otherwise(before, after)), set[Prefix]()
    for drain in drained:
        pop = after.pop(drain.pop) or before.pop(drain.pop)
        here = [host.name for host in pop.hosts] if pop is not None else []
        hosts |= {*here}
        # with a backbone a PoP tells prefixes of workloads that do not stand there
        prefixes |= {p for host in here for p in (before.plan.telling.get(host, ()) if before.plan is not None else ())}
        for state in (before, after):
            workloads |= _at(state, drain)
    addresses = False
    for what in differing(before.rests, after.rests):
        host = resting(what)[0]
        hosts |= {host} if host else set()
        addresses = addresses or not host
    for host in differing(before.reports, after.reports):
        same = before.runs_machines(host) == after.runs_machines(host)
        same = same and before.processor(host) == after.processor(host)
        same = same and before.understands(host) == after.understands(host)
        if not same or _told_capacity(before, host) != _told_capacity(after, host):
            hosts.add(host)
    return Touched(
        workloads=frozenset(workloads),
        hosts=frozenset(hosts),
        prefixes=frozenset(prefixes),
        addresses=addresses,
        more=before.moves != after.moves or before.eases != after.eases or bool(drained),
    )


def allocations_touched(before: State, after: State) -> set[HostName]:
    """Hosts on which an address is kept, given, claimed or let go."""
    found = [
        (s, s.allocations[k])
        for k in differing(before.allocations, after.allocations)
        for s in (before, after)
        if k in s.allocations
    ]
    for key in differing(before.claims, after.claims):
        claims = [(s, s.claims[key]) for s in (before, after) if key in s.claims]
        found += [(s, a) for s, c in claims if (a := s.allocations.get(c.allocation_id)) is not None]
    return {one.place.host for _, one in found if one.place is not None}


def claims_touched(before: State, after: State) -> set[WorkloadId]:
    """Workloads whose slots hold a claim otherwise, or another one."""
    keys = differing(before.claims, after.claims)
    for key in differing(before.allocations, after.allocations):
        keys = {*keys, *(c for s in (before, after) for c in grouped(s.claims, "allocation", key))}
    claims = [s.claims[key] for key in keys for s in (before, after) if key in s.claims]
    return {c.holder.workload_id for c in claims if c.holder is not None}


def _drained_otherwise(before: State, after: State) -> Iterator[Drain]:
    """The drains of which something differs that is planned by."""
    for key in differing(before.drains, after.drains):
        was, now = before.drains.get(key), after.drains.get(key)
        if planned_by(was) != planned_by(now):
            yield from (drain for drain in (was, now) if drain is not None)


def planned_by(drain: Drain | None) -> object:
    """What of a drain the plan follows from."""
    if drain is None or not drain.active:
        return None
    return drain.stage.level, drain.stage.leaves, drain.held, drain.lows, drain.ready


def _at(state: State, drain: Drain) -> set[WorkloadId]:
    """Who stands in its PoP."""
    pop = state.pop(drain.pop)
    lives = (p for host in (pop.hosts if pop is not None else ()) for p in state.incarnations_on(host.name).values())
    return {placed.incarnation.workload_id for placed in lives} | ({drain.workload_id} if drain.workload_id else set())


def _told_capacity(state: State, host: HostName) -> Capacity | None:
    received = state.reports.get(host)
    return received.report.capacity if received is not None else None

"""The ground: what the planner looks at, asked for piece by piece.

`Ground` is what planning asks of the world. A `World`, which is all of it at once, is made into one by
`WorldGround`; control answers from its own tables, so that planning one workload costs what that workload and its
hosts are worth.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from ipaddress import IPv4Address
from typing import Any, Protocol

from anypop.model.allocation import Pin, PlaceKey
from anypop.model.announce import ScopeRule
from anypop.model.drain import Drain
from anypop.model.names import CityCode, HostName, InstanceName, WorkloadId
from anypop.model.network import Capacity
from anypop.model.order import Removal
from anypop.model.plan import AnycastAddress, Incarnation, World
from anypop.model.rollout import Rollout, RolloutKind
from anypop.model.volume import Volume
from anypop.model.workload import Target, Workload
from anypop.plan.drain import emptied_by
from anypop.plan.scaling import ordinals_of, replicas_of


class Ground(Protocol):
    """See `World` for the meaning of each; `removals` are those that were asked for before this plan."""

    @property
    def serial(self) -> int: ...
    @property
    def lost(self) -> Collection[HostName]: ...
    @property
    def moves(self) -> Collection[str]: ...
    @property
    def evicted(self) -> Collection[HostName]: ...
    @property
    def eases(self) -> Collection[str]: ...
    @property
    def emptied(self) -> Collection[HostName]:
        """Hosts that a drain empties."""

    def drains_at(self, pop: CityCode) -> Iterable[Drain]:
        """Those that stand there, oldest first."""

    def workload_ids(self) -> Collection[WorkloadId]:
        """Every workload that is declared, or of which something is left."""

    def rank(self, workload: WorkloadId) -> Any:
        """Its turn, to be compared: older workloads come first."""

    def workload(self, workload: WorkloadId) -> Workload | None:
        """Its newest revision."""

    def revision(self, workload: WorkloadId, number: int) -> Workload | None:
        """One that is kept; the newest is among them."""

    def update_of(self, workload: WorkloadId) -> Rollout | None: ...
    def ready(self, workload: WorkloadId) -> Collection[str]: ...
    def incarnations_of(self, workload: WorkloadId) -> Iterable[Incarnation]: ...
    def incarnations_on(self, host: HostName) -> Iterable[Incarnation]: ...
    def removals_of(self, workload: WorkloadId) -> Iterable[tuple[HostName, Removal]]: ...
    def removals_on(self, host: HostName) -> Iterable[Removal]: ...
    def removal_hosts(self) -> Iterable[HostName]: ...
    def resting_on(self, host: HostName) -> tuple[Iterable[int], Iterable[int]]: ...
    def rests(self, address: IPv4Address) -> bool: ...
    def held(self, workload: WorkloadId) -> AnycastAddress | None: ...
    def rules_of(self, workload: WorkloadId) -> Iterable[ScopeRule]: ...
    def volumes_of(self, workload: WorkloadId) -> Iterable[Volume]: ...
    def volumes_on(self, host: HostName) -> Iterable[Volume]: ...
    def pins_of(self, workload: WorkloadId) -> Mapping[InstanceName, Pin]: ...
    def reserved_on(self, host: HostName) -> Iterable[PlaceKey]: ...
    def capacity(self, host: HostName) -> Capacity | None: ...
    def runs_machines(self, host: HostName) -> bool:
        """Whether a host has told that it can run virtual machines."""

    def processor(self, host: HostName) -> str:
        """What guests there are given of its processor, as it has told; empty: it has not."""

    def understands(self, host: HostName) -> int:
        """How much of an order its agent knows, as it has told; 0: it has not."""

    def replicas(self, workload: WorkloadId, target: Target, city: CityCode) -> int:
        """How many instances a target has in a city."""

    def ordinals(self, workload: WorkloadId, target: Target, city: CityCode) -> Sequence[int]:
        """Which of them, by their numbers."""


class WorldGround:
    """A `World`, sorted by what is asked for."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.serial = world.serial
        self.lost = world.lost
        self.moves = world.moves
        self.evicted = world.evicted
        self.eases = world.eases
        self.emptied = frozenset(host for d in world.drains if (host := emptied_by(d)) is not None)
        self._newest = {w.id: w for w in world.workloads}
        self._ranks = {w.id: rank for rank, w in enumerate(world.workloads)}
        self._revisions = {(w.id, w.revision): w for w in (*world.revisions, *world.workloads)}
        self._updates = {r.workload_id: r for r in world.rollouts if r.kind is RolloutKind.UPDATE}
        self._scaled = {s.key: s for s in world.scaled}
        self._held = {a.workload_id: a for a in world.anycast}
        self._of: dict[WorkloadId, list[Incarnation]] = defaultdict(list)
        self._on: dict[HostName, list[Incarnation]] = defaultdict(list)
        self._removals_of: dict[WorkloadId, list[tuple[HostName, Removal]]] = defaultdict(list)
        self._removals_on: dict[HostName, list[Removal]] = defaultdict(list)
        self._rules: dict[WorkloadId, list[ScopeRule]] = defaultdict(list)
        self._indexes: dict[HostName, list[int]] = defaultdict(list)
        self._links: dict[HostName, list[int]] = defaultdict(list)
        for incarnation in world.incarnations:
            self._of[incarnation.workload_id].append(incarnation)
            self._on[incarnation.host].append(incarnation)
        for host, removal in world.removals:
            self._removals_of[removal.workload_id].append((host, removal))
            self._removals_on[host].append(removal)
        for rule in world.rules:
            self._rules[rule.workload_id].append(rule)
        for host, index in world.resting_indexes:
            self._indexes[host].append(index)
        for host, link in world.resting_links:
            self._links[host].append(link)

    def replicas(self, workload: WorkloadId, target: Target, city: CityCode) -> int:
        return replicas_of(target, self._scaled.get((workload, target.name, city)))

    def ordinals(self, workload: WorkloadId, target: Target, city: CityCode) -> Sequence[int]:
        return ordinals_of(target, self._scaled.get((workload, target.name, city)))

    def drains_at(self, pop: CityCode) -> Iterable[Drain]:
        return [d for d in self.world.drains if d.pop == pop]

    def workload_ids(self) -> Collection[WorkloadId]:
        return self._newest.keys() | self._of.keys() | self._removals_of.keys() | self._held.keys()

    def rank(self, workload: WorkloadId) -> tuple[int, str]:
        return self._ranks.get(workload, len(self._ranks)), workload

    def workload(self, workload: WorkloadId) -> Workload | None:
        return self._newest.get(workload)

    def revision(self, workload: WorkloadId, number: int) -> Workload | None:
        return self._revisions.get((workload, number))

    def update_of(self, workload: WorkloadId) -> Rollout | None:
        return self._updates.get(workload)

    def ready(self, workload: WorkloadId) -> Collection[str]:
        return self.world.ready

    def incarnations_of(self, workload: WorkloadId) -> Iterable[Incarnation]:
        return self._of.get(workload, ())

    def incarnations_on(self, host: HostName) -> Iterable[Incarnation]:
        return self._on.get(host, ())

    def removals_of(self, workload: WorkloadId) -> Iterable[tuple[HostName, Removal]]:
        return self._removals_of.get(workload, ())

    def removals_on(self, host: HostName) -> Iterable[Removal]:
        return self._removals_on.get(host, ())

    def removal_hosts(self) -> Iterable[HostName]:
        return self._removals_on.keys()

    def resting_on(self, host: HostName) -> tuple[Iterable[int], Iterable[int]]:
        return self._indexes.get(host, ()), self._links.get(host, ())

    def rests(self, address: IPv4Address) -> bool:
        return address in self.world.resting_addresses

    def held(self, workload: WorkloadId) -> AnycastAddress | None:
        return self._held.get(workload)

    def rules_of(self, workload: WorkloadId) -> Iterable[ScopeRule]:
        return self._rules.get(workload, ())

    def volumes_of(self, workload: WorkloadId) -> Iterable[Volume]:
        return [v for v in self.world.volumes if v.workload_id == workload]

    def volumes_on(self, host: HostName) -> Iterable[Volume]:
        return [v for v in self.world.volumes if v.host == host]

    def pins_of(self, workload: WorkloadId) -> Mapping[InstanceName, Pin]:
        return {name: pin for (of, name), pin in self.world.pins.items() if of == workload}

    def reserved_on(self, host: HostName) -> Iterable[PlaceKey]:
        return [key for key in self.world.reserved if key[0] == host]

    def capacity(self, host: HostName) -> Capacity | None:
        return self.world.capacities.get(host)

    def runs_machines(self, host: HostName) -> bool:
        return host in self.world.machines

    def processor(self, host: HostName) -> str:
        return self.world.processors.get(host, "")

    def understands(self, host: HostName) -> int:
        return self.world.understands.get(host, 0)

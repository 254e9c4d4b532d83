"""A plan as it is kept to be planned again: by whom it is asked for, in tables that know what differs.

In: what `replan` has worked out. Out: the same for everyone who reads (who stands where, what each host is told, what
could not be done), and the whole of it as the planner gives it (`whole`). It decides nothing. Pure.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple, get_origin

from anypop.model.announce import Address, Prefix
from anypop.model.names import CityCode, HostName, WorkloadId
from anypop.model.network import Network
from anypop.model.order import InstanceOrder, Removal
from anypop.model.plan import AnycastAddress, Homes, HostPlan, Incarnation, Plan, PlanNote
from anypop.model.table import Table, differing
from anypop.plan.announcements import Told, order_of
from anypop.plan.anycast import Footprint
from anypop.plan.placement import Settled
from anypop.plan.sites import Sites

NOWHERE = Homes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """What may be planned otherwise than before. `hosts`: what is taken or free there. `prefixes`: how they are
    announced. `addresses`: an anycast address has rested. `more`: something else, of which no part follows that is not
    pending already.
    """

    workloads: frozenset[WorkloadId] = frozenset()
    hosts: frozenset[HostName] = frozenset()
    prefixes: frozenset[Prefix] = frozenset()
    addresses: bool = False
    more: bool = False

    def __bool__(self) -> bool:
        return bool(self.workloads or self.hosts or self.prefixes or self.addresses or self.more)

    def __or__(self, other: "Touched") -> "Touched":
        return Touched(
            workloads=self.workloads | other.workloads,
            hosts=self.hosts | other.hosts,
            prefixes=self.prefixes | other.prefixes,
            addresses=self.addresses or other.addresses,
        )


class Row(NamedTuple):
    """An incarnation on its host, and how it is told there; None while it waits for the one before it to make room."""

    incarnation: Incarnation
    order: InstanceOrder | None


_ADDRESSES: Mapping[str, Any] = {
    "prefix4": lambda _, held: held.prefix4,
    "prefix6": lambda _, held: held.prefix6,
    "address4": lambda _, held: held.address4,
    "address6": lambda _, held: held.address6,
}
_BY_CITY: Mapping[str, Any] = {"city": lambda key, _: key[0]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan that can be planned again. `hosts` is for everyone to read; the rest is what planning remembers.

    `waiting`: cities, and workloads that wait for room there. `unserved`: why a workload has no address. `given`:
    the addresses that are new in this plan. `carried`: see `Backbone`. `slots`: how many there are in each PoP.
    `pending`: what this plan changed, to be looked at by the next.
    """

    sites: Sites
    hosts: Table[HostName, HostPlan] = field(default_factory=Table)
    placed: Table[WorkloadId, Settled] = field(default_factory=Table)
    waiting: Table[tuple[CityCode, WorkloadId], None] = field(default_factory=lambda: Table({}, _BY_CITY))
    rows: Table[HostName, tuple[Row, ...]] = field(default_factory=Table)
    removed: Table[HostName, tuple[Removal, ...]] = field(default_factory=Table)
    anycast: Table[WorkloadId, AnycastAddress] = field(default_factory=lambda: Table({}, _ADDRESSES))
    footprints: Table[WorkloadId, Footprint] = field(default_factory=Table)
    unserved: Table[WorkloadId, PlanNote] = field(default_factory=Table)
    given: frozenset[WorkloadId] = frozenset()
    told: Table[Prefix, Told] = field(default_factory=Table)
    telling: Table[HostName, tuple[Prefix, ...]] = field(default_factory=Table)
    carried: frozenset[Prefix] = frozenset()
    slots: Table[CityCode, int] = field(default_factory=Table)
    ranks: Table[WorkloadId, Any] = field(default_factory=Table)
    pending: Touched = field(default_factory=Touched)

    @property
    def network(self) -> Network:
        return self.sites.network

    def settled(self) -> "Planned":
        """The same plan as the beginning of the next step: see `Table.settled`."""
        touched: dict[str, Any] = {
            name: table.settled() for name in _TABLES if (table := getattr(self, name)).is_touched
        }
        return replace(self, **touched) if touched else self

    def owner_of(self, address: Address) -> WorkloadId | None:
        """Whose anycast address it is."""
        return next(iter(self.anycast.group(f"address{address.version}", address)), None)

    def tenants(self, prefix: Prefix) -> Mapping[WorkloadId, AnycastAddress]:
        """Who has an address in a covering prefix."""
        return self.anycast.group(f"prefix{prefix.version}", prefix)

    def prefixes_of(self, workload: WorkloadId) -> Collection[Prefix]:
        """The covering prefixes of its anycast addresses."""
        held = self.anycast.get(workload)
        return (held.prefix4, held.prefix6) if held is not None else ()

    def homes_of(self, workload: WorkloadId) -> Homes:
        settled = self.placed.get(workload)
        return settled.homes if settled is not None else NOWHERE

    def has_address(self, workload: WorkloadId) -> bool:
        """Whether it has an anycast address."""
        return workload in self.anycast

    def tellers(self, prefix: Prefix) -> Collection[HostName]:
        """The hosts that tell a covering prefix to somebody, or would if no rule withheld it."""
        told = self.told.get(prefix)
        return told.hosts.keys() if told is not None else ()

    def lives_on(self, host: HostName) -> Mapping[str, WorkloadId]:
        """The uids that are to be on a host, and whose they are."""
        return {row.incarnation.uid: row.incarnation.workload_id for row in self.rows.get(host, ())}

    @property
    def covering(self) -> Collection[Prefix]:
        return self.sites.covering

    @property
    def is_short(self) -> bool:
        """Whether something waits for room or for an address."""
        return bool(self.waiting or self.unserved)

    def in_turn(self, workloads: Iterable[WorkloadId]) -> list[WorkloadId]:
        """In the order in which they are planned."""
        return sorted(workloads, key=self.ranks.__getitem__)

    def whole(self) -> Plan:
        """All of it, as the planner gives it."""
        rows = sorted(
            (row.incarnation for rows in self.rows.values() for row in rows), key=lambda i: (i.host, i.index, i.life)
        )
        had = sorted(self.anycast.keys() - self.given, key=lambda w: self.anycast[w].address4)
        return Plan(
            network=self.network,
            incarnations=tuple(rows),
            anycast=tuple(self.anycast[w] for w in (*had, *self.in_turn(self.given))),
            hosts={name: self.hosts[name] for name in self.sites.hosts},
            removals=tuple((host, removal) for host in sorted(self.removed) for removal in self.removed[host]),
            notes=self.notes,
            carried=self.carried,
        )

    @property
    def notes(self) -> tuple[PlanNote, ...]:
        """What could not be done, in the order in which it was tried."""
        return tuple(self._notes(self.placed, self.unserved, self.told))

    def notes_unlike(self, other: "Planned") -> Iterator[PlanNote]:
        """The notes of those parts in which this plan may differ from another."""
        return self._notes(
            differing(other.placed, self.placed),
            differing(other.unserved, self.unserved),
            differing(other.told, self.told),
        )

    def _notes(
        self, workloads: Iterable[WorkloadId], unserved: Iterable[WorkloadId], prefixes: Iterable[Prefix]
    ) -> Iterator[PlanNote]:
        for workload in self.in_turn(
            w for w in workloads if (settled := self.placed.get(w)) is not None and settled.notes
        ):
            yield from self.placed[workload].notes
        for workload in self.in_turn(w for w in unserved if w in self.unserved):
            yield self.unserved[workload]
        for prefix in sorted(
            (p for p in prefixes if (told := self.told.get(p)) is not None and told.notes), key=order_of
        ):
            yield from self.told[prefix].notes


_TABLES = tuple(f.name for f in fields(Planned) if get_origin(f.type) is Table)

"""What control knows, as one immutable value: the declared, the allocated, the ordered and the reported.

Only the core makes a new `State`, and only after the store holds it; everyone else reads the last one without a
lock. Its mappings are tables (`model.table`): a draft is the old tables with entries put in or dropped, and what
differs between two states is known without looking at the rest. That is how the cost of planning, judging, saving
and telling grows with what changed. A plain mapping may be given for any of them, and costs a comparison of all of
it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from operator import attrgetter
from typing import Any

from anypop.control.allocation_groups import ALLOCATION_GROUPS, CLAIM_GROUPS
from anypop.control.allocation_pins import pins, reserved
from anypop.control.meters import Meter, MeterKey
from anypop.control.rests import resting
from anypop.judge.judged import Judged, Memory
from anypop.judge.verdict import Received
from anypop.model.allocation import Allocation, AllocationClaim, Operation
from anypop.model.announce import ScopeRule
from anypop.model.backbone import DialledPop
from anypop.model.dial import Dial
from anypop.model.drain import Drain
from anypop.model.machine import Acceleration, Power
from anypop.model.names import CityCode, HostName, StackId, WorkloadId
from anypop.model.network import Network, Pop
from anypop.model.order import Order, Removal
from anypop.model.order_text import OrderWriter
from anypop.model.plan import AnycastAddress, Incarnation, World
from anypop.model.policy import NO_RULES, HostRules, NetworkPolicy
from anypop.model.reasons import Reason
from anypop.model.rollout import Rollout, RolloutKind, Strategy
from anypop.model.scaling import Scaled, ScaleKey
from anypop.model.stack_names import NamedWorkload
from anypop.model.stack_network import StackNetwork
from anypop.model.table import Groups, Table, grouped, settled, tabled
from anypop.model.volume import Volume
from anypop.model.workload import Target, Workload
from anypop.plan.dials import dialled
from anypop.plan.lives import removal_of
from anypop.plan.parse import Secret
from anypop.plan.planned import Planned
from anypop.plan.policies import joined
from anypop.plan.rollout import wants_look
from anypop.plan.rooms import capacities_of
from anypop.plan.scaling import Seen, replicas_of

RuleKey = tuple[WorkloadId, CityCode, str]
RevisionKey = tuple[WorkloadId, int]
TrafficKey = tuple[HostName, str]
DialKey = tuple[CityCode, WorkloadId]
RuledKey = tuple[StackId, HostName]
VolumeKey = tuple[HostName, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A workload as it was declared once: the noun, the document to answer with, the secrets apart from it. `number`:
    its version then.

    `note`: why it was made, where no person declared it.
    """

    workload: Workload
    document: Mapping[str, Any]
    secrets: tuple[Secret, ...] = ()
    created_at: float
    note: str = ""

    @property
    def number(self) -> int:
        return self.workload.revision


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A workload that was declared: its newest revision, and since when it is there. Times: epoch seconds.

    `good`: the newest revision that has run everywhere, to which a bad change goes back. `strategy`: how careful its
    rollouts are.
    """

    newest: Revision
    created_at: float
    updated_at: float | None = None
    delete_requested_at: float | None = None
    good: int = 1
    strategy: Strategy = field(default_factory=Strategy)

    @property
    def workload(self) -> Workload:
        return self.newest.workload

    @property
    def document(self) -> Mapping[str, Any]:
        return self.newest.document

    @property
    def secrets(self) -> tuple[Secret, ...]:
        return self.newest.secrets

    @property
    def version(self) -> int:
        return self.newest.number

    @property
    def id(self) -> WorkloadId:
        return self.workload.id

    @property
    def stack_id(self) -> StackId:
        return self.workload.stack_id


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredPolicy:
    """A network policy that was declared: the noun, and the document to answer with."""

    policy: NetworkPolicy
    document: Mapping[str, Any]
    version: int = 1
    updated_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An incarnation and since when it is there."""

    incarnation: Incarnation
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """An incarnation that was asked to go; kept until its host reports it gone. Its place stays taken until then."""

    incarnation: Incarnation
    reason: Reason
    detail: str = ""
    created_at: float
    asked_at: float

    @property
    def removal(self) -> Removal:
        return removal_of(self.incarnation, self.reason, self.detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """An order as it was issued. `whole`: the generation that was last stored as a whole; the later ones are stored as
    what differs. `earlier`: the orders before it, the newest first, from which an agent may be told what differs.
    """

    order: Order = field(repr=False)  # it holds secrets
    at: float
    whole: int = field(default=0, compare=False)
    earlier: tuple[Order, ...] = field(default=(), compare=False, repr=False)

    @property
    def body(self) -> bytes:
        """What an agent gets that asks for the whole order."""
        return OrderWriter().order(self.order).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelSums:
    """What a host sent to another one in a month, and got from it, in bytes; and its counters when that was counted."""

    peer: HostName
    sent: int = 0
    received: int = 0
    sent_counter: int = 0
    received_counter: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """A host's part of a month's backbone traffic. `month`: `2026-11`, UTC; `at`: of the last report that was counted,
    by the host's own clock.
    """

    host: HostName
    month: str
    at: float
    tunnels: tuple[TunnelSums, ...] = ()


NO_NETWORK = Network(asn=0, anycast4=(), anycast6=(), pops=())


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All of it. `revisions`: older ones that are kept, by workload and number. `rests` maps what must not be used
    again yet (`LHR/3`, a slot's place; `LHR/link/3`, a private link; or an anycast address) to the moment it is
    free. `evicted`: hosts that a person gave up, and when.
    `traffic`: what the backbone carried, by host and month; `meters`: what is metered and has not ended. `policies`: of
    networks, by id; `networks`: of stacks, by id; `volumes`: by host and id; `scaled`: how many instances follow their
    load. `allocations` and `claims`: by id; `operations` by name. `template_key`: see `plan.template`.
    `serial` counts the plans made; see `World`. Not stored: `started_at`, since when this control listens; `ruled`:
    what `policies` mean for each host; `named`, `named_counts`: what instances are called, by workload, and how many a
    stack has; `looks`, the last loads of what is `scaled`, and `looked_at`, when that was;
    `lost`, `moves` and `losses_frozen`, see `plan.evacuation`; `eases`, see `World`; `arrived`, who is healthy in place
    of one on a host that was given up, or has a root disk that goes from one to the other; `strangers`, what hosts
    that were reset are to take down although nothing here knows of it (their ledgers keep the tokens).
    """

    network: Network = NO_NETWORK
    workloads: Mapping[WorkloadId, Declaration] = field(default_factory=dict)
    revisions: Mapping[RevisionKey, Revision] = field(default_factory=dict)
    rollouts: Mapping[str, Rollout] = field(default_factory=dict)
    incarnations: Mapping[str, Placed] = field(default_factory=dict)
    anycast: Mapping[WorkloadId, AnycastAddress] = field(default_factory=dict)
    tombstones: Mapping[str, Tombstone] = field(default_factory=dict)
    rests: Mapping[str, float] = field(default_factory=dict)
    rules: Mapping[RuleKey, ScopeRule] = field(default_factory=dict)
    evicted: Mapping[HostName, float] = field(default_factory=dict)
    traffic: Mapping[TrafficKey, Traffic] = field(default_factory=dict)
    meters: Mapping[MeterKey, Meter] = field(default_factory=dict)
    drains: Mapping[str, Drain] = field(default_factory=dict)
    dials: Mapping[DialKey, Dial] = field(default_factory=dict)
    policies: Mapping[str, DeclaredPolicy] = field(default_factory=dict)
    networks: Mapping[str, StackNetwork] = field(default_factory=dict)
    ruled: Mapping[RuledKey, HostRules] = field(default_factory=dict)
    named: Mapping[WorkloadId, tuple[NamedWorkload, ...]] = field(default_factory=dict)
    named_counts: Mapping[StackId, int] = field(default_factory=dict)
    volumes: Mapping[VolumeKey, Volume] = field(default_factory=dict)
    scaled: Mapping[ScaleKey, Scaled] = field(default_factory=dict)
    allocations: Mapping[str, Allocation] = field(default_factory=dict)
    claims: Mapping[str, AllocationClaim] = field(default_factory=dict)
    operations: Mapping[str, Operation] = field(default_factory=dict)
    orders: Mapping[HostName, Issued] = field(default_factory=dict)
    reports: Mapping[HostName, Received] = field(default_factory=dict)
    plan: Planned | None = None
    verdict: Judged = field(default_factory=Judged)
    history: Memory = field(default_factory=Memory)
    template_key: bytes = field(default=b"", repr=False)
    serial: int = 0
    started_at: float = 0.0
    lost: frozenset[HostName] = frozenset()
    moves: frozenset[str] = frozenset()
    losses_frozen: bool = False
    eases: frozenset[str] = frozenset()
    arrived: frozenset[str] = frozenset()
    strangers: Mapping[HostName, tuple[Removal, ...]] = field(default_factory=dict)
    awaited: frozenset[HostName] = field(default=frozenset(), compare=False)
    stirred: frozenset[WorkloadId] = field(default=frozenset(), compare=False)
    decided_at: float = field(default=0.0, compare=False)
    looks: Mapping[ScaleKey, tuple[Seen, ...]] = field(default_factory=dict, compare=False)
    looked_at: float = field(default=0.0, compare=False)

    def world(self) -> World:
        """The planner's input.

        Sorted throughout: the same state read back from the store must give the same plan, to the order of its parts.
        """
        indexes, links, addresses = set(), set(), set()
        for what in self.rests:
            host, kind, number = resting(what)
            match kind:
                case "place":
                    indexes.add((host, number))
                case "link":
                    links.add((host, number))
                case _:
                    addresses.add(IPv4Address(what))
        active = sorted((r for r in self.rollouts.values() if not r.phase.ended), key=lambda r: (r.created_at, r.id))
        told = {h: r.report.capacity for h, r in self.reports.items() if r.report.capacity is not None}
        return World(
            network=self.network,
            workloads=tuple(d.workload for d in sorted(self.workloads.values(), key=lambda d: (d.created_at, d.id))),
            revisions=tuple(self.revisions[key].workload for key in sorted(self.revisions)),
            rollouts=tuple(active),
            incarnations=tuple(
                sorted((p.incarnation for p in self.incarnations.values()), key=lambda i: (i.host, i.index, i.life))
            ),
            ready=frozenset(uid for rollout in self.rollouts.values() for uid in rollout.ready)
            | frozenset(uid for drain in self.drains.values() for uid in drain.ready)
            | self.arrived,
            anycast=tuple(sorted(self.anycast.values(), key=lambda a: a.address4)),
            rules=tuple(self.rules[key] for key in sorted(self.rules)),
            removals=tuple(
                (stone.incarnation.host, stone.removal)
                for stone in sorted(
                    self.tombstones.values(),
                    key=lambda t: (t.incarnation.host, t.incarnation.index, t.incarnation.life),
                )
            ),
            resting_indexes=frozenset(indexes),
            resting_links=frozenset(links),
            resting_addresses=frozenset(addresses),
            capacities=capacities_of({host.name: host.capacity for _, host in self.network.hosts()}, told),
            lost=self.lost,
            moves=self.moves,
            evicted=frozenset(self.evicted),
            drains=tuple(self.active_drains()),
            dials=tuple(self.dials[key] for key in sorted(self.dials)),
            policies=tuple(self.policies[key].policy for key in sorted(self.policies)),
            volumes=tuple(self.volumes[key] for key in sorted(self.volumes)),
            networks=tuple(self.networks[key] for key in sorted(self.networks)),
            scaled=tuple(self.scaled[key] for key in sorted(self.scaled)),
            pins=pins(self),
            reserved=reserved(self.allocations.values()),
            eases=self.eases,
            machines=frozenset(filter(self.runs_machines, self.reports)),
            processors={host: self.processor(host) for host in self.reports},
            understands={host: self.understands(host) for host in self.reports},
            serial=self.serial,
        )

    def runs_machines(self, host: HostName) -> bool:
        """Whether it has told that it can run virtual machines."""
        received = self.reports.get(host)
        return received is not None and received.report.machines in (Acceleration.KVM, Acceleration.TCG)

    def processor(self, host: HostName) -> str:
        """What it has told that guests there are given of its processor; empty: nothing."""
        received = self.reports.get(host)
        return received.report.processor if received is not None else ""

    def understands(self, host: HostName) -> int:
        """How much of an order its agent knows, as it has told last; 0: it has told nothing."""
        received = self.reports.get(host)
        return received.report.understands if received is not None else 0

    def __post_init__(self) -> None:
        for name, groups, entries in zip(_GROUPS, _GROUPS.values(), _TABLES(self), strict=True):
            if type(entries) is not Table or entries.groups is not groups:
                object.__setattr__(self, name, tabled(entries, groups))

    def settled(self, before: "State", *, orders: Mapping[HostName, Issued]) -> "State":
        """This state, with these orders, as the beginning of the next step. A mapping that came out as it was in
        `before` is that very object.
        """
        changes: dict[str, Any] = {
            name: settled(was, now)
            for name, was, now in zip(_GROUPS, _TABLES(before), _TABLES(self), strict=True)
            if now is not was
        }
        return replace(
            self,
            **{**changes, "orders": settled(before.orders, orders)},
            plan=self.plan.settled() if self.plan is not None else None,
            verdict=self.verdict.settled(),
            history=self.history.settled(),
        )

    def in_stack(self, stack_id: StackId) -> list[Declaration]:
        """The stack's workloads, oldest first."""
        return sorted(grouped(self.workloads, "stack", stack_id).values(), key=lambda d: (d.created_at, d.id))

    def find(self, stack_id: StackId, ref: str) -> Declaration | None:
        """A workload of the stack by id or slug."""
        found = self.workloads.get(WorkloadId(ref))
        if found is not None:
            return found if found.stack_id == stack_id else None
        return next(iter(grouped(self.workloads, "slug", (stack_id, ref)).values()), None)

    def pop(self, city: CityCode) -> Pop | None:
        """A PoP of the network."""
        if self.plan is not None and self.plan.network is self.network:
            return self.plan.sites.pops.get(city)
        return self.network.pop(city)

    def being_deleted(self) -> Mapping[WorkloadId, Declaration]:
        """The workloads whose deletion was asked for and is not complete."""
        return grouped(self.workloads, "deleting", True)

    def revision(self, workload_id: WorkloadId, number: int) -> Revision | None:
        """A kept revision of a workload, the newest included."""
        declared = self.workloads.get(workload_id)
        if declared is not None and declared.version == number:
            return declared.newest
        return self.revisions.get((workload_id, number))

    def revisions_of(self, workload_id: WorkloadId) -> Mapping[RevisionKey, Revision]:
        """The older ones that are kept."""
        return grouped(self.revisions, "workload", workload_id)

    def rollouts_of(self, workload_id: WorkloadId) -> Mapping[str, Rollout]:
        return grouped(self.rollouts, "workload", workload_id)

    def active_rollouts(self) -> list[Rollout]:
        """Those that have not ended, oldest first."""
        return sorted(grouped(self.rollouts, "active", True).values(), key=lambda r: (r.created_at, r.id))

    def rollouts_to_look_for(self) -> list[Rollout]:
        """Those for which the vantages are to look, oldest first; some of them have ended."""
        return sorted(grouped(self.rollouts, "looks", True).values(), key=lambda r: (r.created_at, r.id))

    def active_drains(self) -> list[Drain]:
        """Those that stand, oldest first."""
        return sorted(grouped(self.drains, "active", True).values(), key=lambda d: (d.created_at, d.id))

    def drains_at(self, pop: CityCode) -> list[Drain]:
        """Those that stand there, oldest first."""
        return sorted(grouped(self.drains, "pop", pop).values(), key=lambda d: (d.created_at, d.id))

    def rollout_of(self, workload_id: WorkloadId, kind: RolloutKind = RolloutKind.UPDATE) -> Rollout | None:
        """The workload's rollout of a kind that has not ended."""
        return next((r for r in self.rollouts_of(workload_id).values() if r.kind is kind and not r.phase.ended), None)

    def incarnations_of(self, workload_id: WorkloadId) -> Mapping[str, Placed]:
        return grouped(self.incarnations, "workload", workload_id)

    def incarnations_on(self, host: HostName) -> Mapping[str, Placed]:
        return grouped(self.incarnations, "host", host)

    def incarnations_untold(self) -> Mapping[str, Placed]:
        """Those of which nobody has told yet what they were made from."""
        return grouped(self.incarnations, "untold", True)

    def incarnations_off(self) -> Mapping[str, Placed]:
        """Virtual machines that are to be off."""
        return grouped(self.incarnations, "off", True)

    def tombstones_of(self, workload_id: WorkloadId) -> Mapping[str, Tombstone]:
        return grouped(self.tombstones, "workload", workload_id)

    def tombstones_on(self, host: HostName) -> Mapping[str, Tombstone]:
        return grouped(self.tombstones, "host", host)

    def rests_on(self, host: HostName) -> Mapping[str, float]:
        """What rests of a host's places and links."""
        return grouped(self.rests, "host", host)

    def rests_over(self, now: float) -> list[str]:
        """What need not rest any longer."""
        assert isinstance(self.rests, Table)
        over = [self.rests.group("second", second) for second in self.rests.group_names("second") if second <= now]
        return [what for rests in over for what, until in rests.items() if until <= now]

    def next_rest_over(self) -> float | None:
        """The moment at which the next rest ends."""
        assert isinstance(self.rests, Table)
        first = min(self.rests.group_names("second"), default=None)
        return None if first is None else min(self.rests.group("second", first).values())

    def traffic_of(self, host: HostName) -> Mapping[TrafficKey, Traffic]:
        return grouped(self.traffic, "host", host)

    def dials_of(self, workload_id: WorkloadId) -> Mapping[DialKey, Dial]:
        return grouped(self.dials, "workload", workload_id)

    def shedding(self) -> Mapping[DialKey, Dial]:
        """Those that follow the load of their PoP."""
        return grouped(self.dials, "sheds", True)

    def dialled(self) -> tuple[DialledPop, ...]:
        """As hosts are told."""
        if not self.dials:
            return ()  # and no PoP has to be looked at for each report
        return dialled(self.dials.values(), self.anycast, (pop.city for pop in self.network.pops))

    def policies_of(self, stack_id: StackId) -> Mapping[str, DeclaredPolicy]:
        """The network policies of a stack."""
        return grouped(self.policies, "stack", stack_id)

    def networks_of(self, stack_id: StackId) -> Mapping[str, StackNetwork]:
        """Those that a stack has declared."""
        return grouped(self.networks, "stack", stack_id)

    def ruled_on(self, host: HostName) -> HostRules:
        """What a host holds of the network policies of all stacks."""
        found = grouped(self.ruled, "host", host)
        return joined(found[key] for key in sorted(found)) if found else NO_RULES

    def volumes_of(self, workload_id: WorkloadId) -> Mapping[VolumeKey, Volume]:
        return grouped(self.volumes, "workload", workload_id)

    def volumes_on(self, host: HostName) -> Mapping[VolumeKey, Volume]:
        return grouped(self.volumes, "host", host)

    def volumes_in(self, stack_id: StackId) -> Mapping[VolumeKey, Volume]:
        return grouped(self.volumes, "stack", stack_id)

    def scaled_of(self, workload_id: WorkloadId) -> Mapping[ScaleKey, Scaled]:
        """Of its targets that follow their load, in each of their PoPs."""
        return grouped(self.scaled, "workload", workload_id)

    def replicas(self, workload_id: WorkloadId, target: Target, city: CityCode) -> int:
        """How many instances a target has in a city."""
        return replicas_of(target, self.scaled.get((workload_id, target.name, city)))

    def count_of(self, workload: Workload) -> int:
        """How many instances a workload has."""
        return sum(self.replicas(workload.id, t, city) for t in workload.targets for city in set(t.cities))

    def rules_of(self, workload_id: WorkloadId) -> Mapping[RuleKey, ScopeRule]:
        return grouped(self.rules, "workload", workload_id)


# By what each mapping is asked for. A rest of an anycast address is on no host.
_GROUPS: Mapping[str, Groups] = {
    "workloads": {
        "stack": lambda _, d: d.stack_id,
        "slug": lambda _, d: (d.stack_id, d.workload.slug),
        "deleting": lambda _, d: d.workload.deleting or None,
    },
    "revisions": {"workload": lambda key, _: key[0]},
    "rollouts": {
        "workload": lambda _, r: r.workload_id,
        "active": lambda _, r: None if r.phase.ended else True,
        "looks": lambda _, r: None if wants_look(r) is None else True,
    },
    "incarnations": {
        "workload": lambda _, p: p.incarnation.workload_id,
        "host": lambda _, p: p.incarnation.host,
        "untold": lambda _, p: None if p.incarnation.template else True,
        "off": lambda _, p: True if p.incarnation.power is Power.OFF else None,
    },
    "anycast": {"address4": lambda _, held: held.address4, "address6": lambda _, held: held.address6},
    "tombstones": {"workload": lambda _, t: t.incarnation.workload_id, "host": lambda _, t: t.incarnation.host},
    "rests": {"host": lambda what, _: resting(what)[0] or None, "second": lambda _, until: int(until or 0)},
    "rules": {"workload": lambda key, _: key[0]},
    "evicted": {},
    "traffic": {"host": lambda key, _: key[0]},
    "meters": {"workload": lambda key, _: key[0]},
    "drains": {
        "active": lambda _, d: True if d.active else None,
        "pop": lambda _, d: d.pop if d.active else None,
    },
    "dials": {"workload": lambda key, _: key[1], "sheds": lambda _, d: True if d.shed_above is not None else None},
    "policies": {"stack": lambda _, d: d.policy.stack_id},
    "networks": {"stack": lambda _, n: n.stack_id},
    "ruled": {"stack": lambda key, _: key[0], "host": lambda key, _: key[1]},
    "named": {"stack": lambda _, found: found[0].stack_id if found else None},
    "named_counts": {},
    "volumes": {
        "workload": lambda _, v: v.workload_id,
        "host": lambda key, _: key[0],
        "stack": lambda _, v: v.stack_id,
    },
    "scaled": {"workload": lambda key, _: key[0]},
    "allocations": ALLOCATION_GROUPS,
    "claims": CLAIM_GROUPS,
    "operations": {"stack": lambda _, o: o.stack_id},
    "orders": {},
    "reports": {},
}
_TABLES = attrgetter(*_GROUPS)

"""What control knows, as one immutable value: the declared, the allocated, the ordered and the reported.

Only the core makes a new `State`, and only after the store holds it; everyone else reads the last one without a lock. The mappings are
replaced, never changed in place, so a mapping that is the same object in two states has not changed: that is how the cost of saving and
of telling others grows with what changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

from anypop.judge.verdict import History, Received
from anypop.model.announce import ScopeRule
from anypop.model.names import CityCode, StackId, WorkloadId
from anypop.model.network import Network
from anypop.model.order import Order, Removal
from anypop.model.plan import AnycastAddress, Plan, Slot, Verdict, World
from anypop.model.workload import Workload
from anypop.plan.parse import Secret

RuleKey = tuple[WorkloadId, CityCode, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A workload as it was declared: the noun, the document to answer with, the secrets apart from it. Times: epoch seconds."""

    workload: Workload
    document: Mapping[str, Any]
    secrets: tuple[Secret, ...] = ()
    version: int
    created_at: float
    updated_at: float | None = None
    delete_requested_at: float | None = None

    @property
    def id(self) -> WorkloadId:
        return self.workload.id

    @property
    def stack_id(self) -> StackId:
        return self.workload.stack_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A slot and since when it is taken."""

    slot: Slot
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """A slot whose incarnation was asked to go; kept until its PoP reports it gone. Its place stays taken until then."""

    slot: Slot
    reason: str
    created_at: float
    asked_at: float

    @property
    def removal(self) -> Removal:
        slot = self.slot
        return Removal(name=slot.name, uid=slot.uid, reason=self.reason, workload_id=slot.workload_id, index=slot.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """An order as it was issued: the noun, and the very bytes the agent gets."""

    order: Order
    body: bytes = field(repr=False)  # it holds secrets
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, for people: `kind` is a stable word, `subject` a name."""

    kind: str
    subject: str
    message: str
    stack_id: str | None = None


NO_NETWORK = Network(asn=0, anycast4=(), anycast6=(), pops=())


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All of it. `rests` maps what must not be used again yet (`LHR/3`, or an anycast address) to the moment it is free.

    `incarnation` counts the plans made; see `World`.
    """

    network: Network = NO_NETWORK
    workloads: Mapping[WorkloadId, Declaration] = field(default_factory=dict)
    slots: Mapping[str, Placed] = field(default_factory=dict)
    anycast: Mapping[WorkloadId, AnycastAddress] = field(default_factory=dict)
    tombstones: Mapping[str, Tombstone] = field(default_factory=dict)
    rests: Mapping[str, float] = field(default_factory=dict)
    rules: Mapping[RuleKey, ScopeRule] = field(default_factory=dict)
    orders: Mapping[CityCode, Issued] = field(default_factory=dict)
    reports: Mapping[CityCode, Received] = field(default_factory=dict)
    plan: Plan | None = None
    verdict: Verdict = field(default_factory=Verdict)
    history: History = field(default_factory=History)
    incarnation: int = 0

    def world(self) -> World:
        """The planner's input.

        Sorted throughout: the same state read back from the store must give the same plan, to the order of its parts.
        """
        indexes, addresses = set(), set()
        for what in self.rests:
            pop, slash, index = what.partition("/")
            if slash:
                indexes.add((CityCode(pop), int(index)))
            else:
                addresses.add(IPv4Address(what))
        return World(
            network=self.network,
            workloads=tuple(d.workload for d in sorted(self.workloads.values(), key=lambda d: (d.created_at, d.id))),
            slots=tuple(sorted((p.slot for p in self.slots.values()), key=lambda s: (s.pop, s.index))),
            anycast=tuple(sorted(self.anycast.values(), key=lambda a: a.address4)),
            rules=tuple(self.rules[key] for key in sorted(self.rules)),
            removals=tuple(
                (stone.slot.pop, stone.removal) for stone in sorted(self.tombstones.values(), key=lambda t: (t.slot.pop, t.slot.index))
            ),
            resting_indexes=frozenset(indexes),
            resting_addresses=frozenset(addresses),
            incarnation=self.incarnation,
        )

    def in_stack(self, stack_id: StackId) -> list[Declaration]:
        """The stack's workloads, oldest first."""
        return sorted((d for d in self.workloads.values() if d.stack_id == stack_id), key=lambda d: (d.created_at, d.id))

    def find(self, stack_id: StackId, ref: str) -> Declaration | None:
        """A workload of the stack by id or slug."""
        found = self.workloads.get(WorkloadId(ref))
        if found is not None:
            return found if found.stack_id == stack_id else None
        return next((d for d in self.workloads.values() if d.stack_id == stack_id and d.workload.slug == ref), None)


def place_name(slot: Slot) -> str:
    """How a slot's place is called among the rests."""
    return f"{slot.pop}/{slot.index}"

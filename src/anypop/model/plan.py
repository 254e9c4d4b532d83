"""The plan: what the whole platform should be, and the report of what could not be done and why.

`World` is all that the planner may look at; `Plan` is all that it decides; `plan.order_for` cuts one PoP's order out of a plan.
"""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from anypop.model.announce import Announcement, Prefix, ScopeRule
from anypop.model.names import CityCode, InstanceName, WorkloadId
from anypop.model.network import Network
from anypop.model.order import Grant, InstanceOrder, Removal
from anypop.model.reasons import Reason
from anypop.model.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """An instance's lasting place: its PoP, and the `index` there from which all its addresses follow. `uid` names this incarnation."""

    workload_id: WorkloadId
    target: str
    pop: CityCode
    ordinal: int
    name: InstanceName
    index: int
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnycastAddress:
    """A workload's anycast addresses and the covering prefixes they live in. For the workload's whole life."""

    workload_id: WorkloadId
    address4: IPv4Address
    prefix4: IPv4Network
    address6: IPv6Address
    prefix6: IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The planner's whole input. `resting_indexes` and `resting_addresses` were released too short a time ago to be used again.

    `removals`: per PoP, the incarnations that were asked to go and whose PoP has not yet reported them gone. `incarnation`: a number that
    grows with every plan; it goes into the uids of new instances, so that a name which comes back is never taken for the one that went."""

    network: Network
    workloads: tuple[Workload, ...]
    slots: tuple[Slot, ...] = ()
    anycast: tuple[AnycastAddress, ...] = ()
    rules: tuple[ScopeRule, ...] = ()
    removals: tuple[tuple[CityCode, Removal], ...] = ()
    resting_indexes: frozenset[tuple[CityCode, int]] = frozenset()
    resting_addresses: frozenset[IPv4Address] = frozenset()
    incarnation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanNote:
    """Something that was not done, and the reason. `subject` is an instance, a workload or a PoP by name."""

    subject: str
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PopPlan:
    """One PoP's part of a plan."""

    pop: CityCode
    instances: tuple[InstanceOrder, ...] = ()
    removed: tuple[Removal, ...] = ()
    announcements: tuple[Announcement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What should be. `slots` and `anycast` are the full new allocation tables; `pops` has one entry for each PoP of the network."""

    network: Network
    slots: tuple[Slot, ...]
    anycast: tuple[AnycastAddress, ...]
    pops: dict[CityCode, PopPlan] = field(default_factory=dict)
    removals: tuple[tuple[CityCode, Removal], ...] = ()
    notes: tuple[PlanNote, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceLine:
    """One line of a quote. `monthly` = quantity x hourly x 730, in `Quote.currency`."""

    item: str
    quantity: int
    unit_hourly: float
    hourly: float
    monthly: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """The price of a workload, line by line, before anything starts."""

    currency: str
    lines: tuple[PriceLine, ...]
    hourly: float
    monthly: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PopVerdict:
    """What we make of one PoP's reports. `trusted` is False when the report is missing or stale: then nothing of it is shown as healthy."""

    pop: CityCode
    trusted: bool
    reason: Reason
    grants: tuple[Grant, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixVerdict:
    """How a covering prefix stands across PoPs: who announces it, the floor, and alarms."""

    prefix: Prefix
    announcing: tuple[CityCode, ...]
    entitled: tuple[CityCode, ...]
    floor: int
    alarm: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Judgement over all reports at one moment. `idle`: workloads that have worked in none of their PoPs for a while."""

    pops: dict[CityCode, PopVerdict] = field(default_factory=dict)
    prefixes: tuple[PrefixVerdict, ...] = ()
    idle: frozenset[WorkloadId] = frozenset()

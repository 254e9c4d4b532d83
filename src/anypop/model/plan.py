"""The plan: what the whole platform should be, and the report of what could not be done and why.

`World` is all that the planner may look at; `Plan` is all that it decides; `plan.order_for` cuts one host's order
out of a plan.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from anypop.model.allocation import Pin, PlaceKey
from anypop.model.announce import Announcement, Prefix, ScopeRule
from anypop.model.backbone import Backbone, DialledPop
from anypop.model.dial import Dial
from anypop.model.drain import Drain
from anypop.model.machine import MachineImage, Power
from anypop.model.names import CityCode, HostName, InstanceName, WorkloadId
from anypop.model.network import Capacity, Network
from anypop.model.order import Grant, InstanceOrder, Removal
from anypop.model.policy import HostRules, NetworkPolicy
from anypop.model.reasons import Reason
from anypop.model.rollout import Rollout
from anypop.model.scaling import Scaled
from anypop.model.stack_names import NamedWorkload
from anypop.model.stack_network import StackNetwork
from anypop.model.volume import Volume
from anypop.model.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Incarnation:
    """One life of an instance. The slot is (`workload_id`, `name`), lasting, with its place: the host, and the `index`
    there from which its external addresses follow. The life is `uid`, with `link`, from which its private addresses
    follow (`further`: those of its further interfaces), its `template` for ever, and the `revision` whose probes, ports
    and labels it follows.

    `life` grows with each incarnation of the slot. `template` "": made by a version of Anypop that kept none, not
    known yet. `restarts`: how often somebody asked that it be started anew. `power`, `rescue`: of a virtual machine,
    whether it is to run, and with which other image in place of its own.
    """

    workload_id: WorkloadId
    target: str
    pop: CityCode
    host: HostName
    ordinal: int
    name: InstanceName
    index: int
    uid: str
    link: int
    life: int = 0
    template: str = ""
    revision: int = 1
    restarts: int = 0
    further: tuple[int, ...] = ()
    power: Power = Power.ON
    rescue: MachineImage | None = None

    @property
    def serves(self) -> bool:
        """Whether it is to have traffic, once it is healthy."""
        return self.power is Power.ON and self.rescue is None

    @property
    def links(self) -> tuple[int, ...]:
        """Of all its interfaces."""
        return (self.link, *self.further)

    @property
    def slot(self) -> tuple[WorkloadId, InstanceName]:
        return self.workload_id, self.name


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
    """The planner's whole input.

    `workloads`: the newest revision of each; `revisions`: older ones that something still runs. `rollouts`: those
    that have not ended. `ready`: incarnations that have become healthy, so that what they replace may go.
    `removals`: per host, the incarnations that were asked to go and whose host has not yet reported them gone.
    `resting_*` were released too short a time ago to be used again. `capacities`: what hosts have for instances; a
    host without an entry takes what fits its addresses. `lost`: hosts where nothing new is placed; `moves`:
    incarnations there that may be placed elsewhere now; `evicted`: those of them that a person gave up. `drains`: those
    that stand; `eases`: incarnations for which a successor is wanted beside them now. `dials`: all that were asked for.
    `policies`: the network policies of all stacks; `networks`: the networks that they declared.
    `volumes`: those that are there, or are being taken away. `scaled`: how many instances targets have that follow
    their load. `pins`: where slots live for the sake of addresses that they claim; `reserved`: places of hosts that are
    kept for such addresses.
    `machines`: hosts that can run virtual machines; `processors`: what guests there are given of it, as far as told.
    `understands`: how much of an order their agents know (`order_since`), as far as told.
    `serial` grows with every plan and goes into the uids of new incarnations, so that a name which comes back is never
    taken for the one that went.
    """

    network: Network
    workloads: tuple[Workload, ...]
    revisions: tuple[Workload, ...] = ()
    rollouts: tuple[Rollout, ...] = ()
    incarnations: tuple[Incarnation, ...] = ()
    ready: frozenset[str] = frozenset()
    anycast: tuple[AnycastAddress, ...] = ()
    rules: tuple[ScopeRule, ...] = ()
    removals: tuple[tuple[HostName, Removal], ...] = ()
    resting_indexes: frozenset[tuple[HostName, int]] = frozenset()
    resting_links: frozenset[tuple[HostName, int]] = frozenset()
    resting_addresses: frozenset[IPv4Address] = frozenset()
    capacities: Mapping[HostName, Capacity] = field(default_factory=dict)
    lost: frozenset[HostName] = frozenset()
    moves: frozenset[str] = frozenset()
    evicted: frozenset[HostName] = frozenset()
    drains: tuple[Drain, ...] = ()
    eases: frozenset[str] = frozenset()
    dials: tuple[Dial, ...] = ()
    policies: tuple[NetworkPolicy, ...] = ()
    volumes: tuple[Volume, ...] = ()
    networks: tuple[StackNetwork, ...] = ()
    scaled: tuple[Scaled, ...] = ()
    pins: Mapping[tuple[WorkloadId, InstanceName], Pin] = field(default_factory=dict)
    reserved: frozenset[PlaceKey] = frozenset()
    machines: frozenset[HostName] = frozenset()
    processors: Mapping[HostName, str] = field(default_factory=dict)
    understands: Mapping[HostName, int] = field(default_factory=dict)
    serial: int = 0


def floor_of(entitled: int) -> int:
    """How many PoPs must go on announcing or serving: half of them, rounded up, and one in any case."""
    return max(1, (entitled + 1) // 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanNote:
    """Something that was not done, and the reason. `subject` is an instance, a workload or a PoP by name."""

    subject: str
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Homes:
    """Where a workload has instances."""

    hosts: frozenset[HostName] = frozenset()
    pops: frozenset[CityCode] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlan:
    """One host's part of a plan."""

    pop: CityCode
    host: HostName
    instances: tuple[InstanceOrder, ...] = ()
    removed: tuple[Removal, ...] = ()
    announcements: tuple[Announcement, ...] = ()
    backbone: Backbone | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What should be. `incarnations` and `anycast` are the full new allocation tables; `hosts` has one entry for each
    host of the network. `carried`, `dials`: see `Backbone`. `ruled`: what hosts hold of network policies; `named`: whom
    their instances may call by name.
    """

    network: Network
    incarnations: tuple[Incarnation, ...]
    anycast: tuple[AnycastAddress, ...]
    hosts: dict[HostName, HostPlan] = field(default_factory=dict)
    removals: tuple[tuple[HostName, Removal], ...] = ()
    notes: tuple[PlanNote, ...] = ()
    carried: frozenset[Prefix] = frozenset()
    dials: tuple[DialledPop, ...] = ()
    ruled: Mapping[HostName, HostRules] = field(default_factory=dict)
    named: Mapping[HostName, tuple[NamedWorkload, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceLine:
    """One line of a quote. `monthly` = quantity x hourly x 730, in `Quote.currency`. `most`: what the quantity may grow
    to by itself; None: it does not.
    """

    item: str
    quantity: int
    unit_hourly: float
    hourly: float
    monthly: float
    most: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """The price of a workload, line by line, before anything starts: of what runs at least. `most_hourly`,
    `most_monthly`: of all that may run, where the number of its instances follows their load.
    """

    currency: str
    lines: tuple[PriceLine, ...]
    hourly: float
    monthly: float
    most_hourly: float | None = None
    most_monthly: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostVerdict:
    """What we make of one host's reports. `trusted` is False when the report is missing or stale: then nothing of it is
    shown as healthy.
    """

    pop: CityCode
    host: HostName
    trusted: bool
    reason: Reason
    grants: tuple[Grant, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixVerdict:
    """How a covering prefix stands across PoPs: which of them announce it, the floor, and alarms."""

    prefix: Prefix
    announcing: tuple[CityCode, ...]
    entitled: tuple[CityCode, ...]
    floor: int
    alarm: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Judgement over all reports at one moment. `idle`: workloads that have worked in none of their PoPs for a
    while. `newcomers`: those with an anycast address that have never served in a PoP where they stand since they have
    it; `late`: of these, the ones that have had time enough to start. `mute`: workloads that answer somewhere, and the
    family in which they answer nowhere: never yet, or not for a while.
    """

    hosts: dict[HostName, HostVerdict] = field(default_factory=dict)
    prefixes: tuple[PrefixVerdict, ...] = ()
    idle: frozenset[WorkloadId] = frozenset()
    newcomers: frozenset[tuple[CityCode, WorkloadId]] = frozenset()
    late: frozenset[tuple[CityCode, WorkloadId]] = frozenset()
    mute: frozenset[tuple[WorkloadId, int]] = frozenset()

"""Addresses that last: allocations, the claims that hold them, and the slots of instances that use a claim.

In: made by `control.allocations` from requests, and by `control.allocation_book` for slots. An allocation is one
address of a stack; a claim holds at most one allocation, and a slot holds a claim. An address is bound to a host's
place: the number there from which external addresses follow, or the link from which private ones do. Pure and frozen.
"""

from dataclasses import dataclass
from enum import StrEnum

from anypop.model.announce import Address
from anypop.model.names import HostName, InstanceName, StackId, WorkloadId

Words = tuple[tuple[str, str], ...]
PlaceKey = tuple[HostName, "AddressClass", int]


class AddressClass(StrEnum):
    """Inside the stack's network, or on the Internet."""

    PRIVATE = "stackpath-edge/private"
    UNICAST = "stackpath-edge/unicast"


class Mode(StrEnum):
    """What an address is for an instance: its private one, its external one, or an external one beside that."""

    PRIMARY = "PRIMARY"
    ONE_TO_ONE_NAT = "ONE_TO_ONE_NAT"
    ADDITIONAL = "ADDITIONAL"

    @property
    def kind(self) -> AddressClass:
        return AddressClass.PRIVATE if self is Mode.PRIMARY else AddressClass.UNICAST


class ReclaimAction(StrEnum):
    DELETE = "DELETE"
    RETAIN = "RETAIN"
    RETAIN_FOR_IDLE_PERIOD = "RETAIN_FOR_IDLE_PERIOD"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reclaim:
    """What becomes of an allocation without a claim, or of a claim that no slot holds any more. `period` as it was
    written; `idle_s`: in seconds.
    """

    action: ReclaimAction = ReclaimAction.DELETE
    period: str = ""
    idle_s: float = 0.0

    def ends_at(self, idle_since: float) -> float | None:
        """When it goes; None: never by itself."""
        match self.action:
            case ReclaimAction.DELETE:
                return idle_since
            case ReclaimAction.RETAIN:
                return None
        return idle_since + self.idle_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """A condition on a city or on a label. `operator` as it was written: in, notIn, exists, doesNotExist, in any
    case.
    """

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, value: str | None) -> bool:
        match self.operator.lower():
            case "in":
                return value in self.values
            case "notin":
                return value not in self.values
            case "exists":
                return value is not None
        return value is None


CITY = "cityCode"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressSpec:
    """Which address is wanted. `version`: 4 or 6. `selectors`: of its city."""

    kind: AddressClass
    version: int
    reclaim: Reclaim = Reclaim()
    selectors: tuple[Selector, ...] = ()

    def fits(self, city: str) -> bool:
        return all(selector.holds(city) for selector in self.selectors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an address is: a host, the number there, and the address that followed from both when it was given."""

    host: HostName
    number: int
    address: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """An address of a stack. `place` None: it has none yet, for the reason `waits`. `idle_since`: since when no claim
    holds it. Times: epoch seconds.
    """

    id: str
    stack_id: StackId
    account_id: str
    slug: str
    name: str
    spec: AddressSpec
    labels: Words = ()
    annotations: Words = ()
    version: int = 1
    created_at: float
    updated_at: float | None = None
    delete_requested_at: float | None = None
    place: Place | None = None
    placed_at: float | None = None
    waits: str = ""
    idle_since: float | None = None

    @property
    def key(self) -> PlaceKey | None:
        return (self.place.host, self.spec.kind, self.place.number) if self.place is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a claim gets its allocation: one by its slug (`written`: as the client has it), a free one by labels and
    city, or one made for it.
    """

    name: str = ""
    written: str = ""
    selector_kind: AddressClass | None = None
    selectors: tuple[Selector, ...] = ()
    template: AddressSpec | None = None

    @property
    def is_there(self) -> bool:
        return bool(self.name) or self.selector_kind is not None or self.template is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The slot that uses a claim, and by which of its assignments. `beside`: it has an external address already."""

    workload_id: WorkloadId
    instance: InstanceName
    assignment: str
    beside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationClaim:
    """The right to an address. `made_for`: the workload whose template made it, if one did. `waits`: why it has no
    allocation. `idle_since`: since when no slot holds it. `version` begins at 2: clients expect it.
    """

    id: str
    stack_id: StackId
    account_id: str
    slug: str
    name: str
    ip_version: int
    reclaim: Reclaim
    source: Source
    labels: Words = ()
    annotations: Words = ()
    made_for: WorkloadId | None = None
    version: int = 2
    created_at: float
    updated_at: float | None = None
    delete_requested_at: float | None = None
    allocation_id: str = ""
    waits: str = ""
    holder: Holder | None = None
    idle_since: float | None = None

    @property
    def is_beside(self) -> bool:
        """Whether its slot has the address beside its own."""
        return self.holder is not None and self.holder.beside

    @property
    def moves(self) -> bool:
        """Whether its address is only that of its slot, and is another one when the slot has another place."""
        template = self.source.template
        return (
            template is not None
            and self.made_for is not None
            and not self.is_beside
            and self.reclaim.action is template.reclaim.action is ReclaimAction.DELETE
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One address of an interface, as a workload declares it. `base`: the name by which its slots' claims go, where it
    says one.
    """

    slug: str
    mode: Mode
    ip_version: int
    base: str = ""
    reclaim: Reclaim = Reclaim()
    source: Source = Source()
    labels: Words = ()
    annotations: Words = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """What a slot's claims ask of its place. `host`, `link`: of a private address, which is bound to both. `own`: where
    its external addresses are from, which it may have elsewhere in their PoP too (`plan.following`). `beside`: of
    those that it has beside its own. `apart`: another slot has an address of the same number, so no instance may live
    by that number. `waits`: why it cannot be placed at all now.
    """

    host: HostName | None = None
    link: int | None = None
    own: tuple[Place, ...] = ()
    beside: tuple[Place, ...] = ()
    apart: bool = False
    waits: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Something that was asked for and is done. `kind`: `allocations` or `allocation_claims`."""

    name: str
    stack_id: StackId
    verb: str
    kind: str
    slug: str
    at: float

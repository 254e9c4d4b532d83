"""Network policies: who may send what to an instance and receive what from it, as a user declares it, and as a host is
told to hold it.

In: `NetworkPolicy` is made by `plan.policy_read`. Out: `HostPolicy`, `Ruling` and `AddressGroup` stand in orders, made
by `plan.policies`, which turns selectors by label into addresses. Pure and frozen. A lower priority is asked first;
what no policy speaks of is decided by the ports' own openings, and then by the default: in is denied, out allowed.
"""

from dataclasses import dataclass
from enum import StrEnum

from anypop.model.announce import Address
from anypop.model.names import StackId

HIGHEST_PRIORITY, LOWEST_PRIORITY = 1, 65_000
SHARED_PRIORITY = 65_534
"""Several policies of a stack may have this one. The ports that ask for `enableImplicitNetworkPolicy` come right behind
it.
"""


class Action(StrEnum):
    ALLOW = "ALLOW"
    BLOCK = "BLOCK"


class Operator(StrEnum):
    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSelector:
    """One condition on labels. Of several all must hold."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressRange:
    """All addresses from the first to the last, both included."""

    first: Address
    last: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRange:
    """All ports from the first to the last, both included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """A protocol by its IP numbers, and the ports; none: every port. `source` is where the asking side sends from."""

    numbers: tuple[int, ...]
    destination: tuple[PortRange, ...] = ()
    source: tuple[PortRange, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """The other side of a rule: everybody; or addresses, and instances of the same stack by their labels and by the
    labels of the networks that they are in (None: not asked for). Blocks without whose exceptions nothing is left are
    nobody.
    """

    everybody: bool = True
    ranges: tuple[AddressRange, ...] = ()
    instances: tuple[LabelSelector, ...] | None = None
    networks: tuple[LabelSelector, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """One rule of a policy. `traffic` empty: every protocol."""

    action: Action
    peers: Peers = Peers()
    traffic: tuple[Traffic, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPolicy:
    """A declared policy. `instances`, `networks`: to whom it applies; empty: to every instance of the stack. `ingress`,
    `egress`: its rules in their order, the first that fits decides; empty: it has nothing to say of that direction. A
    direction that is named without a rule has become one rule: block everything in, allow everything out.
    """

    id: str
    stack_id: StackId
    slug: str
    name: str
    priority: int
    created_at: float
    instances: tuple[LabelSelector, ...] = ()
    networks: tuple[LabelSelector, ...] = ()
    ingress: tuple[PolicyRule, ...] = ()
    egress: tuple[PolicyRule, ...] = ()

    @property
    def rules(self) -> tuple[PolicyRule, ...]:
        return (*self.ingress, *self.egress)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRule:
    """A rule as a host holds it: the other side is `ranges` and the addresses of `group` ("": none), or everybody."""

    action: Action
    everybody: bool = False
    ranges: tuple[AddressRange, ...] = ()
    group: str = ""
    traffic: tuple[Traffic, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPolicy:
    """A policy as a host holds it."""

    id: str
    ingress: tuple[HostRule, ...] = ()
    egress: tuple[HostRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """The interfaces of incarnations of a host (also of those that are leaving) to which the same policies apply, these
    in the order in which they are asked. `uids`: see `at_interface`.
    """

    policies: tuple[str, ...]
    uids: tuple[str, ...]


def at_interface(uid: str, number: int) -> str:
    """How an interface of an incarnation is called in a ruling: the first one by the uid alone, as when there was no
    other.
    """
    return f"{uid}/{number}" if number else uid


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressGroup:
    """The addresses of the instances that some selectors mean now, sorted. `name`: 12 hex digits."""

    name: str
    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRules:
    """A host's part of the policies of one stack, or of all."""

    policies: tuple[HostPolicy, ...] = ()
    rulings: tuple[Ruling, ...] = ()
    groups: tuple[AddressGroup, ...] = ()


NO_RULES = HostRules()

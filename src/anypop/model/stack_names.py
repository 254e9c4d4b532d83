"""What the instances of a stack are called inside, for the resolvers of the hosts that have some of it.

In: made by `plan.stack_names`. Out: a part of orders. One entry for each workload and network: entries are shared by
all hosts of a stack, and a change of one workload changes one of them. It holds private addresses alone. Pure and
frozen.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from anypop.model.announce import Address
from anypop.model.names import CityCode, InstanceName, StackId, WorkloadId
from anypop.model.stack_network import DEFAULT_NETWORK, domain_of
from anypop.model.workload import Protocol

DOMAIN = "edgeengine.internal"
"""The suffix by which instances of one stack know each other."""

MOST_NAMED = 5_000
"""So many instances of a stack are known by name to all of its hosts. In a larger stack a host knows the workloads of
which it has an instance: else one change would be told to a thousand hosts.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPort:
    """A declared port, by which clients ask for it (RFC 2782)."""

    name: str
    port: int
    protocol: Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedInstance:
    """A slot and its private addresses, IPv4 first. Of two incarnations the older one's, as long as it stays.
    `inside`: those in subnets of the network, by which it is known to who reaches the network by a further interface.
    """

    name: InstanceName
    pop: CityCode
    addresses: tuple[Address, ...]
    inside: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedWorkload:
    """The instances of a workload in one network. `stack`: the stack's slug, which stands in their names."""

    id: WorkloadId
    stack_id: StackId
    stack: str
    network: str = DEFAULT_NETWORK
    slug: str
    ports: tuple[NamedPort, ...] = ()
    instances: tuple[NamedInstance, ...] = ()

    @property
    def key(self) -> str:
        """One of a kind among all."""
        return f"{self.id}/{self.network}"

    @property
    def domain(self) -> str:
        """Who may ask for these: instances of the same domain."""
        return domain_of(self.stack_id, self.network)


def in_order(names: Iterable[NamedWorkload]) -> tuple[NamedWorkload, ...]:
    """As they stand in orders."""
    return tuple(sorted(names, key=lambda one: one.key))

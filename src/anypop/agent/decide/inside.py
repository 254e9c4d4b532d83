"""What an instance's own namespace has to hold beside its addresses, for its packets to be right. Pure.

In: an instance. Out: `Inside`: for which anycast addresses answers by UDP are kept to the address that was asked, and
the external address that stands for each. `act.network.inside` carries it out. It follows from the order alone, and
may change under a process that runs.
"""

from dataclasses import dataclass

from anypop.model.announce import Address
from anypop.model.order import InstanceOrder
from anypop.model.workload import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """`udp`: pairs of an anycast address and the instance's external address of the same family."""

    udp: tuple[tuple[Address, Address], ...] = ()


def inside_for(instance: InstanceOrder) -> Inside:
    """Only who declares a port of UDP is reached by UDP, so nobody else pays for it."""
    if not any(p.protocol is Protocol.UDP for c in instance.containers for p in c.ports):
        return Inside()
    external = {a.external.version: a.external for a in instance.addresses()}
    return Inside(udp=tuple((a, external[a.version]) for a in instance.anycast if a.version in external))

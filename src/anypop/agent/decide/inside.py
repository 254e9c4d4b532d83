"""What an instance's own namespace has to hold beside its addresses, for its packets to be right. Pure.

In: an instance. Out: `Inside`: the addresses for which answers by UDP are kept to the one that was asked.
`act.network.inside` carries it out. It follows from the order alone, and
may change under a process that runs.
"""

from dataclasses import dataclass

from anypop.model.announce import Address
from anypop.model.order import InstanceOrder
from anypop.model.workload import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class UdpFamily:
    """One family of an instance that is reached by UDP: its addresses, and the router's on its link. `anycast`: what it
    never speaks from first, so its address in a subnet and public ones beside its own too.
    """

    anycast: tuple[Address, ...]
    external: Address
    private: Address
    gateway: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """`udp`: the families in which answers are kept; none: nobody asks it by UDP."""

    udp: tuple[UdpFamily, ...] = ()


_NOTHING = Inside()


def takes_udp(instance: InstanceOrder) -> bool:
    for container in instance.containers:  # asked for each instance in each pass
        for port in container.ports:
            if port.protocol is Protocol.UDP:
                return True
    return False


def inside_for(instance: InstanceOrder) -> Inside:
    """Only who declares a port of UDP is reached by UDP, so nobody else pays for it."""
    if not takes_udp(instance):
        return _NOTHING
    return Inside(
        udp=tuple(
            UdpFamily(
                anycast=(
                    *(a for a in (*instance.anycast, *instance.beside) if a.version == address.private.version),
                    *([address.vpc] if address.vpc is not None else []),
                ),
                external=address.external or address.private,  # by whichever it speaks first
                private=address.private,
                gateway=address.gateway,
            )
            for address in instance.links[0].addresses
        )
    )

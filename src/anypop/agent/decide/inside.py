"""What an instance's own namespace has to hold beside its addresses, for its packets to be right. Pure.

In: an instance. Out: `Inside`: the addresses for which answers by UDP are kept to the one that was asked.
`act.network.inside` carries it out. It follows from the order alone, and
may change under a process that runs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from anypop.model.announce import Address, Prefix
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
class InsideWay:
    """A route to where its network's gateways lead, by one of its interfaces."""

    interface: int
    prefix: Prefix
    gateway: Address
    source: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Outward:
    """What a gateway passes on to the outside by its first interface leaves from its public address of that family:
    what is neither from an address of its `own` nor goes to the subnets `inside`.
    """

    external: Address
    own: tuple[Address, ...]
    inside: tuple[Prefix, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """`udp`: the families in which answers are kept; none: nobody asks it by UDP. `ways`: to gateways; `passes`: it is
    one, and passes on what is not its own; None: nobody asks, since it has one interface. `outward`: as a gateway with
    public addresses.
    """

    udp: tuple[UdpFamily, ...] = ()
    ways: tuple[InsideWay, ...] = ()
    passes: bool | None = None
    outward: tuple[Outward, ...] = ()


_NOTHING = Inside()


def takes_udp(instance: InstanceOrder) -> bool:
    for container in instance.containers:  # asked for each instance in each pass
        for port in container.ports:
            if port.protocol is Protocol.UDP:
                return True
    return False


def inside_for(instance: InstanceOrder) -> Inside:
    """What the namespace is to hold. The sockets and routes of a virtual machine are in the guest, which is told by
    its seed.
    """
    return _NOTHING if instance.machine is not None else whole_inside(instance)


def whole_inside(instance: InstanceOrder) -> Inside:
    """The same wherever it is to be held. Only who declares a port of UDP is reached by UDP, so nobody else pays for
    it.
    """
    udp, first = takes_udp(instance), instance.links[0]
    if not udp and len(instance.links) == 1 and not first.ways and not first.passes:
        return _NOTHING
    passes = True if any(link.passes for link in instance.links) else (False if len(instance.links) > 1 else None)
    ways, outward = tuple(_ways(instance)), tuple(_outward(instance)) if passes else ()
    if not udp:
        return Inside(ways=ways, passes=passes, outward=outward)
    return Inside(
        ways=ways,
        passes=passes,
        outward=outward,
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
        ),
    )


def _outward(instance: InstanceOrder) -> Iterator[Outward]:
    for address in instance.links[0].addresses:
        version = address.private.version
        if address.external is not None:
            own = [*instance.externals(), *instance.anycast]
            own += [a for link in instance.addresses() for a in (link.private, link.vpc) if a is not None]
            yield Outward(
                external=address.external,
                own=tuple(sorted({a for a in own if a.version == version}, key=int)),
                inside=tuple(p for p in instance.links[0].reach if p.version == version),
            )


def _ways(instance: InstanceOrder) -> Iterator[InsideWay]:
    """Where gateways of its networks lead, but for where it leads itself, or is itself by another interface."""
    direct = {prefix for link in instance.links for prefix in (*link.reach, *link.passes)}
    for n, link in enumerate(instance.links):
        for prefix in link.ways:
            here = link.of(prefix.version)
            if here is not None and prefix not in direct:
                yield InsideWay(interface=n, prefix=prefix, gateway=here.gateway, source=here.known)

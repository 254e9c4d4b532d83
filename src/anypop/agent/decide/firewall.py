"""Which inbound traffic is let through to instances: the ports that their workload opened to all, and nothing else.
Pure.

In: the instances here, also those that are leaving (they go on answering while they drain). Out: `Firewall`;
`act.network.firewall` puts it into nft.
"""

from collections.abc import Iterable

from anypop.agent.decide.elements import Firewall, Opening
from anypop.agent.naming import link_of
from anypop.model.announce import Address
from anypop.model.order import InstanceOrder
from anypop.model.workload import Protocol


def firewall_for(instances: Iterable[InstanceOrder]) -> Firewall:
    """The rules for these, sorted."""
    links, openings = set[str](), dict[tuple[int, int, str, int], Opening]()
    for instance in instances:
        links.add(link_of(instance.uid))
        ports = {(p.protocol, p.port) for c in instance.containers for p in c.ports if p.open_to_all}
        for address in _addresses(instance):
            for protocol, port in ports:
                openings[_place(address, protocol, port)] = Opening(address=address, protocol=protocol, port=port)
    return Firewall(links=tuple(sorted(links)), openings=tuple(openings[place] for place in sorted(openings)))


def _place(address: Address, protocol: Protocol, port: int) -> tuple[int, int, str, int]:
    return address.version, int(address), protocol, port


def _addresses(instance: InstanceOrder) -> list[Address]:
    return [*(one for a in instance.addresses() for one in (a.private, a.external)), *instance.anycast]

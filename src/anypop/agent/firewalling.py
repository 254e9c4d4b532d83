"""Which inbound traffic is let through to instances: the ports that their workload opened to all, and nothing else. Pure.

In: order and the instances that are leaving (they go on answering while they drain). Out: `Firewall`; `network.firewall` puts it into nft.
"""

from anypop.agent.naming import link_of
from anypop.agent.observed import Firewall, Observed, Opening
from anypop.agent.standing import anycast_of, has_remains
from anypop.model.order import InstanceOrder, Order


def firewall_for(order: Order, observed: Observed) -> Firewall:
    """The rules for all instances here, sorted."""
    instances = list(order.instances)
    instances += [x.instance for x in observed.leaving if x.instance and has_remains(x.removal.uid, observed)]
    openings = {o for i in instances for o in _openings(i)}
    return Firewall(
        links=tuple(sorted({link_of(i.uid) for i in instances})),
        openings=tuple(sorted(openings, key=lambda o: (o.address.version, int(o.address), o.protocol, o.port))),
    )


def _openings(instance: InstanceOrder) -> set[Opening]:
    addresses = [*(one for a in instance.addresses() for one in (a.private, a.external)), *anycast_of(instance)]
    ports = [port for container in instance.containers for port in container.ports if port.open_to_all]
    return {Opening(address=a, protocol=p.protocol, port=p.port) for a in addresses for p in ports}

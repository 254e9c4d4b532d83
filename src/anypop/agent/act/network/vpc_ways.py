"""The ways to instances of this host at their addresses in subnets of their stacks' networks.

In: an instance's order and the index of its link; the links that are here. Out: routes in a table of their own, and the
rules that lead there: only packets that the firewall has found to go between two instances of one network, and what
comes by the tunnel, which its guard looks at. So a range that a tenant has chosen is in nobody else's way, the host's
own included.
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_network

from anypop.agent.act.network import rtnl
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.act.network.rtnl import MarkRule, Rule
from anypop.agent.naming import (
    DRAIN_MARK_MASK,
    ROUTE_PROTOCOL,
    SIBLING_MARK,
    TUNNEL,
    VPC_PREFERENCE,
    VPC_TABLE,
    link_of,
    short_of_further,
    short_of_link,
)
from anypop.model.announce import Prefix
from anypop.model.errors import WorldError
from anypop.model.order import InstanceOrder

_MARKED = tuple(
    MarkRule(
        version=version, preference=VPC_PREFERENCE, table=VPC_TABLE, mark=SIBLING_MARK, mask=DRAIN_MARK_MASK,
        protocol=ROUTE_PROTOCOL,
    )
    for version in (4, 6)
)  # fmt: skip
_COMING = tuple(
    Rule(version=version, preference=VPC_PREFERENCE, table=VPC_TABLE, arriving=TUNNEL) for version in (4, 6)
)


def lead(net: Netlink, order: InstanceOrder) -> None:
    """Have the ways to an instance, over its links. The rules come with the first one, and stay."""
    there = {link.name: link.index for link in rtnl.links(net)}
    if link_of(order.uid) not in there:
        raise WorldError(f"lead to {order.name} in its networks", f"the link {link_of(order.uid)} is gone")
    for marked in _MARKED:
        rtnl.add_mark_rule(net, marked)
    for coming in _COMING:
        rtnl.add_rule(net, coming, ROUTE_PROTOCOL)
    for n, link in enumerate(order.links):
        index = there.get(link_of(order.uid, n))
        for address in link.addresses if index is not None else ():
            if address.vpc is not None:
                rtnl.set_route(
                    net, ip_network(address.vpc), ROUTE_PROTOCOL, gateway=address.private, interface=index or 0,
                    table=VPC_TABLE,
                )  # fmt: skip


def look(net: Netlink, every: Iterable[rtnl.Link]) -> Iterator[tuple[Prefix, str]]:
    """Each way that is there, and whose link it goes over. `every`: all links. None counts without the rules."""
    links = {one.index: key for one in every if (key := short_of_link(one.name) or short_of_further(one.name))}
    routes = [route for route in rtnl.routes(net, ROUTE_PROTOCOL, VPC_TABLE) if route.interface in links]
    if routes and _has_rules(net):
        yield from ((route.prefix, links[route.interface]) for route in routes)


def _has_rules(net: Netlink) -> bool:
    there = rtnl.rules(net, ROUTE_PROTOCOL, range(VPC_PREFERENCE, VPC_PREFERENCE + 1))
    return set(_COMING) <= set(there) and set(_MARKED) <= set(rtnl.mark_rules(net))


def remove(net: Netlink) -> None:
    """Take all of it away. Harmless when there is nothing."""
    for marked in _MARKED:
        rtnl.delete_mark_rule(net, marked)
    for coming in _COMING:
        rtnl.delete_rule(net, coming, ROUTE_PROTOCOL)
    for route in rtnl.routes(net, ROUTE_PROTOCOL, VPC_TABLE):
        rtnl.delete_route(net, route.prefix, ROUTE_PROTOCOL, table=VPC_TABLE)

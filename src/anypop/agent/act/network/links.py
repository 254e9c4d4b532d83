"""What makes an instance's link private to it, beside its addresses: no answers for others, and neighbours that are
known for good on both ends.

In: the instance's order. Out: settings and neighbour entries, made when the link is made, and on one that stands
already; or which links lack them. Permanent entries need no questions on the link, so nothing that an instance says
about who is where counts, and they are not counted in the machine-wide neighbour table, which else is full at some 500
instances.
"""

from collections.abc import Iterable
from pathlib import Path

from anypop.agent.act.network import further_links, rtnl
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.naming import inside_mac, inside_name, link_of, namespace_of
from anypop.host import netns
from anypop.model.announce import Address
from anypop.model.errors import WorldError
from anypop.model.order import InstanceOrder

INSIDE = inside_name(0)


def fit(net: Netlink, prefix: str, order: InstanceOrder) -> None:
    """Make it so, whatever hardware addresses the ends have. Further interfaces that are gone are made again."""
    further_links.have(net, prefix, order)
    index = _index(net, link_of(order.uid))
    _ignoring(link_of(order.uid)).write_text("1")
    if order.machine is not None:  # its own neighbours are the guest's matter
        for address in order.links[0].addresses:
            rtnl.set_neighbor(net, index, address.private, inside_mac(order.uid))
        return
    with netns.inside(namespace_of(prefix, order.uid)), Netlink() as inside:
        wire = _index(inside, INSIDE)
        far = rtnl.mac_of(inside, wire)
        for address in order.links[0].addresses:
            rtnl.set_neighbor(inside, wire, address.gateway, rtnl.mac_of(net, index))
    for address in order.links[0].addresses:
        rtnl.set_neighbor(net, index, address.private, far)


def unfit(net: Netlink, instances: Iterable[InstanceOrder]) -> frozenset[str]:
    """The uids of those whose link is there and lacks something on the router's end."""
    known, there = rtnl.permanent_neighbors(net), {link.name: link for link in rtnl.links(net)}
    return frozenset(
        i.uid
        for i in instances
        if (at := there.get(link_of(i.uid)))
        and not (_is_fit(i, at.index, known) and further_links.are_there(i, there, known))
    )


def _is_fit(order: InstanceOrder, index: int, known: set[tuple[int, Address]]) -> bool:
    if any((index, address.private) not in known for address in order.links[0].addresses):
        return False
    try:
        return _ignoring(link_of(order.uid)).read_text().strip() == "1"
    except FileNotFoundError:
        return True  # gone meanwhile


def _ignoring(link: str) -> Path:
    """Whether ARP is answered for the link's own address alone, and not for every address that the router has."""
    return Path(f"/proc/sys/net/ipv4/conf/{link}/arp_ignore")


def _index(net: Netlink, name: str) -> int:
    for link in rtnl.links(net):
        if link.name == name:
            return link.index
    raise WorldError(f"fit the link {name}", "the link is gone")

"""The interfaces of an instance beside its first one: each a veth pair of its own, in the device group of its network.

In: the instance's order. Out: eth1 and so on inside, with its addresses in the network, a route to each subnet of the
network, and for what is answered from one of its addresses a way back by the same interface. Nothing else ever leads
there: the default route is the first interface's. An instance with several of them passes nothing on between them,
unless it is a gateway.
"""

import contextlib
import socket
import struct
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

from anypop.agent.act.network import guests, rtnl
from anypop.agent.act.network import netlink as nl
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.naming import (
    ROUTE_PROTOCOL,
    device_group_of,
    inside_mac,
    inside_name,
    link_of,
    namespace_of,
    port_mac,
    router_mac,
)
from anypop.host import netns
from anypop.model.announce import Address
from anypop.model.errors import WorldError
from anypop.model.order import InstanceLink, InstanceOrder
from anypop.model.subnets import MOST_INTERFACES

BACK_TABLES = 100
"""Inside, the table of what is answered by an interface: this number and the interface's."""
BACK_PREFERENCE = 100
_RULE_HEADER, _TO_TABLE = struct.Struct("=BBBBBBBBI"), 1  # struct fib_rule_hdr, FR_ACT_TO_TBL
_KEPT_APART = {
    # a namespace is born with what its host has, and that passes packets on
    "ipv4/ip_forward": "0",
    "ipv6/conf/all/forwarding": "0",
}


def have(net: Netlink, prefix: str, order: InstanceOrder) -> None:
    """Make those that are not there, and what of the others is not as it should be."""
    if len(order.links) < 2:
        return
    there = {link.name: link for link in rtnl.links(net)}
    known = rtnl.permanent_neighbors(net)
    if not any(link.passes for link in order.links):
        with netns.inside(namespace_of(prefix, order.uid)):
            for path, value in _KEPT_APART.items():
                with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
                    Path("/proc/sys/net", path).write_text(value)
    for n in range(1, len(order.links)):
        if not _is_there(order, n, there, known):
            _make(net, prefix, order, n)


def are_there(order: InstanceOrder, links: Mapping[str, rtnl.Link], known: set[tuple[int, Address]]) -> bool:
    """Whether all of them are, complete on the router's side. `links`: by name; `known`: permanent neighbours."""
    return all(_is_there(order, n, links, known) for n in range(1, len(order.links)))


def remove(net: Netlink, uid: str) -> None:
    """Take all of them away, however many there are."""
    for n in range(1, MOST_INTERFACES):
        rtnl.delete_link(net, link_of(uid, n))


def _is_there(
    order: InstanceOrder, n: int, links: Mapping[str, rtnl.Link], known: set[tuple[int, Address]]
) -> bool:  # fmt: skip
    link = links.get(link_of(order.uid, n))
    if link is None or not link.up or link.group != device_group_of(order.domains[n] if order.domains else ""):
        return False
    if any((link.index, address.private) not in known for address in order.links[n].addresses):
        return False
    try:
        return _ignoring(link.name).read_text().strip() == "1"
    except FileNotFoundError:
        return False  # gone meanwhile


def _make(net: Netlink, prefix: str, order: InstanceOrder, n: int) -> None:
    """Anew, and up last: what is up is complete."""
    name, group = link_of(order.uid, n), device_group_of(order.domains[n] if order.domains else "")
    rtnl.delete_link(net, name)
    peer_mac = inside_mac(order.uid, n) if order.machine is None else port_mac(order.uid, n)
    with netns.path_of(namespace_of(prefix, order.uid)).open() as handle:
        rtnl.add_veth(
            net, name, mac=router_mac(order.uid, n), group=group, peer=inside_name(n), peer_mac=peer_mac,
            peer_namespace=handle.fileno(),
        )  # fmt: skip
    if order.machine is None:
        _furnish(prefix, order, n)
    else:
        guests.furnish_further(prefix, order.uid, n)  # what is inside is the guest's, who is told by its seed
    index = next(link.index for link in rtnl.links(net) if link.name == name)
    with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
        Path(f"/proc/sys/net/ipv6/conf/{name}/accept_dad").write_text("0")
    _ignoring(name).write_text("1")
    for address in order.links[n].addresses:
        rtnl.add_address(net, index, address.gateway, address.gateway.max_prefixlen - 1)
        rtnl.set_neighbor(net, index, address.private, inside_mac(order.uid, n))
    rtnl.set_up(net, index)


def _furnish(prefix: str, order: InstanceOrder, n: int) -> None:
    link = order.links[n]
    with netns.inside(namespace_of(prefix, order.uid)), Netlink() as inside:
        wire = next(one.index for one in rtnl.links(inside) if one.name == inside_name(n))
        if link.of(6) is None:
            with contextlib.suppress(FileNotFoundError):
                Path(f"/proc/sys/net/ipv6/conf/{inside_name(n)}/disable_ipv6").write_text("1")
        for address in link.addresses:
            if address.vpc is not None:
                rtnl.add_address(inside, wire, address.vpc, address.vpc.max_prefixlen)
            rtnl.add_address(inside, wire, address.private, address.private.max_prefixlen - 1)
        rtnl.set_up(inside, wire)
        for address in link.addresses:
            rtnl.set_neighbor(inside, wire, address.gateway, router_mac(order.uid, n))
        _lead(inside, wire, link, n)


def _lead(inside: Netlink, wire: int, link: InstanceLink, n: int) -> None:
    """Its routes: to its network from its address there, and back to whoever asked one of its addresses."""
    for subnet in link.reach:
        here = link.of(subnet.version)
        if here is not None and here.vpc is not None:
            rtnl.set_route(
                inside, subnet, ROUTE_PROTOCOL, gateway=here.gateway, interface=wire, source=here.vpc
            )  # fmt: skip
    for address in link.addresses:
        everywhere = ip_network("0.0.0.0/0" if address.private.version == 4 else "::/0")
        rtnl.set_route(
            inside, everywhere, ROUTE_PROTOCOL, gateway=address.gateway, interface=wire, table=BACK_TABLES + n
        )  # fmt: skip
        for own in (address.private, address.vpc):
            if own is not None:
                _answer_by(inside, own, BACK_TABLES + n)


def _answer_by(inside: Netlink, own: Address, table: int) -> None:
    """A rule: what is sent from an address looks into a table."""
    family = socket.AF_INET if own.version == 4 else socket.AF_INET6
    head = _RULE_HEADER.pack(family, 0, own.max_prefixlen, 0, 0, 0, 0, _TO_TABLE, 0)
    body = nl.u32(6, BACK_PREFERENCE) + nl.attribute(21, bytes([ROUTE_PROTOCOL]))  # FRA_PRIORITY, FRA_PROTOCOL
    body += nl.u32(15, table) + nl.attribute(2, own.packed)  # FRA_TABLE, FRA_SRC
    try:
        inside.change(f"answer from {own} by its interface", rtnl.NEW_RULE, nl.CREATE | nl.EXCL, head + body)
    except WorldError as error:
        if not nl.is_there(error):
            raise


def _ignoring(link: str) -> Path:
    """Whether ARP is answered for the link's own address alone."""
    return Path(f"/proc/sys/net/ipv4/conf/{link}/arp_ignore")

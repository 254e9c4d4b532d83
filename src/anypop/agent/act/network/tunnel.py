"""The tunnel to the other hosts, in the kernel: its device, this host's end of it, and who looks into which table.

In: `Tunnel` (pure data). Out: kernel state, or whether it is right. What comes in by the tunnel looks into a table of
its own, which leads to instances of this host alone, then at the own addresses of this host's instances, and is then
lost: it can never go out again, by whatever is in other tables at that moment. What one instance sends to another of
its stack at another host carries a mark, and looks into a table of ways to those. Without an order for it nothing of
this exists.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, ip_network
from pathlib import Path

from anypop.agent.act.network import rtnl, tunnel_hops, vxlan
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.act.network.rtnl import MAIN_TABLE, MarkRule, Rule
from anypop.agent.decide.backbone import Tunnel
from anypop.agent.naming import (
    AWAY_MARK,
    AWAY_PREFERENCE,
    AWAY_TABLE,
    DRAIN_MARK_MASK,
    LOWEST_PEER_TABLE,
    ROUTE_PROTOCOL,
    SERVED_PROTOCOL,
    SERVED_TABLE,
    SIBLING_MARK,
    SIBLING_PREFERENCE,
    SIBLINGS_TABLE,
    TARGETS_TABLE,
    TUNNEL,
    TUNNEL_LABEL,
    TUNNEL_PREFERENCE,
    TUNNEL_TABLE,
)
from anypop.model.announce import Address
from anypop.model.errors import WorldError

_RULES = range(TUNNEL_PREFERENCE, TUNNEL_PREFERENCE + 4)
_MARKED = tuple(
    MarkRule(
        version=version, preference=SIBLING_PREFERENCE, table=SIBLINGS_TABLE, mark=SIBLING_MARK, mask=DRAIN_MARK_MASK,
        protocol=ROUTE_PROTOCOL,
    )
    for version in (4, 6)
)  # fmt: skip
_BIRD = 12
_LOOPBACK = 1  # the interface `lo` has this number in every namespace
_RP_FILTER = Path(f"/proc/sys/net/ipv4/conf/{TUNNEL}/rp_filter")


def is_right(net: Netlink, wanted: Tunnel | None) -> bool:
    """Whether all of it is there, and nothing else of ours."""
    device = vxlan.find(net, TUNNEL)
    if wanted is None:
        ruled = rtnl.rules(net, ROUTE_PROTOCOL, _RULES) or set(rtnl.mark_rules(net)) & set(_MARKED)
        return device is None and not ruled and not vxlan.labelled(net, TUNNEL_LABEL)
    if device is None or not _is_like(device, wanted) or not device.up or device.mtu != wanted.mtu:
        return False
    there = rtnl.addresses(net)
    targets = dict(wanted.targets)
    if wanted.own not in there or wanted.end not in there or vxlan.labelled(net, TUNNEL_LABEL) - {wanted.own}:
        return False
    if set(rtnl.rules(net, ROUTE_PROTOCOL, _RULES)) != set(_rules(wanted)):
        return False
    if not set(_MARKED) <= set(rtnl.mark_rules(net)):
        return False
    hops = {hop.id: hop for hop in rtnl.nexthops(net, ROUTE_PROTOCOL) if tunnel_hops.is_tunnel_hop(hop)}
    if any(hop.source != wanted.own or hop.target not in targets for hop in hops.values()):
        return False
    return _led(net, MAIN_TABLE, hops) == {end: target for target, end in targets.items()} and _led(
        net, TARGETS_TABLE, hops
    ) == {target: target for target in targets}


def prepare(net: Netlink, wanted: Tunnel | None) -> None:
    """Make it so. What is right already is left: flows that are carried notice nothing."""
    if wanted is None:
        remove(net)
        return
    for stale in vxlan.labelled(net, TUNNEL_LABEL) - {wanted.own}:
        vxlan.remove_labelled(net, _LOOPBACK, stale, TUNNEL_LABEL)
    if wanted.own not in rtnl.addresses(net):  # an operator's own address stays the operator's
        vxlan.add_labelled(net, _LOOPBACK, wanted.own, TUNNEL_LABEL)
    _set_rules(net, list(_rules(wanted)))  # before the device: nothing that comes in is ever without them
    for marked in _MARKED:
        rtnl.add_mark_rule(net, marked)
    device = _device(net, wanted)
    known, targets = {hop.id: hop for hop in rtnl.nexthops(net, ROUTE_PROTOCOL)}, dict(wanted.targets)
    for hop in [hop for hop in known.values() if tunnel_hops.is_tunnel_hop(hop)]:
        if hop.target not in targets:
            rtnl.delete_nexthop(net, hop.id)  # with the routes that lead to it
        elif hop.source != wanted.own:
            assert isinstance(hop.target, IPv4Address)
            rtnl.set_tunnel_hop(
                net, hop.id, interface=device.index, version=hop.version, source=wanted.own, target=hop.target,
                tunnel=wanted.number, protocol=ROUTE_PROTOCOL,
            )  # fmt: skip
    known = {hop.id: hop for hop in rtnl.nexthops(net, ROUTE_PROTOCOL)}
    for target, end in wanted.targets:
        four, six = (
            tunnel_hops.have(net, known, target, version, device=device.index, source=wanted.own) for version in (4, 6)
        )
        rtnl.set_route(net, ip_network(target), ROUTE_PROTOCOL, nexthop=four, table=TARGETS_TABLE)
        rtnl.set_route(net, ip_network(end), ROUTE_PROTOCOL, nexthop=six)


def remove(net: Netlink) -> None:
    """Take all of it away. Harmless when there is nothing."""
    for route in rtnl.routes(net, SERVED_PROTOCOL, SERVED_TABLE):
        rtnl.delete_route(net, route.prefix, SERVED_PROTOCOL, table=SERVED_TABLE)
    for table, route in rtnl.blackholes(net, _BIRD):
        if table >= LOWEST_PEER_TABLE:  # left by a speaker that died
            rtnl.delete_route(net, route.prefix, _BIRD, route.metric, table)
    for route in rtnl.routes(net, ROUTE_PROTOCOL, SIBLINGS_TABLE):
        rtnl.delete_route(net, route.prefix, ROUTE_PROTOCOL, table=SIBLINGS_TABLE)
    for table in (TUNNEL_TABLE, AWAY_TABLE):
        for route in rtnl.routes(net, ROUTE_PROTOCOL, table):
            rtnl.delete_route(net, route.prefix, ROUTE_PROTOCOL, table=table)
            if route.nexthop:
                rtnl.delete_nexthop(net, route.nexthop)
    rtnl.delete_link(net, TUNNEL)  # its next hops and their routes go with it
    _set_rules(net, [])
    for marked in (*_MARKED, *away_rules()):
        rtnl.delete_mark_rule(net, marked)
    for address in vxlan.labelled(net, TUNNEL_LABEL):
        vxlan.remove_labelled(net, _LOOPBACK, address, TUNNEL_LABEL)


def away_rules() -> list[MarkRule]:
    """Those that lead what leaves by a dial to its table; there only while something does."""
    return [
        MarkRule(
            version=version, preference=AWAY_PREFERENCE, table=AWAY_TABLE, mark=AWAY_MARK, mask=DRAIN_MARK_MASK,
            protocol=ROUTE_PROTOCOL,
        )
        for version in (4, 6)
    ]  # fmt: skip


def _device(net: Netlink, wanted: Tunnel) -> vxlan.Device:
    there = vxlan.find(net, TUNNEL)
    if there is not None and not _is_like(there, wanted):  # another port: the kernel cannot change it
        rtnl.delete_link(net, TUNNEL)
        there = None
    if there is None:
        vxlan.add(net, TUNNEL, wanted.port)
        there = vxlan.find(net, TUNNEL)
    if there is None:
        raise WorldError(f"make the device {TUNNEL}", "it is gone again")
    if not there.up or there.mtu != wanted.mtu:
        vxlan.set_up(net, there.index, wanted.mtu)
    if _RP_FILTER.exists():
        _RP_FILTER.write_text("0")  # what comes by the tunnel is answered by another way
    if wanted.end not in rtnl.addresses(net):
        rtnl.add_address(net, there.index, wanted.end, 64)
    return there


def _is_like(device: vxlan.Device, wanted: Tunnel) -> bool:
    return device.fit and device.port == wanted.port


def _rules(wanted: Tunnel) -> Iterator[Rule]:
    first = TUNNEL_PREFERENCE
    for version in (4, 6):
        yield Rule(version=version, preference=first, table=TUNNEL_TABLE, arriving=TUNNEL)
        for prefix in wanted.prefixes:
            if prefix.version == version:
                # instances' own addresses: in the main table, which holds no other way to them than their links
                yield Rule(version=version, preference=first + 1, table=MAIN_TABLE, arriving=TUNNEL, to=prefix)
        yield Rule(version=version, preference=first + 2, arriving=TUNNEL, blackhole=True)
    yield Rule(version=4, preference=first + 3, table=TARGETS_TABLE, leaving=TUNNEL)


def _set_rules(net: Netlink, wanted: list[Rule]) -> None:
    there = rtnl.rules(net, ROUTE_PROTOCOL, _RULES)
    for rule in wanted:
        if rule not in there:
            rtnl.add_rule(net, rule, ROUTE_PROTOCOL)
    for rule in there:
        if rule not in wanted:
            rtnl.delete_rule(net, rule, ROUTE_PROTOCOL)


def _led(net: Netlink, table: int, hops: dict[int, rtnl.NextHop]) -> dict[Address, Address]:
    """Where the routes of a table that use these next hops lead to."""
    found = {}
    for route in rtnl.routes(net, ROUTE_PROTOCOL, table):
        hop = hops.get(route.nexthop)
        if hop is not None and hop.target is not None:
            found[route.prefix.network_address] = hop.target
    return found

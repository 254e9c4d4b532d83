"""Routing tables of networks whose routes lead through gateways: for each such network of this host one, and one more
for what other hosts send to gateways here.

In: `decide.gateways`. Out: a rule for the network's mark, and in its table for each destination a route to a resilient
group of the gateways that serve, here and at other hosts; an unreachable one where none does (a black hole, for what
came by the tunnel). Nothing but what the firewall has marked ever looks into these tables.
"""

from collections.abc import Iterator, Mapping
from ipaddress import ip_network

from anypop.agent.act.network import gateway_coming, gateway_groups, rtnl
from anypop.agent.act.network import netlink as nl
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.act.network.rtnl import MarkRule
from anypop.agent.decide.gateways import GatewayWay
from anypop.agent.naming import (
    COMING_TABLES,
    DRAIN_MARK_MASK,
    DRAIN_MARK_SHIFT,
    GATEWAY_PREFERENCE,
    GATEWAY_SLOTS,
    GATEWAY_TABLES,
    ROUTE_PROTOCOL,
)
from anypop.model.announce import Prefix

_FLOOR = 4_000_000  # the metric of what is there when the last next hop of a route has gone, and its route with it


def look(net: Netlink, names: Mapping[int, str]) -> frozenset[GatewayWay]:
    """The ways that are there. `names`: of links, by index. None counts without its network's rules."""
    ruled = rtnl.mark_rules(net)
    slots = {rule.table - GATEWAY_TABLES for rule in ruled if _is_ours(rule)}
    complete = {s for s in slots if {_rule(s, 4), _rule(s, 6)} <= set(ruled)}
    coming = gateway_coming.slots(net, ruled) & complete
    if not complete:
        return frozenset()
    groups = gateway_groups.look(net, names)
    return frozenset(
        way
        for slot, comes in (*((s, False) for s in complete), *((s, True) for s in coming))
        for way in _ways(net, slot, groups, comes=comes)
    )


def have(net: Netlink, wanted: frozenset[GatewayWay]) -> None:
    """Make it so: ways first, and then what leads to them; what is not wanted goes."""
    index = {link.name: link.index for link in rtnl.links(net)}
    slots, coming = {way.slot for way in wanted}, {way.slot for way in wanted if way.coming}
    there = look(net, {number: name for name, number in index.items()})
    floors = ((GATEWAY_TABLES, slots, rtnl.UNREACHABLE), (COMING_TABLES, coming, rtnl.BLACKHOLE))
    for first, those, kind in floors:
        for slot in sorted(those):
            for everywhere in map(ip_network, ("0.0.0.0/0", "::/0")):
                _set(net, everywhere, first + slot, kind, nl.u32(6, _FLOOR))  # RTA_PRIORITY
    for way in sorted(wanted - there, key=lambda one: (one.slot, one.coming, str(one.prefix))):
        _lead(net, way, index)
    for slot in sorted(slots):
        for version in (4, 6):
            rtnl.add_mark_rule(net, _rule(slot, version))
    gateway_coming.have(net, coming)
    for slot in {rule.table - GATEWAY_TABLES for rule in rtnl.mark_rules(net) if _is_ours(rule)} - slots:
        _remove(net, slot)
    kept = {(way.slot, way.coming, way.prefix) for way in wanted}
    for slot in slots:
        for comes in (False, True):
            table = _table(slot, comes=comes)
            for route in rtnl.routes(net, ROUTE_PROTOCOL, table):
                is_floor = route.metric == _FLOOR and (slot in coming or not comes)
                if (slot, comes, route.prefix) not in kept and not is_floor:
                    rtnl.delete_route(net, route.prefix, ROUTE_PROTOCOL, route.metric, table)
    tables = (_table(slot, comes=comes) for slot in slots for comes in (False, True))
    used = {route.nexthop for table in tables for route in rtnl.routes(net, ROUTE_PROTOCOL, table)}
    gateway_groups.sweep(net, used)


def remove(net: Netlink) -> None:
    """Take all of it away. Harmless when there is nothing."""
    for slot in {rule.table - GATEWAY_TABLES for rule in rtnl.mark_rules(net) if _is_ours(rule)}:
        _remove(net, slot)
    gateway_coming.have(net, frozenset())
    gateway_groups.sweep(net, set())


def _remove(net: Netlink, slot: int) -> None:
    for version in (4, 6):
        rtnl.delete_mark_rule(net, _rule(slot, version))
    for table in (GATEWAY_TABLES + slot, COMING_TABLES + slot):
        for route in rtnl.routes(net, ROUTE_PROTOCOL, table):
            rtnl.delete_route(net, route.prefix, ROUTE_PROTOCOL, route.metric, table)


def _lead(net: Netlink, way: GatewayWay, index: Mapping[str, int]) -> None:
    table = _table(way.slot, comes=way.coming)
    there = next((r for r in rtnl.routes(net, ROUTE_PROTOCOL, table) if r.prefix == way.prefix), None)
    before = there.nexthop if there is not None else 0
    group = gateway_groups.have(net, way, before, index)
    if there is not None and bool(before) is not bool(group) and way.prefix.version == 6:
        # a route of IPv6 is not replaced by one of another kind
        rtnl.delete_route(net, way.prefix, ROUTE_PROTOCOL, there.metric, table)
    if group:
        rtnl.set_route(net, way.prefix, ROUTE_PROTOCOL, nexthop=group, table=table)
    else:
        _set(net, way.prefix, table, rtnl.BLACKHOLE if way.coming else rtnl.UNREACHABLE)


def _set(net: Netlink, prefix: Prefix, table: int, kind: int, *more: bytes) -> None:
    """A route that ends here."""
    head = bytes([rtnl.family_of(prefix), prefix.prefixlen, 0, 0, 0, ROUTE_PROTOCOL, 0, kind]) + bytes(4)
    body = nl.attribute(1, prefix.network_address.packed) + nl.u32(15, table) + b"".join(more)  # RTA_DST, RTA_TABLE
    net.change(f"end the way to {prefix}", rtnl.NEW_ROUTE, nl.CREATE | nl.REPLACE, head + body)


def _ways(
    net: Netlink, slot: int, groups: Mapping[int, gateway_groups.Members], *, comes: bool
) -> Iterator[GatewayWay]:
    for route in rtnl.routes(net, ROUTE_PROTOCOL, _table(slot, comes=comes)):
        if route.metric != _FLOOR and (route.nexthop in groups or not route.nexthop):
            hops, away = groups.get(route.nexthop, ((), ()))
            if route.nexthop or route.unreachable or route.blackhole:
                yield GatewayWay(slot=slot, prefix=route.prefix, hops=hops, away=away, coming=comes)


def _table(slot: int, *, comes: bool) -> int:
    return (COMING_TABLES if comes else GATEWAY_TABLES) + slot


def _rule(slot: int, version: int) -> MarkRule:
    return MarkRule(
        version=version, preference=GATEWAY_PREFERENCE, table=GATEWAY_TABLES + slot, mark=slot << DRAIN_MARK_SHIFT,
        mask=DRAIN_MARK_MASK, protocol=ROUTE_PROTOCOL,
    )  # fmt: skip


def _is_ours(rule: MarkRule) -> bool:
    return rule.protocol == ROUTE_PROTOCOL and rule.table - GATEWAY_TABLES in GATEWAY_SLOTS

"""Routing tables of networks whose routes lead through gateways: one for each such network of this host.

In: `decide.gateways`. Out: a rule for the network's mark, and in its table a route for each destination over the links
of the gateways that serve, by flow; an unreachable one where none does. Nothing but what the firewall has marked ever
looks into these tables.
"""

import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address, ip_network

from anypop.agent.act.network import netlink as nl
from anypop.agent.act.network import rtnl
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.act.network.rtnl import MarkRule
from anypop.agent.decide.gateways import GatewayWay, Hops
from anypop.agent.naming import (
    DRAIN_MARK_MASK,
    DRAIN_MARK_SHIFT,
    GATEWAY_PREFERENCE,
    GATEWAY_SLOTS,
    GATEWAY_TABLES,
    ROUTE_PROTOCOL,
)
from anypop.model.announce import Address, Prefix
from anypop.model.errors import WorldError

_ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg
_HOP = struct.Struct("=HBBi")  # struct rtnexthop
_UNICAST, _UNREACHABLE = 1, 7  # RTN_*


def look(net: Netlink, names: Mapping[int, str]) -> frozenset[GatewayWay]:
    """The ways that are there. `names`: of links, by index. None counts without its network's rules."""
    slots = {rule.table - GATEWAY_TABLES for rule in rtnl.mark_rules(net) if _is_ours(rule)}
    complete = {s for s in slots if {_rule(s, 4), _rule(s, 6)} <= set(rtnl.mark_rules(net))}
    return frozenset(way for slot in complete for way in _ways(net, slot, names))


def have(net: Netlink, wanted: frozenset[GatewayWay]) -> None:
    """Make it so: ways first, and then what leads to them; what is not wanted goes."""
    index = {link.name: link.index for link in rtnl.links(net)}
    names = {number: name for name, number in index.items()}
    slots = {way.slot for way in wanted}
    for way in sorted(wanted - look(net, names), key=lambda one: (one.slot, str(one.prefix))):
        _set(net, way, index)
    for slot in sorted(slots):
        for version in (4, 6):
            rtnl.add_mark_rule(net, _rule(slot, version))
    there = {rule.table - GATEWAY_TABLES for rule in rtnl.mark_rules(net) if _is_ours(rule)}
    for slot in there - slots:
        _remove(net, slot)
    kept = {(way.slot, way.prefix) for way in wanted}
    for slot in slots:
        for route in rtnl.routes(net, ROUTE_PROTOCOL, GATEWAY_TABLES + slot):
            if (slot, route.prefix) not in kept:
                rtnl.delete_route(net, route.prefix, ROUTE_PROTOCOL, table=GATEWAY_TABLES + slot)


def remove(net: Netlink) -> None:
    """Take all of it away. Harmless when there is nothing."""
    for slot in {rule.table - GATEWAY_TABLES for rule in rtnl.mark_rules(net) if _is_ours(rule)}:
        _remove(net, slot)


def _remove(net: Netlink, slot: int) -> None:
    for version in (4, 6):
        rtnl.delete_mark_rule(net, _rule(slot, version))
    for route in rtnl.routes(net, ROUTE_PROTOCOL, GATEWAY_TABLES + slot):
        rtnl.delete_route(net, route.prefix, ROUTE_PROTOCOL, table=GATEWAY_TABLES + slot)


def _set(net: Netlink, way: GatewayWay, index: Mapping[str, int]) -> None:
    hops = [(index[name], gateway) for name, gateway in way.hops if name in index]
    family, prefix = rtnl.family_of(way.prefix), way.prefix
    kind = _UNICAST if hops else _UNREACHABLE
    head = _ROUTE.pack(family, prefix.prefixlen, 0, 0, 0, ROUTE_PROTOCOL, 0, kind, 0)
    body = nl.attribute(1, prefix.network_address.packed) + nl.u32(15, GATEWAY_TABLES + way.slot)  # RTA_DST, RTA_TABLE
    if hops:
        parts = []
        for number, gateway in hops:
            inner = nl.attribute(5, gateway.packed)  # RTA_GATEWAY
            parts.append(_HOP.pack(_HOP.size + len(inner), 0, 0, number) + inner)
        body += nl.attribute(9, b"".join(parts))  # RTA_MULTIPATH
    # a route of IPv6 is not replaced by one of another kind
    rtnl.delete_route(net, prefix, ROUTE_PROTOCOL, table=GATEWAY_TABLES + way.slot) if prefix.version == 6 else None
    net.change(f"lead to {prefix} by gateways", rtnl.NEW_ROUTE, nl.CREATE | nl.REPLACE, head + body)


def _ways(net: Netlink, slot: int, names: Mapping[int, str]) -> Iterator[GatewayWay]:
    found: dict[Prefix, list[tuple[str, Address]]] = {}
    for family in (socket.AF_INET, socket.AF_INET6):
        head = _ROUTE.pack(family, 0, 0, 0, 0, ROUTE_PROTOCOL, 0, 0, 0) + nl.u32(15, GATEWAY_TABLES + slot)
        try:
            answers = net.dump("list ways", rtnl.GET_ROUTE, head)
        except WorldError as error:
            if not nl.is_gone(error):  # a table exists while it has routes
                raise
            continue
        for payload in answers:
            version, length, _, _, low, maker, _, _, _ = _ROUTE.unpack_from(payload)
            told = nl.attributes(payload[_ROUTE.size :])
            table = int.from_bytes(told[15], "little") if 15 in told else low
            if (version, maker, table) != (family, ROUTE_PROTOCOL, GATEWAY_TABLES + slot):
                continue
            packed = told.get(1) or bytes(4 if family == socket.AF_INET else 16)
            hops = found.setdefault(ip_network((packed, length)), [])
            hops += _hops(told, names)
    for prefix, hops in found.items():
        yield GatewayWay(slot=slot, prefix=prefix, hops=_sorted(hops))


def _sorted(hops: Iterable[tuple[str, Address]]) -> Hops:
    return tuple(sorted(hops))


def _hops(told: Mapping[int, bytes], names: Mapping[int, str]) -> Iterator[tuple[str, Address]]:
    """Of a route with one, or with several."""
    if 5 in told and 4 in told:
        yield names.get(int.from_bytes(told[4], "little"), ""), ip_address(told[5])
    rest = told.get(9, b"")
    while len(rest) >= _HOP.size:
        length, _, _, number = _HOP.unpack_from(rest)
        inner = nl.attributes(rest[_HOP.size : length])
        if 5 in inner:
            yield names.get(number, ""), ip_address(inner[5])
        rest = rest[(length + 3) & ~3 :]


def _rule(slot: int, version: int) -> MarkRule:
    return MarkRule(
        version=version, preference=GATEWAY_PREFERENCE, table=GATEWAY_TABLES + slot, mark=slot << DRAIN_MARK_SHIFT,
        mask=DRAIN_MARK_MASK, protocol=ROUTE_PROTOCOL,
    )  # fmt: skip


def _is_ours(rule: MarkRule) -> bool:
    return rule.protocol == ROUTE_PROTOCOL and rule.table - GATEWAY_TABLES in GATEWAY_SLOTS

"""Links, addresses, routes, policy rules and next hops as netlink messages (rtnetlink(7); linux/if_link.h,
fib_rules.h, nexthop.h).

In: plain values. Out: one change each, or a list of what is there. Each change is idempotent: made twice, it is made
once; removing what is gone is no error. Decides nothing.
"""

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from anypop.agent.act.network import netlink as nl
from anypop.agent.act.network.netlink import Netlink
from anypop.model.announce import Address, Prefix
from anypop.model.errors import WorldError

NEW_LINK, DEL_LINK, GET_LINK = 16, 17, 18
NEW_ADDRESS, DEL_ADDRESS, GET_ADDRESS = 20, 21, 22
NEW_ROUTE, DEL_ROUTE, GET_ROUTE = 24, 25, 26
NEW_RULE, DEL_RULE, GET_RULE = 32, 33, 34
NEW_NEIGHBOR, GET_NEIGHBOR = 28, 30
NEW_NEXTHOP, DEL_NEXTHOP, GET_NEXTHOP, GET_BUCKET = 104, 105, 106, 118
UNICAST, BLACKHOLE, UNREACHABLE = 1, 6, 7
MAIN_TABLE = 254
_UNIVERSE, _LINK_SCOPE = 0, 253
_TO_TABLE, _TO_BLACKHOLE, _TO_NOWHERE = 1, 6, 7  # FR_ACT_TO_TBL, FR_ACT_BLACKHOLE, FR_ACT_UNREACHABLE
_INVERT = 0x2  # FIB_RULE_INVERT
_UP = 0x1
_NO_DAD = 0x02  # the other end is ours: nobody to collide with, and a tentative address cannot answer yet
_LINK_HEADER = struct.Struct("=BxHiII")
_ADDRESS_HEADER = struct.Struct("=BBBBI")
_ROUTE_HEADER = struct.Struct("=BBBBBBBBI")
_RULE_HEADER = struct.Struct("=BBBBBBBBI")
_NEXTHOP_HEADER = struct.Struct("=BBBBI")
_NEIGHBOR_HEADER = struct.Struct("=BxxxiHBB")
_PERMANENT = 0x80
_TOLD = ((11, 0, 31), (3, 31, 32), (14, 63, 1))  # INITCWND, WINDOW, INITRWND: from which bit on, and how many
_LINKS = _LINK_HEADER.pack(0, 0, 0, 0, 0) + nl.u32(29, 8)  # IFLA_EXT_MASK: no counters (RTEXT_FILTER_SKIP_STATS)
_GROUP_ENTRY = struct.Struct("=IBBH")
_ENTRIES_ARE_CLEAN = 1 << 31  # NHA_OP_FLAG_RESP_GRP_RESVD_0


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An interface. `up`: the administrator's wish, not the carrier; `mac`: its hardware address."""

    index: int
    name: str
    up: bool
    group: int = 0
    mac: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route of ours in one table: over an interface, over a next-hop object, unreachable, or a black hole. `count`:
    what a black hole tells of an address, see `set_told`.
    """

    prefix: Prefix
    unreachable: bool = False
    blackhole: bool = False
    interface: int = 0
    gateway: Address | None = None
    nexthop: int = 0
    metric: int = 0
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkRule:
    """A policy rule, anybody's: packets of one family whose firewall mark is `mark` under `mask` look into `table`."""

    version: int
    preference: int
    table: int
    mark: int
    mask: int
    protocol: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A policy rule of ours that looks at where a packet comes from or goes to. `forwarded`: for what this host passes
    on, not for what it sends; `arriving`: for what comes by this interface; `leaving`: for what is sent by it. `table`
    0: unreachable, or a black hole. `no_default`: the table's default route does not count. `mark`: for what has this
    very firewall mark; 0: whatever it has.
    """

    version: int
    preference: int
    table: int = 0
    forwarded: bool = False
    arriving: str = ""
    leaving: str = ""
    blackhole: bool = False
    no_default: bool = False
    to: Prefix | None = None
    mark: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NextHop:
    """A next-hop object of ours: single (interface and gateway, or through a tunnel from `source` to `target`) or a
    resilient group of (id, weight) with its count of buckets. `unbalanced`: some member has fewer buckets than its
    weight says, since those that are too many elsewhere are busy.
    """

    id: int
    interface: int = 0
    gateway: Address | None = None
    target: Address | None = None
    source: Address | None = None
    version: int = 0
    group: tuple[tuple[int, int], ...] = ()
    buckets: int = 0
    unbalanced: bool = False


def family_of(address: Address | Prefix) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def links(net: Netlink) -> list[Link]:
    """All interfaces of the namespace."""
    return [_read_link(payload) for payload in net.dump("list links", GET_LINK, _LINKS)]


@lru_cache(maxsize=1 << 12)  # without counters a link tells the same words in every pass
def _read_link(payload: bytes) -> Link:
    _, _, index, flags, _ = _LINK_HEADER.unpack_from(payload)
    attributes = nl.attributes(payload[16:])
    name = attributes[3].rstrip(b"\0").decode()
    group, mac = _number(attributes, 27), attributes.get(1, b"")  # IFLA_GROUP, IFLA_ADDRESS
    return Link(index=index, name=name, up=bool(flags & _UP), group=group, mac=mac)


def add_veth(
    net: Netlink, name: str, *, mac: bytes, group: int, peer: str, peer_mac: bytes, peer_namespace: int
) -> None:
    """A veth pair, one end here and in a device group, the other born inside the namespace open as descriptor
    `peer_namespace`.
    """
    # IFLA_IFNAME, IFLA_ADDRESS, IFLA_NET_NS_FD
    inside = nl.text(3, peer) + nl.attribute(1, peer_mac) + nl.u32(28, peer_namespace)
    other = nl.attribute(1, _LINK_HEADER.pack(0, 0, 0, 0, 0) + inside)  # VETH_INFO_PEER
    info = nl.nested(18, nl.text(1, "veth"), nl.nested(2, other))  # IFLA_LINKINFO: kind, data
    try:
        net.change(
            f"add link {name}",
            NEW_LINK,
            nl.CREATE | nl.EXCL,
            _LINK_HEADER.pack(0, 0, 0, 0, 0) + nl.text(3, name) + nl.attribute(1, mac) + nl.u32(27, group) + info,
        )
    except WorldError as error:
        if not nl.is_there(error):
            raise


def add_bridge(net: Netlink, name: str, mac: bytes) -> None:
    """A bridge that passes everything on at once: without STP, without waiting, and without asking who listens to a
    group, since neighbours of IPv6 are found by groups.
    """
    # IFLA_BR_FORWARD_DELAY, IFLA_BR_STP_STATE, IFLA_BR_MCAST_SNOOPING
    how = (nl.u32(1, 0), nl.u32(5, 0), nl.attribute(23, b"\0"))
    info = nl.nested(18, nl.text(1, "bridge"), nl.nested(2, *how))
    head = _LINK_HEADER.pack(0, 0, 0, 0, 0) + nl.text(3, name) + nl.attribute(1, mac)
    try:
        net.change(f"add bridge {name}", NEW_LINK, nl.CREATE | nl.EXCL, head + info)
    except WorldError as error:
        if not nl.is_there(error):
            raise


def set_port(net: Netlink, index: int, bridge: int) -> None:
    """Make a link a port of a bridge."""
    head = _LINK_HEADER.pack(0, 0, index, 0, 0) + nl.u32(10, bridge)  # IFLA_MASTER
    net.change(f"make link {index} a port", NEW_LINK, 0, head)


def set_up(net: Netlink, index: int) -> None:
    net.change(f"set link {index} up", NEW_LINK, 0, _LINK_HEADER.pack(0, 0, index, _UP, _UP))


def set_device_group(net: Netlink, index: int, group: int) -> None:
    """Put a link into a device group; harmless when it is gone."""
    _tolerant(net, f"set group of link {index}", NEW_LINK, _LINK_HEADER.pack(0, 0, index, 0, 0) + nl.u32(27, group))


def mac_of(net: Netlink, index: int) -> bytes:
    """The hardware address of a link."""
    for payload in net.dump("list links", GET_LINK, _LINK_HEADER.pack(0, 0, 0, 0, 0)):
        if _LINK_HEADER.unpack_from(payload)[2] == index:
            return nl.attributes(payload[16:])[1]
    raise WorldError(f"read the hardware address of link {index}", "the link is gone")


def set_neighbor(net: Netlink, index: int, address: Address, mac: bytes) -> None:
    """A permanent neighbour entry: never asked for, never aged, and not counted among those that the machine's
    kernel has room for.
    """
    head = _NEIGHBOR_HEADER.pack(family_of(address), index, _PERMANENT, 0, 0)
    body = nl.attribute(1, address.packed) + nl.attribute(2, mac)  # NDA_DST, NDA_LLADDR
    net.change(f"set neighbour {address}", NEW_NEIGHBOR, nl.CREATE | nl.REPLACE, head + body)


def permanent_neighbors(net: Netlink) -> set[tuple[int, Address]]:
    """The permanent neighbour entries of the namespace: interface and address."""
    found = set()
    for payload in net.dump("list neighbours", GET_NEIGHBOR, _NEIGHBOR_HEADER.pack(0, 0, 0, 0, 0)):
        family, index, state, _, _ = _NEIGHBOR_HEADER.unpack_from(payload)
        if state & _PERMANENT and family in (socket.AF_INET, socket.AF_INET6):
            found.add((index, ip_address(nl.attributes(payload[12:])[1])))
    return found


def delete_link(net: Netlink, name: str) -> None:
    _tolerant(net, f"delete link {name}", DEL_LINK, _LINK_HEADER.pack(0, 0, 0, 0, 0) + nl.text(3, name))


def add_address(net: Netlink, index: int, address: Address, length: int) -> None:
    head = _ADDRESS_HEADER.pack(family_of(address), length, _NO_DAD if address.version == 6 else 0, _UNIVERSE, index)
    body = nl.attribute(2, address.packed) + nl.attribute(1, address.packed)  # IFA_LOCAL, IFA_ADDRESS
    net.change(f"add address {address}/{length}", NEW_ADDRESS, nl.CREATE | nl.REPLACE, head + body)


def addresses(net: Netlink) -> set[Address]:
    """All addresses of the namespace, both families."""
    found: set[Address] = set()
    for family in (socket.AF_INET, socket.AF_INET6):
        for payload in net.dump("list addresses", GET_ADDRESS, _ADDRESS_HEADER.pack(family, 0, 0, 0, 0)):
            attributes = nl.attributes(payload[8:])
            found.add(ip_address(attributes.get(2) or attributes[1]))
    return found


def networks(net: Netlink) -> list[tuple[int, Address, int]]:
    """Where an address stands, the address and the length of its network; of a point-to-point link, the far end."""
    found = []
    for family in (socket.AF_INET, socket.AF_INET6):
        for payload in net.dump("list addresses", GET_ADDRESS, _ADDRESS_HEADER.pack(family, 0, 0, 0, 0)):
            _, length, _, _, index = _ADDRESS_HEADER.unpack_from(payload)
            found.append((index, ip_address(nl.attributes(payload[8:])[1]), length))
    return found


def set_told(net: Netlink, prefix: Prefix, protocol: int, count: int, table: int) -> None:
    """A black hole in a table that nobody looks into: it tells a number of an address, its lower 31 bits (not 0) in
    the metric `initcwnd`, the 32 above them in `window`, and what is above those in `initrwnd`.
    """
    parts = [nl.u32(metric, part) for metric, at, bits in _TOLD if (part := count >> at & (1 << bits) - 1)]
    route = _route(prefix, protocol, BLACKHOLE, nl.nested(8, *parts), table=table)  # RTA_METRICS
    net.change(f"tell of {prefix}", NEW_ROUTE, nl.CREATE | nl.REPLACE, route)


def _route(prefix: Prefix, protocol: int, kind: int, *attributes: bytes, table: int = MAIN_TABLE) -> bytes:
    scope = _LINK_SCOPE if kind == UNICAST and not attributes else _UNIVERSE
    head = _ROUTE_HEADER.pack(family_of(prefix), prefix.prefixlen, 0, 0, 0, protocol, scope, kind, 0)
    # RTA_DST, RTA_TABLE
    return head + nl.attribute(1, prefix.network_address.packed) + nl.u32(15, table) + b"".join(attributes)


def set_route(
    net: Netlink, prefix: Prefix, protocol: int, *, gateway: Address | None = None, interface: int = 0,
    nexthop: int = 0,
    source: Address | None = None, metric: int = 0, table: int = MAIN_TABLE,
) -> None:  # fmt: skip
    """Add or replace a route over an interface (with a gateway) or over a next-hop object."""
    parts = []
    if nexthop:
        parts.append(nl.u32(30, nexthop))  # RTA_NH_ID
    if interface:
        parts.append(nl.u32(4, interface))  # RTA_OIF
    if gateway is not None:
        parts.append(nl.attribute(5, gateway.packed))
    if source is not None:
        parts.append(nl.attribute(7, source.packed))  # RTA_PREFSRC
    if metric:
        parts.append(nl.u32(6, metric))
    net.change(
        f"set route {prefix}", NEW_ROUTE, nl.CREATE | nl.REPLACE, _route(prefix, protocol, UNICAST, *parts, table=table)
    )


def set_unreachable(net: Netlink, prefix: Prefix, protocol: int, metric: int) -> None:
    net.change(
        f"set route {prefix}",
        NEW_ROUTE,
        nl.CREATE | nl.REPLACE,
        _route(prefix, protocol, UNREACHABLE, nl.u32(6, metric)),
    )


def delete_route(net: Netlink, prefix: Prefix, protocol: int, metric: int = 0, table: int = MAIN_TABLE) -> None:
    parts = [nl.u32(15, table), *([nl.u32(6, metric)] if metric else [])]
    head = _ROUTE_HEADER.pack(family_of(prefix), prefix.prefixlen, 0, 0, 0, protocol, 255, 0, 0)  # any scope, any type
    _tolerant(
        net,
        f"delete route {prefix}",
        DEL_ROUTE,
        head + nl.attribute(1, prefix.network_address.packed) + b"".join(parts),
    )


def routes(net: Netlink, protocol: int, table: int = MAIN_TABLE) -> list[Route]:
    """Routes of one table that carry `protocol`; the kernel filters, so a full BGP table beside them costs little."""
    found = []
    for family in (socket.AF_INET, socket.AF_INET6):
        head = _ROUTE_HEADER.pack(family, 0, 0, 0, 0, protocol, 0, 0, 0) + nl.u32(15, table)
        try:
            answers = net.dump("list routes", GET_ROUTE, head)
        except WorldError as error:
            if not nl.is_gone(error):  # a table exists while it has routes
                raise
            continue
        told = map(_read_route, answers)
        found += [route for maker, place, route in told if maker == protocol and place == table]
    return found


@lru_cache(maxsize=1 << 14)  # a route that stays tells the same words in every pass
def _read_route(payload: bytes) -> tuple[int, int, Route]:
    """Its protocol, its table, and the route."""
    family, length, _, _, low, maker, _, kind, _ = _ROUTE_HEADER.unpack_from(payload)
    attributes = nl.attributes(payload[12:])
    packed = attributes.get(1) or bytes(4 if family == socket.AF_INET else 16)
    prefix: IPv4Network | IPv6Network = ip_network((packed, length))
    gateway: IPv4Address | IPv6Address | None = ip_address(attributes[5]) if 5 in attributes else None
    metrics = nl.attributes(attributes.get(8, b""))
    route = Route(
        prefix=prefix, unreachable=kind == UNREACHABLE, blackhole=kind == BLACKHOLE, interface=_number(attributes, 4),
        gateway=gateway, nexthop=_number(attributes, 30), metric=_number(attributes, 6),
        count=sum(_number(metrics, metric) << at for metric, at, _ in _TOLD) if metrics else 0,
    )  # fmt: skip
    return maker, _number(attributes, 15) or low, route


def blackholes(net: Netlink, protocol: int) -> list[tuple[int, Route]]:
    """The black holes that carry `protocol`, with their tables: of all tables, the kernel filters."""
    found = []
    for family in (socket.AF_INET, socket.AF_INET6):
        head = _ROUTE_HEADER.pack(family, 0, 0, 0, 0, protocol, 0, BLACKHOLE, 0)
        for payload in net.dump("list black holes", GET_ROUTE, head):
            table, maker, route = route_told(payload)
            if maker == protocol and route.blackhole:
                found.append((table, route))
    return found


def link_told(payload: bytes) -> tuple[str, bool]:
    """The name of the link of a message about one (RTM_NEWLINK, RTM_DELLINK), and whether it is up."""
    _, _, _, flags, _ = _LINK_HEADER.unpack_from(payload)
    name = nl.attributes(payload[_LINK_HEADER.size :]).get(3, b"")  # IFLA_IFNAME
    return name.rstrip(b"\0").decode(), bool(flags & _UP)


def route_told(payload: bytes) -> tuple[int, int, Route]:
    """The table, the maker and the route of a message about a route (RTM_NEWROUTE, RTM_DELROUTE)."""
    maker, table, route = _read_route(payload)
    return table, maker, route


def add_mark_rule(net: Netlink, rule: MarkRule) -> None:
    try:
        net.change(f"add rule for mark {rule.mark:#x}", NEW_RULE, nl.CREATE | nl.EXCL, _rule(rule))
    except WorldError as error:
        if not nl.is_there(error):
            raise


def delete_mark_rule(net: Netlink, rule: MarkRule) -> None:
    _tolerant(net, f"delete rule for mark {rule.mark:#x}", DEL_RULE, _rule(rule))


def _rule(rule: MarkRule) -> bytes:
    head = _RULE_HEADER.pack(socket.AF_INET if rule.version == 4 else socket.AF_INET6, 0, 0, 0, 0, 0, 0, _TO_TABLE, 0)
    # FRA_PRIORITY, FWMARK, FWMASK, TABLE
    parts = ((6, rule.preference), (10, rule.mark), (16, rule.mask), (15, rule.table))
    # FRA_PROTOCOL
    return head + b"".join(nl.u32(kind, value) for kind, value in parts) + nl.attribute(21, bytes([rule.protocol]))


def mark_rules(net: Netlink) -> list[MarkRule]:
    """The policy rules of both families that send packets to a table, whoever made them; of one without a mark, mark
    and mask are 0.
    """
    versions: dict[int, int] = {socket.AF_INET: 4, socket.AF_INET6: 6}  # others are of multicast routing
    found = []
    for payload in net.dump("list rules", GET_RULE, _RULE_HEADER.pack(socket.AF_UNSPEC, 0, 0, 0, 0, 0, 0, 0, 0)):
        family, _, _, _, low, _, _, action, _ = _RULE_HEADER.unpack_from(payload)
        if family not in versions or action != _TO_TABLE:
            continue
        attributes = nl.attributes(payload[12:])
        found.append(
            MarkRule(
                version=versions[family], preference=_number(attributes, 6), table=_number(attributes, 15) or low,
                mark=_number(attributes, 10), mask=_number(attributes, 16), protocol=_number(attributes, 21),
            )
        )  # fmt: skip
    return found


def add_rule(net: Netlink, rule: Rule, protocol: int) -> None:
    try:
        net.change(f"add rule {rule.preference}", NEW_RULE, nl.CREATE | nl.EXCL, _rule_of(rule, protocol))
    except WorldError as error:
        if not nl.is_there(error):
            raise


def delete_rule(net: Netlink, rule: Rule, protocol: int) -> None:
    _tolerant(net, f"delete rule {rule.preference}", DEL_RULE, _rule_of(rule, protocol))


def _rule_of(rule: Rule, protocol: int) -> bytes:
    family = socket.AF_INET if rule.version == 4 else socket.AF_INET6
    action = _TO_TABLE if rule.table else _TO_BLACKHOLE if rule.blackhole else _TO_NOWHERE
    length = rule.to.prefixlen if rule.to is not None else 0
    head = _RULE_HEADER.pack(family, length, 0, 0, 0, 0, 0, action, _INVERT if rule.forwarded else 0)
    parts = [nl.u32(6, rule.preference), nl.attribute(21, bytes([protocol]))]  # FRA_PRIORITY, FRA_PROTOCOL
    if rule.table:
        parts.append(nl.u32(15, rule.table))  # FRA_TABLE
    if rule.forwarded:
        parts.append(nl.text(3, "lo"))  # FRA_IIFNAME, inverted
    if rule.arriving:
        parts.append(nl.text(3, rule.arriving))
    if rule.leaving:
        parts.append(nl.text(17, rule.leaving))  # FRA_OIFNAME
    if rule.no_default:
        parts.append(nl.u32(14, 0))  # FRA_SUPPRESS_PREFIXLEN
    if rule.mark:
        parts += [nl.u32(10, rule.mark), nl.u32(16, 0xFFFF_FFFF)]  # FRA_FWMARK, FRA_FWMASK
    if rule.to is not None:
        parts.append(nl.attribute(1, rule.to.network_address.packed))  # FRA_DST
    return head + b"".join(parts)


def rules(net: Netlink, protocol: int, preferences: range) -> list[Rule]:
    """The rules that carry `protocol` and stand at these preferences."""
    versions: dict[int, int] = {socket.AF_INET: 4, socket.AF_INET6: 6}
    found = []
    for payload in net.dump("list rules", GET_RULE, _RULE_HEADER.pack(socket.AF_UNSPEC, 0, 0, 0, 0, 0, 0, 0, 0)):
        family, length, _, _, low, _, _, action, flags = _RULE_HEADER.unpack_from(payload)
        attributes = nl.attributes(payload[12:])
        if family not in versions or _number(attributes, 21) != protocol or _number(attributes, 6) not in preferences:
            continue
        found.append(
            Rule(
                version=versions[family], preference=_number(attributes, 6),
                table=(_number(attributes, 15) or low) if action == _TO_TABLE else 0,
                forwarded=bool(flags & _INVERT) and _name(attributes, 3) == "lo",
                arriving="" if flags & _INVERT else _name(attributes, 3), leaving=_name(attributes, 17),
                blackhole=action == _TO_BLACKHOLE,
                no_default=14 in attributes and _number(attributes, 14) == 0,
                to=ip_network((attributes[1], length)) if 1 in attributes else None,
                mark=_number(attributes, 10),
            )
        )  # fmt: skip
    return found


def set_nexthop(net: Netlink, number: int, *, interface: int, gateway: Address, protocol: int) -> None:
    """A single next hop. Its interface must be up."""
    head = _NEXTHOP_HEADER.pack(family_of(gateway), 0, protocol, 0, 0)
    body = nl.u32(1, number) + nl.u32(5, interface) + nl.attribute(6, gateway.packed)
    net.change(f"set next hop via {gateway}", NEW_NEXTHOP, nl.CREATE | nl.REPLACE, head + body)


def set_tunnel_hop(
    net: Netlink, number: int, *, interface: int, version: int, source: Address, target: Address, tunnel: int,
    protocol: int,
) -> None:  # fmt: skip
    """A next hop for packets of one family that wraps them into IPv4 from `source` to `target` (an encapsulation that
    is part of the next hop; the interface is one for all targets). `tunnel`: its number on the wire.
    """
    head = _NEXTHOP_HEADER.pack(socket.AF_INET if version == 4 else socket.AF_INET6, 0, protocol, 0, 0)
    # LWTUNNEL_IP_ID, DST, SRC; NHA_ENCAP_TYPE 2: LWTUNNEL_ENCAP_IP
    wrap = nl.attribute(1, struct.pack(">Q", tunnel)) + nl.attribute(2, target.packed) + nl.attribute(3, source.packed)
    body = nl.u32(1, number) + nl.u32(5, interface) + nl.u16(7, 2) + nl.nested(8, wrap)
    net.change(f"set next hop by the tunnel to {target}", NEW_NEXTHOP, nl.CREATE | nl.REPLACE, head + body)


def set_group(
    net: Netlink, number: int, members: Sequence[tuple[int, int]], *, protocol: int, buckets: int, idle_s: int
) -> None:
    """A resilient group of (next hop, weight), replaced in place: buckets in use stay where they are. Weights above 256
    need Linux 6.12 (see `is_invalid`); a member that is due less than half a bucket gets none but those that it has.

    `idle_s`: a bucket that saw no packet for so long may move to another member. No bucket is ever moved while busy
    (unbalanced timer 0).
    """
    entries = b"".join(_GROUP_ENTRY.pack(hop, weight - 1 & 0xFF, weight - 1 >> 8, 0) for hop, weight in members)
    # timers in clock_t: hundredths of a second
    resilient = nl.nested(12, nl.u16(1, buckets), nl.u32(2, idle_s * 100), nl.u32(3, 0))
    head = _NEXTHOP_HEADER.pack(0, 0, protocol, 0, 0)
    body = nl.u32(1, number) + nl.attribute(2, entries) + nl.u16(3, 1) + resilient  # NHA_GROUP_TYPE 1: resilient
    net.change(f"set next-hop group {number}", NEW_NEXTHOP, nl.CREATE | nl.REPLACE, head + body)


def delete_nexthop(net: Netlink, number: int) -> None:
    """Remove a next hop or a group. The kernel takes a hop out of its groups, a group out of its routes."""
    _tolerant(net, f"delete next hop {number}", DEL_NEXTHOP, _NEXTHOP_HEADER.pack(0, 0, 0, 0, 0) + nl.u32(1, number))


def nexthops(net: Netlink, protocol: int) -> list[NextHop]:
    """Next-hop objects that carry `protocol`."""
    told = net.dump("list next hops", GET_NEXTHOP, _NEXTHOP_HEADER.pack(0, 0, 0, 0, 0))
    return [_read_nexthop(payload) for payload in told if payload[2] == protocol]


@lru_cache(maxsize=1 << 12)
def _read_nexthop(payload: bytes) -> NextHop:
    attributes = nl.attributes(payload[8:])
    # a kernel that does not say that the rest of an entry means something leaves garbage there
    high = 0xFF if _number(attributes, 14) & _ENTRIES_ARE_CLEAN else 0
    entries = _GROUP_ENTRY.iter_unpack(attributes.get(2, b""))
    group = tuple((hop, ((above & high) << 8 | weight) + 1) for hop, weight, above, _ in entries)
    gateway = ip_address(attributes[6]) if 6 in attributes else None
    resilient = nl.attributes(attributes.get(12, b""))  # NHA_RES_GROUP
    wrap = nl.attributes(attributes.get(8, b"")) if _number(attributes, 7) == 2 else {}  # NHA_ENCAP
    return NextHop(
        id=_number(attributes, 1), interface=_number(attributes, 5), gateway=gateway, group=group,
        buckets=_number(resilient, 1), unbalanced=_number(resilient, 4) > 0,
        version=6 if payload[0] == socket.AF_INET6 else 4,
        target=ip_address(wrap[2]) if 2 in wrap else None, source=ip_address(wrap[3]) if 3 in wrap else None,
    )  # fmt: skip


def idle_times(net: Netlink, group: int, hop: int) -> list[float]:
    """For how many seconds each bucket of a group that leads to a next hop has seen no packet, or has led there."""
    which = nl.u32(1, group) + nl.nested(13, nl.u32(3, hop))  # NHA_RES_BUCKET_NH_ID
    told = net.dump(f"list buckets of {group}", GET_BUCKET, _NEXTHOP_HEADER.pack(0, 0, 0, 0, 0) + which)
    buckets = (nl.attributes(nl.attributes(payload[8:]).get(13, b"")) for payload in told)
    return [_number(bucket, 2) / 100 for bucket in buckets]  # clock_t


def bucket_count(net: Netlink, group: int, hop: int) -> int:
    """How many buckets of a group lead to a next hop."""
    which = nl.u32(1, group) + nl.nested(13, nl.u32(3, hop))  # NHA_RES_BUCKET_NH_ID
    try:
        return len(net.dump(f"count buckets of {group}", GET_BUCKET, _NEXTHOP_HEADER.pack(0, 0, 0, 0, 0) + which))
    except WorldError as error:
        if not nl.is_gone(error):
            raise
        return 0


def _name(attributes: dict[int, bytes], kind: int) -> str:
    return attributes.get(kind, b"").rstrip(b"\0").decode()


def _number(attributes: dict[int, bytes], kind: int) -> int:
    return int.from_bytes(attributes.get(kind, b""), "little")


def _tolerant(net: Netlink, what: str, kind: int, body: bytes) -> None:
    try:
        net.change(what, kind, 0, body)
    except WorldError as error:
        if not nl.is_gone(error):
            raise

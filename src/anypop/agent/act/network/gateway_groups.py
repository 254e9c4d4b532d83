"""Resilient groups of the gateways of one destination: those here by their links, those of other hosts by the tunnel.

In: a way of `decide.gateways`. Out: a group, or what of them is there. A gateway that joins gets the buckets that no
flow uses, one that goes takes its own flows along and nobody else's. The next hops over links are those of anycast
groups (`hop_numbers`), so a death takes them all at once; those to other hosts are their own, since what goes to a
gateway has a number of its own on the wire.
"""

import zlib
from collections import defaultdict
from collections.abc import Collection, Mapping
from ipaddress import IPv4Address

from anypop.agent.act.network import rtnl, tunnel_hops
from anypop.agent.act.network.hop_numbers import HOPS, IDLE_S, hop_number, twin_number
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.decide.gateways import Away, GatewayWay, Hops
from anypop.agent.naming import GATEWAY_TUNNEL_NUMBER, ROUTE_PROTOCOL
from anypop.model.announce import Address

Members = tuple[Hops, Away]
BUCKETS = 509  # a prime, see `router.BUCKETS`
_GROUPS, _PLACES = 0x0400_0000, 0x03FF_FFFF
_AWAY, _TWIN, _PEER = 0x0800_0000, 0x0400_0000, 0x01FF_FFFF
_WEIGHT = 2  # of one gateway: alone, by two next hops


def have(net: Netlink, way: GatewayWay, group: int, index: Mapping[str, int]) -> int:
    """The id of a group with those members of a way that there is a link or a tunnel to; 0: there is none. `group`: the
    one that its route leads to, which is replaced in its place; 0: none.
    """
    known = {hop.id: hop for hop in rtnl.nexthops(net, ROUTE_PROTOCOL)}
    group = group if _is_ours(group) else _free(known, way)
    among = {n for n, _ in known[group].group} if group in known else set[int]()
    version, alone = way.prefix.version, len(way.hops) + len(way.away) == 1
    entries: list[tuple[int, int]] = []
    for name, gateway in way.hops:
        if (link := index.get(name)) is not None:
            one, twin = hop_number(link, version), twin_number(link, version)
            numbers = [one, twin] if alone or twin in among else [one]
            for n in numbers:
                if n not in known:
                    rtnl.set_nexthop(net, n, interface=link, gateway=gateway, protocol=ROUTE_PROTOCOL)
            entries += [(n, _WEIGHT // len(numbers)) for n in numbers]
    for peer, count in way.away:
        plain = known.get(tunnel_hops.number(known, peer, version))
        if plain is not None:
            twins = [False, True] if alone or _to(peer, version, twin=True) in among else [False]
            numbers = [_have_hop(net, known, plain, peer, twin=twin) for twin in twins]
            entries += [(n, _WEIGHT * count // len(numbers)) for n in numbers]
    if not entries:
        return 0
    rtnl.set_group(net, group, entries, protocol=ROUTE_PROTOCOL, buckets=BUCKETS, idle_s=IDLE_S)
    return group


def look(net: Netlink, names: Mapping[int, str]) -> Mapping[int, Members]:
    """The members of each group that is there. `names`: of links, by index."""
    hops = {hop.id: hop for hop in rtnl.nexthops(net, ROUTE_PROTOCOL)}
    found = dict[int, Members]()
    for group in hops.values():
        if group.group and _is_ours(group.id):
            here, away = set[tuple[str, Address]](), defaultdict[IPv4Address, int](int)
            for n, weight in group.group:
                hop = hops.get(n)
                if hop is not None and isinstance(hop.target, IPv4Address):
                    plain = hops.get(tunnel_hops.number(hops, hop.target, hop.version))
                    if plain is not None and plain.source == hop.source:
                        away[hop.target] += weight
                elif hop is not None and hop.gateway is not None:
                    here.add((names.get(hop.interface, ""), hop.gateway))
            there = tuple(sorted((peer, weight // _WEIGHT) for peer, weight in away.items()))
            found[group.id] = tuple(sorted(here)), there
    return found


def sweep(net: Netlink, wanted: Collection[int]) -> None:
    """Take away all groups but these, and the next hops to other hosts that are in none of them."""
    hops = rtnl.nexthops(net, ROUTE_PROTOCOL)
    used = {n for hop in hops if hop.id in wanted for n, _ in hop.group}
    for hop in hops:
        if (hop.group and _is_ours(hop.id) and hop.id not in wanted) or (_is_away(hop) and hop.id not in used):
            rtnl.delete_nexthop(net, hop.id)


def _free(known: Collection[int], way: GatewayWay) -> int:
    """An id that nobody has."""
    place = zlib.crc32(f"{way.slot} {way.prefix} {way.coming}".encode()) & _PLACES
    while _GROUPS | place in known:
        place = (place + 1) & _PLACES
    return _GROUPS | place


def _have_hop(
    net: Netlink, known: dict[int, rtnl.NextHop], plain: rtnl.NextHop, peer: IPv4Address, *, twin: bool
) -> int:  # fmt: skip
    """The next hop to a host's gateways, like the `plain` one to the host."""
    found = _to(peer, plain.version, twin=twin)
    there = known.get(found)
    if there is None or (there.interface, there.source, there.target) != (plain.interface, plain.source, peer):
        assert plain.source is not None
        rtnl.set_tunnel_hop(
            net, found, interface=plain.interface, version=plain.version, source=plain.source, target=peer,
            tunnel=GATEWAY_TUNNEL_NUMBER, protocol=ROUTE_PROTOCOL,
        )  # fmt: skip
    return found


def _to(peer: IPv4Address, version: int, *, twin: bool) -> int:
    return _AWAY | (_TWIN if twin else 0) | (zlib.crc32(peer.packed) & _PEER) << 1 | (version == 6)


def _is_ours(number_: int) -> bool:
    return _GROUPS <= number_ < _AWAY


def _is_away(hop: rtnl.NextHop) -> bool:
    return _AWAY <= hop.id < HOPS and hop.target is not None

"""The router in the kernel, as the agent sees and changes it: covers, external routes, anycast routes and their
next-hop groups.

In: steps' plain values. Out: kernel state, or what of it is there. Next hops are numbered by their link (unique, and
gone with it); a group is found by the route that uses it. Synchronous: each call takes well under a millisecond.
"""

import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from anypop.agent.act.network import rtnl
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.decide.elements import Member
from anypop.agent.naming import COVER_METRIC, ROUTE_PROTOCOL, short_of_link
from anypop.model.announce import Address, Prefix
from anypop.model.errors import WorldError

# Buckets of a group, the least that there are. A newcomer gets buckets that are idle, so with few of them and many live
# flows it starves: under 600 flows it got 0.6 % of the new connections instead of half with 128 buckets, and its half
# with 1,024. At least 64 for each member: good for some 16 in one group; for more there are more. Primes: all kernels
# of a machine hash with one seed, and behind a router that has chosen this host by the same hash, a count that shares a
# factor with that router's would leave most buckets without traffic.
BUCKETS = 1021
COUNTS = (BUCKETS, 2039, 4093, 8191, 16_381)
EACH = 64  # for each member that is expected
# Below so many for each member that is there, shares are wrong by more than a twentieth: then a group gets a larger
# successor, although flows meet other buckets by it.
LEAST_EACH = 20
IDLE_S = 60  # a bucket silent for so long carries no live flow that would notice a move
_HOPS, _TWINS, _GROUPS = 0x1000_0000, 0x2000_0000, 0x4000_0000


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSeen:
    """What of ours is in the kernel. Instances by the ten hex digits of their link."""

    links: dict[str, bool]
    numbers: dict[str, int]
    groups: dict[str, int]
    external: dict[Prefix, str]
    covers: frozenset[Prefix]
    balanced: dict[Address, tuple[Member, ...]]


def buckets_for(expected: int) -> int:
    """How many buckets a group should be made with for so many members."""
    return next((count for count in COUNTS if count >= EACH * expected), COUNTS[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """A group that had too few buckets for its members and was replaced by a larger one."""

    address: Address
    members: tuple[str, ...]
    before: int
    after: int


def hop_number(index: int, version: int) -> int:
    """The id of the next hop over the link with this interface index."""
    return _HOPS + 2 * index + (version == 6)


def twin_number(index: int, version: int) -> int:
    """The id of a second next hop over the same link, for the member that is alone in its group.

    With a single next hop the kernel does not look into the group's buckets (IPv4), so none counts as busy, and half of
    them, with the live flows behind them, would move to whoever joins next: 33 of 60 connections broke. With two next
    hops buckets are used, whatever link both lead to. A twin stays until its member leaves the group: its own buckets
    are busy too.
    """
    return _TWINS + 2 * index + (version == 6)


class Router:
    """The kernel of the network namespace in which it was made."""

    def __init__(self, net: Netlink) -> None:
        self._net = net
        self._groups: dict[Address, int] = {}

    def look(self) -> RouterSeen:
        """Everything of ours in this kernel, read anew."""
        here = {key: link for link in rtnl.links(self._net) if (key := short_of_link(link.name))}
        links = {link.index: (key, link.up) for key, link in here.items()}
        hops = {hop.id: hop for hop in rtnl.nexthops(self._net, ROUTE_PROTOCOL)}
        external: dict[Prefix, str] = {}
        balanced: dict[Address, tuple[Member, ...]] = {}
        covers: set[Prefix] = set()
        for route in rtnl.routes(self._net, ROUTE_PROTOCOL):
            if route.unreachable and route.metric == COVER_METRIC:
                covers.add(route.prefix)
            elif route.nexthop and (group := hops.get(route.nexthop)):
                weights: defaultdict[str, int] = defaultdict(int)
                for number, weight in group.group:
                    if (hop := hops.get(number)) and hop.interface in links:
                        weights[links[hop.interface][0]] += weight
                members = [Member(short=key, weight=weight // 2) for key, weight in sorted(weights.items())]
                balanced[route.prefix.network_address] = tuple(members)
            elif route.interface in links:
                external[route.prefix] = links[route.interface][0]
        return RouterSeen(
            links=dict(links.values()),
            numbers={key: link.index for key, link in here.items()},
            groups={key: link.group for key, link in here.items()},
            external=external,
            covers=frozenset(covers),
            balanced=balanced,
        )

    def group_link(self, short: str, group: int) -> None:
        """Put an instance's link into a device group; harmless when it is gone."""
        for link in rtnl.links(self._net):
            if short_of_link(link.name) == short:
                rtnl.set_device_group(self._net, link.index, group)

    def set_cover(self, prefix: Prefix) -> None:
        rtnl.set_unreachable(self._net, prefix, ROUTE_PROTOCOL, COVER_METRIC)

    def remove_cover(self, prefix: Prefix) -> None:
        rtnl.delete_route(self._net, prefix, ROUTE_PROTOCOL, COVER_METRIC)

    def remove_external(self, prefix: Prefix) -> None:
        rtnl.delete_route(self._net, prefix, ROUTE_PROTOCOL)

    def set_next_hops(
        self, address: Address, members: tuple[Member, ...], gateways: Mapping[str, Address], expected: int = 0
    ) -> Grown | None:
        """Make or replace the group behind `address`. `gateways`: each member's private address of the same family;
        `expected`: how many members there are to be, which counts where the group is made. What was replaced by a
        larger one, if so.
        """
        index = {key: link.index for link in rtnl.links(self._net) if (key := short_of_link(link.name))}
        known = {hop.id: hop for hop in rtnl.nexthops(self._net, ROUTE_PROTOCOL)}
        group = self._group_of(address) or self._free_group(address)
        there = known.get(group)
        among = {number for number, _ in there.group} if there else set()
        entries = []
        for member in members:
            if member.short not in index:
                raise WorldError(f"set next hops of {address}", f"the link i{member.short} is gone")
            link = index[member.short]
            numbers, twin = [hop_number(link, address.version)], twin_number(link, address.version)
            if len(members) == 1 or twin in among:
                numbers.append(twin)
            for number in numbers:
                if number not in known:
                    if member.short not in gateways:
                        raise WorldError(
                            f"set next hops of {address}", f"the address behind the link i{member.short} is not known"
                        )
                    rtnl.set_nexthop(
                        self._net, number, interface=link, gateway=gateways[member.short], protocol=ROUTE_PROTOCOL
                    )
                # alone or with its twin, it weighs the same
                entries.append((number, member.weight * 2 // len(numbers)))
        # the kernel refuses another count for a group that exists
        wanted = buckets_for(max(expected, len(members)))
        buckets = there.buckets if there and there.buckets else wanted
        if there and buckets < min(wanted, LEAST_EACH * len(members)):
            self._succeed(ip_network(address), there, entries, wanted)
            return Grown(address=address, members=tuple(m.short for m in members), before=buckets, after=wanted)
        rtnl.set_group(self._net, group, entries, protocol=ROUTE_PROTOCOL, buckets=buckets, idle_s=IDLE_S)
        self._groups[address] = group
        return None

    def renew_groups(self) -> None:
        """Give every group that was made with another count of buckets a successor with the same members, and its
        route to that one.

        Flows meet other buckets by it, so it is done at the one moment when they do anyway: when the hash of flows
        itself has just been changed. At any other time a group keeps the count that it was born with.
        """
        known = {hop.id: hop for hop in rtnl.nexthops(self._net, ROUTE_PROTOCOL)}
        for route in rtnl.routes(self._net, ROUTE_PROTOCOL):
            old = known.get(route.nexthop)
            if old is None or not old.group or old.buckets in COUNTS:
                continue
            self._succeed(route.prefix, old, old.group, buckets_for(len(old.group)))

    def _succeed(self, prefix: Prefix, old: rtnl.NextHop, entries: Sequence[tuple[int, int]], buckets: int) -> None:
        """A new group in the place of an old one, which may be without a route yet."""
        address = prefix.network_address
        routed = any(r.prefix == prefix and r.nexthop for r in rtnl.routes(self._net, ROUTE_PROTOCOL))
        new = self._free_group(address) if routed else old.id
        if not routed:
            rtnl.delete_nexthop(self._net, old.id)
        rtnl.set_group(self._net, new, entries, protocol=ROUTE_PROTOCOL, buckets=buckets, idle_s=IDLE_S)
        if routed:
            rtnl.set_route(self._net, prefix, ROUTE_PROTOCOL, nexthop=new)
            rtnl.delete_nexthop(self._net, old.id)
        self._groups[address] = new

    def set_route(self, address: Address) -> None:
        """The route to the group that `set_next_hops` made."""
        group = self._groups.get(address) or self._group_of(address) or self._free_group(address)
        rtnl.set_route(self._net, ip_network(address), ROUTE_PROTOCOL, nexthop=group)

    def remove_route(self, address: Address) -> None:
        group = self._group_of(address)
        rtnl.delete_route(self._net, ip_network(address), ROUTE_PROTOCOL)
        if group:
            rtnl.delete_nexthop(self._net, group)

    def drop_member(self, short: str) -> bool:
        """An instance died: take its next hops out of all groups now. The kernel moves its buckets alone. True when
        there was one.
        """
        index = next((link.index for link in rtnl.links(self._net) if short_of_link(link.name) == short), None)
        if index is None:
            return False
        for version in (4, 6):
            for number in (hop_number(index, version), twin_number(index, version)):
                rtnl.delete_nexthop(self._net, number)
        return True

    def _group_of(self, address: Address) -> int:
        prefix = ip_network(address)
        return next((r.nexthop for r in rtnl.routes(self._net, ROUTE_PROTOCOL) if r.prefix == prefix and r.nexthop), 0)

    def _free_group(self, address: Address) -> int:
        """The group id for an address without a route: from its hash, so that one left by an interrupted change is
        taken up again.
        """
        used = {r.nexthop for r in rtnl.routes(self._net, ROUTE_PROTOCOL)}
        number = zlib.crc32(address.packed) & 0x3FFF_FFFF
        while _GROUPS | number in used:  # two addresses with one hash
            number = (number + 1) & 0x3FFF_FFFF
        return _GROUPS | number

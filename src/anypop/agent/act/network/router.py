"""The router in the kernel, as the agent sees and changes it: covers, external routes, anycast routes and their
next-hop groups.

In: steps' plain values. Out: kernel state, or what of it is there. Next hops are numbered by their link (unique, and
gone with it); a group is found by the route that uses it. Synchronous: each call takes well under a millisecond.
"""

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_network

from anypop.agent.act.network import gateway_ways, netlink, newcomer_ways, rtnl, tunnel_hops, vpc_ways
from anypop.agent.act.network.hop_numbers import HOPS, IDLE_S, hop_number, twin_number
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.act.network.rtnl import MAIN_TABLE
from anypop.agent.decide.backbone import LINGER, ordered
from anypop.agent.decide.elements import Entry, Member, Who
from anypop.agent.decide.gateways import GatewayWay
from anypop.agent.naming import (
    AWAY_TABLE,
    COVER_METRIC,
    ROUTE_PROTOCOL,
    SERVED_PROTOCOL,
    SERVED_TABLE,
    SIBLINGS_TABLE,
    TUNNEL,
    TUNNEL_TABLE,
    short_of_link,
)
from anypop.model.announce import Address, Prefix
from anypop.model.errors import WorldError

# Buckets of a group, the least that there are. A newcomer gets buckets that are idle, so with few of them and many live
# flows it starves: under 600 flows it got 0.6 % of the new connections instead of half with 128 buckets, and its half
# with 1,024. At least 64 for each member: good for some 16 in one group; for more there are more. Primes: all kernels
# of a machine hash with one seed, and behind a router that has chosen this host by the same hash, a count that shares a
# factor with that router's would leave most buckets without traffic.
BUCKETS = 1021
COUNTS = (BUCKETS, 2039, 4093, 8191, 16_381)
# What comes by the tunnel was chosen by the same hash already: other primes.
TUNNEL_COUNTS = (1031, 2053, 4099, 8209, 16_411)
EACH = 64  # for each member that is expected
# Below so many for each member that is there, shares are wrong by more than a twentieth: then a group gets a larger
# successor, although flows meet other buckets by it.
LEAST_EACH = 20
# The kernel's weight of a member of weight 1, or of both its next hops together; one that lingers has 1 for each. By
# the wide one, lingering is less than half a bucket: the kernel leaves it the buckets that are busy and gives it none.
# Kernels before 6.12 know weights up to 256 alone: there it keeps a two hundredth.
_WIDE, _NARROW, _NARROWEST = 600, 2, 256
# (0x30000000: next hops by the tunnel)
_GROUPS, _INBOUND, _AWAY = 0x4000_0000, 0x8000_0000, 0xC000_0000
_FIRST = {Entry.CLIENTS: _GROUPS, Entry.TUNNEL: _INBOUND, Entry.AWAY: _AWAY}
_TABLES = {Entry.CLIENTS: MAIN_TABLE, Entry.TUNNEL: TUNNEL_TABLE, Entry.AWAY: AWAY_TABLE}


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSeen:
    """What of ours is in the kernel. Instances by the ten hex digits of their link. `inbound`: as `balanced`, for what
    comes by the tunnel, `away`: for what leaves by dials; `served`: what is told to other hosts (see `Router.tell`);
    `siblings`: instances' own addresses that lead to other hosts, and to which; `tunnel`: its device is up (None: there
    is none); `idle`: other hosts that linger in the group of an address, and no flow goes to them; `newcomers`: members
    with ways of their own, by address and slot; `buckets`: how many each member has, of groups that are unbalanced.
    """

    links: dict[str, bool]
    numbers: dict[str, int]
    groups: dict[str, int]
    external: dict[Prefix, str]
    covers: frozenset[Prefix]
    balanced: dict[Address, tuple[Member, ...]]
    inbound: dict[Address, tuple[Member, ...]] = field(default_factory=dict)
    away: dict[Address, tuple[Member, ...]] = field(default_factory=dict)
    served: dict[Address, int] = field(default_factory=dict)
    siblings: dict[Address, IPv4Address] = field(default_factory=dict)
    vpc: dict[Prefix, str] = field(default_factory=dict)
    gateways: frozenset[GatewayWay] = frozenset()
    tunnel: bool | None = None
    tunnel_number: int = 0
    idle: frozenset[tuple[Address, IPv4Address]] = frozenset()
    newcomers: dict[Address, dict[int, Member]] = field(default_factory=dict)
    buckets: dict[tuple[Address, Entry], Mapping[Who, int]] = field(default_factory=dict)


def buckets_for(expected: int, *, entry: Entry = Entry.CLIENTS) -> int:
    """How many buckets a group should be made with for so many members."""
    counts = TUNNEL_COUNTS if entry is Entry.TUNNEL else COUNTS
    return next((count for count in counts if count >= EACH * expected), counts[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """A group that had too few buckets for its members and was replaced by a larger one."""

    address: Address
    members: tuple[str, ...]
    before: int
    after: int


class Router:
    """The kernel of the network namespace in which it was made."""

    def __init__(self, net: Netlink) -> None:
        self._net = net
        self._groups: dict[tuple[Address, Entry], int] = {}
        self._wide = True
        self._buckets = newcomer_ways.Buckets(net)

    def look(self) -> RouterSeen:
        """Everything of ours in this kernel, read anew."""
        every = rtnl.links(self._net)
        here = {key: link for link in every if (key := short_of_link(link.name))}
        links = {link.index: (key, link.up) for key, link in here.items()}
        names = {index: key for index, (key, _) in links.items()}
        hops = {hop.id: hop for hop in rtnl.nexthops(self._net, ROUTE_PROTOCOL)}
        external: dict[Prefix, str] = {}
        balanced: dict[Address, tuple[Member, ...]] = {}
        covers: set[Prefix] = set()
        idle: set[tuple[Address, IPv4Address]] = set()
        led: dict[int, tuple[Address, Entry]] = {}
        for route in rtnl.routes(self._net, ROUTE_PROTOCOL):
            if route.unreachable and route.metric == COVER_METRIC:
                covers.add(route.prefix)
            elif (group := hops.get(route.nexthop)) and group.group:
                address = route.prefix.network_address
                balanced[address], led[group.id] = _members(group, hops, names), (address, Entry.CLIENTS)
                idle |= {(address, peer) for peer in _lingering(balanced[address]) if self._is_idle(group, hops, peer)}
            elif route.interface in links:
                external[route.prefix] = links[route.interface][0]
        tunnel = next((link.up for link in every if link.name == TUNNEL), None)
        inbound = dict(self._groups_in(TUNNEL_TABLE, hops, names)) if tunnel is not None else {}
        away = dict(self._groups_in(AWAY_TABLE, hops, names)) if tunnel is not None else {}
        for entry, groups in ((Entry.TUNNEL, inbound), (Entry.AWAY, away)):
            led |= {number: (address, entry) for address, (number, _) in groups.items()}
        counted = self._buckets.of({number: hops[number] for number in led}, hops, names)
        return RouterSeen(
            links=dict(links.values()),
            numbers={key: link.index for key, link in here.items()},
            groups={key: link.group for key, link in here.items()},
            external=external,
            covers=frozenset(covers),
            balanced=balanced,
            inbound={address: members for address, (_, members) in inbound.items()},
            away={address: members for address, (_, members) in away.items()},
            served=self._served() if tunnel is not None else {},
            siblings=dict(self._siblings(hops)) if tunnel is not None else {},
            vpc=dict(vpc_ways.look(self._net, every)),
            gateways=gateway_ways.look(self._net, {link.index: link.name for link in every}),
            tunnel=tunnel,
            tunnel_number=next((link.index for link in every if link.name == TUNNEL), 0),
            idle=frozenset(idle),
            newcomers=newcomer_ways.look(self._net, hops, names),
            buckets={led[number]: counts for number, counts in counted},
        )  # fmt: skip

    def _is_idle(self, group: rtnl.NextHop, hops: Mapping[int, rtnl.NextHop], peer: IPv4Address) -> bool:
        """Whether no bucket that leads to another host has seen a packet of late."""
        numbers = [n for n, _ in group.group if (hop := hops.get(n)) is not None and hop.target == peer]
        try:
            return all(idle >= IDLE_S for n in numbers for idle in rtnl.idle_times(self._net, group.id, n))
        except WorldError:
            return False  # it has gone meanwhile, or this kernel does not tell

    def _groups_in(
        self, table: int, hops: Mapping[int, rtnl.NextHop], names: Mapping[int, str]
    ) -> Iterator[tuple[Address, tuple[int, tuple[Member, ...]]]]:
        for route in rtnl.routes(self._net, ROUTE_PROTOCOL, table):
            if (group := hops.get(route.nexthop)) and group.group:
                yield route.prefix.network_address, (group.id, _members(group, hops, names))

    def _siblings(self, hops: Mapping[int, rtnl.NextHop]) -> Iterator[tuple[Address, IPv4Address]]:
        for route in rtnl.routes(self._net, ROUTE_PROTOCOL, SIBLINGS_TABLE):
            hop = hops.get(route.nexthop)
            if hop is not None and isinstance(hop.target, IPv4Address):
                yield route.prefix.network_address, hop.target

    def _served(self) -> dict[Address, int]:
        return {
            route.prefix.network_address: route.count - 1
            for route in rtnl.routes(self._net, SERVED_PROTOCOL, SERVED_TABLE)
            if route.blackhole
        }

    def tell(self, address: Address, count: int | None) -> None:
        """Have the speaker tell other hosts how many healthy instances of an address are here; 0: those that were sent
        here may stay, and nobody new; None: nothing is told. Of an instance's own address: whose it is. The table holds
        one more: a count of 0 would be none.
        """
        prefix = ip_network(address)
        if count is None:
            rtnl.delete_route(self._net, prefix, SERVED_PROTOCOL, table=SERVED_TABLE)
        else:
            rtnl.set_told(self._net, prefix, SERVED_PROTOCOL, count + 1, SERVED_TABLE)

    def set_sibling(self, address: Address, peer: IPv4Address | None, source: IPv4Address | None) -> None:
        """The way to an instance's own address at another host; None: no more. `source`: our end of the tunnels."""
        prefix = ip_network(address)
        if peer is None:
            rtnl.delete_route(self._net, prefix, ROUTE_PROTOCOL, table=SIBLINGS_TABLE)
            return
        device = next((link.index for link in rtnl.links(self._net) if link.name == TUNNEL), None)
        if device is None or source is None:
            raise WorldError(f"lead to {address}", f"the device {TUNNEL} is gone")
        known = {hop.id: hop for hop in rtnl.nexthops(self._net, ROUTE_PROTOCOL)}
        number = tunnel_hops.have(self._net, known, peer, address.version, device=device, source=source)
        rtnl.set_route(self._net, prefix, ROUTE_PROTOCOL, nexthop=number, table=SIBLINGS_TABLE)

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
        self, address: Address, members: tuple[Member, ...], gateways: Mapping[str, Address], expected: int = 0, *,
        entry: Entry = Entry.CLIENTS, source: IPv4Address | None = None,
    ) -> Grown | None:  # fmt: skip
        """Make or replace the group behind `address`. `gateways`: each member's private address of the same family;
        `expected`: how many members there are to be, which counts where the group is made. `entry`: for
        which packets; `source`: our end of the tunnels, where members are other hosts. What was replaced by a larger
        one, if so.
        """
        index = {link.name: link.index for link in rtnl.links(self._net)}
        known = {hop.id: hop for hop in rtnl.nexthops(self._net, ROUTE_PROTOCOL)}
        group = self._group_of(address, entry) or self._free_group(address, entry)
        there = known.get(group)
        among = {number for number, _ in there.group} if there else set()
        hops: list[tuple[Member, list[int]]] = []
        for member in members:
            numbers = self._hops_of(
                address, member, index=index, known=known, gateways=gateways, source=source, among=among,
                alone=len(members) == 1,
            )  # fmt: skip
            hops.append((member, numbers))

        def write(number: int, buckets: int) -> None:
            self._write_group(number, hops, buckets)

        # the kernel refuses another count for a group that exists
        wanted = buckets_for(max(expected, len(members)), entry=entry)
        buckets = there.buckets if there and there.buckets else wanted
        if there and buckets < min(wanted, LEAST_EACH * len(members)):
            self._succeed(ip_network(address), there, write, wanted, entry)
            return Grown(
                address=address, members=tuple(m.short for m in members if not m.peer), before=buckets, after=wanted
            )
        write(group, buckets)
        self._groups[address, entry] = group
        return None

    def _write_group(self, group: int, hops: list[tuple[Member, list[int]]], buckets: int) -> None:
        """The group with these members, each with its next hops."""
        for wide in (True, False) if self._wide else (False,):
            entries = [(n, _weight(member, len(numbers), wide)) for member, numbers in hops for n in numbers]
            try:
                rtnl.set_group(self._net, group, entries, protocol=ROUTE_PROTOCOL, buckets=buckets, idle_s=IDLE_S)
                self._wide = wide
                return
            except WorldError as error:
                if not wide or not netlink.is_invalid(error):
                    raise

    def _hops_of(
        self, address: Address, member: Member, *, index: Mapping[str, int], known: dict[int, rtnl.NextHop],
        gateways: Mapping[str, Address], source: IPv4Address | None, among: set[int], alone: bool,
    ) -> list[int]:  # fmt: skip
        """The next hops of a member, made where they were missing: one, or with its twin two."""
        what, version = f"set next hops of {address}", address.version
        if member.peer is not None:
            if TUNNEL not in index or source is None:
                raise WorldError(what, f"the device {TUNNEL} is gone")
            twins = [False, True] if alone or tunnel_hops.number(known, member.peer, version, twin=True) in among else [
                False
            ]  # fmt: skip
            return [
                tunnel_hops.have(self._net, known, member.peer, version, device=index[TUNNEL], source=source, twin=twin)
                for twin in twins
            ]
        link = index.get(f"i{member.short}")
        if link is None:
            raise WorldError(what, f"the link i{member.short} is gone")
        numbers, twin_ = [hop_number(link, version)], twin_number(link, version)
        if alone or twin_ in among:
            numbers.append(twin_)
        for number in numbers:
            if number not in known:
                if member.short not in gateways:
                    raise WorldError(what, f"the address behind the link i{member.short} is not known")
                rtnl.set_nexthop(
                    self._net, number, interface=link, gateway=gateways[member.short], protocol=ROUTE_PROTOCOL
                )
        return numbers

    def lead_newcomer(self, address: Address, slot: int, member: Member, source: IPv4Address | None) -> None:
        """A way of its own to a member of the group behind `address`. `source`: our end of the tunnels."""
        index = {link.name: link.index for link in rtnl.links(self._net)}
        known = {hop.id: hop for hop in rtnl.nexthops(self._net, ROUTE_PROTOCOL)}
        (hop,) = self._hops_of(
            address, member, index=index, known=known, gateways={}, source=source, among=set(), alone=False
        )
        newcomer_ways.lead(self._net, address, slot, hop)

    def drop_newcomer(self, address: Address, slot: int) -> None:
        newcomer_ways.drop(self._net, address, slot)

    def renew_groups(self) -> None:
        """Give every group that was made with another count of buckets a successor with the same members, and its
        route to that one.

        Flows meet other buckets by it, so it is done at the one moment when they do anyway: when the hash of flows
        itself has just been changed. At any other time a group keeps the count that it was born with.
        """
        known = {hop.id: hop for hop in rtnl.nexthops(self._net, ROUTE_PROTOCOL)}
        for route in rtnl.routes(self._net, ROUTE_PROTOCOL):
            old = known.get(route.nexthop)
            if old is None or not old.group or old.buckets in (*COUNTS, *TUNNEL_COUNTS):
                continue

            def write(number: int, buckets: int, same: rtnl.NextHop = old) -> None:
                rtnl.set_group(
                    self._net, number, same.group, protocol=ROUTE_PROTOCOL, buckets=buckets, idle_s=IDLE_S
                )  # fmt: skip

            self._succeed(route.prefix, old, write, buckets_for(len(old.group)))

    def _succeed(
        self,
        prefix: Prefix,
        old: rtnl.NextHop,
        write: Callable[[int, int], None],
        buckets: int,
        entry: Entry = Entry.CLIENTS,
    ) -> None:
        """A new group in the place of an old one, which may be without a route yet."""
        address, table = prefix.network_address, _TABLES[entry]
        routed = any(r.prefix == prefix and r.nexthop for r in rtnl.routes(self._net, ROUTE_PROTOCOL, table))
        new = self._free_group(address, entry) if routed else old.id
        if not routed:
            rtnl.delete_nexthop(self._net, old.id)
        write(new, buckets)
        if routed:
            rtnl.set_route(self._net, prefix, ROUTE_PROTOCOL, nexthop=new, table=table)
            rtnl.delete_nexthop(self._net, old.id)
        self._groups[address, entry] = new

    def set_route(self, address: Address, *, entry: Entry = Entry.CLIENTS) -> None:
        """The route to the group that `set_next_hops` made."""
        group = self._groups.get((address, entry)) or self._group_of(address, entry)
        group = group or self._free_group(address, entry)
        rtnl.set_route(self._net, ip_network(address), ROUTE_PROTOCOL, nexthop=group, table=_TABLES[entry])

    def remove_route(self, address: Address, *, entry: Entry = Entry.CLIENTS) -> None:
        group = self._group_of(address, entry)
        rtnl.delete_route(self._net, ip_network(address), ROUTE_PROTOCOL, table=_TABLES[entry])
        if group:
            rtnl.delete_nexthop(self._net, group)

    def drop_member(self, short: str, *, but_last: bool = False) -> bool:
        """An instance died: take its next hops out of all groups now. The kernel moves its buckets alone. True when
        there was one. `but_last`: where nobody else is in a group, leave that family to the pass: it puts another host
        there in one step, and there is no moment without a route.
        """
        index = next((link.index for link in rtnl.links(self._net) if short_of_link(link.name) == short), None)
        if index is None:
            return False
        groups = [hop for hop in rtnl.nexthops(self._net, ROUTE_PROTOCOL) if hop.group] if but_last else []
        for version in (4, 6):
            own = {hop_number(index, version), twin_number(index, version)}
            if any(_GROUPS <= hop.id < _INBOUND and {number for number, _ in hop.group} <= own for hop in groups):
                continue
            for number in own:
                rtnl.delete_nexthop(self._net, number)
        return True

    def _group_of(self, address: Address, entry: Entry) -> int:
        prefix, table = ip_network(address), _TABLES[entry]
        routes = rtnl.routes(self._net, ROUTE_PROTOCOL, table)
        # a route that somebody else has led to a single hop leads to no group
        groups = (r.nexthop for r in routes if r.prefix == prefix and not HOPS <= r.nexthop < _GROUPS)
        return next((number for number in groups if number), 0)

    def _free_group(self, address: Address, entry: Entry) -> int:
        """The group id for an address without a route: from its hash, so that one left by an interrupted change is
        taken up again.
        """
        first, table = _FIRST[entry], _TABLES[entry]
        used = {r.nexthop for r in rtnl.routes(self._net, ROUTE_PROTOCOL, table)}
        number = zlib.crc32(address.packed) & 0x3FFF_FFFF
        while first | number in used:  # two addresses with one hash
            number = (number + 1) & 0x3FFF_FFFF
        return first | number


def _members(
    group: rtnl.NextHop, hops: Mapping[int, rtnl.NextHop], names: Mapping[int, str]
) -> tuple[Member, ...]:  # fmt: skip
    """Who is in a group: instances by the names of their links, by the links' numbers, and other hosts."""
    weights: defaultdict[tuple[str, IPv4Address | None], int] = defaultdict(int)
    for number, weight in group.group:
        hop = hops.get(number)
        if hop is not None and (who := newcomer_ways.who_of(hop, names)) is not None:
            weights[who] += weight
    unit = _WIDE if any(weight > _NARROWEST for _, weight in group.group) else _NARROW
    return tuple(
        ordered(
            Member(short=key, peer=peer, weight=max(LINGER, weight // unit)) for (key, peer), weight in weights.items()
        )
    )  # fmt: skip


def _weight(member: Member, hops: int, wide: bool) -> int:
    """What each next hop of a member weighs: alone or with its twin, the member weighs the same."""
    if wide:
        return 1 if member.weight == LINGER else member.weight * _WIDE // hops
    return member.weight * _NARROW // hops


def _lingering(members: tuple[Member, ...]) -> list[IPv4Address]:
    return [m.peer for m in members if m.peer is not None and m.weight == LINGER]

"""Who else serves an address, and who of them is to get a part of its traffic here. Pure.

In: the order's `Backbone`, and what the other hosts tell (`Offers`: how many healthy instances each has, by address).
Out: the tunnel as it should be, and the remote members of an address with their weights. Local first: a carried packet
costs twice a local one. So hosts of the own PoP get only what this host's share of the traffic exceeds its part of the
instances by; hosts of another PoP, the nearest that can serve, get traffic only when nobody of the own PoP can.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from anypop.agent.decide.bound import bound
from anypop.agent.decide.elements import Firewall, Member, TunnelGuard
from anypop.agent.decide.error_ways import ErrorWay
from anypop.agent.naming import SIBLING_NUMBERS, TUNNEL_NUMBER, UNWELL, tunnel_end
from anypop.model.announce import Address, Prefix
from anypop.model.backbone import BackbonePeer
from anypop.model.names import CityCode
from anypop.model.order import Order

Offers = Mapping[IPv4Address, Mapping[Address, int]]
"""What other hosts tell, by their end of the tunnels: how many healthy instances each has of an address, and of its
instances' own addresses whose they are (from `SIBLING_NUMBERS` on).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sibling:
    """An instance at another host whose stack has instances here too: one of its own addresses, the host's end of the
    tunnels, and the device group of the stack's links here. `well`: its host says nothing else.
    """

    address: Address
    peer: IPv4Address
    group: int
    well: bool = True


FULL = 100  # the weight of a member that has its whole share; percent of a PoP that is not dialled down
LINGER = 1  # of one that is to get no new flows, as near to that as a group can come, and keeps those that it has
LINGER_S = 600.0
# When it is asked whether any of these is left: nothing tells when the last one ends. A bucket counts as busy for a
# minute after a packet.
LINGER_LOOKS_S = (0.5, 61, 75, 90, 120, 180, 300, LINGER_S)
MOST_COPIES = 16  # hosts to which one ICMP error is copied


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """The tunnel of this host. `own`: its end; `end`: its address inside; `targets`: the other hosts, each with its
    address inside; `prefixes`: of the own addresses of its instances, private and external.
    """

    own: IPv4Address
    end: IPv6Address
    port: int
    mtu: int
    prefixes: tuple[Prefix, ...] = ()
    targets: tuple[tuple[IPv4Address, IPv6Address], ...] = ()
    number: int = TUNNEL_NUMBER


def tunnel_for(order: Order) -> Tunnel | None:
    """The tunnel that an order asks for."""
    backbone = order.backbone
    if backbone is None:
        return None
    return Tunnel(
        own=backbone.address, end=tunnel_end(order.router_id), port=backbone.rules.port, mtu=backbone.rules.mtu,
        prefixes=(order.private4, order.private6, order.external4, order.external6),
        targets=tuple((peer.address, tunnel_end(peer.router_id)) for peer in backbone.peers),
    )  # fmt: skip


def guard_for(
    order: Order,
    balanced: Mapping[Address, Iterable[Member]],
    siblings: Iterable[Sibling] = (),
    away: Iterable[Address] = (),
    *,
    firewall: Firewall,
) -> TunnelGuard | None:
    """What guards the tunnel of an order. `balanced`: the groups that there are; `siblings`: those to whom there is a
    way; `away`: addresses of which flows leave by dials; `firewall`: of this host.
    """
    tunnel = tunnel_for(order)
    if tunnel is None or order.backbone is None:
        return None
    halves = {a for a, members in balanced.items() if any(m.peer is not None for m in members)}.union(away)
    return TunnelGuard(
        own=tunnel.own, end=tunnel.end, port=tunnel.port, mtu=tunnel.mtu,
        peers=tuple(sorted(own for own, _ in tunnel.targets)), ends=tuple(sorted(end for _, end in tunnel.targets)),
        inside=(*tunnel.prefixes, *firewall.parts),
        forged=(order.private4, order.private6, *bound(order), *firewall.parts), here=firewall.here,
        led=firewall.led, passed=firewall.passed, members=firewall.members,
        gateways=tuple(one.link for one in firewall.passing),
        carried=order.backbone.carried,
        siblings=tuple(sorted({(s.group, s.address) for s in siblings}, key=_in_turn)),
        halves=tuple(sorted(halves, key=lambda a: (a.version, int(a)))),
    )  # fmt: skip


def _in_turn(sibling: tuple[int, Address]) -> tuple[int, int, int]:
    group, address = sibling
    return group, address.version, int(address)


_ALL = Fraction(1)


class Carriers:
    """Who serves what elsewhere, as one host sees it. `down`: hosts whose sessions are known to be down."""

    def __init__(self, order: Order, offers: Offers, down: Collection[IPv4Address] = ()) -> None:
        self._order, self._offers, self._down = order, offers, frozenset(down)
        self._backbone = order.backbone

    @cached_property
    def peers(self) -> Sequence[BackbonePeer]:
        """All other hosts."""
        return self._backbone.peers if self._backbone is not None else ()

    @cached_property
    def _serving(self) -> Mapping[Address, Sequence[tuple[BackbonePeer, int]]]:
        found: defaultdict[Address, list[tuple[BackbonePeer, int]]] = defaultdict(list)
        for peer in self.peers:
            for address, count in self._offers.get(peer.address, {}).items():
                if 0 < count < SIBLING_NUMBERS and self.carries(address):
                    found[address].append((peer, count))
        return dict(found)

    def holds(self, address: Address, peer: IPv4Address) -> bool:
        """Whether another host answers at least those that it has."""
        return address in self._offers.get(peer, ()) and any(p.address == peer for p in self.peers)

    @cached_property
    def held(self) -> Collection[Address]:
        """Every address that somebody else serves, or answers for without serving it."""
        told = (item for p in self.peers for item in self._offers.get(p.address, {}).items())
        return frozenset(a for a, count in told if count < SIBLING_NUMBERS and self.carries(a))

    @property
    def addresses(self) -> Collection[Address]:
        """Every address that somebody else serves."""
        return self._serving.keys()

    def serving(self, address: Address) -> Sequence[tuple[BackbonePeer, int]]:
        """Who serves an address elsewhere, and with how many instances."""
        return self._serving.get(address, ())

    def carries(self, address: Address) -> bool:
        """Whether an address lies in a prefix that is carried."""
        return any(p.version == address.version and address in p for p in self._carried)

    @cached_property
    def _carried(self) -> Sequence[IPv4Network | IPv6Network]:
        return self._backbone.carried if self._backbone is not None else ()

    @cached_property
    def hosts(self) -> int:
        """How many hosts of this PoP share its traffic: this one, and those that are up."""
        return 1 + sum(p.pop == self._order.pop and p.address not in self._down for p in self.peers)

    def siblings(self, groups: Mapping[int, int]) -> Iterator[Sibling]:
        """Instances elsewhere of stacks that have some here. `groups`: device groups by the numbers of these stacks. A
        host is believed for its own prefixes alone.
        """
        for peer in self.peers if groups else ():
            own = peer.own()
            for address, number in self._offers.get(peer.address, {}).items():
                group = groups.get(number & ~UNWELL)
                if group is not None and any(p.version == address.version and address in p for p in own):
                    yield Sibling(address=address, peer=peer.address, group=group, well=not number & UNWELL)

    def gateways(self, key: Address, here: bool) -> tuple[tuple[IPv4Address, int], ...]:
        """Other hosts whose gateways lead to a destination, each with how many: all of the own PoP, and where it has
        none those of the nearest one that has. `here`: this host has some itself. `key`: see `naming.gateway_key`.
        """
        told = [
            (peer, count) for peer in self.peers
            if peer.address not in self._down and 0 < (count := self._offers.get(peer.address, {}).get(key, 0)) <= FULL
        ]  # fmt: skip
        near = [(peer, count) for peer, count in told if peer.pop == self._order.pop]
        those = near if near or here else self.nearest(key, told)
        return tuple(sorted((peer.address, count) for peer, count in those))

    def share(self, address: Address, local: int) -> tuple[dict[IPv4Address, Fraction], Fraction]:
        """The part of this host's traffic to `address` that goes to each other host, and the part that stays with its
        own `local` instances. Where nobody else can serve all of it stays.
        """
        near = [(p, count) for p, count in self.serving(address) if p.pop == self._order.pop]
        if local:
            return self._surplus(near, local)
        those = near or self.nearest(address, self.serving(address))
        total = sum(count for _, count in those)
        if not total:
            return {}, _ALL
        return {peer.address: Fraction(count, total) for peer, count in those}, Fraction(0)

    def last_resort(self, address: Address) -> tuple[dict[IPv4Address, Fraction], Fraction]:
        """The same where nobody serves: the nearest PoP that holds the address all the same, each host alike."""
        near = self.nearest(
            address, [(p, 1) for p in self.peers if address in self.held and self.holds(address, p.address)]
        )
        return {p.address: Fraction(1, len(near)) for p, _ in near}, Fraction(0 if near else 1)

    def nearest(
        self, address: Address, those: Sequence[tuple[BackbonePeer, int]]
    ) -> list[tuple[BackbonePeer, int]]:  # fmt: skip
        """Those of the nearest PoP; one that is dialled down comes last, however near."""
        if not those:
            return []
        pop = min((self.kept(p.pop, address) < FULL, p.distance_km, str(p.pop)) for p, _ in those)[2]
        return [(peer, count) for peer, count in those if str(peer.pop) == pop]

    def kept(self, pop: CityCode, address: Address) -> int:
        """How much of the new connections to an address a PoP keeps, in percent."""
        return min(self._dials.get((pop, None), FULL), self._dials.get((pop, address), FULL))

    @cached_property
    def _dials(self) -> Mapping[tuple[CityCode, Address | None], int]:
        found: dict[tuple[CityCode, Address | None], int] = {}
        for dial in self._backbone.dials if self._backbone is not None else ():
            for key in ((dial.pop, address) for address in dial.addresses or (None,)):
                found[key] = min(dial.percent, found.get(key, FULL))
        return found

    def dialled(self, addresses: Iterable[Address]) -> Iterable[Address]:
        """Those of these addresses of which this PoP does not keep all."""
        if any(pop == self._order.pop for pop, _ in self._dials):
            return (a for a in addresses if self.kept(self._order.pop, a) < FULL)
        return ()

    def is_near(self, address: Address) -> bool:
        """Whether another host of this PoP serves an address."""
        return any(peer.pop == self._order.pop for peer, _ in self.serving(address))

    def takers(self, address: Address) -> list[tuple[BackbonePeer, int]]:
        """Who gets what this PoP's dial does not keep: the nearest PoP that serves and is dialled higher. Nobody: what
        cannot be taken is served here.
        """
        own = self.kept(self._order.pop, address)
        those = [
            (peer, count) for peer, count in self.serving(address)
            if peer.pop != self._order.pop and self.kept(peer.pop, address) > own
        ]  # fmt: skip
        return self.nearest(address, those)

    def _surplus(
        self, near: Sequence[tuple[BackbonePeer, int]], local: int
    ) -> tuple[dict[IPv4Address, Fraction], Fraction]:
        """Each host of the PoP gets the same share of the traffic and should serve by its part of the instances: who
        has too few sends on what is too much, to those who have more than their share.
        """
        if not near:
            return {}, _ALL
        everyone = local + sum(count for _, count in near)
        share = Fraction(1, self.hosts)
        own = Fraction(local, everyone)
        if own >= share:
            return {}, Fraction(1)
        room = {peer.address: Fraction(count, everyone) - share for peer, count in near}
        room = {address: more for address, more in room.items() if more > 0}
        away = (share - own) / share
        whole = sum(room.values(), Fraction(0))
        if not whole:
            return {}, Fraction(1)
        return {address: away * more / whole for address, more in room.items()}, 1 - away


def error_ways_away(carriers: Carriers, tunnel: int) -> list[ErrorWay]:
    """Where ICMP errors about flows of other hosts go: by the tunnel, whose number is `tunnel`, to those that serve an
    address; to the nearest ones, where they are many.
    """
    found: defaultdict[BackbonePeer, list[Address]] = defaultdict(list)
    for address in sorted(carriers.addresses, key=lambda a: (a.version, int(a))):
        for peer, _ in sorted(carriers.serving(address), key=lambda one: one[0].distance_km)[:MOST_COPIES]:
            found[peer].append(address)
    return [
        ErrorWay(
            short=str(peer.address), number=tunnel, privates=(peer.address, tunnel_end(peer.router_id)),
            anycast=tuple(addresses), away=True,
        )
        for peer, addresses in found.items()
    ]  # fmt: skip


def members(local: Sequence[str], away: Mapping[IPv4Address, Fraction], stays: Fraction) -> list[Member]:
    """Members with weights that give these parts, all of them from 1 to `FULL`: own instances by their short names, and
    other hosts. With own instances alone each has its full weight.
    """
    if stays and not any(away.values()):
        return ordered(Member(short=key, weight=FULL) for key in local)
    parts = {Member(short=key): stays / len(local) for key in local} if stays else {}
    parts |= {Member(short="", peer=peer): part for peer, part in away.items() if part}
    most = max(parts.values(), default=Fraction(1))
    return ordered(
        Member(short=m.short, peer=m.peer, weight=max(LINGER + 1, round(FULL * part / most)))
        for m, part in parts.items()
    )


def ordered(those: Iterable[Member]) -> list[Member]:
    """Own instances by name, then other hosts by address."""
    return sorted(those, key=lambda m: (m.peer is not None, m.short, int(m.peer or 0)))

"""What may pass: which sources an instance's link lets out, which ports are reached from where, who may speak to the
host, and what the host forwards for others. Pure.

In: the order and the instances here, also those that are leaving (they go on answering while they drain). Out:
`Firewall`; `act.network.firewall` puts it into nft.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from ipaddress import collapse_addresses

from anypop.agent.decide import bound, gateways, vpc
from anypop.agent.decide.elements import Firewall, GuardedLink, Opening, RuledLinks
from anypop.agent.naming import RESOLVER4, RESOLVER6, TUNNEL, device_group_of, inside_mac, link_of, tunnel_end
from anypop.model.announce import Address, Prefix
from anypop.model.order import InstanceOrder, LinkAddress, Order
from anypop.model.policy import at_interface
from anypop.model.workload import Protocol

RESOLVER = tuple(
    Opening(address=address, protocol=protocol, port=53)
    for address in (RESOLVER4, RESOLVER6)
    for protocol in (Protocol.TCP, Protocol.UDP)
)
"""What instances may ask of their host."""


def firewall_for(order: Order, instances: Iterable[InstanceOrder]) -> Firewall:
    """The rules for these, sorted."""
    all_ = sorted(instances, key=lambda i: i.uid)
    upstreams = order.upstreams
    neighbors: set[tuple[str, Address]] = {
        (u.interface if u.multihop is None else "", a)
        for u in upstreams
        for a in (u.neighbor4, u.neighbor6)
        if a is not None
    }
    ours: set[Prefix] = {order.external4, order.external6, *(a.prefix for a in order.announcements)}
    if order.backbone is not None:
        ours |= set(order.backbone.carried)
        neighbors |= {(TUNNEL, tunnel_end(peer.router_id)) for peer in order.backbone.peers}
    rulings, parts, kin = tuple(_ruled(order, all_)), vpc.parts_of(all_), _kin(all_)
    return Firewall(
        links=tuple(link for i in all_ for link in _links(i)),
        openings=_openings((i, a, False) for i in all_ for a in _public(i)),
        inside=_openings((i, a, True) for i in all_ for a in (*_private(i), *_public(i))),
        kin=kin,
        uplinks=tuple(sorted({u.interface for u in upstreams})),
        neighbors=tuple(sorted(neighbors, key=lambda n: (n[0], n[1].version, int(n[1])))),
        ours=tuple(sorted(ours, key=str)),
        hidden=(order.private4, order.private6, *parts),
        unreachable=(*order.rules.unreachable, *_private_elsewhere(order)),
        services=RESOLVER,
        carries=order.backbone is not None,
        policies=order.policies if rulings else (),
        groups=order.groups if rulings else (),
        rulings=rulings,
        inner=_inner(order, parts) if rulings else (),
        here=bound.here(order, all_),
        parts=parts,
        vpc=vpc.among(all_),
        routed=gateways.routed(all_),
        passing=gateways.passing(all_),
        passed=tuple(one for one in gateways.passed(all_) if one.group in kin),
        members=gateways.members(all_),
    )


def _ruled(order: Order, instances: Iterable[InstanceOrder]) -> Iterator[RuledLinks]:
    """Of the instances that are here: their links by the policies that apply to them."""
    here = {at_interface(i.uid, n): link_of(i.uid, n) for i in instances for n in range(len(i.links))}
    for ruling in order.rulings:
        if links := tuple(here[uid] for uid in ruling.uids if uid in here):
            yield RuledLinks(policies=ruling.policies, links=links)


def _inner(order: Order, parts: tuple[Prefix, ...]) -> tuple[Prefix, ...]:
    """What this host's own instances have, and the private addresses of others: no source out there is one of these."""
    own: set[Prefix] = {order.private4, order.private6, *bound.bound(order), *_private_elsewhere(order)}
    own |= set(parts)
    return tuple(p for v in (4, 6) for p in collapse_addresses(sorted(p for p in own if p.version == v)))  # type: ignore[type-var]


def _private_elsewhere(order: Order) -> Iterator[Prefix]:
    """Links of other hosts: reached by a tunnel, or not at all."""
    for peer in order.backbone.peers if order.backbone is not None else ():
        yield from (prefix for prefix in (peer.private4, peer.private6) if prefix is not None)


def _links(instance: InstanceOrder) -> Iterator[GuardedLink]:
    """Of each of its interfaces: what it may send from. By a further one nothing leaves the network that it is in."""
    for n, link in enumerate(instance.links):
        yield GuardedLink(
            name=link_of(instance.uid, n),
            own=(*_inside(link.addresses), *(_public(instance) if n == 0 else ())),
            mac=inside_mac(instance.uid, n),
            inward=n > 0 or not any(True for _ in instance.externals()),
        )


def _kin(instances: Iterable[InstanceOrder]) -> tuple[int, ...]:
    """Device groups inside which links may reach each other. One that two stacks happen to have is none."""
    stacks: defaultdict[int, set[str]] = defaultdict(set)
    for instance in instances:
        for domain in instance.domains:
            stacks[device_group_of(domain)].add(domain)
    return tuple(sorted(group for group, found in stacks.items() if len(found) == 1))


def _openings(places: Iterable[tuple[InstanceOrder, Address, bool]]) -> tuple[Opening, ...]:
    """For each instance and address the ports that are open to all, or (True) all that are declared."""
    found = dict[tuple[int, int, str, int], Opening]()
    for instance, address, every in places:
        for protocol, port in _ports(instance, every=every):
            found[address.version, int(address), protocol, port] = Opening(
                address=address, protocol=protocol, port=port
            )
    return tuple(found[place] for place in sorted(found))


def _ports(instance: InstanceOrder, *, every: bool) -> Iterator[tuple[Protocol, int]]:
    return ((p.protocol, p.port) for c in instance.containers for p in c.ports if every or p.open_to_all)


def _private(instance: InstanceOrder) -> list[Address]:
    return _inside(instance.addresses())


def _inside(addresses: Iterable[LinkAddress]) -> list[Address]:
    return [own for a in addresses for own in (a.private, a.vpc) if own is not None]


def _public(instance: InstanceOrder) -> list[Address]:
    return [*instance.externals(), *instance.anycast]

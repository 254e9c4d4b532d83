"""Addresses in subnets of stacks' networks, as one host sees them: those of its own instances, and those of others of
the network elsewhere. Pure.

In: the instances here, and what other hosts tell of their instances' own addresses. Out: who may be reached at which
address from which links, the parts of subnets that this host has, and the addresses of instances elsewhere, which
follow from their links by arithmetic (`model.subnets`): so nobody has to be believed for them.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_network

from anypop.agent.decide.backbone import Sibling
from anypop.agent.naming import device_group_of
from anypop.model.announce import Address, Prefix
from anypop.model.backbone import BackbonePeer
from anypop.model.order import InstanceOrder, LinkAddress
from anypop.model.subnets import PART_BITS, address_in

Reach = Mapping[int, frozenset[Prefix]]
"""The subnets of the network that a device group stands for."""


def reach_of(instances: Iterable[InstanceOrder]) -> Reach:
    """By the links that are here."""
    found: defaultdict[int, set[Prefix]] = defaultdict(set)
    for instance in instances:
        for domain, link in zip(instance.domains, instance.links, strict=False):
            if link.reach:
                found[device_group_of(domain)].update(link.reach)
    return {group: frozenset(prefixes) for group, prefixes in found.items()}


def parts_of(instances: Iterable[InstanceOrder]) -> tuple[Prefix, ...]:
    """What this host has of subnets in which it has instances; sorted."""
    found: set[Prefix] = {
        ip_network((address.vpc, address.vpc.max_prefixlen - PART_BITS), strict=False)
        for instance in instances
        for address in instance.addresses()
        if address.vpc is not None
    }
    return tuple(sorted(found, key=lambda p: (p.version, int(p.network_address))))


def among(instances: Iterable[InstanceOrder]) -> tuple[tuple[int, Address], ...]:
    """The own addresses of those that are in a network with addresses in subnets here, each with the device group of
    the links from which it is reached by the ways of that network; sorted.
    """
    by_group: defaultdict[int, list[LinkAddress]] = defaultdict(list)
    for instance in instances:
        for domain, link in zip(instance.domains, instance.links, strict=False):
            by_group[device_group_of(domain)] += link.addresses
    found = {
        (group, own)
        for group, those in by_group.items()
        if any(address.vpc is not None for address in those)
        for address in those
        for own in (address.private, address.external, address.vpc)
        if own is not None
    }
    return tuple(sorted(found, key=lambda place: (place[0], place[1].version, int(place[1]))))


def siblings_in_subnets(siblings: Iterable[Sibling], peers: Iterable[BackbonePeer], reach: Reach) -> Iterator[Sibling]:
    """The same instances at the addresses that they have, or would have, in each subnet of their network."""
    known = {peer.address: peer for peer in peers}
    for sibling in siblings:
        subnets, peer = reach.get(sibling.group, ()), known.get(sibling.peer)
        if subnets and peer is not None and peer.number is not None:
            link = _link_of(sibling.address, peer)
            for subnet in subnets:
                address = address_in(subnet, peer.number, link) if link is not None else None
                if address is not None:
                    yield replace(sibling, address=address)


def _link_of(address: Address, peer: BackbonePeer) -> int | None:
    """The number of the link whose private address it is; None for any other address."""
    for prefix in (peer.private4, peer.private6):
        if prefix is not None and prefix.version == address.version and address in prefix:
            return (int(address) - int(prefix.network_address)) // 2
    return None

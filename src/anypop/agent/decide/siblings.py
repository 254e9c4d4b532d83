"""Instances of one network at several hosts: which of other hosts those here may reach, and what is told of those here.

In: the instances that are known here, what other hosts tell, what is in the kernel. Out: each own address of an
instance elsewhere with its host; and for each own address of one here the number of its network and whether it serves,
for each destination of a network with gateways here how many of them there is a way to. Pure.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from ipaddress import ip_network

from anypop.agent.decide import gateways
from anypop.agent.decide.backbone import Carriers, Sibling
from anypop.agent.decide.observed import Observed
from anypop.agent.decide.vpc import reach_of, siblings_in_subnets
from anypop.agent.naming import UNWELL, device_group_of, sibling_number
from anypop.model.announce import Address, Prefix
from anypop.model.order import InstanceOrder


@lru_cache(maxsize=1 << 16)  # asked for each instance in each pass
def network_of(address: Address) -> Prefix:
    """The prefix of an address alone."""
    return ip_network(address)


def elsewhere(
    instances: Iterable[InstanceOrder], carriers: Carriers, kin: Collection[int]
) -> Mapping[Address, Sibling]:
    """Instances at other hosts whose networks have some here, by each of their own addresses. `kin`: device groups that
    are one network's alone: two networks with one device group cannot be told apart here, so neither reaches anybody.
    """
    here = list(instances)
    domains = {domain for one in here for domain in one.domains}
    groups = {sibling_number(domain): device_group_of(domain) for domain in domains}
    groups = {number: group for number, group in groups.items() if group in kin}
    told = list(carriers.siblings(groups))
    inside = siblings_in_subnets(told, carriers.peers, reach_of(here))
    return {s.address: s for s in (*told, *inside)}


def told_of(
    known: Mapping[str, InstanceOrder],
    observed: Observed,
    external: Mapping[str, Collection[Prefix]],
    serves: Callable[[InstanceOrder], bool],
) -> Mapping[Address, int]:
    """What other hosts are told. Private addresses as long as their link is there, external ones as long as they lead
    to it, each with whether its instance serves. `external`: the routes that lead to each instance.
    """
    found = dict[Address, int]()
    for key, instance in known.items():
        if not observed.links.get(key):
            continue
        leading, unwell = external.get(key, ()), 0 if serves(instance) else UNWELL
        for domain, link in zip(instance.domains, instance.links, strict=False):
            for address in link.addresses:
                found[address.private] = sibling_number(domain) | unwell
                if address.external is not None and network_of(address.external) in leading:
                    found[address.external] = sibling_number(domain) | unwell
    if observed.gateways:
        found |= gateways.told(known.values(), observed.gateways)
    return found

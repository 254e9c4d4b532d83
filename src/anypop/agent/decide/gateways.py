"""Routes of stacks' networks through gateways, as one host carries them out. Pure.

In: the instances here, and how many gateways other hosts tell of. Out: for each network with such routes a slot (of
marks and routing tables), what of its packets goes by it, by which links' sources it may come back, and each way with
the gateways that serve now, here and elsewhere. A way whose gateways are all gone stays, without any: who takes it is
told that nobody can be reached. What comes from another host has ways of its own, to gateways here alone, and only who
has such a way tells others of it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, collapse_addresses
from zlib import crc32

from anypop.agent.naming import GATEWAY_SLOTS, device_group_of, gateway_key, link_of
from anypop.model.announce import Address, Prefix
from anypop.model.gateway_route import in_turn, led_domains
from anypop.model.order import InstanceLink, InstanceOrder

Hops = tuple[tuple[str, Address], ...]
"""Links of gateways, and their addresses there."""
Away = tuple[tuple[IPv4Address, int], ...]
"""Other hosts by their end of the tunnels, each with how many gateways it has."""
MOST_TOLD = 100  # that many gateways of a host count for its share


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayWay:
    """One destination of a network. `slot`: the network's; `hops`, `away`: gateways here and elsewhere, sorted; none:
    nobody passes it on. `coming`: for what comes by the tunnel.
    """

    slot: int
    prefix: Prefix
    hops: Hops = ()
    away: Away = ()
    coming: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """What of a network's packets goes by its gateways: those from links of `group` to these prefixes, or to those of
    them to which gateways here lead.
    """

    slot: int
    group: int
    prefixes: tuple[Prefix, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Passing:
    """A gateway's link, and whose packets it may send beside its own: what comes back from where it leads."""

    link: str
    prefixes: tuple[Prefix, ...]


def slots_of(domains: Iterable[str]) -> Mapping[str, int]:
    """A slot for each network, beginning at one that follows from it. Those for which there is none have no ways."""
    free, found = list(GATEWAY_SLOTS), dict[str, int]()
    for domain in led_domains(domains):
        found[domain] = free.pop(crc32(domain.encode()) % len(free))
    return found


def routed(instances: Iterable[InstanceOrder]) -> tuple[Routed, ...]:
    """By network, sorted by slot."""
    by_domain: defaultdict[str, set[Prefix]] = defaultdict(set)
    for domain, _, _, link in _links(instances):
        by_domain[domain].update(link.ways)
    slots = slots_of(domain for domain, prefixes in by_domain.items() if prefixes)
    found = (
        Routed(slot=slot, group=device_group_of(domain), prefixes=_whole(by_domain[domain]))
        for domain, slot in slots.items()
    )
    return tuple(sorted(found, key=lambda one: one.slot))


def passing(instances: Iterable[InstanceOrder]) -> tuple[Passing, ...]:
    """The gateways' links, sorted."""
    found = (
        Passing(link=link_of(one.uid, n), prefixes=_whole(link.passes))
        for _, one, n, link in _links(instances)
        if link.passes
    )
    return tuple(sorted(found, key=lambda one: one.link))


def passed(instances: Iterable[InstanceOrder]) -> tuple[Routed, ...]:
    """The networks that have gateways here, and what these lead to; sorted by slot."""
    by_domain: defaultdict[str, set[Prefix]] = defaultdict(set)
    led = set[str]()
    for domain, _, _, link in _links(instances):
        by_domain[domain].update(link.passes)
        led |= {domain} if link.ways else set()
    found = (
        Routed(slot=slot, group=device_group_of(domain), prefixes=_whole(by_domain[domain]))
        for domain, slot in slots_of(led).items()
        if by_domain[domain]
    )
    return tuple(sorted(found, key=lambda one: one.slot))


def members(instances: Iterable[InstanceOrder]) -> tuple[tuple[int, Address], ...]:
    """The addresses by which those are known who are in networks with such routes; sorted."""
    there = list(_links(instances))
    slots = slots_of(domain for domain, _, _, link in there if link.ways)
    found = {
        (slots[domain], own)
        for domain, _, _, link in there
        if domain in slots
        for address in link.addresses
        for own in (address.private, address.vpc, address.external)
        if own is not None
    }
    return tuple(sorted(found, key=lambda one: (one[0], one[1].version, int(one[1]))))


Elsewhere = Callable[[Address, bool], Away]
"""By the key of a destination, and whether it has gateways here: those of other hosts."""


def ways(
    instances: Iterable[InstanceOrder],
    serves: Callable[[InstanceOrder], bool],
    elsewhere: Elsewhere = lambda _key, _here: (),
    *,
    tunnel: bool = False,
) -> frozenset[GatewayWay]:
    """All of them, with those gateways that serve. `tunnel`: there is one by which other hosts may send."""
    there: defaultdict[str, list[tuple[InstanceOrder, int, InstanceLink]]] = defaultdict(list)
    for domain, one, n, link in _links(instances):
        there[domain].append((one, n, link))
    slots = slots_of(domain for domain, links in there.items() if any(link.ways for _, _, link in links))
    found = set[GatewayWay]()
    for domain, slot in slots.items():
        serving = [(link_of(one.uid, n), link) for one, n, link in there[domain] if link.passes and serves(one)]
        for prefix in {prefix for _, _, link in there[domain] for prefix in link.ways}:
            hops = (
                (name, address.private)
                for name, link in serving
                if prefix in link.passes and (address := link.of(prefix.version)) is not None
            )
            here = tuple(sorted(hops))
            away = elsewhere(gateway_key(domain, str(prefix)), bool(here))
            found.add(GatewayWay(slot=slot, prefix=prefix, hops=here, away=away))
            if tunnel and any(prefix in link.passes for _, _, link in there[domain]):
                found.add(GatewayWay(slot=slot, prefix=prefix, hops=here, coming=True))
    return frozenset(found)


def told(instances: Iterable[InstanceOrder], there: Iterable[GatewayWay]) -> Mapping[Address, int]:
    """What other hosts are told: how many gateways there is a way to, of those that are `there`."""
    coming = {(way.slot, way.prefix): way.hops for way in there if way.coming and way.hops}
    if not coming:
        return {}
    slots = slots_of(domain for domain, _, _, link in _links(instances) if link.ways)
    by_slot = {slot: domain for domain, slot in slots.items()}
    return {
        gateway_key(by_slot[slot], str(prefix)): min(len(hops), MOST_TOLD)
        for (slot, prefix), hops in coming.items()
        if slot in by_slot
    }


def _links(instances: Iterable[InstanceOrder]) -> Iterable[tuple[str, InstanceOrder, int, InstanceLink]]:
    for one in instances:
        for n, (domain, link) in enumerate(zip(one.domains, one.links, strict=False)):
            yield domain, one, n, link


def _whole(prefixes: Iterable[Prefix]) -> tuple[Prefix, ...]:
    """In as few as can say it, without any inside another."""
    those: Sequence[Prefix] = in_turn(prefixes)
    return tuple(
        p
        for v in (4, 6)
        for p in collapse_addresses(p for p in those if p.version == v)  # type: ignore[type-var]
    )

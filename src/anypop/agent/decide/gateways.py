"""Routes of stacks' networks through gateways, as one host carries them out. Pure.

In: the instances here. Out: for each network with such routes a slot (of marks and routing tables), what of its packets
goes by it, by which links' sources it may come back, and each way with the gateways that serve now. A way whose
gateways are all gone stays, without any: who takes it is told that nobody can be reached. Gateways of other hosts are
not used.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import collapse_addresses
from zlib import crc32

from anypop.agent.naming import GATEWAY_SLOTS, device_group_of, link_of
from anypop.model.announce import Address, Prefix
from anypop.model.gateway_route import in_turn, led_domains
from anypop.model.order import InstanceLink, InstanceOrder

Hops = tuple[tuple[str, Address], ...]
"""Links of gateways, and their addresses there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayWay:
    """One destination of a network. `slot`: the network's; `hops`: sorted, empty: nobody passes it on."""

    slot: int
    prefix: Prefix
    hops: Hops = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """What of a network's packets goes by its gateways: those from links of `group` to these prefixes."""

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


def ways(instances: Iterable[InstanceOrder], serves: Callable[[InstanceOrder], bool]) -> frozenset[GatewayWay]:
    """All of them, with those gateways that serve."""
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
            found.add(GatewayWay(slot=slot, prefix=prefix, hops=tuple(sorted(hops))))
    return frozenset(found)


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

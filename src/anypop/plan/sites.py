"""The network by name: what the planner looks up again and again, worked out once for each network document.

In: a `Network`. Out: `Sites`, with each host's PoP, its numbers and its place in the document. Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from anypop.model.announce import Prefix, PrefixPolicy
from anypop.model.backbone import Backbone
from anypop.model.names import CityCode, HostName
from anypop.model.network import Host, Network, Pop
from anypop.plan.addresses import Numbering
from anypop.plan.backbone import backbones


class Site(NamedTuple):
    """A host where it stands."""

    pop: Pop
    host: Host
    numbers: Numbering


@dataclass(frozen=True, slots=True, kw_only=True)
class Sites:
    """`hosts` and `pops` in the order of the document. `covering`: the anycast prefixes. `ours`: see `Network`.
    `disjoint`: no two hosts share an address. `backbones`: each host's part, without what is carried; empty where there
    is none.
    """

    network: Network
    hosts: dict[HostName, Site]
    pops: dict[CityCode, Pop]
    ranks: dict[CityCode, int]
    order: dict[HostName, int]
    covering: frozenset[Prefix]
    ours: tuple[Prefix, ...]
    disjoint: bool
    policies: dict[Prefix, PrefixPolicy]
    backbones: dict[HostName, Backbone]

    @classmethod
    def of(cls, network: Network) -> "Sites":
        numbers = network.numbers()
        hosts = {host.name: Site(pop, host, Numbering.of(host, numbers[host.name])) for pop, host in network.hosts()}
        pops = {pop.city: pop for pop in network.pops}
        owned: list[Prefix] = [*network.anycast4, *network.anycast6]
        for site in hosts.values():
            owned += (site.host.private4, site.host.private6, site.host.external4, site.host.external6)
        return cls(
            network=network,
            hosts=hosts,
            pops=pops,
            ranks={city: rank for rank, city in enumerate(pops)},
            order={host: rank for rank, host in enumerate(hosts)},
            covering=frozenset((*network.anycast4, *network.anycast6)),
            ours=network.ours(),
            disjoint=_are_disjoint(owned),
            policies={policy.prefix: policy for policy in network.policies},
            backbones=backbones(network),
        )

    def in_order(self, hosts: Iterable[HostName]) -> list[HostName]:
        """Some of the hosts, as the document has them."""
        return sorted(hosts, key=self.order.__getitem__)

    def may_announce(self, prefix: Prefix, city: CityCode) -> bool:
        """Whether the operator lets a PoP announce a covering prefix."""
        policy = self.policies.get(prefix)
        return policy is None or policy.pops is None or city in policy.pops

    def backbone_of(self, host: HostName, carried: tuple[Prefix, ...]) -> Backbone | None:
        """A host's part of the backbone, with what is carried."""
        part = self.backbones.get(host)
        return replace(part, carried=carried) if part is not None and carried else part

    def pop_of(self, host: HostName) -> CityCode:
        """A host's city; of one that has left the network its own name, as for the only host of a PoP."""
        site = self.hosts.get(host)
        return site.pop.city if site is not None else CityCode(host)


def _are_disjoint(prefixes: Iterable[Prefix]) -> bool:
    """Whether no two share an address: each must end before the next begins."""
    spans = sorted((p.version, int(p.network_address), int(p.broadcast_address)) for p in prefixes)
    return all(a[0] != b[0] or a[2] < b[1] for a, b in pairwise(spans))

"""Addresses by arithmetic: everything an instance is called in IP follows from its host and two numbers there.

In: a host's prefixes, the slot's index and the incarnation's link, both from 0. Out: the incarnation's link (a /31 and
a /127, the router's end first) and the slot's external addresses (`base + 1 + index`, so never the network's own and
never its broadcast address). Nothing is stored beside the numbers, so nothing can differ.
"""

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

from anypop.model.announce import Address, Prefix
from anypop.model.network import Host
from anypop.model.order import LinkAddress
from anypop.model.subnets import NO_VPC, Vpc, address_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbering:
    """One host's prefixes as integers: `places` slots fit into its external prefixes, `links` incarnations into its
    private ones. `number`: the host's.
    """

    private4: int
    private6: int
    external4: int
    external6: int
    places: int
    links: int
    number: int = 0

    @classmethod
    def of(cls, host: Host, number: int = 0) -> "Numbering":
        return cls(
            private4=int(host.private4.network_address),
            private6=int(host.private6.network_address),
            external4=int(host.external4.network_address),
            external6=int(host.external6.network_address),
            places=max(0, min(hosts(host.external4), hosts(host.external6))),
            links=max(0, min(host.private4.num_addresses // 2, host.private6.num_addresses // 2)),
            number=number,
        )

    def addresses(self, index: int, link: int) -> tuple[LinkAddress, LinkAddress]:
        """IPv4 and IPv6 of one incarnation."""
        four, six = self.private4 + 2 * link, self.private6 + 2 * link
        return (
            LinkAddress(
                gateway=IPv4Address(four),
                private=IPv4Address(four + 1),
                external=IPv4Address(self.external4 + 1 + index),
            ),
            LinkAddress(
                gateway=IPv6Address(six), private=IPv6Address(six + 1), external=IPv6Address(self.external6 + 1 + index)
            ),
        )

    def on_link(
        self, index: int | None, link: int, families: tuple[int, ...] = (4, 6), vpc: Vpc = NO_VPC
    ) -> tuple[LinkAddress, ...]:
        """The addresses of one interface. `index` None: it has no external ones."""
        found: tuple[LinkAddress, ...] = self.addresses(index or 0, link)
        if families != (4, 6):
            found = tuple(one for one in found if one.private.version in families)
        if index is None:
            found = tuple(replace(one, external=None) for one in found)
        if vpc.subnets:
            inside = self.in_subnets(vpc, link)
            found = tuple(replace(one, vpc=inside.get(one.private.version)) for one in found)
        return found

    def private(self, link: int) -> tuple[IPv4Address, IPv6Address]:
        """What stands as `private` in `addresses`."""
        return IPv4Address(self.private4 + 2 * link + 1), IPv6Address(self.private6 + 2 * link + 1)

    def in_subnets(self, vpc: Vpc, link: int) -> dict[int, Address]:
        """An incarnation's addresses in the subnets of its network, by family."""
        found = ((subnet.version, address_in(subnet, self.number, link)) for subnet in vpc.subnets)
        return {version: address for version, address in found if address is not None}


def hosts(prefix: Prefix) -> int:
    """Addresses of a prefix without its first and its last, which old equipment and people take for something else."""
    return prefix.num_addresses - 2

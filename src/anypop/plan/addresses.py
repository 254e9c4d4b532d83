"""Addresses by arithmetic: everything an instance is called in IP follows from its PoP and its index there.

In: a PoP's prefixes and an index from 0. Out: the instance's link (a /31 and a /127, the router's end first) and its external addresses
(`base + 1 + index`, so never the network's own and never its broadcast address). Nothing is stored beside the index, so nothing can differ.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from anypop.model.announce import Prefix
from anypop.model.network import Pop


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbering:
    """One PoP's prefixes as integers: `capacity` instances fit into the smallest of them."""

    private4: int
    private6: int
    external4: int
    external6: int
    capacity: int

    @classmethod
    def of(cls, pop: Pop) -> "Numbering":
        capacity = min(
            pop.private4.num_addresses // 2,
            pop.private6.num_addresses // 2,
            hosts(pop.external4),
            hosts(pop.external6),
        )
        return cls(
            private4=int(pop.private4.network_address),
            private6=int(pop.private6.network_address),
            external4=int(pop.external4.network_address),
            external6=int(pop.external6.network_address),
            capacity=max(0, capacity),
        )

    def link4(self, index: int) -> tuple[IPv4Address, IPv4Address]:
        """Gateway and instance of the /31."""
        base = self.private4 + 2 * index
        return IPv4Address(base), IPv4Address(base + 1)

    def link6(self, index: int) -> tuple[IPv6Address, IPv6Address]:
        """Gateway and instance of the /127."""
        base = self.private6 + 2 * index
        return IPv6Address(base), IPv6Address(base + 1)

    def outside(self, index: int) -> tuple[IPv4Address, IPv6Address]:
        """The external addresses."""
        return IPv4Address(self.external4 + 1 + index), IPv6Address(self.external6 + 1 + index)


def hosts(prefix: Prefix) -> int:
    """Addresses of a prefix without its first and its last, which old equipment and people take for something else."""
    return prefix.num_addresses - 2

"""Subnets of a stack's networks: which part of one a host has, and which address there an instance has. By arithmetic.

In: a subnet, the number of a host (one of a kind on the platform), the number of an instance's link on that host. Out:
the host's part of the subnet (its number counts the parts, from the end: people number
their own from the beginning), and the address. The last bits of an address follow from
host and link alone, whatever subnet it is in, so no two instances of a platform ever have one address, although their
networks may overlap or be the same. Pure.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from anypop.model.announce import Address, Prefix
from anypop.model.gateway_route import Way

PART_BITS = 8
LINKS = (1 << (PART_BITS - 1)) - 1
"""So many instances of a host can have addresses in subnets: a part is a /24 or a /120, and a link has two addresses
of it, of which the instance has the second (as of the link's own); the last is left, which looks like a broadcast.
"""
MOST_HOSTS = 1 << 16
MOST_INTERFACES = 4  # of an instance


@dataclass(frozen=True, slots=True, kw_only=True)
class Vpc:
    """The subnets of one interface. `subnets`: those that its addresses are in, one for each family at most; `reach`:
    all of its network, in which others of the network may be. `named`: what was declared, by slug ("": the network's
    own), of IPv4 and of IPv6. `ways`: the network's routes through gateways.
    """

    subnets: tuple[Prefix, ...] = ()
    reach: tuple[Prefix, ...] = ()
    named: tuple[str, str] = ("", "")
    ways: tuple[Way, ...] = ()


NO_VPC = Vpc()


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """One interface of every instance of a workload: in a network of its stack, by slug, with the subnets that it names
    there, and the families of its addresses.
    """

    network: str
    vpc: Vpc = NO_VPC
    families: tuple[int, ...] = (4, 6)


def part_of(subnet: Prefix, number: int) -> Prefix | None:
    """The part of a subnet that the host with this number has; None where the subnet ends before it."""
    length = subnet.max_prefixlen - PART_BITS
    parts = 1 << max(0, length - subnet.prefixlen)
    if subnet.prefixlen > length or number >= parts:
        return None
    # by bytes, since a small number is an address of IPv4
    first = int(subnet.network_address) + ((parts - 1 - number) << PART_BITS)
    return ip_network((first.to_bytes(subnet.max_prefixlen // 8), length))


def address_in(subnet: Prefix, number: int, link: int) -> Address | None:
    """An instance's address in a subnet; None where there is none for it. IPv6 has it as IPv4, in its last bits."""
    part = part_of(subnet, number)
    return part[2 * link + 1] if part is not None and 0 <= link < LINKS else None


def least_length(version: int, numbers: Iterable[int]) -> int:
    """The longest prefix that has a part for every host."""
    return (32 if version == 4 else 128) - PART_BITS - max(numbers, default=0).bit_length()


def problems(subnet: Prefix, numbers: Iterable[int], taken: Iterable[tuple[str, Prefix]]) -> Iterator[str]:
    """Why a subnet cannot be given on a platform whose hosts have these numbers. `taken`: what the platform has itself,
    in words.
    """
    if why := _never(subnet):
        yield why
        return
    hosts = list(numbers)
    longest = least_length(subnet.version, hosts)
    if subnet.prefixlen > longest:
        yield (
            f"{subnet} is too small: each host has a part of {LINKS} instances in it, and the hosts of this platform "
            f"need a /{longest} at least"
        )
        return
    parts = [part for number in hosts if (part := part_of(subnet, number)) is not None]
    for what, prefix in taken:
        if any(overlaps(prefix, part) for part in parts):
            yield f"the parts of {subnet} that hosts would have overlap {prefix}, {what}; choose another one"
            return


_NEVER = tuple(
    ip_network(text)
    for text in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/8", "fe80::/10", "ff00::/8")
)


def _never(subnet: Prefix) -> str:
    if subnet.prefixlen < 8:
        return f"{subnet} is too large: a /8 at most"
    for prefix in _NEVER:
        if overlaps(prefix, subnet):
            return f"{subnet} overlaps {prefix}, which nobody has as an address of a network"
    return ""


def overlaps(one: Prefix, other: Prefix) -> bool:
    """Whether two prefixes have addresses in common."""
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.overlaps(other)
    return isinstance(one, IPv6Network) and isinstance(other, IPv6Network) and one.overlaps(other)

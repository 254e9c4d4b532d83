"""Where the ICMP errors of each instance are to be led, as the kernel's tables should hold it. Pure.

In: the ways: links with their private addresses and the anycast addresses behind them. Out: `ErrorTable`, one for each
family; `act.network.error_rules` writes it for nft. The chain of an address is named for its content, so that names
tell whether it is right.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from anypop.model.announce import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorWay:
    """A link whose instance has anycast addresses. `number`: the kernel's, which is another one when the link is made
    anew.
    """

    short: str
    number: int
    privates: tuple[Address, ...]
    anycast: tuple[Address, ...]

    def private(self, version: int) -> Address | None:
        return next((a for a in self.privates if a.version == version), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorTable:
    """What one family's table holds. `links`: number by name; `gateways`: private address by number; `rules`: the
    chains that copy to all behind an address, and how many rules each has.
    """

    links: Mapping[str, int] = field(default_factory=dict)
    gateways: Mapping[int, Address] = field(default_factory=dict)
    devices: frozenset[int] = frozenset()
    anycast: frozenset[Address] = frozenset()
    rules: Mapping[str, int] = field(default_factory=dict)


EXTRA_RULES = 2  # of an address's chain: one before the copies, one after


def error_table(ways: Iterable[ErrorWay], version: int) -> ErrorTable:
    """What a family's table should hold."""
    mine = [(way, own) for way in ways if (own := way.private(version)) is not None]
    behind = members_behind(ways, version)
    return ErrorTable(
        links={f"i{way.short}": way.number for way, _ in mine},
        gateways={way.number: own for way, own in mine},
        devices=frozenset(way.number for way, _ in mine),
        anycast=frozenset(behind),
        rules={chain_of(address, those): len(those) + EXTRA_RULES for address, those in behind.items()},
    )


def members_behind(ways: Iterable[ErrorWay], version: int) -> dict[Address, list[tuple[int, Address]]]:
    """The number and the private address of each link behind an anycast address."""
    found: defaultdict[Address, list[tuple[int, Address]]] = defaultdict(list)
    for way in sorted(ways, key=lambda way: way.number):
        own = way.private(version)
        for address in way.anycast:
            if own is not None and address.version == version:
                found[address].append((way.number, own))
    return dict(found)


def chain_of(address: Address, those: list[tuple[int, Address]]) -> str:
    content = hashlib.sha256(" ".join(f"{number} {own}" for number, own in those).encode()).hexdigest()[:12]
    return f"all_{address.packed.hex()}_{content}"

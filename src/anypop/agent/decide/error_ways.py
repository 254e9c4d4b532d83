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
    anew. `away`: it is the tunnel to another host that serves them, and `privates` are that host's ends of it.
    """

    short: str
    number: int
    privates: tuple[Address, ...]
    anycast: tuple[Address, ...]
    away: bool = False

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
Copy = tuple[int, Address, bool]
"""Where a copy goes: the number of a link, the address behind it, and whether that is another host."""


def error_table(ways: Iterable[ErrorWay], version: int) -> ErrorTable:
    """What a family's table should hold."""
    mine = [(way, own) for way in ways if not way.away and (own := way.private(version)) is not None]
    behind = members_behind(ways, version)
    return ErrorTable(
        links={f"i{way.short}": way.number for way, _ in mine},
        gateways={way.number: own for way, own in mine},
        devices=frozenset(way.number for way, _ in mine),
        anycast=frozenset(behind),
        rules={chain_of(address, those): rules_of(those) for address, those in behind.items()},
    )


def rules_of(those: list[Copy]) -> int:
    """How many rules the chain of an address has."""
    return len(those) + EXTRA_RULES + any(away for _, _, away in those)


def members_behind(ways: Iterable[ErrorWay], version: int) -> dict[Address, list[Copy]]:
    """Who is behind an anycast address: instances here first, then other hosts."""
    found: defaultdict[Address, list[Copy]] = defaultdict(list)
    for way in sorted(ways, key=lambda way: (way.away, way.number, way.short)):
        own = way.private(version)
        for address in way.anycast:
            if own is not None and address.version == version:
                found[address].append((way.number, own, way.away))
    return dict(found)


def chain_of(address: Address, those: list[Copy]) -> str:
    text = " ".join(f"{number} {own}{' away' if away else ''}" for number, own, away in those)
    return f"all_{address.packed.hex()}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"

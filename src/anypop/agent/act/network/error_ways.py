"""The tables that lead ICMP errors to their instances, in the kernel: what is there, and one change.

In: the ways as they should be. Out: kernel state by `nft`, read back by netlink. A look costs tens of microseconds
while nobody has changed any rule: the kernel numbers the states of its ruleset. Whatever is not as it must be, whoever
did it, is seen; a table that lacks a rule is made anew in one transaction.
"""

import struct
from collections.abc import Mapping
from ipaddress import ip_address

from anypop.agent.act.network import error_rules, nftables
from anypop.agent.act.network.error_rules import BASE_RULES, FAMILIES
from anypop.agent.act.network.netlink import NETFILTER, Netlink
from anypop.agent.act.network.nft import nft
from anypop.agent.decide.error_ways import ErrorTable, ErrorWay
from anypop.agent.naming import errors_table
from anypop.model.errors import WorldError

_FAMILY = {4: nftables.IP4, 6: nftables.IP6}
Tables = Mapping[int, ErrorTable | None]
"""By family; None: not there, or not whole."""


class ErrorWays:
    """Those of one prefix, in the network namespace in which this was made."""

    def __init__(self, prefix: str) -> None:
        self._table = errors_table(prefix)
        self._net: Netlink | None = None
        self._seen: tuple[int, Tables] | None = None

    def close(self) -> None:
        if self._net is not None:
            self._net.close()

    def look(self) -> Tables | None:
        """What is there; None on a kernel without nftables."""
        try:
            if self._net is None:
                self._net = Netlink(NETFILTER)
            generation = nftables.generation(self._net)
            if self._seen is None or self._seen[0] != generation:
                self._seen = generation, {version: self._read(self._net, version) for version in FAMILIES}
        except (WorldError, OSError):
            return None
        return self._seen[1]

    async def set(self, ways: tuple[ErrorWay, ...]) -> None:
        """One change of both tables. Where what is there is not what it was taken for, both are made anew."""
        there = self.look() or {}
        try:
            await self._load(ways, there)
        except WorldError:
            if not any(there.values()):
                raise
            await self._load(ways, {})

    async def _load(self, ways: tuple[ErrorWay, ...], there: Tables) -> None:
        text = "".join(error_rules.render(self._table, v, ways, there.get(v)) for v in FAMILIES)
        if text:
            await nft("load the ways of ICMP errors", "-f", "-", stdin=text)

    def _read(self, net: Netlink, version: int) -> ErrorTable | None:
        family, table = _FAMILY[version], self._table
        rules = nftables.rule_counts(net, table, family=family)
        if any(rules.get(name) != count for name, count in BASE_RULES.items()):
            return None

        def read(name: str) -> dict[bytes, bytes]:
            return nftables.elements(net, table, name, family=family)

        return ErrorTable(
            links={key.rstrip(b"\0").decode(): _number(number) for key, number in read("links").items()},
            gateways={_number(key): ip_address(address) for key, address in read("gateways").items()},
            devices=frozenset(_number(key) for key, own in read("numbers").items() if key == own),
            anycast=frozenset(ip_address(key) for key in read("everyone").keys() & read("anycast").keys()),
            rules={name: count for name, count in rules.items() if error_rules.is_of_an_address(name)},
        )


def _number(data: bytes) -> int:
    return int(struct.unpack("=I", data[:4])[0])

"""Ways of their own to members of groups, in the kernel: for each mark of a newcomer's slot a routing table with a
route to each address that somebody has it for, and a policy rule. And how many buckets each member of a group has.

In: an address, a slot, a next hop that is there already. Out: kernel state, or what of it is there. A way goes with its
next hop: who dies has none in the same moment, and what has the mark goes by the group.
"""

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, ip_network
from time import monotonic

from anypop.agent.act.network import rtnl
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.act.network.rtnl import MarkRule, NextHop
from anypop.agent.decide.elements import Member, Who
from anypop.agent.naming import (
    DRAIN_MARK_MASK,
    DRAIN_MARK_SHIFT,
    NEWCOMER_PREFERENCE,
    NEWCOMER_SLOTS,
    NEWCOMER_TABLES,
    ROUTE_PROTOCOL,
)
from anypop.model.announce import Address
from anypop.model.errors import WorldError

_COUNTED_S = 2.0  # for so long a count holds: a group of 16,381 buckets takes some milliseconds


def table_of(slot: int) -> int:
    """The routing table of a slot."""
    return NEWCOMER_TABLES + slot


def rules_of(slot: int) -> list[MarkRule]:
    return [
        MarkRule(
            version=version, preference=NEWCOMER_PREFERENCE, table=table_of(slot),
            mark=slot << DRAIN_MARK_SHIFT, mask=DRAIN_MARK_MASK, protocol=ROUTE_PROTOCOL,
        )
        for version in (4, 6)
    ]  # fmt: skip


def look(net: Netlink, hops: Mapping[int, NextHop], names: Mapping[int, str]) -> dict[Address, dict[int, Member]]:
    """The ways that are there: members by address and slot. Where there is no rule, no table is read."""
    found: dict[Address, dict[int, Member]] = {}
    for slot in ruled(net):
        for route in rtnl.routes(net, ROUTE_PROTOCOL, table_of(slot)):
            hop = hops.get(route.nexthop)
            if hop is not None and (who := who_of(hop, names)) is not None:
                member = Member(short=who[0], peer=who[1])
                found.setdefault(route.prefix.network_address, {})[slot] = member
    return found


def who_of(hop: NextHop, names: Mapping[int, str]) -> Who | None:
    """To whom a next hop leads. `names`: of instances, by the numbers of their links."""
    if isinstance(hop.target, IPv4Address):
        return "", hop.target
    return (names[hop.interface], None) if hop.interface in names else None


def lead(net: Netlink, address: Address, slot: int, hop: int) -> None:
    """Make a way over a next hop. Raises `WorldError` where somebody else's rule has that mark."""
    rules = rules_of(slot)
    there = rtnl.mark_rules(net)
    if any(r.mark == rules[0].mark and r.mask == DRAIN_MARK_MASK and r not in rules for r in there):
        raise WorldError(f"lead new flows of {address}", f"the mark {rules[0].mark:#x} is in use")
    if not set(rules) & set(there):  # what stands in a table without a rule is nobody's
        for route in rtnl.routes(net, ROUTE_PROTOCOL, table_of(slot)):
            rtnl.delete_route(net, route.prefix, ROUTE_PROTOCOL, table=table_of(slot))
    rtnl.set_route(net, ip_network(address), ROUTE_PROTOCOL, nexthop=hop, table=table_of(slot))
    for rule in rules:
        rtnl.add_mark_rule(net, rule)


def drop(net: Netlink, address: Address, slot: int) -> None:
    """Take a way away. Harmless when it is gone."""
    rtnl.delete_route(net, ip_network(address), ROUTE_PROTOCOL, table=table_of(slot))


def ruled(net: Netlink) -> list[int]:
    """The slots of which any rule is there."""
    there = {rule.table for rule in rtnl.mark_rules(net) if rule.preference == NEWCOMER_PREFERENCE}
    return [slot for slot in NEWCOMER_SLOTS if table_of(slot) in there]


def unrule(net: Netlink, slot: int) -> None:
    """Take the rules of a slot away, and what is left of its table."""
    for rule in rules_of(slot):
        rtnl.delete_mark_rule(net, rule)
    for route in rtnl.routes(net, ROUTE_PROTOCOL, table_of(slot)):
        rtnl.delete_route(net, route.prefix, ROUTE_PROTOCOL, table=table_of(slot))


def remove(net: Netlink) -> None:
    """The same of all slots. Harmless when there is nothing."""
    for slot in ruled(net):
        unrule(net, slot)


class Buckets:
    """How many buckets each member has, of groups that the kernel could not balance yet: counted now and then."""

    def __init__(self, net: Netlink) -> None:
        self._net = net
        self._entries: dict[int, tuple[tuple[int, int], ...]] | None = None
        self._known: dict[int, tuple[float, dict[Who, int]]] = {}

    def of(
        self, groups: Mapping[int, NextHop], hops: Mapping[int, NextHop], names: Mapping[int, str]
    ) -> Iterator[tuple[int, Mapping[Who, int]]]:
        """By the number of the group. `groups`: those that are used. One that was just changed is counted once in any
        case: for a hundredth of a second the kernel does not tell that it is unbalanced.
        """
        now, before = monotonic(), self._entries
        self._entries = {n: group.group for n, group in groups.items()}
        changed = {n for n, own in self._entries.items() if before is not None and before.get(n) != own}
        wanted = {n: group for n, group in groups.items() if group.unbalanced or n in changed}
        self._known = {n: known for n, known in self._known.items() if n in wanted and n not in changed}
        for number, group in wanted.items():
            at, counts = self._known.get(number, (0.0, dict[Who, int]()))
            if not counts or now >= at + _COUNTED_S:
                counts = {}
                for hop, _ in group.group:
                    if hop in hops and (who := who_of(hops[hop], names)) is not None:
                        counts[who] = counts.get(who, 0) + rtnl.bucket_count(self._net, number, hop)
                self._known[number] = (now, counts)
            yield number, counts

"""Which draining incarnations have their flows pinned, told by the kernel alone; and the end of a pin.

A pin has three parts: routes in a table of its own (to the old link); sets and chains in our nftables table of
drains, which marks its flows; and a policy rule for each family from mark to table. `drain` makes them in this order,
so the rules say that a pin is whole. They are found again by name: the sets are named for slot and incarnation; mark
and routing table follow from the slot. Starts no process.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network

from anypop.agent.act.network import nftables, rtnl
from anypop.agent.act.network.netlink import NETFILTER, Netlink
from anypop.agent.act.network.nftables import Kind
from anypop.agent.act.network.rtnl import MarkRule
from anypop.agent.naming import (
    AWAY_MARK,
    DRAIN_MARK_MASK,
    DRAIN_MARK_SHIFT,
    DRAIN_PREFERENCE,
    DRAIN_SLOTS,
    DRAIN_TABLES,
    GATEWAY_SLOTS,
    NEWCOMER_PREFERENCE,
    NEWCOMER_SLOTS,
    ROUTE_PROTOCOL,
    SIBLING_MARK,
    drain_table,
    link_of,
    short,
)
from anypop.model.announce import Address
from anypop.model.errors import WorldError

# of dials, of siblings elsewhere, and of newcomers
_OTHERS = {*(mark >> DRAIN_MARK_SHIFT for mark in (AWAY_MARK, SIBLING_MARK)), *NEWCOMER_SLOTS, *GATEWAY_SLOTS}
_NAME = re.compile(r"talking_([0-9]{1,3})_([0-9a-f]{10})")  # each pin has one such set


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One incarnation whose flows are pinned. `key`: the ten hex digits of its link; `slot`: 1 to 255."""

    slot: int
    key: str
    addresses: tuple[Address, ...]

    @property
    def mark(self) -> int:
        return self.slot << DRAIN_MARK_SHIFT

    @property
    def table(self) -> int:
        return DRAIN_TABLES + self.slot

    def set_name(self, kind: str) -> str:
        """The name of its nftables set (or chain) of that kind."""
        return f"{kind}_{self.slot}_{self.key}"

    def rule(self, version: int, *, early: bool = False) -> MarkRule:
        """`early`: the one that is there while the pin is made: by the group's buckets not all flows that are marked by
        then would come to its link; those of a newcomer had another mark until now.
        """
        return MarkRule(
            version=version,
            preference=NEWCOMER_PREFERENCE if early else DRAIN_PREFERENCE,
            table=self.table,
            mark=self.mark,
            mask=DRAIN_MARK_MASK,
            protocol=ROUTE_PROTOCOL,
        )


def pinned(net: Netlink, prefix: str) -> dict[str, bool]:
    """The pins here, by the ten hex digits of the incarnation's link: whether all is there. One that is not wants
    `pin` or `unpin`.
    """
    pins = recorded(net, prefix)
    if not pins:
        return {}
    ruled = {(rule.table, rule.version) for rule in _our_rules(net) if rule.preference == DRAIN_PREFERENCE}
    return {
        pin.key: bool(pin.addresses) and all((pin.table, a.version) in ruled for a in pin.addresses) for pin in pins
    }


def recorded(net: Netlink, prefix: str) -> list[Pin]:
    """The pins that have their nftables sets, with the addresses whose routes to their link are there."""
    slots = _slots(prefix)
    if not slots:
        return []
    index = {link.name: link.index for link in rtnl.links(net)}
    return [
        Pin(slot=slot, key=key, addresses=_routed(net, slot, index.get(f"i{key}", 0)))
        for key, slot in sorted(slots.items())
    ]


def reserve(net: Netlink, prefix: str, uid: str, behind: Mapping[Address, Address]) -> Pin:
    """The pin of this incarnation, old or new, with routes to its link: for each key of `behind`, via the private
    address of its value.
    """
    index = next((link.index for link in rtnl.links(net) if link.name == link_of(uid)), None)
    if index is None:
        raise WorldError(f"pin the flows of {link_of(uid)}", "the link is gone")
    pin = Pin(slot=_slot_of(net, prefix, uid, index), key=short(uid), addresses=tuple(behind))
    for address, private in behind.items():
        rtnl.set_route(net, ip_network(address), ROUTE_PROTOCOL, gateway=private, interface=index, table=pin.table)
    for route in rtnl.routes(net, ROUTE_PROTOCOL, pin.table):
        if route.prefix.network_address not in behind:
            rtnl.delete_route(net, route.prefix, ROUTE_PROTOCOL, table=pin.table)
    return pin


def find(net: Netlink, prefix: str, uid: str) -> Pin | None:
    """The pin of this incarnation, or what an interrupted `pin` has left of one."""
    slots = _slots(prefix)
    slot = slots.get(short(uid))
    index = next((link.index for link in rtnl.links(net) if link.name == link_of(uid)), 0)
    if slot is None and index:
        slot = _left_slot(
            net, uid, index, {rule.table - DRAIN_TABLES for rule in _our_rules(net)} - set(slots.values())
        )
    return Pin(slot=slot, key=short(uid), addresses=_routed(net, slot, index)) if slot is not None else None


def delete_rules(net: Netlink, pin: Pin) -> None:
    """From now on its marks mean nothing: what is left of its flows goes where the main table says."""
    for version in (4, 6):
        for early in (False, True):
            rtnl.delete_mark_rule(net, pin.rule(version, early=early))


def delete_routes(net: Netlink, slot: int) -> None:
    for route in rtnl.routes(net, ROUTE_PROTOCOL, DRAIN_TABLES + slot):
        rtnl.delete_route(net, route.prefix, ROUTE_PROTOCOL, table=DRAIN_TABLES + slot)


def unpin_all(net: Netlink, prefix: str) -> None:
    """Remove every pin and every part of one, also of incarnations that nobody remembers. Harmless when there is
    none.
    """
    for rule in _our_rules(net):
        rtnl.delete_mark_rule(net, rule)
    for slot in range(1, DRAIN_SLOTS + 1):
        delete_routes(net, slot)
    with Netlink(NETFILTER) as tables:
        nftables.delete_table(tables, drain_table(prefix))


def _slots(prefix: str) -> dict[str, int]:
    """Slot by incarnation, by the names of the nftables sets that are there."""
    with Netlink(NETFILTER) as tables:
        found = nftables.names(tables, drain_table(prefix), Kind.SET, start="talking_")
    return {match[2]: int(match[1]) for name in found if (match := _NAME.fullmatch(name))}


def _routed(net: Netlink, slot: int, index: int) -> tuple[Address, ...]:
    routes = rtnl.routes(net, ROUTE_PROTOCOL, DRAIN_TABLES + slot)
    return tuple(route.prefix.network_address for route in routes if route.interface == index)


def _slot_of(net: Netlink, prefix: str, uid: str, index: int) -> int:
    """The one it has by its nftables sets, or by what is left of an interrupted `pin`, or a free one."""
    slots = _slots(prefix)
    if slot := slots.get(short(uid)):
        return slot
    rules = rtnl.mark_rules(net)
    if slot := _left_slot(
        net, uid, index, {rule.table - DRAIN_TABLES for rule in rules if _is_ours(rule)} - set(slots.values())
    ):
        return slot
    taken = (
        set(slots.values())
        | {rule.table - DRAIN_TABLES for rule in rules}
        | {rule.mark >> DRAIN_MARK_SHIFT for rule in rules}
    )
    free = (n for n in _order(uid) if n not in taken and not rtnl.routes(net, ROUTE_PROTOCOL, DRAIN_TABLES + n))
    if slot := next(free, None):
        return slot
    raise WorldError(f"pin the flows of {link_of(uid)}", f"all {len(_order(uid))} marks are in use")


def _left_slot(net: Netlink, uid: str, index: int, ruled: set[int]) -> int | None:
    """The slot whose routes lead to this link although no nftables set tells of it: one with a rule, or near where
    the search began.
    """
    for slot in (*ruled, *_order(uid)[:16]):  # a look at all 255 takes 5 ms
        if _routed(net, slot, index):
            return slot
    return None


def _order(uid: str) -> list[int]:
    """All slots, beginning at one that follows from the uid: the same again after an interruption."""
    first = int(short(uid), 16) % DRAIN_SLOTS
    return [slot for n in range(DRAIN_SLOTS) if (slot := 1 + (first + n) % DRAIN_SLOTS) not in _OTHERS]


def _our_rules(net: Netlink) -> list[MarkRule]:
    return [rule for rule in rtnl.mark_rules(net) if _is_ours(rule)]


def _is_ours(rule: MarkRule) -> bool:
    return rule.protocol == ROUTE_PROTOCOL and DRAIN_TABLES < rule.table <= DRAIN_TABLES + DRAIN_SLOTS

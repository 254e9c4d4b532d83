"""Which draining incarnations have their flows pinned, told by the kernel alone; and the end of a pin.

A pin has three parts: routes in a table of its own (to the old link), an nftables table that marks its flows, and a
policy rule for each family from mark to table. `drain` makes them in this order, so the rules say that a pin is
whole. They are found again by name: the nftables table is named for the incarnation, and its comment is the slot,
from which mark and routing table follow. Starts no process.
"""

from ipaddress import ip_network

from anypop.agent.act.network import nftables, rtnl
from anypop.agent.act.network.netlink import NETFILTER, Netlink
from anypop.agent.act.network.rtnl import MarkRule
from anypop.agent.naming import (
    DRAIN_MARK_MASK,
    DRAIN_MARK_SHIFT,
    DRAIN_PREFERENCE,
    DRAIN_SLOTS,
    DRAIN_TABLES,
    ROUTE_PROTOCOL,
    drain_table,
    link_of,
    short,
    short_of_drain_table,
)
from anypop.model.announce import Address
from anypop.model.errors import WorldError


def pinned(net: Netlink, prefix: str) -> dict[str, bool]:
    """The pins here, by the ten hex digits of the incarnation's link: whether all is there. One that is not wants
    `pin` or `unpin`.
    """
    slots = _slots(prefix)
    if not slots:
        return {}
    ruled = {(rule.table, rule.version) for rule in _our_rules(net)}
    names = {link.index: link.name for link in rtnl.links(net)}
    return {key: _is_whole(net, slot, f"i{key}", names, ruled) for key, slot in slots.items()}


def reserve(net: Netlink, prefix: str, uid: str, behind: dict[Address, Address]) -> int:
    """The slot of this incarnation, old or new, with routes to its link: for each key of `behind`, via the private
    address of its value.
    """
    index = next((link.index for link in rtnl.links(net) if link.name == link_of(uid)), None)
    if index is None:
        raise WorldError(f"pin the flows of {link_of(uid)}", "the link is gone")
    slot = _slot_of(net, prefix, uid, index)
    table = DRAIN_TABLES + slot
    for address, private in behind.items():
        rtnl.set_route(net, ip_network(address), ROUTE_PROTOCOL, gateway=private, interface=index, table=table)
    for route in rtnl.routes(net, ROUTE_PROTOCOL, table):
        if route.prefix.network_address not in behind:
            rtnl.delete_route(net, route.prefix, ROUTE_PROTOCOL, table=table)
    return slot


def mark_of(slot: int) -> int:
    return slot << DRAIN_MARK_SHIFT


def rule_of(slot: int, version: int) -> MarkRule:
    return MarkRule(
        version=version, preference=DRAIN_PREFERENCE, table=DRAIN_TABLES + slot, mark=mark_of(slot), mask=DRAIN_MARK_MASK,
        protocol=ROUTE_PROTOCOL,
    )  # fmt: skip


def unpin(net: Netlink, prefix: str, uid: str) -> None:
    """Take the pin away, rules first: what is left of its flows goes where the main table says. Harmless when there
    is none.
    """
    slot = _slots(prefix).get(short(uid))
    if slot is None:
        index = next((link.index for link in rtnl.links(net) if link.name == link_of(uid)), None)
        slot = _left_slot(net, uid, index) if index is not None else None
    if slot is not None:
        for rule in _our_rules(net):
            if rule.table == DRAIN_TABLES + slot:
                rtnl.delete_mark_rule(net, rule)
        _remove_routes(net, slot)
    with Netlink(NETFILTER) as tables:
        nftables.delete_table(tables, drain_table(prefix, short(uid)))


def unpin_all(net: Netlink, prefix: str) -> None:
    """Remove every pin and every part of one, also of incarnations that nobody remembers."""
    for rule in _our_rules(net):
        rtnl.delete_mark_rule(net, rule)
    for slot in range(1, DRAIN_SLOTS + 1):
        _remove_routes(net, slot)
    with Netlink(NETFILTER) as tables:
        for name in nftables.comments(tables):
            if short_of_drain_table(prefix, name):
                nftables.delete_table(tables, name)


def _slots(prefix: str) -> dict[str, int]:
    """Slot by incarnation, of the nftables tables that are there. A table whose comment is not of ours has slot 0,
    which has no parts.
    """
    with Netlink(NETFILTER) as tables:
        found = nftables.comments(tables)
    slots = {str(slot): slot for slot in range(1, DRAIN_SLOTS + 1)}
    return {key: slots.get(comment, 0) for name, comment in found.items() if (key := short_of_drain_table(prefix, name))}


def _is_whole(net: Netlink, slot: int, link: str, names: dict[int, str], ruled: set[tuple[int, int]]) -> bool:
    routes = rtnl.routes(net, ROUTE_PROTOCOL, DRAIN_TABLES + slot) if slot else []
    return bool(routes) and all(
        names.get(route.interface) == link and (DRAIN_TABLES + slot, route.prefix.version) in ruled for route in routes
    )


def _slot_of(net: Netlink, prefix: str, uid: str, index: int) -> int:
    """The one it has by its nftables table, or by what is left of an interrupted `pin`, or a free one."""
    slots = _slots(prefix)
    if slot := slots.get(short(uid)):
        return slot
    with Netlink(NETFILTER) as tables:
        nftables.delete_table(tables, drain_table(prefix, short(uid)))  # a comment cannot be changed
    if slot := _left_slot(net, uid, index):
        return slot
    rules = rtnl.mark_rules(net)
    taken = set(slots.values()) | {rule.table - DRAIN_TABLES for rule in rules} | {rule.mark >> DRAIN_MARK_SHIFT for rule in rules}
    free = (n for n in _order(uid) if n not in taken and not rtnl.routes(net, ROUTE_PROTOCOL, DRAIN_TABLES + n))
    if slot := next(free, None):
        return slot
    raise WorldError(f"pin the flows of {link_of(uid)}", f"all {DRAIN_SLOTS} marks are in use")


def _left_slot(net: Netlink, uid: str, index: int) -> int | None:
    """The slot whose routes lead to this link although no nftables table tells of it."""
    for slot in (*(rule.table - DRAIN_TABLES for rule in _our_rules(net)), *_order(uid)[:16]):  # a look at all 255 takes 5 ms
        routes = rtnl.routes(net, ROUTE_PROTOCOL, DRAIN_TABLES + slot)
        if any(route.interface == index for route in routes):
            return slot
    return None


def _order(uid: str) -> list[int]:
    """All slots, beginning at one that follows from the uid: the same again after an interruption."""
    first = int(short(uid), 16) % DRAIN_SLOTS
    return [1 + (first + n) % DRAIN_SLOTS for n in range(DRAIN_SLOTS)]


def _our_rules(net: Netlink) -> list[MarkRule]:
    tables = range(DRAIN_TABLES + 1, DRAIN_TABLES + DRAIN_SLOTS + 1)
    return [rule for rule in rtnl.mark_rules(net) if rule.protocol == ROUTE_PROTOCOL and rule.table in tables]


def _remove_routes(net: Netlink, slot: int) -> None:
    table = DRAIN_TABLES + slot
    for route in rtnl.routes(net, ROUTE_PROTOCOL, table):
        rtnl.delete_route(net, route.prefix, ROUTE_PROTOCOL, table=table)

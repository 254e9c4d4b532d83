"""The policy rules for what other hosts send to gateways of this one.

In: the slots of networks that have gateways here. Out: three kinds of rules, or which slots have theirs. What comes by
the tunnel with the number of gateways looks by its mark into a table that leads to gateways of this host alone; without
a mark it is lost. All else that comes by the tunnel goes to instances here before any mark is asked: what a gateway
elsewhere has passed on is never passed on again, and what is to be passed on reaches nobody without.
"""

import socket
import struct
from collections.abc import Collection, Iterable, Iterator

from anypop.agent.act.network import netlink as nl
from anypop.agent.act.network import rtnl
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.act.network.rtnl import MarkRule, Rule
from anypop.agent.naming import (
    COMING_PREFERENCE,
    COMING_TABLES,
    DRAIN_MARK_MASK,
    DRAIN_MARK_SHIFT,
    GATEWAY_SLOTS,
    GATEWAY_TUNNEL_NUMBER,
    ROUTE_PROTOCOL,
    TUNNEL,
    VPC_TABLE,
)
from anypop.model.errors import WorldError

_TO_TABLE, _TO_BLACKHOLE = 1, 6  # FR_ACT_*
_LOST, _HERE = COMING_PREFERENCE + 1, COMING_PREFERENCE + 2


def slots(net: Netlink, ruled: Iterable[MarkRule]) -> frozenset[int]:
    """Those that have all rules. `ruled`: those by marks that are there."""
    there = set(ruled)
    found = {s for s in GATEWAY_SLOTS if {_seen(s, 4), _seen(s, 6)} <= there}
    if not found or not _common() <= set(rtnl.rules(net, ROUTE_PROTOCOL, range(_LOST, _HERE + 1))):
        return frozenset()
    return frozenset(found)


def have(net: Netlink, wanted: Collection[int]) -> None:
    """The rules of these slots, and no others."""
    there = {rule for rule in rtnl.mark_rules(net) if rule.preference == COMING_PREFERENCE}
    if wanted:
        for rule in _common():
            _change(net, rtnl.NEW_RULE, _message(rule.version, rule.preference, table=rule.table))
    for slot in GATEWAY_SLOTS:
        for version in (4, 6):
            message = _message(version, COMING_PREFERENCE, table=COMING_TABLES + slot, mark=slot << DRAIN_MARK_SHIFT)
            if slot in wanted and _seen(slot, version) not in there:
                _change(net, rtnl.NEW_RULE, message)
            elif slot not in wanted and _seen(slot, version) in there:
                _change(net, rtnl.DEL_RULE, message)
    if not wanted:
        for rule in _common() & set(rtnl.rules(net, ROUTE_PROTOCOL, range(_LOST, _HERE + 1))):
            _change(net, rtnl.DEL_RULE, _message(rule.version, rule.preference, table=rule.table))


def _common() -> set[Rule]:
    return set(_of_all())


def _of_all() -> Iterator[Rule]:
    for version in (4, 6):
        yield Rule(version=version, preference=_LOST, arriving=TUNNEL, blackhole=True)
        yield Rule(version=version, preference=_HERE, arriving=TUNNEL, table=VPC_TABLE)


def _seen(slot: int, version: int) -> MarkRule:
    return MarkRule(
        version=version, preference=COMING_PREFERENCE, table=COMING_TABLES + slot, mark=slot << DRAIN_MARK_SHIFT,
        mask=DRAIN_MARK_MASK, protocol=ROUTE_PROTOCOL,
    )  # fmt: skip


def _message(version: int, preference: int, *, table: int, mark: int = 0) -> bytes:
    """For what comes by the tunnel. `table` 0: it is lost. Of all but the last kind the number on the wire is that of
    gateways.
    """
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    head = bytes([family, 0, 0, 0, 0, 0, 0, _TO_TABLE if table else _TO_BLACKHOLE]) + bytes(4)
    parts = [nl.u32(6, preference), nl.text(3, TUNNEL), nl.attribute(21, bytes([ROUTE_PROTOCOL]))]
    if table:
        parts.append(nl.u32(15, table))
    if mark:
        parts += [nl.u32(10, mark), nl.u32(16, DRAIN_MARK_MASK)]  # FRA_FWMARK, FRA_FWMASK
    if preference != _HERE:
        parts.append(nl.attribute(12, struct.pack(">Q", GATEWAY_TUNNEL_NUMBER)))  # FRA_TUN_ID
    return head + b"".join(parts)


def _change(net: Netlink, kind: int, message: bytes) -> None:
    """Made twice it is made once."""
    try:
        net.change("change a rule for gateways", kind, nl.CREATE | nl.EXCL if kind == rtnl.NEW_RULE else 0, message)
    except WorldError as error:
        if not (nl.is_there(error) if kind == rtnl.NEW_RULE else nl.is_gone(error)):
            raise

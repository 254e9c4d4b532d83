"""nftables tables as netlink messages: what is in one, whether a set has elements, and its end
(linux/netfilter/nf_tables.h).

In: names. Out: names, yes or no, one change. No process: a look takes some ten microseconds. Rules are not written
here: `nft` compiles them.
"""

import struct
from enum import Enum
from typing import NamedTuple

from anypop.agent.act.network import netlink as nl
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.naming import dials_table, errors_table, newcomers_table, traffic_table, tunnels_table
from anypop.model.errors import WorldError

_SUBSYSTEM = 10
_BEGIN, _END = 0x10, 0x11
_DELETE_TABLE, _GET_CHAINS, _GET_RULES = (_SUBSYSTEM << 8 | n for n in (2, 4, 7))
_GET_SETS, _GET_ELEMENTS, _GET_GENERATION, _GET_OBJECT = (_SUBSYSTEM << 8 | n for n in (10, 13, 16, 19))
INET, IP4, IP6 = 1, 2, 10
"""Families of tables."""

_COUNTER = (1).to_bytes(4, "big")  # NFT_OBJECT_COUNTER
_NUMBER = struct.Struct(">Q")
_HEADER = struct.Struct(">BBH")  # struct nfgenmsg: family, version, and for the marks of a transaction the subsystem


class Kind(Enum):
    """What a table is made of: the message that lists it, and the attribute that holds its name."""

    CHAIN = (_GET_CHAINS, 3)
    SET = (_GET_SETS, 2)


def names(net: Netlink, table: str, kind: Kind, *, start: str = "", family: int = INET) -> list[str]:
    """The names of a table's chains or sets that begin with `start`, those of anonymous sets too; none when the table
    is gone.
    """
    message, name = kind.value
    answers = _dump(net, f"list {kind.name.lower()}s of table {table}", message, nl.text(1, table), family)
    likely = (nl.attributes(payload[4:]) for payload in answers if payload[0] == family and start.encode() in payload)
    return [
        found
        for attributes in likely
        if _text(attributes[1]) == table and (found := _text(attributes[name])).startswith(start)
    ]


def has_elements(net: Netlink, table: str, name: str) -> bool:
    """Whether a set has elements whose time is not over; no when set or table are gone."""
    answers = _dump(net, f"list set {name}", _GET_ELEMENTS, nl.text(1, table) + nl.text(2, name))
    return any(nl.attributes(payload[4:]).get(3) for payload in answers)


def has_any(table: str, name: str) -> bool:
    """The same of a set that may be large: the kernel is asked for the first part of it alone."""
    with Netlink(nl.NETFILTER) as net:
        body = _HEADER.pack(INET, 0, 0) + nl.text(1, table) + nl.text(2, name)
        try:
            return bool(nl.attributes(net.first(f"list set {name}", _GET_ELEMENTS, body)[4:]).get(3))
        except WorldError as error:
            if not nl.is_gone(error):
                raise
            return False


def elements(net: Netlink, table: str, name: str, *, family: int = INET) -> dict[bytes, bytes]:
    """The elements of a map of plain values as they stand in the kernel; of a set, with nothing behind them."""
    found = {}
    for payload in _dump(net, f"list map {name}", _GET_ELEMENTS, nl.text(1, table) + nl.text(2, name), family):
        for element in nl.each(nl.attributes(payload[4:]).get(3, b"")):
            parts = nl.attributes(element)
            found[nl.attributes(parts[1])[1]] = nl.attributes(parts[2]).get(1, b"") if 2 in parts else b""
    return found


def counted(net: Netlink, table: str, name: str) -> dict[bytes, tuple[int, int]]:
    """Packets and bytes that the elements of a set have counted, by their keys. The kernel writes all elements of a set
    in one form, so the first one says where the numbers stand.
    """
    found, form = dict[bytes, tuple[int, int]](), None
    for payload in _dump(net, f"list set {name}", _GET_ELEMENTS, nl.text(1, table) + nl.text(2, name)):
        for element in nl.each(nl.attributes(payload[4:]).get(3, b"")):
            if form is None or len(element) != form.length:
                form = _Form.of(element)
            if form is not None:
                packets, octets = _NUMBER.unpack_from(element, form.packets), _NUMBER.unpack_from(element, form.octets)
                found[element[form.key]] = packets[0], octets[0]
    return found


def counter(net: Netlink, table: str, name: str) -> int | None:
    """The packets of a counter that has a name; None when it or the table is gone."""
    body = _HEADER.pack(INET, 0, 0) + nl.text(1, table) + nl.text(2, name) + nl.attribute(3, _COUNTER)
    try:
        told = net.one(f"read counter {name}", _GET_OBJECT, body)
    except WorldError as error:
        if not nl.is_gone(error):
            raise
        return None
    # NFTA_OBJ_DATA, NFTA_COUNTER_PACKETS
    return int.from_bytes(nl.attributes(nl.attributes(told[4:])[4])[2], "big")


class _Form(NamedTuple):
    """Of an element that counts: its length, and where its key, its packets and its bytes stand."""

    length: int
    key: slice
    packets: int
    octets: int

    @classmethod
    def of(cls, element: bytes) -> "_Form | None":
        """None: it counts nothing."""
        parts = nl.places(element)
        if 1 not in parts or 7 not in parts:
            return None
        key = nl.places(element, parts[1])[1]
        # NFTA_SET_ELEM_EXPR, NFTA_EXPR_DATA; NFTA_COUNTER_BYTES, NFTA_COUNTER_PACKETS
        numbers = nl.places(element, nl.places(element, parts[7])[2])
        return cls(len(element), key, numbers[2].start, numbers[1].start)


def rule_counts(net: Netlink, table: str, *, family: int = INET) -> dict[str, int]:
    """How many rules each chain of a table has, also one that has none."""
    found = dict.fromkeys(names(net, table, Kind.CHAIN, family=family), 0)
    for payload in _dump(net, f"list rules of table {table}", _GET_RULES, nl.text(1, table), family):
        attributes = nl.attributes(payload[4:])
        if payload[0] == family and _text(attributes[1]) == table:
            found[_text(attributes[2])] = found.get(_text(attributes[2]), 0) + 1
    return found


def generation(net: Netlink) -> int:
    """The number of the ruleset, anybody's: while it is the same, so are all tables."""
    for payload in net.ask("read the ruleset's generation", _GET_GENERATION, _HEADER.pack(0, 0, 0)):
        if (number := nl.attributes(payload[4:]).get(1)) is not None:
            return int.from_bytes(number, "big")
    raise WorldError("read the ruleset's generation", "the kernel tells none")


def delete_table(net: Netlink, name: str, *, family: int = INET) -> None:
    """Delete a table with everything in it; harmless when it is gone."""
    mark = _HEADER.pack(0, 0, _SUBSYSTEM)
    body = _HEADER.pack(family, 0, 0) + nl.text(1, name)
    try:
        net.transaction(f"delete nftables table {name}", (_BEGIN, mark), (_DELETE_TABLE, body), (_END, mark))
    except WorldError as error:
        if not nl.is_gone(error):
            raise


def delete_error_tables(prefix: str) -> None:
    """Those that lead ICMP errors to instances. Harmless when there are none."""
    with Netlink(nl.NETFILTER) as net:
        for family in (IP4, IP6):
            delete_table(net, errors_table(prefix), family=family)


def delete_tunnels_tables(prefix: str) -> None:
    """The one that guards the tunnels, that of the dials, that of newcomers, and the one that counts. Harmless when
    there are none.
    """
    with Netlink(nl.NETFILTER) as net:
        for table in (tunnels_table(prefix), dials_table(prefix), newcomers_table(prefix), traffic_table(prefix)):
            delete_table(net, table)


def _dump(net: Netlink, what: str, message: int, body: bytes, family: int = INET) -> list[bytes]:
    try:
        return net.dump(what, message, _HEADER.pack(family, 0, 0) + body)
    except WorldError as error:
        if not nl.is_gone(error):
            raise
        return []


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")

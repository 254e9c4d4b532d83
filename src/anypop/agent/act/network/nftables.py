"""nftables tables as netlink messages: which are there, whether a set has elements, and their end
(linux/netfilter/nf_tables.h).

In: names. Out: comments by name, yes or no, one change. No process: a look takes some ten microseconds. Rules are not
written here: `nft` compiles them.
"""

import struct

from anypop.agent.act.network import netlink as nl
from anypop.agent.act.network.netlink import Netlink
from anypop.model.errors import WorldError

_SUBSYSTEM = 10
_BEGIN, _END = 0x10, 0x11
_NEW_TABLE, _GET_TABLE, _DELETE_TABLE, _GET_ELEMENTS = (_SUBSYSTEM << 8 | n for n in (0, 1, 2, 13))
_INET = 1
_HEADER = struct.Struct(">BBH")  # struct nfgenmsg: family, version, and for the marks of a transaction the subsystem
_COMMENT = 0  # libnftnl's first type of user data of a table


def comments(net: Netlink) -> dict[str, str]:
    """Name and comment of each table of the family `inet`; one without a comment has an empty one."""
    found = {}
    for payload in net.dump("list nftables tables", _GET_TABLE, _HEADER.pack(_INET, 0, 0)):
        attributes = nl.attributes(payload[4:])
        found[_text(attributes[1])] = _comment(attributes.get(6, b""))
    return found


def delete_table(net: Netlink, name: str) -> None:
    """Delete a table of the family `inet` with everything in it; harmless when it is gone."""
    mark = _HEADER.pack(0, 0, _SUBSYSTEM)
    body = _HEADER.pack(_INET, 0, 0) + nl.text(1, name)
    try:
        net.transaction(f"delete nftables table {name}", (_BEGIN, mark), (_DELETE_TABLE, body), (_END, mark))
    except WorldError as error:
        if not nl.is_gone(error):
            raise


def has_elements(net: Netlink, table: str, name: str) -> bool:
    """Whether a set has elements whose time is not over; no when set or table are gone."""
    body = _HEADER.pack(_INET, 0, 0) + nl.text(1, table) + nl.text(2, name)
    try:
        answers = net.dump(f"list set {name}", _GET_ELEMENTS, body)
    except WorldError as error:
        if not nl.is_gone(error):
            raise
        return False
    return any(nl.attributes(payload[4:]).get(3) for payload in answers)


def _comment(data: bytes) -> str:
    """User data is a row of type, length (one byte each) and value."""
    at = 0
    while at + 2 <= len(data):
        kind, length = data[at], data[at + 1]
        if kind == _COMMENT:
            return _text(data[at + 2 : at + 2 + length])
        at += 2 + length
    return ""


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")

"""nftables tables as netlink messages: what is in one, whether a set has elements, and its end
(linux/netfilter/nf_tables.h).

In: names. Out: names, yes or no, one change. No process: a look takes some ten microseconds. Rules are not written
here: `nft` compiles them.
"""

import struct
from enum import Enum

from anypop.agent.act.network import netlink as nl
from anypop.agent.act.network.netlink import Netlink
from anypop.model.errors import WorldError

_SUBSYSTEM = 10
_BEGIN, _END = 0x10, 0x11
_DELETE_TABLE, _GET_CHAINS, _GET_SETS, _GET_ELEMENTS = (_SUBSYSTEM << 8 | n for n in (2, 4, 10, 13))
_INET = 1
_HEADER = struct.Struct(">BBH")  # struct nfgenmsg: family, version, and for the marks of a transaction the subsystem


class Kind(Enum):
    """What a table is made of: the message that lists it, and the attribute that holds its name."""

    CHAIN = (_GET_CHAINS, 3)
    SET = (_GET_SETS, 2)


def names(net: Netlink, table: str, kind: Kind, *, start: str = "") -> list[str]:
    """The names of a table's chains or sets that begin with `start`, those of anonymous sets too; none when the table
    is gone.
    """
    message, name = kind.value
    answers = _dump(net, f"list {kind.name.lower()}s of table {table}", message, nl.text(1, table))
    likely = (nl.attributes(payload[4:]) for payload in answers if payload[0] == _INET and start.encode() in payload)
    return [
        found
        for attributes in likely
        if _text(attributes[1]) == table and (found := _text(attributes[name])).startswith(start)
    ]


def has_elements(net: Netlink, table: str, name: str) -> bool:
    """Whether a set has elements whose time is not over; no when set or table are gone."""
    answers = _dump(net, f"list set {name}", _GET_ELEMENTS, nl.text(1, table) + nl.text(2, name))
    return any(nl.attributes(payload[4:]).get(3) for payload in answers)


def delete_table(net: Netlink, name: str) -> None:
    """Delete a table with everything in it; harmless when it is gone."""
    mark = _HEADER.pack(0, 0, _SUBSYSTEM)
    body = _HEADER.pack(_INET, 0, 0) + nl.text(1, name)
    try:
        net.transaction(f"delete nftables table {name}", (_BEGIN, mark), (_DELETE_TABLE, body), (_END, mark))
    except WorldError as error:
        if not nl.is_gone(error):
            raise


def _dump(net: Netlink, what: str, message: int, body: bytes) -> list[bytes]:
    try:
        return net.dump(what, message, _HEADER.pack(_INET, 0, 0) + body)
    except WorldError as error:
        if not nl.is_gone(error):
            raise
        return []


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")

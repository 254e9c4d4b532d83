"""Elements of nftables sets as netlink messages, many in one transaction (linux/netfilter/nf_tables.h).

In: keys as the kernel has them. Out: one change of several sets, or the keys that are there. No process and no
reading of rules: one element more costs some ten microseconds, however many there are.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence

from anypop.agent.act.network import netlink as nl
from anypop.agent.act.network.netlink import Netlink
from anypop.model.announce import Address
from anypop.model.errors import WorldError

INET, ARP = 1, 3
_SUBSYSTEM = 10
_BEGIN, _END = 0x10, 0x11
_NEW_ELEMENT, _GET_ELEMENTS, _DELETE_ELEMENT = (_SUBSYSTEM << 8 | n for n in (12, 13, 14))
_HEADER = struct.Struct(">BBH")
_JUMP = struct.pack(">i", -3)  # NFT_JUMP
_IN_ONE = 500  # elements in a message: an attribute holds 64 KiB

JUMPS = {"ingress": 16, "egress": 16, "senders4": 4, "senders6": 16}
"""Maps from an interface or an address to the chain that a packet jumps to, each with the length of its keys; all else
is a set.
"""

Place = tuple[int, str]
"""A set: the family of its table and its name."""


def name_key(interface: str) -> bytes:
    return interface.encode().ljust(16, b"\0")


def address_key(address: Address) -> bytes:
    return address.packed


def port_key(protocol: int, port: int) -> bytes:
    """A protocol and a port, each in a register of its own."""
    return struct.pack(">B3xH2x", protocol, port)


def group_key(group: int) -> bytes:
    return struct.pack("=I", group)


def jump_key(key: bytes, chain: str) -> bytes:
    """An element of one of `JUMPS`: the key, and the chain that it jumps to."""
    return key + chain.encode()


def change(
    net: Netlink, table: str, *, gone: Mapping[Place, Sequence[bytes]], new: Mapping[Place, Sequence[bytes]]
) -> None:
    """Take elements out and put others in, all or nothing. Raises `WorldError` where one that is to go is not there."""
    mark = _HEADER.pack(0, 0, _SUBSYSTEM)
    messages = [
        (kind, flags, body)
        for kind, flags, sets in ((_DELETE_ELEMENT, 0, gone), (_NEW_ELEMENT, nl.CREATE, new))
        for body in _bodies(table, sets)
    ]
    if messages:
        net.batch(f"change sets of table {table}", [(_BEGIN, 0, mark), *messages, (_END, 0, mark)])


def keys(net: Netlink, table: str, place: Place) -> frozenset[bytes]:
    """The keys of a set's elements; none when set or table are gone."""
    family, name = place
    body = _HEADER.pack(family, 0, 0) + nl.text(1, table) + nl.text(2, name)
    try:
        answers = net.dump(f"list set {name}", _GET_ELEMENTS, body)
    except WorldError as error:
        if not nl.is_gone(error):
            raise
        return frozenset()
    jumps = name in JUMPS
    return frozenset(key for payload in answers for key in _keys(nl.attributes(payload[4:]).get(3, b""), jumps=jumps))


def _keys(elements: bytes, *, jumps: bool) -> Iterator[bytes]:
    at = 0
    while at + 4 <= len(elements):
        length = struct.unpack_from("=H", elements, at)[0]
        if length < 4:
            return
        parts = nl.attributes(elements[at + 4 : at + length])
        key = nl.attributes(parts[1])[1]
        if jumps:  # NFTA_SET_ELEM_DATA, NFTA_DATA_VERDICT, NFTA_VERDICT_CHAIN
            verdict = nl.attributes(nl.attributes(parts[2])[2])
            key = jump_key(key, verdict.get(2, b"").rstrip(b"\0").decode(errors="replace"))
        yield key
        at += (length + 3) & ~3


def _bodies(table: str, sets: Mapping[Place, Iterable[bytes]]) -> Iterator[bytes]:
    for (family, name), all_ in sets.items():
        found = list(all_)
        for at in range(0, len(found), _IN_ONE):
            elements = (_element(key, jumps=JUMPS.get(name, 0)) for key in found[at : at + _IN_ONE])
            yield _HEADER.pack(family, 0, 0) + nl.text(1, table) + nl.text(2, name) + nl.nested(3, *elements)


def _element(key: bytes, *, jumps: int) -> bytes:
    """`jumps`: so many bytes of it are the key, and the rest a chain; 0: all of it is."""
    if not jumps:
        return nl.nested(1, nl.nested(1, nl.attribute(1, key)))
    verdict = nl.nested(2, nl.attribute(1, _JUMP) + nl.text(2, key[jumps:].decode()))
    return nl.nested(1, nl.nested(1, nl.attribute(1, key[:jumps])) + nl.nested(2, verdict))

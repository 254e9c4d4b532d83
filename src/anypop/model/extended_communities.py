"""Extended communities (RFC 4360) as routes carry them and as people and programs write them.

Between text (`rt:6939:70`, of people, and `(rt, 6939, 70)`, of BIRD) and numbers: type, subtype, administrator and
value, four where a community has two and a large one three. The type says what the administrator is: an AS number of
two octets, which leaves four for the value, or of four (RFC 5668), or an IPv4 address, which is carried here as its
bits. Only route target and route origin have names; all others are written as two numbers of 32 bits. Pure.
"""

import re
from ipaddress import IPv4Address

from anypop.model.announce import ExtendedCommunity

SUBTYPES = {"rt": 2, "ro": 3}
_NAMES = {number: name for name, number in SUBTYPES.items()}
_TWO_OCTETS, _ADDRESS, _FOUR_OCTETS = 0, 1, 2  # types
_STAYS_INSIDE = 0x40  # bit of a type: not carried from one network to another
_MAX_16, _MAX_32 = 0xFFFF, 0xFFFFFFFF
_DOTTED = r"\d{1,3}(?:\.\d{1,3}){3}"
WRITTEN = rf"(?:rt|ro):(?:\d{{1,10}}|{_DOTTED}):\d{{1,10}}|generic:0x[0-9a-f]{{1,8}}:0x[0-9a-f]{{1,8}}"
_WRITTEN = re.compile(WRITTEN, re.ASCII)
_PRINTED = re.compile(rf"\((rt|ro|unknown 0x[0-9a-f]+), (\d+|{_DOTTED}), (\d+)\)", re.ASCII)
_GENERIC = re.compile(r"\(generic, 0x([0-9a-f]+), 0x([0-9a-f]+)\)")


def is_extended(community: tuple[int | None, ...]) -> bool:
    """Whether these numbers are those of an extended community."""
    return len(community) == 4


def kind(name: str, administrator: int) -> tuple[int, int]:
    """Type and subtype of `rt` or `ro` for an AS number."""
    return (_TWO_OCTETS if administrator <= _MAX_16 else _FOUR_OCTETS), SUBTYPES[name]


def longest(number: int) -> int:
    """The highest value that fits beside an administrator, by the type."""
    return _MAX_16 if _has_long_administrator(number) else _MAX_32


def spelled(community: tuple[int | None, ...]) -> tuple[str, str, str]:
    """Its three words, as BIRD's filters have them too; None is `<asn>`."""
    number, subtype, administrator, value = ((part or 0) for part in community)
    name = _NAMES.get(subtype)
    if name is not None and (number == _TWO_OCTETS or (number == _FOUR_OCTETS and administrator > _MAX_16)):
        return name, str(administrator), "<asn>" if community[3] is None else str(value)
    bits = _bits(number, subtype, administrator, value)
    if name is not None and number == _ADDRESS:
        return name, str(IPv4Address(bits >> 16 & _MAX_32)), str(bits & _MAX_16)
    return "generic", f"0x{bits >> 32:08x}", f"0x{bits & _MAX_32:x}"


def text(community: tuple[int | None, ...]) -> str:
    """`rt:6939:70`, `ro:192.0.2.1:70`, `generic:0x03060000:0x1`."""
    return ":".join(spelled(community))


def read(written: str) -> ExtendedCommunity:
    """The community that `text` writes so. ValueError in words for what is none, or could reach no neighbour."""
    if not _WRITTEN.fullmatch(written):
        raise ValueError(f"{written}: write rt:6939:70, ro:6939:70 or generic:0x03060000:0x1")
    name, head, tail = written.split(":")
    if name == "generic":
        found = of_bits(int(head, 16) << 32 | int(tail, 16))
        if found[0] == _FOUR_OCTETS and found[1] in _NAMES and found[2] <= _MAX_16:
            raise ValueError(f"{written}: an AS number below 65536 has the type of two octets (RFC 5668)")
    else:
        found = of_words(name, head, int(tail))
    if found[0] & _STAYS_INSIDE:
        raise ValueError(f"{written}: its type is not carried from one network to another (RFC 4360)")
    return found


def of_words(name: str, head: str, value: int) -> ExtendedCommunity:
    """`rt` or `ro` of an AS number or an IPv4 address. ValueError in words for what does not fit."""
    written = f"{name}:{head}:{value}"
    if "." in head:
        address = int(IPv4Address(head))  # AddressValueError is one of value
        return of_bits(_ADDRESS << 56 | SUBTYPES[name] << 48 | address << 16 | _within(written, value, _MAX_16))
    administrator = _within(written, int(head), _MAX_32)
    number, subtype = kind(name, administrator)
    return number, subtype, administrator, _within(written, value, longest(number))


def four_octets(name: str, administrator: int, value: int) -> ExtendedCommunity:
    """`rt` or `ro` of an AS number that a router says it has in four octets, however small it is."""
    written = f"{name}:{administrator}:{value}"
    return _FOUR_OCTETS, SUBTYPES[name], _within(written, administrator, _MAX_32), _within(written, value, _MAX_16)


def read_bird(printed: str) -> tuple[ExtendedCommunity, ...]:
    """Those in what BIRD prints: `(rt, 6939, 70) (unknown 0x4, 1, 2) (generic, 0x43000000, 0x1)`."""
    found = []
    for word, head, value in _PRINTED.findall(printed):
        if "." in head:
            known = _ADDRESS << 8 | SUBTYPES[word] if word in SUBTYPES else int(word.split()[1], 16)
            found.append(of_bits(known << 48 | int(IPv4Address(head)) << 16 | int(value)))
        elif word in SUBTYPES:
            found.append((*kind(word, int(head)), int(head), int(value)))
        else:
            known = int(word.split()[1], 16)
            found.append((known >> 8, known & 0xFF, int(head), int(value)))
    found += [of_bits(int(head, 16) << 32 | int(tail, 16)) for head, tail in _GENERIC.findall(printed)]
    return tuple(found)


def _has_long_administrator(number: int) -> bool:
    return number & ~_STAYS_INSIDE == _FOUR_OCTETS


def _bits(number: int, subtype: int, administrator: int, value: int) -> int:
    """The eight octets that a message carries."""
    return number << 56 | subtype << 48 | administrator << (16 if _has_long_administrator(number) else 32) | value


def of_bits(bits: int) -> ExtendedCommunity:
    """Its numbers, of the eight octets that a message carries, as one number."""
    number, subtype = bits >> 56, bits >> 48 & 0xFF
    if _has_long_administrator(number):
        return number, subtype, bits >> 16 & _MAX_32, bits & _MAX_16
    return number, subtype, bits >> 32 & _MAX_16, bits & _MAX_32


def _within(written: str, number: int, most: int) -> int:
    if number > most:
        raise ValueError(f"{written}: {number} is above {most}")
    return number

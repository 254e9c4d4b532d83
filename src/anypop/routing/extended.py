"""Extended communities (RFC 4360) as routes carry them and as people write them.

Between text (`rt:6939:70`, of dictionaries, and `(rt, 6939, 70)`, of BIRD) and numbers: type, subtype, administrator
and value, four where a community has two and a large one three. The type says whether the administrator is an AS
number of two octets, which leaves four for the value, or of four (RFC 5668). Only route target and route origin have
names here; all others are carried as they are. Pure.
"""

import re

from anypop.model.announce import ExtendedCommunity

SUBTYPES = {"rt": 2, "ro": 3}
_NAMES = {number: name for name, number in SUBTYPES.items()}
_TWO_OCTETS, _FOUR_OCTETS = 0, 2
_MAX_16, _MAX_32 = 0xFFFF, 0xFFFFFFFF
_NAMED = re.compile(r"\((rt|ro), (\d+), (\d+)\)")
_GENERIC = re.compile(r"\(generic, 0x([0-9a-f]+), 0x([0-9a-f]+)\)")


def is_extended(community: tuple[int | None, ...]) -> bool:
    """Whether these numbers are those of an extended community."""
    return len(community) == 4


def kind(name: str, administrator: int) -> tuple[int, int]:
    """Type and subtype of `rt` or `ro` for an AS number."""
    return (_TWO_OCTETS if administrator <= _MAX_16 else _FOUR_OCTETS), SUBTYPES[name]


def longest(number: int) -> int:
    """The highest value that fits beside an administrator, by the type."""
    return _MAX_32 if number == _TWO_OCTETS else _MAX_16


def spelled(community: tuple[int | None, ...]) -> tuple[str, str, str]:
    """Its three words, as BIRD's filters have them too; None is `<asn>`."""
    number, subtype, administrator, value = community
    if number in (_TWO_OCTETS, _FOUR_OCTETS) and subtype in _NAMES:
        return _NAMES[subtype], str(administrator), "<asn>" if value is None else str(value)
    return "generic", f"0x{number or 0:02x}{subtype or 0:02x}{administrator or 0:04x}", f"0x{value or 0:x}"


def read_bird(text: str) -> tuple[ExtendedCommunity, ...]:
    """Those in what BIRD prints: `(rt, 6939, 70) (generic, 0x43000000, 0x1)`. One that names an IPv4 address is passed
    over.
    """
    found = [(*kind(name, int(asn)), int(asn), int(value)) for name, asn, value in _NAMED.findall(text)]
    for key, value in _GENERIC.findall(text):
        head = int(key, 16)
        found.append((head >> 24, head >> 16 & 0xFF, head & _MAX_16, int(value, 16)))
    return tuple(found)

"""Values as BIRD's configuration takes them, and what cannot be put into it. Pure.

In: a session as ordered. Out: its name in BIRD, quoted text, and its flaw, if any. Whoever writes an order writes no
configuration: a value that could end its own text and begin another's is refused here, whatever control let through.
"""

import re
import zlib

from anypop.model.announce import Address
from anypop.model.network import Upstream

FAMILIES = (4, 6)
_INTERFACE = re.compile(r"[A-Za-z0-9_.@-]{1,15}")  # the kernel takes more; none of it is worth a risk in a pattern
_HOST = re.compile(r"[A-Za-z0-9.:-]{1,253}")
_PASSWORD = re.compile(r"[!#-~][ !#-~]{0,78}[!#-~]|[!#-~]")  # printable, no quotation mark; RFC 2385 has 80 bytes
_LARGEST_AS = (1 << 32) - 1


def session_name(upstream: Upstream, family: int) -> str:
    """The BGP protocol's name in BIRD: u4_level3. Names that BIRD would not take get a checksum, so that two never
    meet.
    """
    plain = re.sub(r"[^A-Za-z0-9_]", "_", upstream.name)
    if plain != upstream.name or len(plain) > 32:
        plain = f"{plain[:32]}_{zlib.crc32(upstream.name.encode()):08x}"
    return f"u{family}_{plain}"


def is_interface(text: str) -> bool:
    return _INTERFACE.fullmatch(text) is not None


def is_host(text: str) -> bool:
    """Whether it can be the address or name of a machine."""
    return _HOST.fullmatch(text) is not None


def is_password(text: str) -> bool:
    return _PASSWORD.fullmatch(text) is not None


def flaw(upstream: Upstream, family: int) -> str:
    """Why a session cannot be written down at all; empty where it can."""
    local, neighbor = ends(upstream, family)
    if not 0 < upstream.asn <= _LARGEST_AS:
        return f"{upstream.asn} is no AS number"
    if not is_interface(upstream.interface):
        return "the interface's name is none that can be written into a configuration"
    if local == neighbor:
        return f"{neighbor} is both ends"
    if upstream.multihop is not None and neighbor.is_link_local:
        return f"{neighbor} is on the link, so it cannot be several hops away"
    return ""


def ends(upstream: Upstream, family: int) -> tuple[Address | None, Address]:
    """Our address, where one is fixed, and the neighbour's, of a family that has a session."""
    neighbor = upstream.neighbor4 if family == 4 else upstream.neighbor6
    assert neighbor is not None, upstream.name
    return (upstream.local4 if family == 4 else upstream.local6), neighbor

"""A graph as files that this program and others read: relationships in CAIDA's serial-1, footprints in CSV. Pure."""

import bz2
import gzip

from anypop.routing.internet.places import Places
from anypop.routing.internet.relationships import Relationships


def serial_1(links: Relationships, *, about: str) -> str:
    """`a|b|-1` (a is provider of b) and `a|b|0` (peers), a line each; siblings have no place in this format."""
    rows = zip(links.a.tolist(), links.b.tolist(), links.kind.tolist(), strict=True)
    return f"# {about}\n" + "".join(f"{a}|{b}|{kind}\n" for a, b, kind in rows if kind in (-1, 0))


def footprint(places: Places) -> str:
    """`asn,cities`, as `--footprint` reads it."""
    return "asn,cities\n" + "".join(f"{asn},{' '.join(cities)}\n" for asn, cities in sorted(places.cities.items()))


def packed(text: str, suffix: str) -> bytes:
    """The bytes of a file whose name ends so."""
    data = text.encode()
    if suffix == ".gz":
        return gzip.compress(data, mtime=0)
    return bz2.compress(data) if suffix == ".bz2" else data

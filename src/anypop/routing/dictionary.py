"""The dictionaries of action communities that come with Anypop: data files in, `Dictionary` out.

One YAML file per AS under `communities/` (and `well-known.yaml`, which holds in every AS). `for_asn` answers with an
AS's own entries and the well-known ones; an AS without a file has the well-known ones alone. The only I/O is reading
package data; a user's own file goes through `dictionary_file.read_dictionary`.
"""

from dataclasses import replace
from functools import cache
from importlib.resources import files

from anypop.routing.dictionary_file import read_dictionary
from anypop.routing.entries import Dictionary, Entry

__all__ = ["Dictionary", "Entry", "for_asn", "known_asns", "well_known"]

_DATA = files("anypop.routing") / "communities"


@cache
def well_known() -> tuple[Entry, ...]:
    """The communities that hold in every AS (RFC 1997, 3765, 7999, 8326)."""
    return _packaged("well-known.yaml").entries


@cache
def for_asn(asn: int) -> Dictionary:
    """The dictionary of an AS as shipped."""
    if not (_DATA / f"{asn}.yaml").is_file():
        return Dictionary(asn=asn, name="", entries=well_known(), note="no action communities are known of this AS")
    own = _packaged(f"{asn}.yaml")
    return replace(own, entries=own.entries + well_known())


@cache
def known_asns() -> tuple[int, ...]:
    """The ASes that have a file here, in order."""
    names = (item.name for item in _DATA.iterdir())
    return tuple(sorted(int(name.removesuffix(".yaml")) for name in names if name.removesuffix(".yaml").isdigit()))


def _packaged(name: str) -> Dictionary:
    return read_dictionary((_DATA / name).read_text(encoding="utf-8"), name)

"""The dictionaries of action communities that come with Anypop: data files in, `Dictionary` out.

One YAML file per AS under `communities/` (and `well-known.yaml`, which holds in every AS). `for_asn` answers with an
AS's own entries and the well-known ones; an AS without a file has the well-known ones alone. The only I/O is reading
package data; a user's own file goes through `dictionary_file.read_dictionary`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

from anypop.model import codec
from anypop.routing.actions import Where
from anypop.routing.dictionary_file import entry_of, read_dictionary
from anypop.routing.entries import Dictionary, Entry

__all__ = ["Dictionary", "Entry", "Shipped", "as_data", "for_asn", "known_asns", "of_data", "well_known"]

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


class Shipped(Mapping[int, Dictionary]):
    """The dictionaries of all ASes that have one here, each read when it is asked for: most questions need none."""

    def __getitem__(self, asn: int) -> Dictionary:
        if asn not in known_asns():
            raise KeyError(asn)
        return for_asn(asn)

    def __iter__(self) -> Iterator[int]:
        return iter(known_asns())

    def __len__(self) -> int:
        return len(known_asns())


def as_data(found: Dictionary) -> dict[str, Any]:
    """A dictionary as plain data, in the words of its file: what the API answers and `communities show -o json`
    prints.
    """
    return {
        "asn": found.asn,
        "name": found.name,
        "note": found.note,
        "entries": [_entry(entry) for entry in found.entries],
    }


def _entry(entry: Entry) -> dict[str, Any]:
    action = codec.to_data(entry.action)
    where = getattr(entry.action, "where", None)
    if isinstance(where, Where):
        action["where"] = where.says
    # `KeepInRegion` as `keep-in-region`: the words in which the data files write it
    kind = "".join(f"-{c.lower()}" if c.isupper() else c for c in type(entry.action).__name__).lstrip("-")
    return {
        "community": entry.text,
        "meaning": entry.meaning,
        "action": {"kind": kind, **{key: value for key, value in action.items() if value is not None}},
        "source": entry.source,
        "date": entry.date,
        "invented": entry.invented,
        "verified": entry.verified,
    }


def of_data(data: Mapping[str, Any]) -> Dictionary:
    """The dictionary whose data this is. Entries that a newer version wrote and this one cannot read are left out."""
    entries = [entry_of(_row(entry)) for entry in data.get("entries") or ()]
    return Dictionary(
        asn=int(data.get("asn") or 0),
        name=str(data.get("name") or ""),
        entries=tuple(entry for entry in entries if entry is not None),
        note=str(data.get("note") or ""),
    )


def _row(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry as a file has it: places as regions, and `<asn>` where a pattern's neighbour stands."""
    action = {key: value for key, value in entry["action"].items() if value is not None}
    try:
        place = Where.of(str(action.pop("where", "")))
    except ValueError:
        return {}
    names = [*sorted(place.regions), *(["announced"] if place.announced else [])]
    if names:
        action["outside_region" if place.outside else "region"] = names
    if action.get("kind") == "set-med":  # by the name of its type; in a file it is `med`
        action["kind"] = "med"
    if "<asn>" in entry["community"] and action.get("kind") != "informational":
        action.setdefault("neighbour", "<asn>")
    return {**entry, "action": action}


def _packaged(name: str) -> Dictionary:
    return read_dictionary((_DATA / name).read_text(encoding="utf-8"), name)

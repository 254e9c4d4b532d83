"""Reading one dictionary file of action communities. YAML text in, `Dictionary` out, or `Invalid` with every error.

Each error's path names the file, the entry (its number from 1 and its community) and the field. The schema is
described in docs/communities.md. Does no I/O: the caller read the text.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from anypop.model import extended_communities as extended
from anypop.model.errors import Invalid, Problem
from anypop.routing.actions import (
    Action,
    Blackhole,
    ExportTo,
    Informational,
    KeepInRegion,
    LocalPreference,
    Neighbours,
    NoExportTo,
    Prepend,
    Region,
    Relation,
    SetMed,
    Where,
)
from anypop.routing.entries import Dictionary, Entry

_PLACEHOLDER = "<asn>"
_DATE = re.compile(r"unknown|\d{4}(-\d{2}(-\d{2})?)?")
_MAX_16, _MAX_32 = 0xFFFF, 0xFFFFFFFF
_DEFAULTED = ("source", "date", "invented", "verified")
_MAX_PREPENDS = 10  # nobody documents more; a longer path is a typing error


def read_dictionary(text: str, file: str) -> Dictionary:
    """The dictionary in `text`; `file` is its name in error paths. Raises `Invalid` with all its problems."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{file}:{mark.line + 1}" if mark else file
        raise Invalid.one(place, f"not YAML: {getattr(error, 'problem', error)}") from error
    reader = _Reader(file=file)
    found = reader.document(document)
    if reader.problems:
        raise Invalid(reader.problems)
    return found


def entry_of(row: Mapping[str, Any]) -> Entry | None:
    """One entry of such a document; None where something in it is not known here."""
    reader = _Reader(file="")
    found = reader.entry(row, {})
    return found if not reader.problems else None


@dataclass(slots=True, kw_only=True)
class _Reader:
    """Reads on after an error, so that all are found. What it returns counts only when `problems` stays empty."""

    file: str
    problems: list[Problem] = field(default_factory=list)
    where: str = ""
    pattern: bool = False

    def wrong(self, path: str, message: str) -> None:
        self.problems.append(
            Problem(
                path=" ".join(p for p in (self.file, self.where + (f".{path}" if self.where and path else path)) if p),
                message=message,
            )
        )

    def mapping(self, value: object, path: str, allowed: tuple[str, ...]) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            self.wrong(path, "must be a mapping")
            return {}
        for key in value:
            if key not in allowed:
                self.wrong(f"{path}.{key}" if path else str(key), f"unknown field; known are {', '.join(allowed)}")
        return value

    def document(self, value: object) -> Dictionary:
        top = self.mapping(value, "", ("asn", "name", "note", "defaults", "communities"))
        asn = self.number(top.get("asn"), "asn", 0, _MAX_32)
        defaults = self.mapping(top.get("defaults", {}), "defaults", _DEFAULTED)
        rows = top.get("communities")
        if not isinstance(rows, list) or not rows:
            self.wrong("communities", "must be a list with at least one entry")
            rows = []
        entries: list[Entry] = []
        seen: dict[tuple[int | None, ...], int] = {}
        for index, row in enumerate(rows, start=1):
            name = row.get("community") if isinstance(row, dict) else None
            self.where = f"entry {index}" + (f" ({name})" if name else "")
            entry = self.entry(row, defaults)
            if entry.community in seen and entry.community:
                self.wrong("community", f"is already entry {seen[entry.community]}")
            seen.setdefault(entry.community, index)
            entries.append(entry)
        self.where = ""
        return Dictionary(
            asn=asn, name=self.text(top.get("name"), "name"), note=str(top.get("note", "")), entries=tuple(entries)
        )

    def entry(self, value: object, defaults: Mapping[str, Any]) -> Entry:
        own = self.mapping(value, "", ("community", "action", "meaning", *_DEFAULTED))
        row = {**defaults, **own}
        community = self.community(row.get("community"))
        self.pattern = None in community
        date = self.text(row.get("date"), "date")
        if date and not _DATE.fullmatch(date):
            self.wrong("date", f"'{date}' is not YYYY, YYYY-MM, YYYY-MM-DD or unknown")
        return Entry(
            community=community,
            action=self.action(row.get("action")),
            meaning=self.text(row.get("meaning"), "meaning"),
            source=self.text(row.get("source"), "source"),
            date=date,
            invented=self.flag(row.get("invented", False), "invented"),
            verified=self.flag(row.get("verified", False), "verified"),
        )

    def community(self, value: object) -> tuple[int | None, ...]:
        parts = str(value).split(":") if isinstance(value, str) else []
        if len(parts) == 3 and parts[0] in extended.SUBTYPES:
            administrator = self.number(parts[1], "community", 1, _MAX_32)
            number, subtype = extended.kind(parts[0], administrator)
            last = None if parts[2] == _PLACEHOLDER else self.number(parts[2], "community", 0, extended.longest(number))
            return number, subtype, administrator, last
        if len(parts) not in (2, 3):
            self.wrong(
                "community", f"'{value}' must be text of two numbers (\"209:7100\") or three (a large community)"
            )
            return ()
        limit = _MAX_16 if len(parts) == 2 else _MAX_32
        if parts.count(_PLACEHOLDER) > 1:
            self.wrong("community", f"has {_PLACEHOLDER} more than once")
        return tuple(None if part == _PLACEHOLDER else self.number(part, "community", 0, limit) for part in parts)

    def action(self, value: object) -> Action:
        if not isinstance(value, dict) or value.get("kind") not in _KINDS:
            self.wrong("action.kind", f"must be one of {', '.join(_KINDS)}")
            return Informational()
        allowed, build = _KINDS[value["kind"]]
        return build(self, self.mapping(value, "action", ("kind", *allowed)))

    def neighbour(self, row: Mapping[str, Any]) -> Neighbours | int | None:
        value = row.get("neighbour")
        if value == _PLACEHOLDER:
            if not self.pattern:
                self.wrong("action.neighbour", f"is {_PLACEHOLDER}, but the community has no placeholder")
            return None
        if self.pattern:
            self.wrong("action.neighbour", f"must be {_PLACEHOLDER}, as in the community")
            return None
        if isinstance(value, int) and not isinstance(value, bool):
            return self.number(value, "action.neighbour", 1, _MAX_32)
        if value in tuple(Neighbours):
            return Neighbours(str(value))
        self.wrong("action.neighbour", f"must be {', '.join(Neighbours)}, an AS number or {_PLACEHOLDER}")
        return Neighbours.ALL

    def place(self, row: Mapping[str, Any]) -> Where:
        inside, outside = row.get("region"), row.get("outside_region")
        if inside is not None and outside is not None:
            self.wrong("action.outside_region", "cannot stand beside region")
        name = "action.region" if outside is None else "action.outside_region"
        value = inside if outside is None else outside
        regions: set[Region] = set()
        announced = False
        for item in value if isinstance(value, list) else [] if value is None else [value]:
            if item == "announced":
                announced = True
            elif item in tuple(Region):
                regions.add(Region(str(item)))
            else:
                self.wrong(name, f"'{item}' must be one of {', '.join(Region)} or announced")
        return Where(regions=frozenset(regions), announced=announced, outside=outside is not None)

    def number(self, value: object, path: str, low: int, high: int) -> int:
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.wrong(path, f"'{value}' must be a number from {low} to {high}")
            return low
        return value

    def text(self, value: object, path: str) -> str:
        if isinstance(value, int) and path == "date":
            return str(value)
        if value is None or not isinstance(value, str) or not value.strip():
            self.wrong(path, "must be text (dates in quotation marks)" if path == "date" else "must be text")
            return ""
        return value.strip()

    def flag(self, value: object, path: str) -> bool:
        if not isinstance(value, bool):
            self.wrong(path, "must be true or false")
        return value is True


def _local_preference(reader: _Reader, row: Mapping[str, Any]) -> Action:
    value, relation = row.get("value"), row.get("relation")
    if value is None and relation is None:
        reader.wrong("action", "needs a value, a relation, or both")
    if relation is not None and relation not in tuple(Relation):
        reader.wrong("action.relation", f"'{relation}' must be one of {', '.join(Relation)}")
        relation = None
    return LocalPreference(
        value=None if value is None else reader.number(value, "action.value", 0, _MAX_32),
        relation=None if relation is None else Relation(str(relation)),
        where=reader.place(row),
    )


def _keep(reader: _Reader, row: Mapping[str, Any]) -> Action:
    region = row.get("region")
    if region not in tuple(Region):
        reader.wrong("action.region", f"'{region}' must be one of {', '.join(Region)}")
        region = Region.EU
    return KeepInRegion(region=Region(str(region)))


def _med(reader: _Reader, row: Mapping[str, Any]) -> Action:
    return SetMed(value=reader.number(row.get("value"), "action.value", 0, _MAX_32), neighbour=reader.neighbour(row))


def _prepend(reader: _Reader, row: Mapping[str, Any]) -> Action:
    count = reader.number(row.get("count"), "action.count", 1, _MAX_PREPENDS)
    return Prepend(count=count, neighbour=reader.neighbour(row), where=reader.place(row))


_KINDS: dict[str, tuple[tuple[str, ...], Callable[[_Reader, Mapping[str, Any]], Action]]] = {
    "no-export-to": (
        ("neighbour", "region", "outside_region"),
        lambda r, row: NoExportTo(neighbour=r.neighbour(row), where=r.place(row)),
    ),
    "export-to": (
        ("neighbour", "region", "outside_region"),
        lambda r, row: ExportTo(neighbour=r.neighbour(row), where=r.place(row)),
    ),
    "keep-in-region": (("region",), _keep),
    "prepend": (("count", "neighbour", "region", "outside_region"), _prepend),
    "local-preference": (("value", "relation", "region", "outside_region"), _local_preference),
    "med": (("value", "neighbour"), _med),
    "blackhole": ((), lambda r, row: Blackhole()),
    "informational": ((), lambda r, row: Informational()),
}

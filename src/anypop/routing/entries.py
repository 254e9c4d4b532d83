"""An entry of a community dictionary, and the dictionary of one AS: immutable lookups.

Made by `dictionary_file` from YAML, asked by everyone who must know what a community does (lab filters, the
propagation engine) or which community does what is wanted (the doctor, the operator's scope). No I/O.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import cast

from anypop.model import extended_communities as extended
from anypop.model.announce import GRACEFUL_SHUTDOWN, AnyCommunity
from anypop.routing.actions import Action, ExportTo, LocalPreference, NoExportTo, Prepend, SetMed

_MAX_16 = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One community of one AS.

    `community` has two numbers, three for a large one, or four for an extended one (`extended`); None in it is the
    placeholder `<asn>`, which stands for any neighbour's number (and then `action.neighbour` is None). `date`: when the
    source said so (`YYYY`, `YYYY-MM`, `YYYY-MM-DD` or `unknown`). `invented`: made up for labs, no real network
    understands it. `verified`: somebody saw it in the AS's own document.
    """

    community: tuple[int | None, ...]
    action: Action
    meaning: str
    source: str
    date: str
    invented: bool = False
    verified: bool = False

    @property
    def is_pattern(self) -> bool:
        return None in self.community

    @property
    def is_extended(self) -> bool:
        return extended.is_extended(self.community)

    @property
    def is_well_known(self) -> bool:
        """Whether it is one of RFC 1997's reserved range, which an AS honours or not whatever its own set is."""
        return self.community[0] == _MAX_16 and len(self.community) == 2

    @property
    def text(self) -> str:
        """As people write it: `209:7100`, `65000:<asn>`."""
        if self.is_extended:
            return extended.text(self.community)
        return ":".join("<asn>" if part is None else str(part) for part in self.community)

    @property
    def numbers(self) -> tuple[int, ...]:
        """As routes carry it. ValueError for a pattern: ask `for_neighbour` first."""
        if self.is_pattern:
            raise ValueError(f"{self.text} stands for one community per neighbour")
        return cast(tuple[int, ...], self.community)

    @property
    def value(self) -> AnyCommunity:
        """The numbers, ready for a `Scope`. ValueError for a pattern."""
        return cast(AnyCommunity, self.numbers)

    def for_neighbour(self, asn: int) -> "Entry | None":
        """This entry with its placeholder filled; itself when it has none; None when the number does not fit (more
        than 16 bits in a pair, or beside a long administrator).
        """
        if not self.is_pattern:
            return self
        room = extended.longest(self.community[0] or 0) if self.is_extended else _MAX_16
        if asn > room and (self.is_extended or len(self.community) == 2):
            return None
        action = self.action
        match action:
            case NoExportTo() | ExportTo() | Prepend() | SetMed():
                action = replace(action, neighbour=asn)
            case _:
                pass
        filled = tuple(asn if part is None else part for part in self.community)
        return replace(self, community=filled, action=action, meaning=self.meaning.replace("<asn>", str(asn)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dictionary:
    """What communities mean to one AS: its own entries first, then the well-known ones. `preferred`: patterns stay as
    written.
    """

    asn: int
    name: str
    entries: tuple[Entry, ...]
    note: str = ""

    def concrete(self, neighbours: Iterable[int] = ()) -> tuple[Entry, ...]:
        """All entries without placeholders; each pattern once for each of `neighbours`."""
        known = tuple(neighbours)
        found: list[Entry] = []
        for entry in self.entries:
            options = [entry.for_neighbour(asn) for asn in known] if entry.is_pattern else [entry]
            found += [option for option in options if option is not None]
        return tuple(found)

    def lookup(self, community: tuple[int, ...]) -> Entry | None:
        """What this community means here. A literal entry wins over a pattern."""
        for entry in self.entries:
            if entry.community == community:
                return entry
        for entry in self.entries:
            if entry.is_pattern and len(entry.community) == len(community):
                asn = next(c for p, c in zip(entry.community, community, strict=True) if p is None)
                filled = entry.for_neighbour(asn)
                if filled is not None and filled.community == community:
                    return filled
        return None

    def find(self, action: Action) -> Entry | None:
        """The community that does exactly `action` here. None: there is none.

        One that real networks know before one that is invented for labs; the AS's own before a well-known one, which
        says what the RFC says and not that this AS acts on it; verified before unverified; an
        extended one last, since it is carried less often. Never the well-known one of graceful shutdown: it lowers a
        preference, but says that the route is about to go. Everybody who needs a community asks here, so that all
        choose the same.
        """
        neighbour = getattr(action, "neighbour", None)
        options = self.concrete([neighbour] if isinstance(neighbour, int) and not isinstance(neighbour, bool) else [])
        fitting = [
            entry
            for entry in options
            if _essence(entry.action) == _essence(action) and entry.community != GRACEFUL_SHUTDOWN
        ]
        return min(
            fitting,
            key=lambda entry: (entry.invented, entry.is_well_known, not entry.verified, entry.is_extended),
            default=None,
        )


def _essence(action: Action) -> Action:
    """The action without what a seeker cannot know: an AS's own number for a preference whose relation is given."""
    return (
        replace(action, value=None) if isinstance(action, LocalPreference) and action.relation is not None else action
    )

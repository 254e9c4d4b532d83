"""What an action community can mean: a small closed vocabulary, as frozen types.

First stage of everything about communities: `dictionary` reads data files into these types, the lab turns them into
BIRD filters, the propagation engine into integers, and the doctor looks for one that says what it needs. A network
whose community means something else gets the nearest of these or `Informational`. Nothing here knows a network by
name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Region(StrEnum):
    """A continent, as `model.cities.City.continent` spells it."""

    EU = "EU"
    NA = "NA"
    AS = "AS"
    SA = "SA"
    OC = "OC"
    AF = "AF"

    @property
    def says(self) -> str:
        return _REGION_NAMES[self]


_REGION_NAMES = {
    Region.EU: "Europe",
    Region.NA: "North America",
    Region.AS: "Asia",
    Region.SA: "South America",
    Region.OC: "Oceania",
    Region.AF: "Africa",
}
_ANNOUNCED = "the region of the announcement"


class Neighbours(StrEnum):
    """A set of neighbours by what they are to the AS that acts. `EVERYONE` also means its own other routers
    (NO_ADVERTISE).
    """

    CUSTOMERS = "customers"
    PEERS = "peers"
    PROVIDERS = "providers"
    ALL = "all"
    EVERYONE = "everyone"


class Relation(StrEnum):
    """Where a local preference stands among an AS's own defaults (customer above peer above provider)."""

    LOWEST = "lowest"
    BELOW_PEER = "below-peer"
    AS_PEER = "as-peer"
    ABOVE_PEER = "above-peer"
    BELOW_CUSTOMER = "below-customer"
    AS_CUSTOMER = "as-customer"
    ABOVE_CUSTOMER = "above-customer"


# The scale that the lab's routers and the model share: 300 a customer's route, 200 a peer's, 100 a provider's (ROUTING
# facts, Gao-Rexford).
CUSTOMER_PREFERENCE = 300
PEER_PREFERENCE = 200
PROVIDER_PREFERENCE = 100
_ON_SCALE: Mapping[Relation, int] = {
    Relation.LOWEST: 50,
    Relation.BELOW_PEER: 150,
    Relation.AS_PEER: PEER_PREFERENCE,
    Relation.ABOVE_PEER: 250,
    Relation.BELOW_CUSTOMER: 290,
    Relation.AS_CUSTOMER: CUSTOMER_PREFERENCE,
    Relation.ABOVE_CUSTOMER: 310,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """The part of the acting AS where an action holds: everywhere (the default), inside `regions`, or outside them.

    `announced=True` stands for the region in which the announcement entered the AS, known only then.
    """

    regions: frozenset[Region] = frozenset()
    outside: bool = False
    announced: bool = False

    def covers(self, here: Region, announced_in: Region) -> bool:
        """Whether the action holds at a router of the AS in `here` for an announcement that entered it in
        `announced_in`.
        """
        places = self.regions | ({announced_in} if self.announced else frozenset())
        if not places:
            return True
        return (here in places) != self.outside

    @property
    def says(self) -> str:
        """As the end of a sentence: `in Europe`, `outside the region of the announcement`, or nothing."""
        names = [r.says for r in sorted(self.regions)] + ([_ANNOUNCED] if self.announced else [])
        return f"{'outside' if self.outside else 'in'} {' and '.join(names)}" if names else ""

    @classmethod
    def of(cls, text: str) -> "Where":
        """The place whose `says` this is. ValueError for anything else."""
        if not text:
            return cls()
        word, _, rest = text.partition(" ")
        names = rest.split(" and ")
        known = {name: region for region, name in _REGION_NAMES.items()}
        regions = frozenset(known[name] for name in names if name in known)
        found = cls(regions=regions, outside=word == "outside", announced=_ANNOUNCED in names)
        if found.says != text:
            raise ValueError(f"'{text}' is no place")
        return found


EVERYWHERE = Where()


@dataclass(frozen=True, slots=True, kw_only=True)
class NoExportTo:
    """The route is not sent to these neighbours over sessions in `where`. `neighbour` None: the AS that a pattern's
    placeholder names.
    """

    neighbour: Neighbours | int | None
    where: Where = EVERYWHERE


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTo:
    """The route is sent to this neighbour although another community says not to."""

    neighbour: Neighbours | int | None
    where: Where = EVERYWHERE


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepInRegion:
    """The route stays in one region: not carried inside the AS beyond it, and not sent to a neighbour whose footprint
    reaches beyond.
    """

    region: Region


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepend:
    """The acting AS puts its own number `count` extra times before the path, towards these neighbours, over sessions
    in `where`.
    """

    count: int
    neighbour: Neighbours | int | None
    where: Where = EVERYWHERE


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalPreference:
    """The route gets another local preference: `relation` on the common scale, or a bare `value`; with both, `value`
    is the AS's own number and `relation` is what counts here.
    """

    value: int | None = None
    relation: Relation | None = None
    where: Where = EVERYWHERE

    @property
    def on_scale(self) -> int:
        """The local preference on the scale 300 customer, 200 peer, 100 provider."""
        if self.relation is not None:
            return _ON_SCALE[self.relation]
        return self.value or 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMed:
    """The route is sent to this neighbour with this MED."""

    value: int
    neighbour: Neighbours | int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Blackhole:
    """Traffic to the prefix is dropped (RFC 7999). Never proposed by anything here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Informational:
    """The AS sets it to tell where a route came from; sending it changes nothing."""


Action = NoExportTo | ExportTo | KeepInRegion | Prepend | LocalPreference | SetMed | Blackhole | Informational

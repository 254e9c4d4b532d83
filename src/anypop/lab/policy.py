"""What an AS does to a route: BIRD filter statements for import and export, from relationships and from its dictionary
of communities.

Between the dictionary (`routing.dictionary`) and the rendered configuration. A route is marked where it enters an AS,
by large communities in the AS's own name that no outsider can set, and everything later (export, regional scope, `why`)
reads those marks:

    (ASN, 1, class)   1 customer, 2 peer, 3 provider
    (ASN, 2, region)  the continent of the router where it entered
    (ASN, 3, city)    that router's city: its IATA code read as a number of base 36

When several action communities meet, the lowest local preference and the lowest MED win, prepends add up, and an
explicit `export-to` beats `no-export-to`. A sibling is told the class too, and takes it over. Pure.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from anypop.lab.topology import Habit
from anypop.model import extended_communities as extended
from anypop.model.announce import LargeCommunity
from anypop.model.route import Relationship
from anypop.routing.actions import (
    CUSTOMER_PREFERENCE,
    PEER_PREFERENCE,
    PROVIDER_PREFERENCE,
    Blackhole,
    ExportTo,
    Informational,
    KeepInRegion,
    LocalPreference,
    Neighbours,
    NoExportTo,
    Prepend,
    Region,
    SetMed,
    Where,
)
from anypop.routing.entries import Entry

MARKS = _CLASS_MARK, _REGION_MARK, _CITY_MARK = 1, 2, 3
_CLASSES = {Relationship.CUSTOMER: 1, Relationship.PEER: 2, Relationship.PROVIDER: 3}
_PREFERENCES = {
    Relationship.CUSTOMER: CUSTOMER_PREFERENCE,
    Relationship.PEER: PEER_PREFERENCE,
    Relationship.PROVIDER: PROVIDER_PREFERENCE,
}
_REGIONS = {"EU": 1, "NA": 2, "AS": 3, "SA": 4, "OC": 5, "AF": 6, "AN": 7}
_SETS = {
    Neighbours.CUSTOMERS: Relationship.CUSTOMER,
    Neighbours.PEERS: Relationship.PEER,
    Neighbours.PROVIDERS: Relationship.PROVIDER,
}
# RFC 1997: BIRD obeys these two by itself.
_BIRDS_OWN = frozenset([(65535, 65281), (65535, 65282)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """The far end of an external session, as the AS that acts sees it."""

    asn: int
    relationship: Relationship
    footprint: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The policy of one AS at one of its routers. `entries`: its dictionary without placeholders."""

    asn: int
    city: str
    region: str
    entries: tuple[Entry, ...]
    habits: frozenset[Habit] = frozenset()

    def entering(self, relationship: Relationship, sender: int) -> Iterator[str]:
        """Statements for a route from the AS `sender`: forget what it claims in our name, mark where it came in, prefer
        it accordingly.
        """
        yield self._forgetting(*MARKS)
        if relationship is Relationship.SIBLING:
            others = " || ".join(f"({sender}, {_CLASS_MARK}, {number}) ~ bgp_large_community" for number in (2, 3))
            for number in (2, 3):
                yield (
                    f"if ({sender}, {_CLASS_MARK}, {number}) ~ bgp_large_community then "
                    f"bgp_large_community.add(({self.asn}, {_CLASS_MARK}, {number}));"
                )
            # what a sibling itself originates has no mark: as good as a customer's
            yield f"if !({others}) then bgp_large_community.add(({self.asn}, {_CLASS_MARK}, 1));"
            yield f"bgp_large_community.delete([({sender}, {_CLASS_MARK}, *)]);"
        else:
            yield f"bgp_large_community.add(({self.asn}, {_CLASS_MARK}, {_CLASSES[relationship]}));"
        for kind, value in ((_REGION_MARK, _REGIONS[self.region]), (_CITY_MARK, int(self.city, 36))):
            yield f"bgp_large_community.add(({self.asn}, {kind}, {value}));"
        yield "set_preference();"

    def preferring(self) -> Iterator[str]:
        """Statements that set the local preference of a marked route here, from outside or from another router of
        the AS.
        """
        for relationship, number in _CLASSES.items():
            yield f"if {self._mark(_CLASS_MARK, number)} then bgp_local_pref = {_PREFERENCES[relationship]};"
        wanted: list[tuple[int, str, str]] = []
        for entry in self.entries:
            match entry.action:
                case LocalPreference() as action:
                    condition = self._holds(entry, action.where)
                    if condition:
                        wanted.append((action.on_scale, condition, entry.text))
                case _:
                    pass
        for value, condition, text in sorted(wanted, key=lambda row: -row[0]):
            yield f"if {condition} then bgp_local_pref = {value};  # {text}"
        for entry in self.entries:
            if isinstance(entry.action, Blackhole):
                yield (
                    f"if {_carries(entry)} then {{ dest = RTD_BLACKHOLE; bgp_community.add((65535, 65281)); }}  # "
                    f"{entry.text}"
                )

    @property
    def entered_here(self) -> str:
        """Whether a route came into the AS at this router, as an expression in brackets."""
        return f"({self._mark(_CITY_MARK, int(self.city, 36))})"

    def dropping(self) -> str:
        """Whether a route carries a community that has its traffic dropped, as an expression in brackets."""
        return f"({' || '.join(_carries(entry) for entry in self.entries if isinstance(entry.action, Blackhole))})"

    def leaving(self, neighbour: Neighbour) -> Iterator[str]:
        """Statements for a route on its way to another AS. The last one strips our marks."""
        upward = neighbour.relationship in (Relationship.PEER, Relationship.PROVIDER)
        if upward and Habit.ROUTE_SERVER not in self.habits:
            # a prefix of this AS itself comes from its other routers with an empty path, and goes to all as well
            yield f"if source = RTS_BGP && bgp_path.len > 0 && !({self._mark(_CLASS_MARK, 1)}) then reject;"
        denied: list[str] = []
        allowed: list[str] = []
        for entry in self.entries:
            match entry.action:
                case NoExportTo(neighbour=whom, where=where) if entry.numbers not in _BIRDS_OWN and _means(
                    whom, neighbour
                ):
                    denied += self._if(entry, where)
                case ExportTo(neighbour=whom, where=where) if _means(whom, neighbour):
                    allowed += self._if(entry, where)
                case KeepInRegion(region=region) if neighbour.footprint - {region.value}:
                    yield f"if {_carries(entry)} then reject;  # {entry.text} keeps it in {region.says}"
                case _:
                    pass
        if denied and allowed:
            yield f"if ({' || '.join(denied)}) && !({' || '.join(allowed)}) then reject;"
        elif denied:
            yield from (f"if {condition} then reject;" for condition in denied)
        meds: list[tuple[int, str]] = []
        for entry in self.entries:
            match entry.action:
                case Prepend(count=count, neighbour=whom, where=where) if _means(whom, neighbour):
                    for condition in self._if(entry, where):
                        yield f"if {condition} then {{ {f'bgp_path.prepend({self.asn}); ' * count}}}"
                case SetMed(value=value, neighbour=whom) if _means(whom, neighbour):
                    meds.append((value, _carries(entry)))
                case _:
                    pass
        for value, condition in sorted(meds, reverse=True):
            yield f"if {condition} then bgp_med = {value};"
        told = neighbour.relationship is Relationship.SIBLING  # it takes the class over
        if Habit.STRIPS_COMMUNITIES in self.habits:
            yield "bgp_community.delete([(*, *)]);"
            yield "bgp_ext_community.empty;"
            left = f"filter([({self.asn}, {_CLASS_MARK}, *)])" if told else "delete([(*, *, *)])"
            yield f"bgp_large_community.{left};"
        yield self._forgetting(*(() if told else (_CLASS_MARK,)), _REGION_MARK, _CITY_MARK)

    def carrying(self, region: str) -> Iterator[str]:
        """Statements for a route on its way to another router of the AS, in `region`."""
        for entry in self.entries:
            match entry.action:
                case KeepInRegion(region=kept) if kept.value != region:
                    yield f"if {_carries(entry)} then reject;  # {entry.text} keeps it in {kept.says}"
                case (
                    LocalPreference()
                    | NoExportTo()
                    | ExportTo()
                    | KeepInRegion()
                    | Prepend()
                    | SetMed()
                    | Blackhole()
                    | Informational()
                ):
                    pass

    def _forgetting(self, *kinds: int) -> str:
        """Without marks of ours; other large communities in our name may be words of our dictionary."""
        return f"bgp_large_community.delete([{', '.join(f'({self.asn}, {kind}, *)' for kind in kinds)}]);"

    def _mark(self, kind: int, value: int) -> str:
        return f"({self.asn}, {kind}, {value}) ~ bgp_large_community"

    def _if(self, entry: Entry, where: Where) -> list[str]:
        condition = self._holds(entry, where)
        return [condition] if condition else []

    def _holds(self, entry: Entry, where: Where) -> str | None:
        """When the action of `entry` holds at this router, as an expression; None: never."""
        here = Region(self.region)
        if not where.announced:
            return _carries(entry) if where.covers(here, here) else None
        entered = [region for region in Region if where.covers(here, region)]
        if not entered:
            return None
        places = " || ".join(self._mark(_REGION_MARK, _REGIONS[region.value]) for region in entered)
        # in brackets: BIRD 2 reads && and || from left to right, neither binds more tightly
        return f"({_carries(entry)} && ({places}))"


def _means(whom: Neighbours | int | None, neighbour: Neighbour) -> bool:
    if isinstance(whom, Neighbours):
        return whom not in _SETS or _SETS[whom] is neighbour.relationship
    return whom == neighbour.asn


def _carries(entry: Entry) -> str:
    if entry.is_extended:
        return f"({', '.join(extended.spelled(entry.community))}) ~ bgp_ext_community"
    numbers = ", ".join(map(str, entry.numbers))
    return f"({numbers}) ~ bgp_{'large_' if len(entry.numbers) == 3 else ''}community"


def entered_at(asn: int, communities: tuple[LargeCommunity, ...]) -> tuple[Relationship | None, str]:
    """What the marks of AS `asn` on a route say: the class of the neighbour it came from, and the city where; None
    and "" without marks.
    """
    relationship: Relationship | None = None
    city = ""
    for owner, kind, value in communities:
        if owner == asn and kind == _CLASS_MARK:
            relationship = next((r for r, number in _CLASSES.items() if number == value), None)
        elif owner == asn and kind == _CITY_MARK:
            city = _base36(value)
    return relationship, city


def _base36(value: int) -> str:
    digits = ""
    while value:
        value, digit = divmod(value, 36)
        digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[digit] + digits
    return digits

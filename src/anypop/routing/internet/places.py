"""Where networks are: a file of footprints in, cities and regions per AS out.

CSV, one row per AS: `asn,cities` with IATA codes separated by blanks (`3356,LHR JFK LAX`), or a region code where no
city is known (`64500,EU`). Every wrong row is reported with its line. The caller reads the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from anypop.model.cities import City, find_city
from anypop.model.errors import Invalid, Problem
from anypop.routing.actions import Region

# A network of which only the continent is known stands in one of its big exchange cities.
CENTRES: Mapping[Region, str] = {
    Region.EU: "FRA",
    Region.NA: "ORD",
    Region.AS: "SIN",
    Region.SA: "GRU",
    Region.OC: "SYD",
    Region.AF: "JNB",
}
_MOST_CITIES = 64  # more sites of one AS add nothing to "which exit is nearest" and cost their square


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Cities per AS number; an AS that is missing is in an unknown place."""

    cities: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    def of(self, asn: int) -> tuple[str, ...]:
        """The cities of an AS; one empty code when unknown."""
        return self.cities.get(asn, ("",))


NOWHERE = Places()


def read_places(text: str, file: str) -> Places:
    """The footprints in a CSV text. Raises `Invalid` with every problem."""
    problems: list[Problem] = []
    found: dict[int, tuple[str, ...]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        row = [cell.strip().strip('"') for cell in line.split(",")]
        if not line.strip() or row[0].startswith("#") or row[0].lower() == "asn":
            continue
        where = f"{file}:{number}"
        if len(row) != 2 or not (row[0].isascii() and row[0].isdigit() and len(row[0]) <= 10):
            problems.append(Problem(path=where, message="must be an AS number and its cities: 3356,LHR JFK LAX"))
            continue
        asn, codes = int(row[0]), row[1].upper().split()
        unknown = [code for code in codes if code not in tuple(Region) and find_city(code) is None]
        if unknown or not codes:
            problems.append(Problem(path=where, message=f"no such city or region: {' '.join(unknown) or 'none given'}"))
        if asn in found:
            problems.append(Problem(path=where, message=f"AS{asn} has an earlier row"))
        if len(codes) > _MOST_CITIES:
            problems.append(Problem(path=where, message=f"{len(codes)} cities; give the {_MOST_CITIES} biggest"))
        found[asn] = tuple(dict.fromkeys(CENTRES[Region(code)] if code in tuple(Region) else code for code in codes))
    if problems:
        raise Invalid(problems)
    return Places(cities=found)


def region_of(place: City | None) -> Region | None:
    """The region of a city; None for an unknown one and for Antarctica."""
    if place is None or place.continent not in tuple(Region):
        return None
    return Region(place.continent)

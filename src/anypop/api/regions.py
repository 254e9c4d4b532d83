"""The regions by which the Workload API's metrics may be asked for, and the cities in them.

In: one of the API's words and a city. Out: whether it lies there. A city that no airport has lies in no region. Words
that mean a part of some other network fit no city. Pure.
"""

from typing import Literal

from anypop.model.cities import find_city
from anypop.model.names import CityCode

Region = Literal[
    "ALL", "LOCAL_NODE", "LOCAL_POP", "NORTH_AMERICA", "EUROPE", "ASIA", "OCEANIA", "SOUTH_AMERICA", "MARKETPLACE",
    "INTERNAL", "INTERNET", "AFRICA", "MIDDLE_EAST",
]  # fmt: skip

_CONTINENTS = {
    "NORTH_AMERICA": "NA", "EUROPE": "EU", "ASIA": "AS", "OCEANIA": "OC", "SOUTH_AMERICA": "SA", "AFRICA": "AF",
}  # fmt: skip
PLACES = frozenset({"ALL", "MIDDLE_EAST", *_CONTINENTS})
# Between the Mediterranean and Iran, as operators of networks draw it; in ASIA they are not counted again.
_MIDDLE_EAST = frozenset(["AE", "BH", "IL", "IQ", "IR", "JO", "KW", "LB", "OM", "PS", "QA", "SA", "SY", "TR", "YE"])


def lies_in(region: str, code: CityCode) -> bool:
    if region == "ALL":
        return True
    city = find_city(code)
    if city is None:
        return False
    if city.country in _MIDDLE_EAST:
        return region == "MIDDLE_EAST"
    return _CONTINENTS.get(region) == city.continent

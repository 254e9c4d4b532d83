"""Cities by IATA code: where they are, and how far and how long apart.

Data: PyPI's `airportsdata` (MIT). Distances are great circles on a sphere of 6371 km; latency follows from distance at
the speed of light in fibre (about 200 km per ms) and a path that is a quarter longer than the great circle, which gives
London - New York 69.6 ms there and back (measured on real networks: 67 to 76 ms).
"""

import csv
import re
from dataclasses import dataclass
from functools import cache
from math import asin, cos, radians, sin, sqrt
from pathlib import Path

import airportsdata

from anypop.model.names import CityCode

EARTH_RADIUS_KM = 6371.0
FIBRE_KM_PER_MS = 200.0
PATH_STRETCH = 1.25

_LABEL = re.compile(r"[A-Z0-9]{1,16}")
_CONTINENT_NAMES = {
    "AF": "Africa",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "OC": "Oceania",
    "SA": "South America",
    "AN": "Antarctica",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class City:
    """A city by its airport. `continent` is a two-letter code (EU, NA); latitude and longitude in degrees."""

    code: CityCode
    name: str
    subdivision: str
    country: str
    continent: str
    latitude: float
    longitude: float

    @property
    def continent_name(self) -> str:
        return _CONTINENT_NAMES[self.continent]


@cache
def _airports() -> tuple[list[str], dict[str, list[str]]]:
    """What `airportsdata.load("IATA")` gives, as the names of columns and rows of text: that takes many times as long,
    for every command that knows a city.
    """
    with Path(airportsdata.__file__).with_name("airports.csv").open(encoding="utf8", newline="") as file:
        rows = csv.reader(file)
        head = next(rows)
        at = head.index("iata")
        return head, {row[at]: row for row in rows if row[at]}


@cache
def find_city(code: str) -> City | None:
    """The city of an IATA code, upper case; None where there is none."""
    head, airports = _airports()
    if code not in airports:
        return None
    row = dict(zip(head, airports[code], strict=True))
    return City(
        code=CityCode(code),
        name=row["city"],
        subdivision=row["subd"],
        country=row["country"],
        continent=continent_of(row["country"]),
        latitude=float(row["lat"]),
        longitude=float(row["lon"]),
    )


@cache
def city_of_pop(name: str) -> City | None:
    """The city of a PoP by its name: a city code, or where a city has several sites one with a label behind it, upper
    case (`AMS-2`). None where it is none.
    """
    code, dash, label = name.partition("-")
    return find_city(code) if not dash or _LABEL.fullmatch(label) else None


@cache
def country_name(code: str) -> str:
    """As people say it in English (CLDR): United States. The code itself where it has no name."""
    from babel import Locale  # noqa: PLC0415 - a tenth of a second, and few ask

    return str(Locale("en").territories.get(code, code))


def city(code: str) -> City:
    """The city of a known IATA code. KeyError where there is none: check input with `find_city` first."""
    found = find_city(code)
    if found is None:
        raise KeyError(code)
    return found


def distance_km(a: City, b: City) -> float:
    """Great-circle distance (haversine)."""
    phi_a, phi_b = radians(a.latitude), radians(b.latitude)
    half_phi = (phi_b - phi_a) / 2
    half_lambda = radians(b.longitude - a.longitude) / 2
    chord = sin(half_phi) ** 2 + cos(phi_a) * cos(phi_b) * sin(half_lambda) ** 2
    return 2 * EARTH_RADIUS_KM * asin(min(1.0, sqrt(chord)))


def beyond_nearest_km(city: str, landed: str | None, nearest: str | None) -> float | None:
    """How much further it is from `city` to where it landed than to the nearest place; None where one is not known."""
    here, there, near = (city_of_pop(code) if code else None for code in (city, landed, nearest))
    if here is None or there is None or near is None:
        return None
    return round(distance_km(here, there) - distance_km(here, near), 1)


def one_way_ms(km: float) -> float:
    """Propagation delay of a link of `km`, one way, in milliseconds."""
    return km * PATH_STRETCH / FIBRE_KM_PER_MS


def continent_of(country: str) -> str:
    """Continent code of an ISO 3166 country. Countries on two continents count where most of their networks are (RU
    and TR: EU).
    """
    for continent, countries in _COUNTRIES.items():
        if country in countries:
            return continent
    return "AS"


_COUNTRIES: dict[str, frozenset[str]] = {
    "EU": frozenset(
        [
            "AD",
            "AL",
            "AT",
            "AX",
            "BA",
            "BE",
            "BG",
            "BY",
            "CH",
            "CZ",
            "DE",
            "DK",
            "EE",
            "ES",
            "FI",
            "FO",
            "FR",
            "GB",
            "GG",
            "GI",
            "GR",
            "HR",
            "HU",
            "IE",
            "IM",
            "IS",
            "IT",
            "JE",
            "LI",
            "LT",
            "LU",
            "LV",
            "MC",
            "MD",
            "ME",
            "MK",
            "MT",
            "NL",
            "NO",
            "PL",
            "PT",
            "RO",
            "RS",
            "RU",
            "SE",
            "SI",
            "SJ",
            "SK",
            "SM",
            "TR",
            "UA",
            "VA",
            "XK",
        ]
    ),
    "NA": frozenset(
        [
            "AG",
            "AI",
            "AW",
            "BB",
            "BL",
            "BM",
            "BQ",
            "BS",
            "BZ",
            "CA",
            "CR",
            "CU",
            "CW",
            "DM",
            "DO",
            "GD",
            "GL",
            "GP",
            "GT",
            "HN",
            "HT",
            "JM",
            "KN",
            "KY",
            "LC",
            "MF",
            "MQ",
            "MS",
            "MX",
            "NI",
            "PA",
            "PM",
            "PR",
            "SV",
            "SX",
            "TC",
            "TT",
            "US",
            "VC",
            "VG",
            "VI",
        ]
    ),
    "SA": frozenset(["AR", "BO", "BR", "CL", "CO", "EC", "FK", "GF", "GY", "PE", "PY", "SR", "UY", "VE"]),
    "OC": frozenset(
        [
            "AS",
            "AU",
            "CK",
            "FJ",
            "FM",
            "GU",
            "KI",
            "MH",
            "MP",
            "NC",
            "NF",
            "NR",
            "NU",
            "NZ",
            "PF",
            "PG",
            "PN",
            "PW",
            "SB",
            "TK",
            "TO",
            "TV",
            "UM",
            "VU",
            "WF",
            "WS",
        ]
    ),
    "AF": frozenset(
        [
            "AO",
            "BF",
            "BI",
            "BJ",
            "BW",
            "CD",
            "CF",
            "CG",
            "CI",
            "CM",
            "CV",
            "DJ",
            "DZ",
            "EG",
            "EH",
            "ER",
            "ET",
            "GA",
            "GH",
            "GM",
            "GN",
            "GQ",
            "GW",
            "KE",
            "KM",
            "LR",
            "LS",
            "LY",
            "MA",
            "MG",
            "ML",
            "MR",
            "MU",
            "MW",
            "MZ",
            "NA",
            "NE",
            "NG",
            "RE",
            "RW",
            "SC",
            "SD",
            "SH",
            "SL",
            "SN",
            "SO",
            "SS",
            "ST",
            "SZ",
            "TD",
            "TG",
            "TN",
            "TZ",
            "UG",
            "YT",
            "ZA",
            "ZM",
            "ZW",
        ]
    ),
    "AN": frozenset(("AQ", "BV", "GS", "HM", "TF")),
}

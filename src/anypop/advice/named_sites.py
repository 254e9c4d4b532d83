"""Which site of the graph a name means: `AS3356`, `as3356-lhr`, and a city by its code or its name.

In: the Internet of a graph, and words of a user. Out: a site, or `NoSiteError`, which says what is there instead; what
to do about it, each face says in its own words. Pure.
"""

import re
from collections.abc import Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING

from anypop.model.cities import find_city

if TYPE_CHECKING:
    from anypop.routing.internet.sites import Internet  # numpy, which control must not load

_NETWORK = re.compile(r"(?:as)?(\d{1,10})(?:-([a-z]{3}))?", re.IGNORECASE)


class Lack(Enum):
    """Why no site is meant: the graph has no such network, the network has several sites and no city was named, nobody
    knows where it is, or it is elsewhere.
    """

    NETWORK = auto()
    CHOICE = auto()
    PLACE = auto()
    CITY = auto()


class NoSiteError(Exception):
    """`args[0]` says it in words."""

    def __init__(self, lack: Lack, text: str) -> None:
        super().__init__(text)
        self.lack = lack


def network_and_city(text: str) -> tuple[int, str] | None:
    """The AS number and the code (or nothing) that a name holds; None where it is no network's."""
    matched = _NETWORK.fullmatch(text)
    return (int(matched[1]), (matched[2] or "").upper()) if matched is not None else None


def site_of(internet: "Internet", asn: int, city: str) -> int:
    """The site of a network in a city, given by its code or its name. Raises `NoSiteError`."""
    sites = internet.sites_of(asn)
    if not sites:
        raise NoSiteError(Lack.NETWORK, f"AS{asn} is not in the graph")
    codes = [internet.city[site] for site in sites]
    if not city:
        if len(sites) == 1:
            return sites[0]
        raise NoSiteError(Lack.CHOICE, f"AS{asn} is in several cities: {', '.join(codes)}")
    fitting = matching(codes, city)
    if fitting:
        return sites[codes.index(fitting[0])]
    where = ", ".join(filter(None, codes))
    if not where:
        text = f"AS{asn} is in an unknown place as far as the graph knows, so nothing is known of {city}"
        raise NoSiteError(Lack.PLACE, text)
    raise NoSiteError(Lack.CITY, f"AS{asn} is not in {city} as far as the graph knows: it is in {where}")


def matching(codes: Sequence[str], city: str) -> list[str]:
    """The codes that a city's code or name means: `LHR`, `London`, `new york`."""
    if city.upper() in codes:
        return [city.upper()]
    wanted = city.casefold()
    places = {code: find_city(code) for code in codes}
    return [code for code, place in places.items() if place is not None and place.name.casefold() == wanted]

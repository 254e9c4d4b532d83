"""From relationships between ASes and their places to the `Internet` of sites.

An AS with several known cities becomes a site in each. Two ASes meet in every city they share; else, in each
continent they share, at their closest sites; else at the closest of all. A network in an unknown place meets a big
one at its first site. No I/O.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from anypop.model.cities import find_city
from anypop.model.errors import Invalid
from anypop.routing.internet.places import NOWHERE, Places, region_of
from anypop.routing.internet.relationships import Relationships
from anypop.routing.internet.sites import (
    REGIONS,
    UNKNOWN_REGION,
    Float,
    Inside,
    Int8,
    Int64,
    Internet,
    SiteLinks,
    assemble,
    kilometres,
)


def build_internet(links: Relationships, places: Places = NOWHERE) -> Internet:
    """The graph of sites. Raises `Invalid` for no links at all."""
    if len(links) == 0:
        raise Invalid.one(links.file, "holds no relationship at all")
    asns = np.unique(np.concatenate([links.a, links.b]))
    cities_of = [places.of(asn) for asn in asns.tolist()]
    counts = np.array([len(cities) for cities in cities_of], dtype=np.int64)
    first = np.concatenate([[0], np.cumsum(counts)])
    city = [code for cities in cities_of for code in cities]
    region, latitude, longitude = _coordinates(city)
    a, b = np.searchsorted(asns, links.a), np.searchsorted(asns, links.b)
    simple = (counts[a] == 1) & (counts[b] == 1)
    far = _Meeting(first=first, city=city, region=region, latitude=latitude, longitude=longitude)
    rows = [
        (first[a[simple]], first[b[simple]], links.kind[simple]),
        *far.one_sided(a, b, links.kind, counts),
        *far.both_wide(a, b, links.kind, counts),
    ]
    asn = np.repeat(asns, counts)
    return assemble(
        asn=asn,
        city=city,
        region=region,
        latitude=latitude,
        longitude=longitude,
        key=asn,
        links=SiteLinks(
            a=np.concatenate([row[0] for row in rows]),
            b=np.concatenate([row[1] for row in rows]),
            kind=np.concatenate([row[2] for row in rows]),
        ),
        inside=_distances(first, counts, latitude, longitude),
    )


def _coordinates(city: Sequence[str]) -> tuple[Int8, Float, Float]:
    known = {code: find_city(code) for code in set(city)}
    regions = {code: region_of(place) for code, place in known.items()}
    index = {code: UNKNOWN_REGION if region is None else REGIONS.index(region) for code, region in regions.items()}
    at = {code: (place.latitude, place.longitude) if place else (np.nan, np.nan) for code, place in known.items()}
    degrees = np.array([at[code] for code in city], dtype=np.float64).reshape(-1, 2)
    return np.array([index[code] for code in city], dtype=np.int8), degrees[:, 0].copy(), degrees[:, 1].copy()


def _distances(first: Int64, counts: Int64, latitude: Float, longitude: Float) -> Inside:
    """Every pair of sites of each AS that has more than one."""
    a: list[int] = []
    b: list[int] = []
    for group in np.flatnonzero(counts > 1).tolist():
        sites = range(int(first[group]), int(first[group + 1]))
        for i in sites:
            for j in range(i + 1, sites.stop):
                a.append(i)
                b.append(j)
    left, right = np.array(a, dtype=np.int64), np.array(b, dtype=np.int64)
    km = kilometres(latitude[left], longitude[left], latitude[right], longitude[right])
    return Inside(a=left, b=right, km=np.maximum(1, np.rint(np.nan_to_num(km))).astype(np.int64))


class _Meeting:
    """At which sites two ASes meet."""

    def __init__(self, *, first: Int64, city: Sequence[str], region: Int8, latitude: Float, longitude: Float) -> None:
        self.first = first
        self.city = city
        self.region = region
        self.latitude = latitude
        self.longitude = longitude

    def one_sided(self, a: Int64, b: Int64, kind: Int64, counts: Int64) -> Iterator[tuple[Int64, Int64, Int64]]:
        """Links of an AS of many sites with ASes of one: the closest site, for all its neighbours at once."""
        for wide, narrow, turned in ((a, b, False), (b, a, True)):
            rows = np.flatnonzero((counts[wide] > 1) & (counts[narrow] == 1))
            rows = rows[np.argsort(wide[rows], kind="stable")]
            for chunk in np.split(rows, np.flatnonzero(np.diff(wide[rows])) + 1):
                if not len(chunk):
                    continue
                group = int(wide[chunk[0]])
                sites = np.arange(self.first[group], self.first[group + 1])
                other = self.first[narrow[chunk]]
                km = kilometres(
                    self.latitude[sites], self.longitude[sites], self.latitude[other, None], self.longitude[other, None]
                )
                nearest = sites[np.argmin(np.nan_to_num(km), axis=1)]
                yield (other, nearest, kind[chunk]) if turned else (nearest, other, kind[chunk])

    def both_wide(self, a: Int64, b: Int64, kind: Int64, counts: Int64) -> Iterator[tuple[Int64, Int64, Int64]]:
        """Links of two ASes of many sites."""
        for row in np.flatnonzero((counts[a] > 1) & (counts[b] > 1)).tolist():
            pairs = self._pairs(int(a[row]), int(b[row]))
            left, right = np.array(pairs, dtype=np.int64).T
            yield left, right, np.full(len(pairs), kind[row], dtype=np.int64)

    def _pairs(self, a: int, b: int) -> list[tuple[int, int]]:
        sites_a, sites_b = (range(int(self.first[g]), int(self.first[g + 1])) for g in (a, b))
        in_b = {self.city[j]: j for j in sites_b}
        shared = [(i, in_b[self.city[i]]) for i in sites_a if self.city[i] in in_b]
        if shared:
            return shared
        left, right = np.array(sites_a), np.array(sites_b)
        km = kilometres(
            self.latitude[left, None], self.longitude[left, None], self.latitude[right], self.longitude[right]
        )
        same = self.region[left, None] == self.region[right]
        found = []
        for region in np.unique(self.region[left]):
            candidates = np.where(same & (self.region[left, None] == region), km, np.inf)
            if np.isfinite(candidates).any():
                i, j = np.unravel_index(np.argmin(candidates), candidates.shape)
                found.append((int(left[i]), int(right[j])))
        if not found:
            i, j = np.unravel_index(np.argmin(np.nan_to_num(km)), km.shape)
            found.append((int(left[i]), int(right[j])))
        return found

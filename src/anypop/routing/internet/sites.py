"""The graph that announcements spread over: integer arrays of sites and links, as the engines want them.

A *site* is one AS in one place: most networks are a single site, one that spans continents has several, joined inside
by distances. `assemble` makes an `Internet` from sites and links; `world` is what makes those from files. Nothing
here knows about announcements.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anypop.model.cities import EARTH_RADIUS_KM
from anypop.routing.actions import Region
from anypop.routing.internet.relationships import Link

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Int8 = npt.NDArray[np.int8]
Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

REGIONS: tuple[Region, ...] = tuple(Region)
UNKNOWN_REGION = len(REGIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjacency:
    """Compressed rows: the neighbours of site i are `to[start[i]:start[i + 1]]`. `km` stands beside them for internal
    links alone.
    """

    start: Int32
    to: Int32
    km: Int32

    def of(self, site: int) -> Int32:
        return self.to[self.start[site] : self.start[site + 1]]

    def km_of(self, site: int) -> Int32:
        return self.km[self.start[site] : self.start[site + 1]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Internet:
    """All sites and links.

    Per site: `asn`, `group` (index of its AS in `asns`), `city` (empty: unknown), `region` (index in REGIONS, 6:
    unknown), place in degrees (nan: unknown), `key` (among equally good routes the one from the site with the lowest
    key wins: the AS number, or a router id as a number). `first[g]:first[g + 1]` are the sites of AS g; both `asns`
    and the sites are sorted by AS number.
    """

    asns: Int64
    first: Int32
    asn: Int64
    group: Int32
    city: tuple[str, ...]
    region: Int8
    latitude: Float
    longitude: Float
    key: Int64
    customers: Adjacency
    providers: Adjacency
    peers: Adjacency
    siblings: Adjacency
    internal: Adjacency

    def __len__(self) -> int:
        return len(self.asn)

    def group_of(self, asn: int) -> int | None:
        """The index of an AS; None when it is not in the graph."""
        at = int(np.searchsorted(self.asns, asn))
        return at if at < len(self.asns) and int(self.asns[at]) == asn else None

    def sites_of(self, asn: int) -> range:
        """The sites of an AS; empty when it is not in the graph."""
        group = self.group_of(asn)
        return range(0) if group is None else range(int(self.first[group]), int(self.first[group + 1]))

    def name(self, site: int) -> str:
        """For people: `AS3356 in LHR`."""
        place = self.city[site]
        return f"AS{self.asn[site]}" + (f" in {place}" if place else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteLinks:
    """Links between sites of different ASes: `a[i]` is `kind[i]` (a `relationships.Link`) to `b[i]`."""

    a: Int64
    b: Int64
    kind: Int64


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """Distances between sites of one AS, in km or in whatever its routers count: both directions are given by one
    row.
    """

    a: Int64
    b: Int64
    km: Int64


NOTHING_INSIDE = Inside(a=np.zeros(0, np.int64), b=np.zeros(0, np.int64), km=np.zeros(0, np.int64))


def assemble(
    *,
    asn: Int64,
    city: Sequence[str],
    region: Int8,
    latitude: Float,
    longitude: Float,
    key: Int64,
    links: SiteLinks,
    inside: Inside = NOTHING_INSIDE,
) -> Internet:
    """An `Internet` of sites given in the order of their AS numbers (ValueError otherwise) and links by their
    indexes.
    """
    if len(asn) and (np.diff(asn) < 0).any():
        raise ValueError("sites must be sorted by AS number")
    asns, group, counts = np.unique(asn, return_inverse=True, return_counts=True)
    n = len(asn)
    down, peer, sibling = (links.kind == kind for kind in (Link.PROVIDER, Link.PEER, Link.SIBLING))
    return Internet(
        asns=asns,
        first=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        asn=asn,
        group=group.astype(np.int32),
        city=tuple(city),
        region=region,
        latitude=latitude,
        longitude=longitude,
        key=key,
        customers=_rows(n, links.a[down], links.b[down]),
        providers=_rows(n, links.b[down], links.a[down]),
        peers=_rows(n, *_both(links.a[peer], links.b[peer])),
        siblings=_rows(n, *_both(links.a[sibling], links.b[sibling])),
        internal=_rows(n, *_both(inside.a, inside.b), np.concatenate([inside.km, inside.km])),
    )


def kilometres(latitude: Float, longitude: Float, to_latitude: Float | float, to_longitude: Float | float) -> Float:
    """Great-circle distances (haversine), element by element or broadcast; nan where a place is unknown."""
    phi, to_phi = np.radians(latitude), np.radians(to_latitude)
    half_phi, half_lambda = (to_phi - phi) / 2, np.radians(np.asarray(to_longitude) - longitude) / 2
    chord = np.sin(half_phi) ** 2 + np.cos(phi) * np.cos(to_phi) * np.sin(half_lambda) ** 2
    result: Float = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(1.0, chord)))
    return result


def _both(a: Int64, b: Int64) -> tuple[Int64, Int64]:
    return np.concatenate([a, b]), np.concatenate([b, a])


def _rows(n: int, source: Int64, target: Int64, km: Int64 | None = None) -> Adjacency:
    """Sorted by source, then by target, so that a graph looks the same however its file was ordered."""
    order = np.argsort((source << 32) | target, kind="stable")
    start = np.zeros(n + 1, dtype=np.int32)
    np.cumsum(np.bincount(source, minlength=n), out=start[1:])
    lengths = np.zeros(0, dtype=np.int32) if km is None else km[order].astype(np.int32)
    return Adjacency(start=start, to=target[order].astype(np.int32), km=lengths)

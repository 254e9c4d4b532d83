"""Where every network lands: graph, announcements and measurements in, a `Prediction` out.

The engine gives each site its route; measurements that are pinned overrule it, and whoever takes its route from a
pinned site follows. Each answer has its confidence: pinned, one best PoP, or a tie that the model cannot see through.
Distances are great circles; a site in an unknown place has none.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from anypop.model.cities import city_of_pop, find_city
from anypop.model.names import CityCode
from anypop.model.sessions import Announcements
from anypop.routing.catchment.following import followed
from anypop.routing.catchment.sessions import seeds_of
from anypop.routing.engine.arrays import NONE
from anypop.routing.engine.propagate import KINDS, Engine, Outcome
from anypop.routing.internet.sites import REGIONS, Float, Int8, Int32, Internet, kilometres


class Confidence(StrEnum):
    """How sure an answer is. The value is the word people read."""

    PINNED = "pinned"
    SINGLE = "single"
    TIE = "tie"
    NO_ROUTE = "no route"


_LEVELS = (Confidence.PINNED, Confidence.SINGLE, Confidence.TIE, Confidence.NO_ROUTE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The answer for one site. `ties`: all PoPs that equally good routes lead to. `extra_km`: beyond its nearest PoP;
    None without a place. `chance`: that it is so, where it was learnt from measurements.
    """

    asn: int
    city: str
    region: str
    pop: CityCode | None
    path: tuple[int, ...]
    kind: str
    confidence: Confidence
    ties: tuple[CityCode, ...]
    nearest: CityCode | None
    extra_km: float | None
    weight: float
    chance: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A group of sites: by PoP, by region, by country. `weight` sums to 1 over a table. `extra_km` is the weighted
    mean of those with a place; nan where none has one.
    """

    name: str
    sites: int
    weight: float
    sure: float
    extra_km: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Per site: `pop` (index in `pops`, -1: none), `nearest` (same), `extra_km` (nan: unknown), `level` (index of
    `_LEVELS`), `weight` (sums to 1), and where it was learnt from measurements `chance` of that answer; `learnt`: in
    which way.
    """

    outcome: Outcome
    announcements: Announcements
    pops: tuple[CityCode, ...]
    pop: Int32
    nearest: Int32
    extra_km: Float
    level: Int8
    weight: Float
    chance: Float | None = None
    learnt: str = ""

    @property
    def internet(self) -> Internet:
        return self.outcome.internet

    def row(self, site: int) -> Row:
        """Everything about one site."""
        net = self.internet
        region = int(net.region[site])
        extra = float(self.extra_km[site])
        kind = int(self.outcome.kind[site])
        return Row(
            asn=int(net.asn[site]),
            city=net.city[site],
            region=REGIONS[region].value if region < len(REGIONS) else "",
            pop=self.pops[self.pop[site]] if self.pop[site] >= 0 else None,
            path=self.outcome.path(site),
            kind=KINDS[kind] if kind != NONE else "",
            confidence=_LEVELS[self.level[site]],
            ties=tuple(sorted({pop for end in (self.outcome, *self.outcome.others) for pop in end.ties(site)})),
            nearest=self.pops[self.nearest[site]] if self.nearest[site] >= 0 else None,
            extra_km=None if np.isnan(extra) else extra,
            weight=float(self.weight[site]),
            chance=None if self.chance is None else float(self.chance[site]),
        )

    def rows_of(self, asn: int) -> tuple[Row, ...]:
        """The sites of one AS; empty when it is not in the graph."""
        return tuple(self.row(site) for site in self.internet.sites_of(asn))

    def biggest(self, number: int) -> tuple[Row, ...]:
        """All sites of so many networks: the heaviest first, among equals those with the most customers. A network
        counts as one, however many sites share its weight.
        """
        net = self.internet
        # A sum of shares is not quite the whole: rounded, equals are equal again.
        weight = np.bincount(net.group, weights=self.weight, minlength=len(net.asns)).round(15)
        customers = np.diff(net.customers.start)
        if len(net.asns) < len(net):  # a customer of several sites is one
            provider = np.repeat(net.group.astype(np.int64), customers)
            pairs = np.unique((provider << 32) | net.group[net.customers.to])
            customers = np.bincount(pairs >> 32, minlength=len(net.asns)).astype(np.int32)
        order = np.lexsort((-customers, -weight))
        return tuple(
            self.row(site)
            for group in order[:number]
            for site in range(int(net.first[group]), int(net.first[group + 1]))
        )

    def by_pop(self) -> tuple[Share, ...]:
        """One share for each PoP, and one for sites without a route."""
        groups = [(pop, self.pop == index) for index, pop in enumerate(self.pops)]
        return tuple(self._shares([*groups, ("", self.pop < 0)]))

    def by_region(self) -> tuple[Share, ...]:
        region = self.internet.region
        return tuple(
            self._shares([*((r.value, region == i) for i, r in enumerate(REGIONS)), ("", region == len(REGIONS))])
        )

    def by_country(self) -> tuple[Share, ...]:
        """The heaviest first."""
        country = {code: place.country if (place := find_city(code)) else "" for code in set(self.internet.city)}
        names = sorted(set(country.values()))
        number = {code: names.index(name) for code, name in country.items()}
        here = np.array([number[code] for code in self.internet.city])
        shares = self._shares([(name, here == index) for index, name in enumerate(names)])
        return tuple(sorted(shares, key=lambda share: -share.weight))

    def _shares(self, groups: list[tuple[str, npt.NDArray[np.bool_]]]) -> Iterator[Share]:
        for name, member in groups:
            weight = self.weight[member]
            if not member.any():
                continue
            total = float(weight.sum())
            known = ~np.isnan(self.extra_km[member])
            placed = float(weight[known].sum())
            yield Share(
                name=name,
                sites=int(member.sum()),
                weight=total,
                sure=float((weight * self._sure[member]).sum() / total) if total else 0.0,
                extra_km=float((weight[known] * self.extra_km[member][known]).sum() / placed)
                if placed
                else float("nan"),
            )

    @property
    def _sure(self) -> Float:
        """Per site how sure its answer is: its chance, or where there is none, 1 where no tie can change it."""
        if self.chance is not None:
            return self.chance
        return (self.level <= _LEVELS.index(Confidence.SINGLE)).astype(float)

    @property
    def mean_extra_km(self) -> float:
        """Weighted mean of the detour of all sites with a place; nan where none has one."""
        known = ~np.isnan(self.extra_km)
        total = float(self.weight[known].sum())
        return float((self.weight[known] * self.extra_km[known]).sum() / total) if total else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Distances:
    """Kilometres from each site to each PoP, worked out once for many predictions. nan: unknown."""

    pops: tuple[CityCode, ...]
    km: Float


def distances(internet: Internet, pops: tuple[CityCode, ...]) -> Distances:
    """A row per site, a column per PoP."""
    places = [city_of_pop(pop) for pop in pops]
    # Most networks are in one of some hundred cities: each place once.
    (_, row), (east, column) = (
        np.unique(degrees, return_inverse=True) for degrees in (internet.latitude, internet.longitude)
    )
    _, one, which = np.unique(row * len(east) + column, return_index=True, return_inverse=True)
    columns = [
        kilometres(internet.latitude[one], internet.longitude[one], place.latitude, place.longitude)[which]
        if place
        else np.full(len(internet), np.nan)
        for place in places
    ]
    return Distances(pops=pops, km=np.column_stack(columns) if columns else np.zeros((len(internet), 0)))


def predict(
    engine: Engine,
    announcements: Announcements,
    *,
    weights: Mapping[int, float] | None = None,
    pins: Mapping[int, str] | None = None,
    homes: tuple[CityCode, ...] | None = None,
) -> Prediction:
    """Where every site lands. `weights`: users (or traffic) per AS, default all equal; an AS of several sites shares
    its weight among them. `pins`: site to PoP, as `observations.pins_of` makes them. `homes`: the PoPs that count as
    somebody's nearest, default those that announce. Raises `Invalid` for sessions that do not fit the graph.
    """
    outcome = engine.run(seeds_of(engine.internet, announcements), ends=True)
    return judged(
        outcome,
        announcements,
        weight=site_weights(engine.internet, weights),
        pins=pins or {},
        homes=homes or announcements.pops,
    )


def landing(outcome: Outcome, pops: Sequence[str]) -> Int32:
    """Per site the index in `pops` of where an outcome leads; -1: nowhere there."""
    number = [pops.index(pop) if pop in pops else -1 for pop in outcome.pops]
    return np.array([*number, -1], dtype=np.int32)[outcome.pop_index()]


def judged(
    outcome: Outcome,
    announcements: Announcements,
    *,
    weight: Float,
    pins: Mapping[int, str],
    homes: tuple[CityCode, ...],
    known: Distances | None = None,
) -> Prediction:
    """An outcome with distances, pins and confidence."""
    internet = outcome.internet
    pops = tuple(sorted({*outcome.pops, *homes}))
    at_home = np.array([pop in homes for pop in pops])
    placed = ~np.isnan(internet.latitude) & at_home.any()
    nearest = np.full(len(internet), -1, dtype=np.int32)
    if placed.any():
        table = known if known is not None and known.pops == pops else distances(internet, pops)
        km = np.where(at_home, table.km, np.inf)
        nearest = np.where(placed, np.argmin(np.nan_to_num(km, nan=np.inf), axis=1), -1).astype(np.int32)
    translate = np.array([pops.index(pop) for pop in outcome.pops] + [-1], dtype=np.int32)
    pop = translate[outcome.pop_index()]
    level = np.full(len(internet), _LEVELS.index(Confidence.SINGLE), dtype=np.int8)
    level[outcome.tied] = _LEVELS.index(Confidence.TIE)
    if pins:
        pop = followed(outcome, pop, {site: pops.index(CityCode(name)) for site, name in pins.items() if name in pops})
        level[[site for site, name in pins.items() if name in pops]] = _LEVELS.index(Confidence.PINNED)
    level[pop < 0] = _LEVELS.index(Confidence.NO_ROUTE)
    extra = np.full(len(internet), np.nan)
    if placed.any():
        here = np.arange(len(internet))
        extra = np.where((pop >= 0) & (nearest >= 0), table.km[here, pop] - table.km[here, nearest], np.nan)
    return Prediction(
        outcome=outcome,
        announcements=announcements,
        pops=pops,
        pop=pop,
        nearest=nearest,
        extra_km=np.maximum(extra, 0.0),
        level=level,
        weight=weight,
    )


def told(
    plain: Prediction, *, pops: Sequence[str], index: npt.NDArray[np.int64], chance: Float, way: str
) -> Prediction:
    """A prediction with other answers: per site an index in `pops`, which the prediction has too, and its chance. Who
    has no route in the graph has one where it was measured or learnt.
    """
    pop = np.array([plain.pops.index(CityCode(name)) for name in pops], dtype=np.int32)[index]
    here = np.arange(len(pop))
    km = distances(plain.internet, plain.pops).km
    extra = np.where(plain.nearest >= 0, km[here, pop] - km[here, plain.nearest], np.nan)
    level = plain.level.copy()
    level[level == _LEVELS.index(Confidence.NO_ROUTE)] = _LEVELS.index(Confidence.SINGLE)
    return replace(plain, pop=pop, extra_km=np.maximum(extra, 0.0), level=level, chance=chance, learnt=way)


def site_weights(internet: Internet, weights: Mapping[int, float] | None = None) -> Float:
    """Weight per site, 1 in all: what its AS has, shared among its sites. An AS that `weights` does not name has
    none.
    """
    if weights is None:
        per_as = np.ones(len(internet.asns))
    else:
        per_as = np.array([max(0.0, weights.get(asn, 0.0)) for asn in internet.asns.tolist()])
    sizes = np.diff(internet.first)
    shared = (per_as / sizes)[internet.group]
    total = float(shared.sum())
    result: Float = shared / total if total else shared
    return result

"""Who lands far from home, and because of whom: a prediction in, causes out, the worst first.

A stray lands much further away than its nearest PoP. Its cause is the last AS on its way that held a route to the
nearest PoP and took another (`explain` says it the same way for one vantage). Where nobody on the way held one, the
cause is the first transit AS, which lacks a route home.
"""

from dataclasses import dataclass

import numpy as np

from anypop.model.cities import find_city
from anypop.model.names import CityCode
from anypop.routing.catchment.predict import Prediction
from anypop.routing.catchment.views import why
from anypop.routing.engine.heard import heard
from anypop.routing.engine.propagate import Engine
from anypop.routing.explain import Why
from anypop.routing.internet.sites import REGIONS, Bool, Float, Int32, Int64, Internet

# Half of London - New York is no stray for most uses; a continent further is. 1,500 km cost about 19 ms there and back.
FAR_KM = 1500.0
_LONGEST_WAY = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One reason for many strays: the AS `asn` decides at `site` (its name there is in `why.hops`) for networks in
    `region` that land in `landed`.

    `nearest`: where most of them should be; `homes`: all such PoPs, the commonest first. `refused`: the deciding AS
    held a route there and took another. `networks`, `weight` and `suffering` (weight x km beyond the nearest PoP)
    count its strays. `sessions`: indexes of our announcements that attract them, the heaviest first. `why`: the
    decision at that site in full.
    """

    asn: int
    site: int
    region: str
    landed: CityCode
    nearest: CityCode
    homes: tuple[CityCode, ...]
    refused: bool
    networks: int
    weight: float
    suffering: float
    sessions: tuple[int, ...]
    why: Why
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Strays:
    """All strays of a prediction (a mask over sites) and their causes; `sites[i]` are the strays of cause i."""

    member: Bool
    sites: tuple[Int64, ...]
    causes: tuple[Cause, ...]


def far(prediction: Prediction, far_km: float = FAR_KM) -> Bool:
    """Which sites land more than `far_km` beyond their nearest PoP. Unknown places never do."""
    result: Bool = np.nan_to_num(prediction.extra_km) > far_km
    return result


def find_strays(
    engine: Engine, prediction: Prediction, *, far_km: float = FAR_KM, most: int = 10, asn: int | None = None
) -> Strays:
    """The strays and at most `most` causes, the worst first; with `asn` only those that this AS decides."""
    member = far(prediction, far_km)
    sites = np.flatnonzero(member)
    if not len(sites):
        return Strays(member=member, sites=(), causes=())
    decided, refused = _deciders(prediction, _heard(engine, prediction), sites)
    groups: dict[tuple[int, int, int], list[int]] = {}
    internet = prediction.internet
    for index, site in enumerate(sites.tolist()):
        key = int(internet.asn[decided[index]]), int(internet.region[site]), int(prediction.pop[site])
        groups.setdefault(key, []).append(index)
    suffering = prediction.weight[sites] * prediction.extra_km[sites]
    ordered = sorted(
        (rows for key, rows in groups.items() if asn in (None, key[0])), key=lambda rows: -float(suffering[rows].sum())
    )[:most]
    causes = [
        _cause(
            engine,
            prediction,
            sites=sites[rows],
            decided=decided[rows],
            refused=refused[rows],
            suffering=float(suffering[rows].sum()),
        )
        for rows in ordered
    ]
    return Strays(member=member, sites=tuple(sites[rows] for rows in ordered), causes=tuple(causes))


def _heard(engine: Engine, prediction: Prediction) -> Int64:
    """Per site the PoPs (bits of `prediction.pops`) that its routes lead to."""
    prepared = engine.prepare(prediction.outcome.seeds)
    engine.spread(prepared, ties=False)
    bits = np.zeros(len(prediction.internet), dtype=np.int64)
    heard(engine.graph, prepared.sown, prepared.actions, engine.state, bits)
    translated = np.zeros_like(bits)
    for bit, pop in enumerate(prepared.pops):
        translated |= ((bits >> bit) & 1) << prediction.pops.index(pop)
    return translated


def _deciders(prediction: Prediction, bits: Int64, sites: Int64) -> tuple[Int32, Bool]:
    """Per stray the site that decided, and whether it refused a route home."""
    outcome, group = prediction.outcome, prediction.internet.group
    home = prediction.nearest[sites]
    decided = np.full(len(sites), -1, dtype=np.int32)
    here = sites.astype(np.int32)
    walking = np.ones(len(sites), dtype=bool)
    for _ in range(_LONGEST_WAY):
        refuses = walking & ((bits[here] >> home) & 1 == 1)
        # Of one AS the first site counts: those behind it only follow.
        fresh = refuses & ((decided < 0) | (group[np.maximum(decided, 0)] != group[here]))
        decided = np.where(fresh, here, decided)
        after = outcome.sender[here]
        walking &= after >= 0
        if not walking.any():
            break
        here = np.where(walking, after, here).astype(np.int32)
    refused = decided >= 0
    first = outcome.sender[sites]
    return np.where(refused, decided, np.where(first >= 0, first, sites)).astype(np.int32), refused


def _cause(
    engine: Engine, prediction: Prediction, *, sites: Int64, decided: Int32, refused: Bool, suffering: float
) -> Cause:
    internet, outcome = prediction.internet, prediction.outcome
    weight = prediction.weight[sites]
    site = _heaviest(decided, weight)
    nearest = prediction.pops[_heaviest(prediction.nearest[sites], weight)]
    landed = prediction.pops[int(prediction.pop[sites[0]])]
    home = prediction.nearest[sites]
    homes = sorted(set(home.tolist()), key=lambda pop: -float(weight[home == pop].sum()))
    region = int(internet.region[sites[0]])
    feeding = outcome.seed[sites]
    by_session = sorted({int(s) for s in feeding if s >= 0}, key=lambda s: -float(weight[feeding == s].sum()))
    reason = why(outcome, site, engine.policies, nearest=nearest)
    where = REGIONS[region].says if region < len(REGIONS) else "unknown places"
    asn = int(internet.asn[site])
    did_refuse = bool(refused.mean() > 0.5)
    return Cause(
        asn=asn,
        site=site,
        region=REGIONS[region].value if region < len(REGIONS) else "",
        landed=landed,
        nearest=nearest,
        homes=tuple(prediction.pops[pop] for pop in homes),
        refused=did_refuse,
        networks=networks(internet, sites),
        weight=float(weight.sum()),
        suffering=suffering,
        sessions=tuple(by_session),
        why=reason,
        sentence=_sentence(asn, f"in {where} land in {landed}", nearest, reason, did_refuse),
    )


def networks(internet: Internet, sites: Int64 | Bool) -> int:
    """How many ASes some sites (indexes or a mask) belong to."""
    return int(np.count_nonzero(np.bincount(internet.group[sites])))


def _heaviest(values: Int32, weight: Float) -> int:
    unique, inverse = np.unique(values, return_inverse=True)
    return int(unique[np.argmax(np.bincount(inverse, weights=weight + 1e-12))])


def _sentence(asn: int, where: str, nearest: str, reason: Why, refused: bool) -> str:
    """`customers of 3356 in Europe land in JFK, since 3356 prefers the customer route by 209, learnt in the USA`"""
    head = f"customers of {asn} {where}"
    chosen = reason.chosen
    if not refused or chosen is None or reason.decided_by is None:
        return f"{head}, since {asn} holds no route to {nearest}"
    kind = f"{chosen.relationship.value} " if chosen.relationship is not None else ""
    through = f"by {chosen.as_path[0]}" if len(chosen.as_path) > 1 else "of our own"
    learnt = f", learnt in {_where(chosen.learnt_at)}" if chosen.learnt_at else ""
    return f"{head}, since {asn} prefers the {kind}route {through}{learnt} ({reason.decided_by.value})"


def _where(code: str) -> str:
    """Where a route was learnt: what matters is often only that it was the other side of an ocean."""
    place = find_city(code)
    return "the USA" if place is not None and place.country == "US" else code

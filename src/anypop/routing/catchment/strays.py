"""Who lands far from home, and because of whom: a prediction in, causes out, the worst first.

A stray lands much further away than its nearest PoP. Its cause is the fork: of the ASes on its way that held a route
to the nearest PoP and took another, the one nearest to the strays whose other choice would have brought most of them
home. (The last such AS is nearly always our own upstream, and blames it for what its customers and peers decide.)
Where nobody on the way held one, the cause is the first transit AS, which lacks a route home.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anypop.model.cities import city_of_pop
from anypop.model.names import CityCode
from anypop.routing.catchment.predict import Prediction
from anypop.routing.catchment.views import why
from anypop.routing.engine.heard import Heard, heard
from anypop.routing.engine.propagate import Engine
from anypop.routing.explain import Why
from anypop.routing.internet.sites import REGIONS, Bool, Float, Int8, Int32, Int64, Internet

# Half of London - New York is no stray for most uses; a continent further is. 1,500 km cost about 19 ms there and back.
FAR_KM = 1500.0
_LONGEST_WAY = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One reason for many strays: the AS `asn` decides at `site` (its name there is in `why.hops`) for all of them,
    wherever they are. `region` and `landed`: where most of them are and land, by weight.

    `nearest`: where most of those should be for which it decides at `site`; `homes`: all such PoPs, the commonest
    first. `refused`: the deciding AS held a route there and took another. `networks`, `weight` and `suffering` (weight
    x km beyond the nearest PoP) count its strays. `sessions`: indexes of our announcements that attract them, the
    heaviest first. `why`: the decision at that site in full.
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
    suffering = prediction.weight[sites] * prediction.extra_km[sites]
    held = heard(engine, engine.prepare(prediction.outcome.seeds))
    decided, refused = _deciders(prediction, held, sites, suffering)
    groups: dict[tuple[int, bool], list[int]] = {}
    for index, key in enumerate(zip(prediction.internet.asn[decided].tolist(), refused.tolist(), strict=True)):
        groups.setdefault(key, []).append(index)
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


def _deciders(prediction: Prediction, held: Heard, sites: Int64, suffering: Float) -> tuple[Int32, Bool]:
    """Per stray the site that decided, and whether it refused a route home."""
    stray, site, step = _refusals(prediction, held, sites)
    decided = np.full(len(sites), -1, dtype=np.int32)
    group = prediction.internet.group
    last = np.full(len(sites), -1, dtype=np.int64)
    last[stray] = group[site]  # in the order of steps: the last one stays
    # what a network decides for itself alone is no fork, unless nobody behind it decides
    own = (group[site] == group[sites[stray]]) & (group[site] != last[stray])
    counted = np.where(own, 0.0, suffering[stray] + 1e-12)
    by_last = np.argsort(last[stray], kind="stable")
    bounds = np.flatnonzero(np.diff(last[stray][by_last])) + 1
    for part in np.split(by_last, bounds):
        rows = part
        while len(rows):
            fork = _fork(group[site[rows]], step[rows], counted[rows], int(last[stray[rows[0]]]))
            here = rows[group[site[rows]] == fork]
            decided[stray[here]] = site[here]
            rows = rows[decided[stray[rows]] < 0]
    refused = decided >= 0
    first = prediction.outcome.sender[sites]
    return np.where(refused, decided, np.where(first >= 0, first, sites)).astype(np.int32), refused


def _refusals(prediction: Prediction, held: Heard, sites: Int64) -> tuple[Int64, Int32, Int64]:
    """Who refused a route home to whom: stray (index in `sites`), site, and how many steps away, the nearest first. Of
    one AS the first site counts: those behind it only follow.
    """
    outcome, group = prediction.outcome, prediction.internet.group
    known = np.array([held.pops.index(pop) if pop in held.pops else -1 for pop in prediction.pops])
    home = known[prediction.nearest[sites]]
    here = sites.astype(np.int32)
    before = np.full(len(sites), -1, dtype=np.int64)  # the AS of the step before
    walking = np.arange(len(sites))
    strays, found, steps = [], [], []
    for number in range(_LONGEST_WAY):
        fresh = held.of(here, home[walking]) & (group[here] != before)
        strays.append(walking[fresh])
        found.append(here[fresh])
        steps.append(np.full(int(fresh.sum()), number))
        # an AS that did not refuse at its first site may do so at its next one
        before = np.where(fresh | (group[here] == before), group[here], -1)
        after = outcome.sender[here]
        goes_on = after >= 0
        walking, here, before = walking[goes_on], after[goes_on].astype(np.int32), before[goes_on]
        if not len(walking):
            break
    return np.concatenate(strays), np.concatenate(found).astype(np.int32), np.concatenate(steps)


def _fork(groups: Int32, steps: Int64, weights: Float, last: int) -> int:
    """The AS to blame among those that refused: on the way of more than half of the strays, by weight, and of such the
    one with the fewest steps to them. `last` is on the way of all.
    """
    unique, inverse = np.unique(groups, return_inverse=True)
    carried = np.bincount(inverse, weights=weights)
    away = np.bincount(inverse, weights=weights * steps) / np.maximum(carried, 1e-12)
    away[carried <= carried[unique == last].max() / 2] = np.inf
    return int(unique[np.lexsort((-carried, away))[0]])


def _cause(
    engine: Engine, prediction: Prediction, *, sites: Int64, decided: Int32, refused: Bool, suffering: float
) -> Cause:
    internet, outcome = prediction.internet, prediction.outcome
    weight = prediction.weight[sites]
    site = _heaviest(decided, weight)
    here = decided == site
    nearest = prediction.pops[_heaviest(prediction.nearest[sites][here], weight[here])]
    landed = _by_weight(prediction.pop[sites], weight)
    home = prediction.nearest[sites]
    homes = _by_weight(home, weight)
    regions = _by_weight(internet.region[sites], weight)
    feeding = outcome.seed[sites]
    by_session = sorted({int(s) for s in feeding if s >= 0}, key=lambda s: -float(weight[feeding == s].sum()))
    reason = why(outcome, site, engine.policies, nearest=nearest)
    places = [REGIONS[region].says if region < len(REGIONS) else "unknown places" for region in regions]
    where = f"in {_listed(places)} land in {_listed([prediction.pops[pop] for pop in landed])}"
    asn = int(internet.asn[site])
    did_refuse = bool(refused.mean() > 0.5)
    return Cause(
        asn=asn,
        site=site,
        region=REGIONS[regions[0]].value if regions[0] < len(REGIONS) else "",
        landed=prediction.pops[landed[0]],
        nearest=nearest,
        homes=tuple(prediction.pops[pop] for pop in homes),
        refused=did_refuse,
        networks=networks(internet, sites),
        weight=float(weight.sum()),
        suffering=suffering,
        sessions=tuple(by_session),
        why=reason,
        sentence=_sentence(asn, where, nearest, reason, did_refuse),
    )


def networks(internet: Internet, sites: Int64 | Bool) -> int:
    """How many ASes some sites (indexes or a mask) belong to."""
    return int(np.count_nonzero(np.bincount(internet.group[sites])))


def _heaviest(values: Int32, weight: Float) -> int:
    unique, inverse = np.unique(values, return_inverse=True)
    return int(unique[np.argmax(np.bincount(inverse, weights=weight + 1e-12))])


def _by_weight(values: Int8 | Int32, weight: Float) -> list[int]:
    """The different values, the heaviest first; those with less than a tenth of the weight only where all have."""
    unique, inverse = np.unique(values, return_inverse=True)
    sums = np.bincount(inverse, weights=weight + 1e-12)
    order = np.argsort(-sums, kind="stable")
    return [int(unique[i]) for n, i in enumerate(order) if n == 0 or sums[i] >= sums.sum() / 10]


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _sentence(asn: int, where: str, nearest: str, reason: Why, refused: bool) -> str:
    """`networks behind 3356 in Europe land in JFK, since 3356 prefers the customer route by 209, learnt in the USA`"""
    head = f"networks behind {asn} {where}"
    fork = reason.hops[0] if reason.hops else None
    options = fork.options if fork is not None else ()
    step = next((o.eliminated_by for o in options if o.eliminated_by is not None and o.lands.pop == nearest), None)
    chosen = fork.best if fork is not None else None
    if not refused or chosen is None or step is None:
        return f"{head}, since {asn} holds no route to {nearest}"
    kind = f"{chosen.relationship.value} " if chosen.relationship is not None else ""
    learnt = f", learnt in {_where(chosen.learnt_at)}" if chosen.learnt_at else ""
    if len(chosen.as_path) == 1:
        return f"{head}, since {asn} prefers what we announce to it ourselves{learnt}, a {kind}route ({step.value})"
    return f"{head}, since {asn} prefers the {kind}route by {chosen.as_path[0]}{learnt} ({step.value})"


def _where(code: str) -> str:
    """Where a route was learnt: what matters is often only that it was the other side of an ocean."""
    place = city_of_pop(code)
    return "the USA" if place is not None and place.country == "US" else code

"""What to change so that strays come home: causes in, repairs out, each scored on the whole graph, the best first.

For each cause it tries what `candidates` think of; where nothing that is only configuration helps, `pairs`; and in
which city a new PoP would help most. The best by the model's one answer are scored again with its doubts, and ranked by
that. It proposes; applying is the ordinary plan's business.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from anypop.model.sessions import Announcements
from anypop.routing.catchment.candidates import candidates, new_pops
from anypop.routing.catchment.pairs import pairs
from anypop.routing.catchment.predict import Prediction, predict
from anypop.routing.catchment.repairs import Repair, ranked
from anypop.routing.catchment.scorer import Scorer, Tried
from anypop.routing.catchment.strays import FAR_KM, Cause, Strays, find_strays
from anypop.routing.engine.propagate import Engine
from anypop.routing.internet.sites import Bool, Float, Int64

_HELPS = 0.8  # of a cause's weight: where nothing mends as much, pairs are tried
_CITIES = 8  # new PoPs that are tried
_LEAST_PLACES = 3  # of them scored with doubts


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The doctor's report: the state, the causes, and for each cause its repairs, the best first. `new_pops`: where one
    would help most, counted as if it were somebody's nearest already.
    """

    prediction: Prediction
    strays: Strays
    repairs: tuple[tuple[Repair, ...], ...]
    new_pops: tuple[Repair, ...]


def diagnose(
    engine: Engine,
    announcements: Announcements,
    *,
    weights: Mapping[int, float] | None = None,
    belief: Float | None = None,
    far_km: float = FAR_KM,
    most_causes: int = 5,
    most_repairs: int = 5,
    asn: int | None = None,
) -> Diagnosis:
    """Find strays, group them by cause, and try repairs for the worst causes; with `asn` for those that this AS
    decides. So many repairs of each cause get an interval.

    Compares model with model. `belief`: per site the chance that it lands now where the model says, from what was
    measured; nan where nothing is known. Raises `Invalid` for sessions that do not fit the graph.
    """
    before = predict(engine, announcements, weights=weights)
    counted = before
    if belief is not None:
        # who does not land where the model says is no stray of it
        counted = replace(before, weight=before.weight * np.where(np.isnan(belief), 1.0, belief))
    strays = find_strays(engine, counted, far_km=far_km, most=most_causes, asn=asn)
    scorer = Scorer(engine, before, far_km, belief)
    return Diagnosis(
        prediction=before,
        strays=strays,
        repairs=tuple(
            _repairs(scorer, cause, sites, engine, most_repairs)
            for cause, sites in zip(strays.causes, strays.sites, strict=True)
        ),
        new_pops=_places(scorer, most_repairs),
    )


def _repairs(scorer: Scorer, cause: Cause, sites: Int64, engine: Engine, most: int) -> tuple[Repair, ...]:
    member = np.zeros(len(scorer.weight), dtype=bool)
    member[sites] = True
    tried = scorer.try_all(list(candidates(scorer.before, cause, engine.policies)))
    if not any(_helps(scorer, one, cause, member) for one in tried):
        tried += pairs(scorer, cause, sites, engine.policies)
    return _ranked(scorer, [scorer.repair(one, member) for one in tried], cause.weight, most)


def _helps(scorer: Scorer, tried: Tried, cause: Cause, member: Bool) -> bool:
    """Whether most strays of this cause come home by configuration alone; what else is mended does not count."""
    moved, mended = tried.effect.moved, tried.effect.mended
    cured = moved[mended & member[moved]]
    return not tried.proposal.needs and float(scorer.weight[cured].sum()) > _HELPS * cause.weight


def _ranked(scorer: Scorer, repairs: list[Repair], weight: float, most: int) -> tuple[Repair, ...]:
    order = ranked(repairs, weight)
    good = [repair for repair in order if repair.cured and repair.score > 0][:most]
    rest = [repair for repair in order if repair not in good]
    return (*ranked(scorer.doubted(good), weight), *rest)


def _places(scorer: Scorer, most: int) -> tuple[Repair, ...]:
    """New PoPs, the best first."""
    tried = scorer.try_all(new_pops(scorer.before, _CITIES))
    every = np.ones(len(scorer.weight), dtype=bool)
    found = [scorer.repair(one, every) for one in tried]
    return _ranked(scorer, found, sum(r.mended_weight for r in found) / max(1, len(found)), min(most, _LEAST_PLACES))

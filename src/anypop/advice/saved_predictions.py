"""Predictions on disk: what `anypop catchment predict --save FILE` writes, and reads again for `diff` and `evaluate`.

JSON of columns, one value per site of the graph, so that 75,000 networks take a few megabytes. A saved prediction knows
where everybody lands and how sure that is, and no longer why: the graph's links are not in it. Text in and out; pure.
"""

import json
from typing import Any

import numpy as np

from anypop.advice import plans
from anypop.model.cities import city_of_pop, find_city
from anypop.model.errors import Invalid
from anypop.model.names import CityCode
from anypop.routing.catchment.predict import Confidence, Prediction
from anypop.routing.engine.arrays import NONE, masks_of
from anypop.routing.engine.propagate import Outcome
from anypop.routing.internet.places import region_of
from anypop.routing.internet.sites import REGIONS, UNKNOWN_REGION, Int8, SiteLinks, assemble

KIND = "anypop-prediction"
_LEVELS = [level.value for level in (Confidence.PINNED, Confidence.SINGLE, Confidence.TIE, Confidence.NO_ROUTE)]


def write(prediction: Prediction, *, graph: str) -> str:
    """The JSON text. `graph`: which graph it was, for people."""
    net = prediction.internet
    extra = [None if np.isnan(km) else round(km) for km in prediction.extra_km.tolist()]
    return json.dumps(
        {
            "kind": KIND,
            "version": 1,
            "graph": graph,
            "announcements": plans.write(prediction.announcements),
            "pops": list(prediction.pops),
            "confidence": _LEVELS,
            "sites": {
                "asn": net.asn.tolist(),
                "city": list(net.city),
                "pop": prediction.pop.tolist(),
                "nearest": prediction.nearest.tolist(),
                "extra_km": extra,
                "level": prediction.level.tolist(),
                "weight": [float(f"{weight:.9g}") for weight in prediction.weight.tolist()],
                "ties": prediction.outcome.bits,
                **_chances(prediction),
            },
            "learnt": prediction.learnt,
            "tie_pops": list(prediction.outcome.pops),
        },
        separators=(",", ":"),
    )


def _chances(prediction: Prediction) -> dict[str, list[float]]:
    if prediction.chance is None:
        return {}
    return {"chance": [round(chance, 4) for chance in prediction.chance.tolist()]}


def is_saved(text: str) -> bool:
    """Whether a file's text is a saved prediction rather than a plan."""
    return text.lstrip().startswith("{") and f'"{KIND}"' in text[:200]


def read(text: str, file: str) -> Prediction:
    """A prediction over a graph without links. Raises `Invalid` for what is none, or is cut short."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise Invalid.one(f"{file}:{error.lineno}", f"is not JSON: {error.msg}") from error
    if not isinstance(data, dict) or data.get("kind") != KIND or data.get("version") != 1:
        raise Invalid.one(file, "is no saved prediction: 'anypop catchment predict --save FILE' writes one")
    try:
        return _read(data, file)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise Invalid.one(file, f"is a damaged prediction: {error}") from error


def _read(data: dict[str, Any], file: str) -> Prediction:
    sites = data["sites"]
    asn = np.array(sites["asn"], dtype=np.int64)
    number = len(asn)
    chance = np.array(sites["chance"], dtype=np.float64) if "chance" in sites else None
    if chance is not None and (len(chance) != number or not ((chance >= 0) & (chance <= 1)).all()):
        raise ValueError("its chances are no chances")
    if any(len(sites[name]) != number for name in ("city", "pop", "nearest", "extra_km", "level", "weight", "ties")):
        raise ValueError("its columns differ in length")
    pops = tuple(CityCode(str(pop)) for pop in data["pops"])
    if unknown := [pop for pop in pops if city_of_pop(pop) is None]:
        raise ValueError(f"{unknown[0]} is no city code")
    pop, nearest = (np.array(sites[name], dtype=np.int32) for name in ("pop", "nearest"))
    level = np.array(sites["level"], dtype=np.int8)
    last = len(pops) - 1
    if number and not (
        -1 <= min(pop.min(), nearest.min()) <= max(pop.max(), nearest.max()) <= last
        and 0 <= level.min() <= level.max() < 4
    ):
        raise ValueError("a PoP or a confidence is out of range")
    nothing = np.zeros(0, dtype=np.int64)
    region, latitude, longitude = _places(sites["city"])
    internet = assemble(
        asn=asn,
        city=[str(city) for city in sites["city"]],
        region=region,
        latitude=latitude,
        longitude=longitude,
        key=asn,
        links=SiteLinks(a=nothing, b=nothing, kind=nothing),
    )
    announcements = plans.read(data["announcements"], file)
    nobody = np.full(number, -1, dtype=np.int32)
    mask, *masks = masks_of(sites["ties"], len(data["tie_pops"]))
    outcome = Outcome(
        internet=internet,
        seeds=(),
        pops=tuple(CityCode(str(pop)) for pop in data["tie_pops"]),
        kind=np.full(number, NONE, dtype=np.int8),
        length=np.zeros(number, dtype=np.int32),
        sender=nobody,
        seed=nobody,
        preference=np.zeros(number, dtype=np.int32),
        mask=mask,
        stable=True,
        masks=tuple(masks),
    )
    return Prediction(
        outcome=outcome,
        announcements=announcements,
        pops=pops,
        pop=pop,
        nearest=nearest,
        extra_km=np.array([np.nan if km is None else km for km in sites["extra_km"]], dtype=np.float64),
        level=level,
        weight=np.array(sites["weight"], dtype=np.float64),
        chance=chance,
        learnt=str(data.get("learnt", "")),
    )


def _places(codes: list[str]) -> tuple[Int8, Any, Any]:
    known = {code: find_city(code) for code in set(codes)}
    regions = {code: region_of(place) for code, place in known.items()}
    index = {code: UNKNOWN_REGION if region is None else REGIONS.index(region) for code, region in regions.items()}
    at = {code: (place.latitude, place.longitude) if place else (np.nan, np.nan) for code, place in known.items()}
    degrees = np.array([at[code] for code in codes], dtype=np.float64).reshape(-1, 2)
    return np.array([index[code] for code in codes], dtype=np.int8), degrees[:, 0].copy(), degrees[:, 1].copy()

"""Predictions, differences and evaluations as plain data: what `-o json` prints and what the API answers. Pure.

In: an `Answer`, `Diff` or `Evaluation`. Out: dicts, lists, numbers and texts. Shares are parts of the weight of all
networks; "sure" is the share of a group that no tie can change; a distance that is not known is null.
"""

from math import isnan
from typing import Any

from anypop.advice.question import Answer
from anypop.model.cities import find_city
from anypop.routing.catchment.diff import Diff, Move
from anypop.routing.catchment.evaluate import Calibration, Evaluation, Score
from anypop.routing.catchment.predict import Prediction, Row, Share


def answer_data(found: Answer, *, biggest: int, graph: str) -> dict[str, Any]:
    """Where everybody lands, and what moves where a change was asked about. `biggest`: so many networks one by one."""
    data = prediction_data(found.prediction, biggest=biggest, graph=graph)
    if found.before is None or found.change is None:
        return data
    # one graph and one order of its networks: the same rows
    for row, was in zip(data["biggest"], found.before.biggest(biggest), strict=True):
        row["was"] = was.pop
    return data | {"change": difference_data(found.change)}


def prediction_data(found: Prediction, *, biggest: int, graph: str) -> dict[str, Any]:
    return {
        "graph": graph,
        "networks": len(found.internet.asns),
        "sites": len(found.internet),
        "mean_extra_km": _number(found.mean_extra_km),
        "stable": found.outcome.stable,
        **({"learnt": found.learnt} if found.learnt else {}),
        "by_pop": [_share_data(share) for share in found.by_pop()],
        "by_region": [_share_data(share) for share in found.by_region()],
        "by_country": [_share_data(share) for share in found.by_country()],
        "biggest": [row_data(row) for row in found.biggest(biggest)],
    }


def row_data(row: Row) -> dict[str, Any]:
    place = find_city(row.city) if row.city else None
    where = {"latitude": place.latitude, "longitude": place.longitude} if place is not None else {}
    return (
        where
        | {
            "asn": row.asn,
            "city": row.city or None,
            "region": row.region or None,
            "pop": row.pop,
            "path": list(row.path),
            "kind": row.kind or None,
            "confidence": row.confidence.value,
            "ties": list(row.ties),
            "nearest": row.nearest,
            "extra_km": None if row.extra_km is None else round(row.extra_km, 1),
            "weight": row.weight,
        }
        | ({"chance": round(row.chance, 4)} if row.chance is not None else {})
    )


def _share_data(share: Share) -> dict[str, Any]:
    return {
        "name": share.name or None,
        "sites": share.sites,
        "weight": share.weight,
        "sure": share.sure,
        "extra_km": _number(share.extra_km),
    }


def _number(value: float) -> float | None:
    """JSON knows no nan."""
    return None if isnan(value) else round(value, 1)


def difference_data(found: Diff) -> dict[str, Any]:
    return {
        "sentence": found.sentence,
        "changes": list(found.changes),
        "moves": [_move_data(move) for move in found.moves],
        "stay": found.stay,
        "winners": found.winners,
        "losers": found.losers,
        "lost": found.lost,
    }


def _move_data(move: Move) -> dict[str, Any]:
    return {
        "from": move.before or None,
        "to": move.after or None,
        "networks": move.networks,
        "weight": move.weight,
        "km": _number(move.km),
        "sure": move.sure,
    }


def evaluation_data(found: Evaluation) -> dict[str, Any]:
    return {
        "overall": _score_data(found.overall),
        "by_confidence": [_score_data(score) for score in found.by_confidence],
        **({"vote": _score_data(found.vote)} if found.vote is not None else {}),
        "unmatched": found.unmatched,
        **({"calibration": calibration_data(found.calibration)} if found.calibration is not None else {}),
        "confusion": [{"predicted": a or None, "measured": b, "networks": n} for a, b, n in found.confusion],
    }


def calibration_data(found: Calibration) -> dict[str, Any]:
    classes = [{"said": round(c.said, 4), "right": round(c.right, 4), "networks": c.networks} for c in found.classes]
    return {"error": round(found.error, 4), "classes": classes}


def _score_data(score: Score) -> dict[str, Any]:
    return {
        "class": score.name,
        "networks": score.networks,
        "right": score.right,
        "accuracy": score.accuracy,
        "baseline": score.baseline,
        "baseline_pop": score.baseline_pop,
        "balanced_accuracy": score.balanced,
        "balanced_baseline": score.balanced_baseline,
        **({"log_loss": round(score.loss, 4)} if score.loss is not None else {}),
    }

"""How good predictions are: predicted and measured PoPs in, numbers with their baseline out. Pure.

Plain accuracy flatters a model when one PoP is big: it stands beside balanced accuracy (the mean over PoPs of the
share that was got right, which is one over the number of PoPs for whoever always says the same), beside the baseline of
always guessing the biggest measured PoP, and where it is known beside the vote of neighbours. Where answers have
chances, log loss and calibration say whether these are to be believed.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log

from anypop.model.errors import Invalid
from anypop.routing.catchment.observations import Observation, pins_of
from anypop.routing.catchment.predict import Confidence, Prediction

_LEAST = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Over `networks` that were both predicted and measured. `baseline`: accuracy of always saying `baseline_pop`;
    `balanced_baseline`: its balanced accuracy. `right`: how many were right. `loss`: mean of minus the logarithm of
    the chance that was given to what came true, the answer or its contrary; None: answers have no chances.
    """

    name: str
    networks: int
    right: int
    accuracy: float
    balanced: float
    baseline_pop: str
    baseline: float
    balanced_baseline: float
    loss: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Likely:
    """Answers of about one chance: its mean, and the share of them that was right."""

    said: float
    right: float
    networks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Whether answers are as often right as they say, in ten classes of chance. `error`: the mean distance."""

    error: float
    classes: tuple[Likely, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The score over all, and over each class of confidence. `unmatched`: measured networks that the graph does not
    have. `calibration` None: the prediction has no chances. `vote`: of the vote of neighbours, where it was asked.
    """

    overall: Score
    by_confidence: tuple[Score, ...]
    unmatched: int
    confusion: tuple[tuple[str, str, int], ...]
    calibration: Calibration | None = None
    vote: Score | None = None


def score(pairs: Sequence[tuple[str, str]], name: str = "all") -> Score:
    """(predicted, measured) pairs, scored. Raises `Invalid` for none: no number stands for nothing."""
    if not pairs:
        raise Invalid.one("measured", "no network was both predicted and measured")
    measured: dict[str, list[bool]] = {}
    for predicted, truth in pairs:
        measured.setdefault(truth, []).append(predicted == truth)
    biggest = max(measured, key=lambda pop: (len(measured[pop]), pop))
    right = sum(sum(hits) for hits in measured.values())
    return Score(
        name=name,
        networks=len(pairs),
        right=right,
        accuracy=right / len(pairs),
        balanced=sum(sum(hits) / len(hits) for hits in measured.values()) / len(measured),
        baseline_pop=biggest,
        baseline=len(measured[biggest]) / len(pairs),
        balanced_baseline=1 / len(measured),
    )


def evaluate(
    prediction: Prediction,
    observations: Iterable[Observation],
    *,
    held_out: Mapping[int, str] | None = None,
    vote: Mapping[int, str] | None = None,
) -> Evaluation:
    """Score a prediction against measurements. `held_out`: pins that the prediction was made with; those sites do not
    count, since they were told. `vote`: per site what the vote of neighbours says.
    """
    rows = tuple(observations)
    internet = prediction.internet
    unmatched = sum(not internet.sites_of(row.asn) for row in rows)
    truth = {site: pop for site, pop in pins_of(internet, rows).items() if site not in (held_out or {})}
    answers = {site: prediction.row(site) for site in truth}
    if held_out and not truth and (told := sum(site in held_out for site in pins_of(internet, rows))):
        raise Invalid.one(
            "measured", f"the prediction was told all it could be asked ({told} pinned): compare one made without these"
        )
    pairs = {site: (str(answers[site].pop or ""), pop) for site, pop in truth.items()}
    chances = {site: row.chance or 0.0 for site, row in answers.items()} if prediction.chance is not None else None

    def scored(name: str, sites: Collection[int]) -> Score:
        found = score([pairs[site] for site in sites], name)
        hits = [(chances[site], pairs[site][0] == pairs[site][1]) for site in sites] if chances is not None else None
        return found if hits is None else replace(found, loss=log_loss(hits))

    classes = []
    for confidence in Confidence:
        member = [site for site in pairs if answers[site].confidence is confidence]
        if member:
            classes.append(scored(confidence.value, member))
    confusion: dict[tuple[str, str], int] = {}
    for pair in pairs.values():
        confusion[pair] = confusion.get(pair, 0) + 1
    table = sorted(((a, b, n) for (a, b), n in confusion.items()), key=lambda row: -row[2])
    return Evaluation(
        overall=scored("all", pairs),
        by_confidence=tuple(classes),
        unmatched=unmatched,
        confusion=tuple(table),
        calibration=calibration([(chances[s], a == b) for s, (a, b) in pairs.items()]) if chances is not None else None,
        vote=score([(vote.get(site, ""), pop) for site, pop in truth.items()], "vote") if vote is not None else None,
    )


def log_loss(answers: Sequence[tuple[float, bool]]) -> float:
    """Of (chance, right) pairs, at least one. No chance counts as smaller than one in ten thousand."""
    given = ((chance if right else 1 - chance) for chance, right in answers)
    return -sum(log(max(chance, _LEAST)) for chance in given) / len(answers)


def calibration(answers: Sequence[tuple[float, bool]]) -> Calibration:
    """Of (chance, right) pairs, at least one."""
    classes: dict[int, list[tuple[float, bool]]] = {}
    for chance, right in answers:
        classes.setdefault(min(int(chance * 10), 9), []).append((chance, right))
    found = tuple(
        Likely(
            said=sum(chance for chance, _ in rows) / len(rows),
            right=sum(right for _, right in rows) / len(rows),
            networks=len(rows),
        )
        for _, rows in sorted(classes.items())
    )
    return Calibration(error=sum(abs(c.said - c.right) * c.networks for c in found) / len(answers), classes=found)

"""Where each network lands, with its chance: chosen among ways to say it by what each got right on networks held out.

In: a graph with its answer, a history of announcements, and what is measured under this one. Out: `Inferred`. With
little measured it falls back from trees to what networks preferred before, and from that to the graph. Every way is
tried on the measured networks in parts, each part told by what was learnt without it; the one with the smallest loss is
taken, unless that may be chance: then the regression, which begins from the order. All figures go along. Pure: the same
input and seed give the same answer.
"""

import warnings
from dataclasses import dataclass

import numpy as np

from anypop.routing.inference import parts
from anypop.routing.inference.history import NOT_MEASURED, History, folds
from anypop.routing.inference.parts import GRAPH_ALONE, Known, Part
from anypop.routing.inference.preference import preference_of
from anypop.routing.internet.sites import Bool, Float, Int32, Internet

FEW = 30
"""With fewer measured networks than these nothing is learnt from them."""
_FOR_TREES = 100
_LEAST = 1e-4  # no chance is taken to be smaller when losses are compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One way, on networks that were held out. `loss`: mean of minus the logarithm of the chance that it gave to what
    was measured. `balanced`: mean over PoPs of the share that was got right.
    """

    name: str
    loss: float
    accuracy: float
    balanced: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Inferred:
    """`chance`: a row per site, a column for each of `pops`. `way`: whose it is. `tried`: all ways, the one that is
    taken first, then by loss; none where too little is measured to tell. `measured`: how many sites are.
    """

    pops: tuple[str, ...]
    chance: Float
    way: str
    tried: tuple[Tried, ...]
    measured: int

    @property
    def says(self) -> str:
        """For people: how the answers were found, and how good that was on networks held out."""
        if not self.tried:
            basis = "the graph alone" if self.way == "graph" else "what networks preferred before"
            basis += " and the graph" if self.way == "order and graph" else ""
            return f"from {basis}: {self.measured:,} places measured are too few to learn from"
        best = self.tried[0]
        others = ", ".join(f"{one.name} {100 * one.accuracy:.1f} %" for one in self.tried if one.name in _SIMPLE)
        return (
            f"learnt from {self.measured:,} measured places by {self.way}: {100 * best.accuracy:.1f} % right on those "
            f"held out, balanced {100 * best.balanced:.1f} % ({others})"
        )

    @property
    def gain(self) -> float | None:
        """By how much accuracy on held-out networks is above that of the best simple way; None: not known."""
        simple = [one.accuracy for one in self.tried if one.name in _SIMPLE]
        return self.tried[0].accuracy - max(simple) if simple else None


def known_of(
    internet: Internet,
    *,
    pops: tuple[str, ...],
    graph: Int32,
    landed: Int32,
    history: History,
    traits: Float,
    seed: int = 0,
) -> Known:
    """`graph`, `landed`: indexes in `pops`, -1: no route, not measured. `traits`: numbers about each site, nan where
    not known. `history`: over these PoPs at least.
    """
    preference = preference_of(internet, history)
    announced = frozenset(pop for pop in pops if any(pop in past.pops for past in history.pasts))
    past = [np.where(one.landed == NOT_MEASURED, np.nan, one.landed.astype(float)) for one in history.pasts]
    return Known(
        internet=internet,
        landed=landed,
        pops=pops,
        announced=announced,
        graph=graph,
        order=preference.chances([history.pops.index(pop) for pop in pops]) if announced else None,
        traits=traits,
        liking=np.hstack([preference.deviation, preference.mates]),
        past=np.column_stack(past) if past else np.zeros((len(internet), 0)),
        fold=folds(internet, 5, seed),
        seed=seed,
    )


def infer(known: Known) -> Inferred:
    """The same input and seed give the same answer."""
    internet, landed, pops = known.internet, known.landed, known.pops
    measured = landed != NOT_MEASURED
    count = len(np.unique(internet.group[measured]))
    if count < FEW:
        chance, way = _unlearnt(known)
        return Inferred(pops=pops, chance=_pinned(chance, landed), way=way, tried=(), measured=int(measured.sum()))
    ways = _ways(known, count)
    tried, blend = _try(known, ways, measured, folds(internet, 3 if count > 3000 else 5, known.seed + 1))
    best = tried[0].name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chance = np.mean([ways[name](known, measured) for name in (blend if best == _BLEND else (best,))], axis=0)
    return Inferred(pops=pops, chance=_pinned(chance, landed), way=best, tried=tried, measured=int(measured.sum()))


_BLEND = "linear and trees"
_SIMPLE = ("majority", "graph", "order", "vote")


def _ways(known: Known, count: int) -> dict[str, Part]:
    found: dict[str, Part] = {"majority": parts.majority, "graph": parts.graph, "vote": parts.vote}
    if known.order is not None:
        found["order"] = parts.order
        found["linear"] = parts.linear
    if count >= _FOR_TREES:
        found["trees"] = parts.trees
    return found


def _try(known: Known, ways: dict[str, Part], measured: Bool, fold: Int32) -> tuple[tuple[Tried, ...], tuple[str, ...]]:
    """Every way on each part of the measured networks, learnt without it; the one to be taken first."""
    told = {name: np.zeros((len(measured), len(known.pops))) for name in ways}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a way that does not converge in a part shows in its loss
        for part in np.unique(fold[measured]):
            held = measured & (fold == part)
            for name, way in ways.items():
                told[name][held] = way(known, measured & ~held)[held]
    blend = tuple(name for name in ("linear", "trees") if name in ways)
    if len(blend) == 2:
        told[_BLEND] = np.mean([told[name] for name in blend], axis=0)
    truth = known.landed[measured]
    losses = {name: _losses(chances[measured], truth) for name, chances in told.items()}
    scored = [_scored(name, losses[name], told[name][measured], truth) for name in told]
    first = taken(losses)
    return tuple(sorted(scored, key=lambda one: (one.name != first, one.loss, one.name))), blend


def _losses(chance: Float, truth: Int32) -> Float:
    return -np.log(np.maximum(chance[np.arange(len(truth)), truth], _LEAST))


def taken(losses: dict[str, Float]) -> str:
    """Among two hundred networks a handful decide which loss is the smallest, and who always says the bigger PoP may
    win: so the regression is taken where it is behind by no more than one standard error (Breiman and others 1984).
    """
    best = min(losses, key=lambda name: (float(losses[name].mean()), name))
    if "linear" not in losses:
        return best
    behind = losses["linear"] - losses[best]
    return "linear" if behind.mean() <= behind.std() / np.sqrt(len(behind)) else best


def _scored(name: str, losses: Float, chance: Float, truth: Int32) -> Tried:
    said = chance.argmax(axis=1)
    shares = [float((said[truth == pop] == pop).mean()) for pop in np.unique(truth)]
    return Tried(
        name=name,
        loss=float(losses.mean()),
        accuracy=float((said == truth).mean()),
        balanced=float(np.mean(shares)),
    )


def _unlearnt(known: Known) -> tuple[Float, str]:
    """Without measurements: what networks preferred before, where each PoP was announced before; of PoPs that never
    were, the graph has to say.
    """
    nothing = np.zeros(len(known.landed), dtype=bool)
    by_graph = parts.graph(known, nothing)
    if known.order is None:
        return by_graph, "graph"
    if len(known.announced) == len(known.pops):
        return known.order, "order"
    return (1 - GRAPH_ALONE) * known.order + GRAPH_ALONE * by_graph, "order and graph"


def _pinned(chance: Float, landed: Int32) -> Float:
    """What was measured is so."""
    at = np.flatnonzero(landed != NOT_MEASURED)
    chance = chance.copy()
    chance[at] = 0.0
    chance[at, landed[at]] = 1.0
    return chance

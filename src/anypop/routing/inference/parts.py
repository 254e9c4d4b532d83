"""The ways to say where networks land, each with its chances: from the simplest, who is bigger, to boosted trees.

In: `Known`, arrays over sites, and which sites may be learnt from. Out: per site a chance for each announced PoP. Each
is a function of that form, so that all can be tried on the same held-out networks. scikit-learn and scipy are imported
by those that need them: it takes a second. One thread: two that wait for each other on a busy machine are slower than
one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from anypop.routing.inference.history import NOT_MEASURED
from anypop.routing.inference.neighbours import out_of_fold
from anypop.routing.inference.preference import softmax
from anypop.routing.internet.sites import Bool, Float, Int32, Internet

# Variances, chosen on twelve measured announcements: twice or a quarter of each changes accuracy by less than 0.003.
_BELIEVED = 0.05  # of the weight of a column: of two hundred networks no single one is to be believed much
_SHIFT = 1.0  # of what is added to a PoP for all networks alike
_FAITH = 4.0  # so many networks of the overall share stand behind each vote
GRAPH_ALONE = 0.65  # how often the graph's answer was right where nothing was measured: 0.675 on 21 announcements


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """`landed`: per site the index in `pops`, those that announce, -1: not measured. `announced`: those of them that
    history knows. `graph`: the engine's answer in the same form. `order`: chances by preference, None without a
    history. `traits`: of each site, columns of numbers, nan where not known. `past`: one column per past announcement,
    where it landed (nan: not measured). `fold`: by which votes are counted apart. `seed`: of what is by chance.
    """

    internet: Internet
    landed: Int32
    pops: tuple[str, ...]
    announced: frozenset[str]
    graph: Int32
    order: Float | None
    traits: Float
    liking: Float
    past: Float
    fold: Int32
    seed: int

    @property
    def count(self) -> int:
        """How many PoPs announce."""
        return len(self.pops)

    def seen(self, usable: Bool) -> Int32:
        """What may be learnt from."""
        return np.where(usable, self.landed, NOT_MEASURED).astype(np.int32)


Part = Callable[[Known, Bool], Float]


def majority(known: Known, usable: Bool) -> Float:
    """The overall shares, the same for all."""
    counts = np.bincount(known.landed[usable], minlength=known.count) + 0.5
    return np.broadcast_to(counts / counts.sum(), (len(known.landed), known.count)).copy()


def graph(known: Known, usable: Bool) -> Float:
    """The graph's answer, as sure as it is right."""
    asked = usable & (known.graph != NOT_MEASURED)
    right = int((known.graph[asked] == known.landed[asked]).sum())
    sure = (right + 20 * GRAPH_ALONE) / (int(asked.sum()) + 20)
    result = np.full((len(known.graph), known.count), 1.0 / known.count)
    told = np.flatnonzero(known.graph != NOT_MEASURED)
    if known.count > 1:
        result[told] = (1 - sure) / (known.count - 1)
        result[told, known.graph[told]] = sure
    return result


def order(known: Known, usable: Bool) -> Float:
    """What networks preferred before."""
    assert known.order is not None
    return known.order


def vote(known: Known, usable: Bool) -> Float:
    """What the other measured customers of a network's providers do."""
    counted = out_of_fold(known.internet, known.seen(usable), known.count, known.fold)
    number = np.expm1(counted[:, -1:])
    share = np.nan_to_num(counted[:, : known.count])
    result: Float = (share * number + majority(known, usable) * _FAITH) / (number + _FAITH)
    return result


def linear(known: Known, usable: Bool) -> Float:
    """Logistic regression over preference and the past, begun from the order: what two hundred measured networks are
    enough for. Where they say nothing, the order stands, and not the majority.
    """
    from scipy.optimize import minimize  # noqa: PLC0415 - see the module
    from threadpoolctl import threadpool_limits  # noqa: PLC0415 - see the module

    assert known.order is not None
    table, begun = likings(known), np.log(np.clip(known.order, 1e-4, 1.0))
    seen, start, width = table[usable], begun[usable], table.shape[1]
    chosen = np.eye(known.count)[known.landed[usable]]
    doubt = np.r_[np.full(width, _BELIEVED), _SHIFT][
        :, None
    ]  # variance of what each column may add, and of a PoP's own

    def loss(weights: Float) -> tuple[float, Float]:
        by_column = weights.reshape(width + 1, known.count)
        chance = softmax(start + seen @ by_column[:-1] + by_column[-1])
        missed = chance - chosen
        slope = np.vstack([seen.T @ missed, missed.sum(axis=0)]) + by_column / doubt
        told = np.log(np.maximum((chance * chosen).sum(axis=1), 1e-12)).sum()
        return float((by_column**2 / doubt).sum() / 2 - told), slope.ravel()

    with threadpool_limits(1):
        found = minimize(loss, np.zeros((width + 1) * known.count), jac=True, method="L-BFGS-B")
        by_column = found.x.reshape(width + 1, known.count)
        return softmax(begun + table @ by_column[:-1] + by_column[-1])


def likings(known: Known) -> Float:
    """The table of preference and the past, a row per site: each column has the mean 0 and the deviation 1."""
    columns = [known.liking]
    if known.order is not None:
        columns.append(np.log(np.clip(known.order, 1e-4, 1.0)))
    for past in known.past.T:
        # of the two or more PoPs of an announcement one less says it all; who was not measured is in the middle
        for pop in np.unique(past[~np.isnan(past)])[1:]:
            columns.append(np.where(np.isnan(past), 0.0, np.where(past == pop, 0.5, -0.5))[:, None])
    table = np.hstack(columns)
    result: Float = (table - table.mean(axis=0)) / (table.std(axis=0) + 1e-6)
    return result


def trees(known: Known, usable: Bool) -> Float:
    """Gradient-boosted trees over the past, the neighbours, the graph and preference."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 - see the module

    counted = out_of_fold(known.internet, known.seen(usable), known.count, known.fold)
    columns = [known.traits, known.liking, known.past, counted, np.where(known.graph < 0, np.nan, known.graph)[:, None]]
    if known.order is not None:
        columns.append(known.order)
    few = int(usable.sum()) < 2000
    model = HistGradientBoostingClassifier(
        max_iter=40 if few else 150,
        learning_rate=0.1 if few else 0.08,
        max_leaf_nodes=6 if few else 31,
        min_samples_leaf=5 if few else 20,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=0,
    )
    table = np.hstack([c for c in columns if c.size])
    # a column without any number, as the places of a graph without places, is no column to the library
    return _fitted(model, table[:, ~np.isnan(table[usable]).all(axis=0)], known, usable)


def _fitted(model: Any, table: Float, known: Known, usable: Bool) -> Float:
    """Chances by a classifier; where only one PoP is in what it learns from, those of the majority."""
    from threadpoolctl import threadpool_limits  # noqa: PLC0415 - see the module

    labels = known.landed[usable]
    if len(np.unique(labels)) < 2:
        return majority(known, usable)
    result = np.zeros((len(table), known.count))
    with threadpool_limits(1):
        model.fit(table[usable], labels)
        result[:, model.classes_] = model.predict_proba(table)
    return result

"""All single changes of what we announce, tried one by one on the whole graph: withhold a session, or prepend once to
three times.

A prediction in, every change with its cost out, the best first. The cost is the weighted mean of km beyond the
nearest PoP (a site without a route counts as half the Earth's circumference); without places it is the weight that
moves. Each is worked out from the present state by what it touches, on all cores: kernels run side by side in threads.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from anypop.model.announce import Mode, Scope
from anypop.model.sessions import Session
from anypop.routing.catchment.predict import Prediction, distances
from anypop.routing.engine.propagate import Engine, Prepared
from anypop.routing.internet.sites import Float, Int32

MOST_PREPENDS = 3
_WITHHOLD = -1
_NOWHERE_KM = 20_037.0  # half the Earth's circumference: nothing is further away


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One change and its effect. `cost` in km (see the module), `gain` = cost before minus cost after, `moved`: sites
    that land elsewhere.
    """

    session: Session
    scope: Scope
    cost: float
    gain: float
    moved: int


def search(engine: Engine, prediction: Prediction, *, threads: int | None = None) -> tuple[Tried, ...]:
    """Every single change of every announced session, the cheapest first."""
    prepared = engine.prepare(prediction.outcome.seeds)
    cost, none = _costs(prediction, prepared)
    before: Int32 = prediction.outcome.pop_index()
    now = float(np.where(before >= 0, cost[np.arange(len(before)), before], none).sum())
    sessions = prediction.announcements.sessions
    wanted = [
        (index, count)
        for index, session in enumerate(sessions)
        if session.scope.mode is Mode.ANNOUNCE
        for count in (_WITHHOLD, *range(session.scope.prepend + 1, session.scope.prepend + MOST_PREPENDS + 1))
    ]
    workers = min(threads or os.cpu_count() or 1, max(1, len(wanted)))
    with ThreadPoolExecutor(workers) as pool:
        size = max(1, -(-len(wanted) // workers))
        parts = [wanted[at : at + size] for at in range(0, len(wanted), size)]
        found = pool.map(lambda part: engine.twin().tried(prepared, part, cost, none), parts)
        effects = [effect for part in found for effect in part]
    tried = [
        Tried(
            session=sessions[index],
            scope=_scope(sessions[index].scope, count),
            cost=now + dearer,
            gain=-dearer,
            moved=moved,
        )
        for (index, count), (dearer, moved) in zip(wanted, effects, strict=True)
    ]
    return tuple(sorted(tried, key=lambda t: (t.cost, t.moved)))


def _scope(now: Scope, count: int) -> Scope:
    return replace(now, mode=Mode.WITHHOLD) if count == _WITHHOLD else replace(now, prepend=count)


def _costs(prediction: Prediction, prepared: Prepared) -> tuple[Float, Float]:
    """What it costs that a site lands at a PoP (column) or nowhere."""
    weight, internet, pops = prediction.weight, prediction.internet, tuple(prepared.pops)
    placed = ~np.isnan(internet.latitude) & (prediction.nearest >= 0)
    if placed.any():  # else there is nothing to work out: thirty PoPs' distances take longer than all the changes
        table = distances(internet, pops)
        placed &= ~np.isnan(table.km).any(axis=1)
    if placed.any():
        every = table if prediction.pops == pops else distances(internet, prediction.pops)
        home = every.km[np.arange(len(weight)), prediction.nearest]
        km = np.where(placed[:, None], np.maximum(table.km - home[:, None], 0.0), 0.0)
        return km * weight[:, None], np.where(placed, _NOWHERE_KM, 0.0) * weight
    # One table and no other beside it: a quarter of the time.
    elsewhere = np.empty((len(weight), len(pops)))
    elsewhere[:] = weight[:, None]
    now = prediction.outcome.pop_index()
    routed = np.flatnonzero(now >= 0)
    elsewhere[routed, now[routed]] = 0.0
    return elsewhere, weight.copy()

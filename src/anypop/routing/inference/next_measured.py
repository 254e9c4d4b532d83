"""Which networks to measure next: those whose answers together take away most of the doubt about all others.

In: what is `Known`, the chances of now, weights, and who can be measured. Out: networks in the order in which to ask
them. What the regression of `parts.linear` will know after a measurement can be told before it: each answer adds its
row, as much as it is in doubt, to the precision of the coefficients (MacKay 1992; optimal design for predictions,
Chaloner and Verdinelli 1995). The doubt about everybody is the sum over all of weight, times how open a network's
answer is, times the variance of what is said of it; the next one is always the one that takes most of it away. Networks
with the same row are one part of a partition: to ask one of them is as good as another. Pure.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anypop.routing.inference.history import NOT_MEASURED
from anypop.routing.inference.parts import HELD_BACK, Known, likings
from anypop.routing.internet.sites import Bool, Float

_AT_ONCE = 200
Index = npt.NDArray[np.intp]
_DIGITS = 2  # rows that differ by less are one: a hundredth of a column's deviation changes no answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """One network, by one of its sites. `takes`: the part of all doubt that its answer takes away. `alike`: the weight
    of all networks with its row.
    """

    site: int
    takes: float
    alike: float


def next_measured(known: Known, chance: Float, weight: Float, can: Bool, count: int) -> tuple[Next, ...]:
    """At most `count`, each AS once. `can`: sites that can be measured; those that are, are left out."""
    rows = np.hstack([likings(known) if known.order is not None else _by_graph(known), np.ones((len(weight), 1))])
    part, first = _partition(rows)
    table = rows[first]
    open_ = 1 - (chance**2).sum(axis=1)
    heavy = np.bincount(part, weights=weight * open_, minlength=len(first))
    wanted = np.asarray((table * heavy[:, None]).T @ table, dtype=np.float64)
    # What is measured is known to the regression already, with the chances that were said of it before.
    measured = (known.landed != NOT_MEASURED).astype(float)
    told = np.bincount(part, weights=measured, minlength=len(first)) * 0.25
    covariance = np.linalg.inv(np.eye(table.shape[1]) / HELD_BACK + (table * told[:, None]).T @ table)
    openness = np.bincount(part, weights=open_, minlength=len(first)) / np.bincount(part, minlength=len(first))
    waiting = _candidates(known, weight * open_, can & (measured == 0), part, len(first))
    alike = np.bincount(part, weights=weight, minlength=len(first))
    total = float((covariance * wanted).sum()) or 1.0
    taken: set[int] = set()
    found: list[Next] = []
    # What an answer takes away only shrinks as others are known: what it took before is a bound for it now.
    bound = np.where([bool(sites) for sites in waiting], np.inf, -1.0)
    while len(found) < count and any(waiting):
        best, gain = _best(bound, table, openness, covariance, wanted)
        site = waiting[best].pop()
        if not waiting[best]:
            bound[best] = -1.0
        if (group := int(known.internet.group[site])) in taken:
            continue
        taken.add(group)
        found.append(Next(site=site, takes=gain / total, alike=float(alike[best])))
        move = covariance @ table[best]
        covariance -= openness[best] * np.outer(move, move) / (1 + openness[best] * float(move @ table[best]))
    return tuple(found)


def _best(bound: Float, table: Float, openness: Float, covariance: Float, wanted: Float) -> tuple[int, float]:
    """The part that takes most away, and how much. Writes better bounds."""
    while True:
        top = np.argsort(-bound)[:_AT_ONCE] if np.isfinite(bound.max()) else np.flatnonzero(np.isinf(bound))
        top = top[bound[top] >= 0]
        moved = table[top] @ covariance
        gain = ((moved @ wanted) * moved).sum(axis=1) * openness[top]
        bound[top] = gain / (1 + openness[top] * (moved * table[top]).sum(axis=1))
        best = int(bound.argmax())
        if best in top:
            return best, float(bound[best])


def _candidates(known: Known, value: Float, can: Bool, part: Index, parts: int) -> list[list[int]]:
    """The sites of each part, the one that decides most weight last."""
    found: list[list[int]] = [[] for _ in range(parts)]
    at = np.flatnonzero(can)
    for site in at[np.lexsort((at, value[at]))].tolist():
        found[int(part[site])].append(site)
    return found


def _by_graph(known: Known) -> Float:
    """Without a history: networks are alike where the graph gives them the same answer in the same way."""
    table = np.column_stack([known.graph == pop for pop in range(known.count)] + [np.nan_to_num(known.traits)])
    result: Float = (table - table.mean(axis=0)) / (table.std(axis=0) + 1e-6)
    return result


def _partition(rows: Float) -> tuple[Index, Index]:
    """Per site the number of its part, and per part one of its sites."""
    _, first, part = np.unique(np.round(rows, _DIGITS), axis=0, return_index=True, return_inverse=True)
    return part.reshape(-1), first

"""Which networks to measure next: one for each part of a partition of all that can be measured. Pure.

In: what is `Known`, the chances of now, weights, and who can be measured. Out: networks, those first whose answer
decides most weight. Parts are of networks that are alike in what they preferred before and are thought to prefer now
(k-means over the table of `parts.likings`, by weight), so that the answers together stand for everybody; each is asked
by the one in its middle. On the twelve announcements of `bench.history`, 1 in 200 measured, a regression learns more
from these than from as many by chance (its rows `planned`), while those that a regression would choose itself, where it
is most in doubt, mislead it: they are the least like the others.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anypop.routing.inference.history import NOT_MEASURED
from anypop.routing.inference.parts import Known, likings
from anypop.routing.internet.sites import Bool, Float


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """One network, by one of its sites. `stands_for`: the weight of its part, shared among those of it that are asked;
    `decides`: how much of all doubt is in there, in the same way.
    """

    site: int
    stands_for: float
    decides: float


def next_measured(known: Known, chance: Float, weight: Float, can: Bool, count: int) -> tuple[Next, ...]:
    """At most `count`, each AS once. `can`: sites that can be measured; those that are, are left out."""
    from sklearn.cluster import MiniBatchKMeans  # noqa: PLC0415 - it takes a second
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    at = np.flatnonzero(can & (known.landed == NOT_MEASURED))
    if not len(at):
        return ()
    table = likings(known) if known.order is not None else _by_graph(known)
    parts = min(count, len(np.unique(known.internet.group[at])))
    means = MiniBatchKMeans(parts, random_state=known.seed, n_init=1, batch_size=4096)
    with threadpool_limits(1):
        of_asked = means.fit(table[at], sample_weight=weight[at] + 1e-12).predict(table[at])
        part = means.predict(table)
    doubt = weight * (1 - (chance**2).sum(axis=1))
    heavy, open_ = (np.bincount(part, weights=of, minlength=parts).astype(float) for of in (weight, doubt))
    far = ((table[at] - means.cluster_centers_[of_asked]) ** 2).sum(axis=1)
    asked = _asked(known.internet.group, at, of_asked, far, open_)[:count]
    times = np.bincount([number for _, number in asked], minlength=parts)
    total = float(doubt.sum()) or 1.0
    found = [
        Next(
            site=site,
            stands_for=float(heavy[number] / times[number]),
            decides=float(open_[number] / times[number] / total),
        )
        for site, number in asked
    ]
    return tuple(sorted(found, key=lambda one: (-one.decides, one.site)))


def _asked(
    group: npt.NDArray[np.int32], at: npt.NDArray[np.intp], part: npt.NDArray[np.int32], far: Float, doubt: Float
) -> list[tuple[int, int]]:
    """Sites and their parts: of each part the one in its middle, then of each the next, as long as there are any."""
    rank: dict[int, int] = {}
    taken: set[int] = set()
    rows: list[tuple[int, float, int, int]] = []
    for index in np.argsort(far, kind="stable").tolist():
        number, site = int(part[index]), int(at[index])
        if int(group[site]) not in taken:
            taken.add(int(group[site]))
            rank[number] = rank.get(number, 0) + 1
            rows.append((rank[number], -float(doubt[number]), site, number))
    return [(site, number) for *_, site, number in sorted(rows)]


def _by_graph(known: Known) -> Float:
    """Without a history: networks are alike where the graph gives them the same answer in the same way."""
    table = np.column_stack([known.graph == pop for pop in range(known.count)] + [np.nan_to_num(known.traits)])
    result: Float = (table - table.mean(axis=0)) / (table.std(axis=0) + 1e-6)
    return result

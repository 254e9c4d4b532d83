"""What was announced before, and where networks landed under it: arrays over the sites of one graph. Pure.

In: announcements of the past with their measurements as pins. Out: a `History`, whose PoPs are all that were ever
announced. It draws no conclusion.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from anypop.routing.internet.sites import Int32, Internet

NOT_MEASURED = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """One announcement. `pops`: where it was made from. `landed`: per site an index in the history's `pops`, -1: not
    measured. `shares`: what each PoP got in all, where somebody told.
    """

    pops: tuple[str, ...]
    landed: Int32
    shares: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """`pops`: in order."""

    pops: tuple[str, ...]
    pasts: tuple[Past, ...]


def history_of(
    internet: Internet,
    pasts: Sequence[tuple[Iterable[str], Mapping[int, str]]],
    *,
    more: Iterable[str] = (),
    shares: Sequence[Mapping[str, float]] = (),
) -> History:
    """Of announcements, each the PoPs that made it and the PoP that each measured site landed in
    (`observations.pins_of`). `more`: PoPs that are asked about. `shares`: one for each announcement, or none at all.
    What landed where nothing was announced is passed over.
    """
    every = tuple(sorted({*more, *(pop for pops, _ in pasts for pop in pops)}))
    return History(
        pops=every,
        pasts=tuple(
            Past(pops=(known := tuple(sorted(set(pops)))), landed=indexes(internet, pins, known, every), shares=told)
            for (pops, pins), told in zip(pasts, shares or [{}] * len(pasts), strict=True)
        ),
    )


def indexes(internet: Internet, pins: Mapping[int, str], known: Sequence[str], every: Sequence[str]) -> Int32:
    """Per site the index in `every` of the PoP that it is pinned to, of those in `known`; -1: none."""
    number = {pop: index for index, pop in enumerate(every) if pop in known}
    landed = np.full(len(internet), NOT_MEASURED, dtype=np.int32)
    for site, pop in pins.items():
        landed[site] = number.get(pop, NOT_MEASURED)
    return landed


def folds(internet: Internet, count: int, seed: int) -> Int32:
    """Per site one of so many parts, by chance; the sites of an AS are in one part, since they are measured as one."""
    return np.random.default_rng(seed).integers(0, count, len(internet.asns), dtype=np.int32)[internet.group]

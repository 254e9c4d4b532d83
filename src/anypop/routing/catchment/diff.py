"""What a change of announcements moves: two predictions over one graph in, who moves from where to where out. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from anypop.model.announce import Mode
from anypop.model.scopes import community_text
from anypop.routing.catchment.predict import Prediction, distances
from anypop.routing.internet.sites import Float


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Networks that move from one PoP to another (empty: no route). `km`: weighted mean change of distance, more is
    worse; nan without places. `sure`: the share of them that no tie can change.
    """

    before: str
    after: str
    networks: int
    weight: float
    km: float
    sure: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """All moves, the heaviest first, and how many networks stay. Parts of the weight: `winners` come nearer, `losers`
    go further, `lost` have no route any more.
    """

    moves: tuple[Move, ...]
    stay: int
    winners: float
    losers: float
    lost: float
    changes: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """`this withdraws LHR from 2 of 3 upstreams; 1,840 networks move to AMS (+310 km), 12 to JFK (+5,500 km)`"""
        head = "; ".join(self.changes) or "nothing changes in what is announced"
        arrivals: dict[str, tuple[int, int, float]] = {}
        for move in self.moves:
            number, placed, total = arrivals.get(move.after, (0, 0, 0.0))
            here = 0 if np.isnan(move.km) else move.networks
            arrivals[move.after] = number + move.networks, placed + here, total + (here * move.km if here else 0.0)
        parts: list[str] = []
        for pop, (number, placed, total) in sorted(arrivals.items(), key=lambda item: -item[1][0]):
            verb = ("network moves" if number == 1 else "networks move") if not parts else ""
            if pop:
                # Of networks in unknown places no distance is told.
                further = f"({total / placed:+,.0f} km)" if placed else ""
                parts.append(" ".join(filter(None, [f"{number:,}", verb, f"to {pop}", further])))
            else:
                parts.append(f"{number:,} {'networks ' if not parts else ''}lose their route")
        return f"{head}; {', '.join(parts) or 'no network moves'}"


def diff(before: Prediction, after: Prediction) -> Diff:
    """Who moves. ValueError for predictions over different graphs."""
    if before.internet is not after.internet and not np.array_equal(before.internet.asn, after.internet.asn):
        raise ValueError("predictions over different graphs cannot be compared")
    from_pop = np.array([*before.pops, ""])[before.pop]
    to_pop = np.array([*after.pops, ""])[after.pop]
    moved = from_pop != to_pop
    # Distances count from one set of homes, else a PoP that is gone would make everybody look better.
    km = _km(after) - _km(before)
    moves = []
    for a, b in sorted({*zip(from_pop[moved].tolist(), to_pop[moved].tolist(), strict=True)}):
        member = moved & (from_pop == a) & (to_pop == b)
        weight = before.weight[member]
        known = ~np.isnan(km[member])
        total = float(weight[known].sum())
        unsure = (after.level[member] == 2) | (before.level[member] == 2)
        moves.append(
            Move(
                before=a,
                after=b,
                networks=len(np.unique(before.internet.group[member])),
                weight=float(weight.sum()),
                km=float((weight[known] * km[member][known]).sum() / total) if total else float("nan"),
                sure=float(1 - unsure.mean()),
            )
        )
    return Diff(
        moves=tuple(sorted(moves, key=lambda move: -move.weight)),
        stay=len(np.unique(before.internet.group)) - len(np.unique(before.internet.group[moved])),
        winners=float(before.weight[moved & (km < 0)].sum()),
        losers=float(before.weight[moved & (km > 0)].sum()),
        lost=float(before.weight[moved & (to_pop == "")].sum()),
        changes=tuple(_changes(before, after)),
    )


def _km(prediction: Prediction) -> Float:
    """Distance from each site to where it lands."""
    table = distances(prediction.internet, prediction.pops).km
    sites = np.arange(len(table))
    result: Float = np.where(prediction.pop >= 0, table[sites, prediction.pop], np.nan)
    return result


def _changes(before: Prediction, after: Prediction) -> Iterator[str]:
    """What is announced differently, PoP by PoP, in words."""
    old = {(s.pop, s.upstream): s for s in before.announcements.sessions}
    new = {(s.pop, s.upstream): s for s in after.announcements.sessions}
    for pop in sorted({key[0] for key in (*old, *new)}):
        mine = {key for key in (*old, *new) if key[0] == pop}
        was = {key for key in mine if key in old and old[key].scope.mode is Mode.ANNOUNCE}
        now = {key for key in mine if key in new and new[key].scope.mode is Mode.ANNOUNCE}
        if was - now:
            yield f"this withdraws {pop} from {len(was - now)} of {len(was)} upstream{'s' if len(was) != 1 else ''}"
        for key in sorted(now - was):
            yield f"this announces {pop} to {key[1]}"
        for key in sorted(was & now):
            a, b = old[key].scope, new[key].scope
            if a.prepend != b.prepend:
                yield f"this prepends {b.prepend} times from {pop} to {key[1]}"
            if a.every_community != b.every_community:
                text = " ".join(map(community_text, b.every_community)) or "no communities"
                yield f"this announces {pop} to {key[1]} with {text}"

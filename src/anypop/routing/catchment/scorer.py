"""What a change of our announcements does to everybody: proposals in, `Repair`s with their effect out.

First every proposal by the model's one answer; then the best ones in many `worlds`, in which ties are broken otherwise
and some networks are not believed: so their gain has an interval. A PoP that a proposal adds counts as somebody's
nearest before and after alike. Uses all cores: kernels run side by side in threads, each with an engine of its own.
Thinks of no changes itself.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from anypop.model.names import CityCode
from anypop.routing.catchment.predict import Prediction, distances
from anypop.routing.catchment.repairs import Change, Gain, Proposal, Repair, applied
from anypop.routing.catchment.sessions import seeds_of
from anypop.routing.catchment.strays import networks
from anypop.routing.catchment.worlds import World, drawn, landed
from anypop.routing.engine.propagate import Engine, Outcome
from anypop.routing.engine.seeds import Seed
from anypop.routing.internet.sites import Bool, Float, Int32, Int64, Internet

_LOW, _HIGH = 0.1, 0.9
Changes = tuple[Change, ...]
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What landing in each PoP means to each site: rows are sites, columns `pops` and last no PoP at all. `extra`: km
    beyond the nearest home, nan where that is not known.
    """

    pops: tuple[CityCode, ...]
    extra: Float
    far: Bool

    def landing(self, outcome: Outcome) -> Int64:
        """Per site the column of where it lands."""
        seed = outcome.seed if outcome.dropped is None else np.where(outcome.dropped, -1, outcome.seed)
        return np.array([*(self.pops.index(seed.pop) for seed in outcome.seeds), len(self.pops)])[seed]


def table(internet: Internet, pops: tuple[CityCode, ...], homes: tuple[CityCode, ...], far_km: float) -> Table:
    """The table for these PoPs; without a place nothing is far."""
    km = distances(internet, pops).km
    home = km[:, [i for i, pop in enumerate(pops) if pop in homes]].min(axis=1, initial=np.inf)
    extra = np.column_stack([np.maximum(km - home[:, None], 0.0), np.full(len(km), np.nan)])
    return Table(pops=pops, extra=extra, far=np.nan_to_num(extra) > far_km)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Of one change in one world, about the sites that it moves: indexes, and whether each is mended or harmed."""

    moved: Int64
    mended: Bool
    harmed: Bool


_NOTHING = Effect(moved=np.zeros(0, np.int64), mended=np.zeros(0, bool), harmed=np.zeros(0, bool))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A proposal by the model's one answer: its effect, where each site lands (a column of the table) and by which of
    our sessions (-1: none).
    """

    proposal: Proposal
    effect: Effect
    landed: Int64
    seed: Int32
    gain_km: float


def _mean(total: float, weight: float) -> float:
    return total / weight if weight > 0 else float("nan")


class Scorer:
    """Scores proposals against one prediction. `belief`: per site the chance that it lands now where the prediction
    says, nan where nothing is known of that.
    """

    def __init__(
        self, engine: Engine, before: Prediction, far_km: float, belief: Float | None = None, threads: int | None = None
    ) -> None:
        self.before = before
        self.far_km = far_km
        self.weight = before.weight
        self.internet = engine.internet
        self.engines = [engine.twin() for _ in range(threads or os.cpu_count() or 1)]
        self.known = np.isfinite(belief) if belief is not None else np.zeros(len(self.weight), dtype=bool)
        self.belief = np.where(self.known, belief, 1.0) if belief is not None else np.ones(len(self.weight))
        announced = before.announcements
        self._homes = announced.pops
        self._pops = tuple(sorted({*before.pops, *(session.pop for session in announced.sessions)}))
        self._tables: dict[tuple[CityCode, ...], Table] = {}
        self._now: dict[tuple[CityCode, ...], tuple[Int64, float, float]] = {}
        self._prepared = engine.prepare(before.outcome.seeds)
        self._worlds: list[tuple[World, Outcome, Bool]] = []
        self._closest: dict[tuple[str, int], int] = {}

    def try_all(self, proposals: Sequence[Proposal]) -> list[Tried]:
        """By the model's one answer, without those that never come to rest. The same changes, proposed twice, are tried
        once.
        """
        first = list({proposal.changes: proposal for proposal in reversed(proposals)}.values())[::-1]
        for proposal in first:
            self.at(proposal.changes)  # made before the threads begin
        return [one for one in self._side_by_side(self._tried, first) if one is not None]

    def at(self, changes: Changes) -> Table:
        """The table in which these changes are seen: with the PoPs that they add."""
        new = tuple(sorted({change.pop for change in changes} - set(self._pops)))
        pops = (*self._pops, *new)
        if pops not in self._tables:
            made = table(self.internet, pops, (*self._homes, *new), self.far_km)
            now = made.landing(self.before.outcome)
            self._tables[pops], self._now[pops] = made, (now, *self._far_of(made, np.arange(len(now)), now))
        return self._tables[pops]

    def repair(self, tried: Tried, member: Bool) -> Repair:
        """What was tried, for the strays of one cause: a mask of sites."""
        moved, mended, harmed = tried.effect.moved, tried.effect.mended, tried.effect.harmed
        return Repair(
            kind=tried.proposal.kind,
            title=tried.proposal.title,
            changes=tried.proposal.changes,
            cured=networks(self.internet, moved[mended & member[moved]]),
            mended=networks(self.internet, moved[mended]),
            harmed=networks(self.internet, moved[harmed]),
            mended_weight=float(self.weight[moved[mended]].sum()),
            harmed_weight=float(self.weight[moved[harmed]].sum()),
            gain_km=tried.gain_km,
            note=tried.proposal.note,
            needs=tried.proposal.needs,
        )

    def doubted(self, repairs: Sequence[Repair]) -> list[Repair]:
        """The same with their gain and its interval."""
        if not repairs:
            return []
        announced = self.before.announcements
        if not self._worlds:
            seeds = seeds_of(self.internet, announced)
            ran = self._side_by_side(lambda _, world: (world, world.run(seeds)), drawn(self.engines[0], seeds))
            every = np.arange(len(self.weight))
            # where the announcements of now never rest, nothing can be compared with them
            self._worlds = [(world, now, world.doubted(now, every)) for world, now in ran if now is not None]
        asked = [(self.at(r.changes), self._seeds(r.changes)) for r in repairs]
        tables = {at.pops: at for at, _ in asked}

        def work(_: Engine, found: tuple[World, Outcome, Bool]) -> list[tuple[float, Effect]]:
            world, now, doubted = found
            landings = {pops: at.landing(now) for pops, at in tables.items()}
            return [self._in_world(world, doubted, landings[at.pops], at, seeds) for at, seeds in asked]

        rows = self._side_by_side(work, self._worlds)
        return [self._with_gain(one, [row[place] for row in rows]) for place, one in enumerate(repairs)]

    def _side_by_side(self, work: Callable[[Engine, T], R], some: Sequence[T]) -> list[R]:
        """`work` of all, in their order. Each thread with its own engine takes the next one that nobody has: some take
        a hundred times as long as others.
        """
        todo, found = iter(range(len(some))), dict[int, R]()

        def part(worker: int) -> None:
            for place in todo:  # one thread at a time is given the next one
                found[place] = work(self.engines[worker], some[place])

        with ThreadPoolExecutor(len(self.engines)) as pool:
            for done in [pool.submit(part, worker) for worker in range(len(self.engines))]:
                done.result()
        return [found[place] for place in range(len(some))]

    def _tried(self, engine: Engine, proposal: Proposal) -> Tried | None:
        at = self.at(proposal.changes)
        outcome = landed(engine, self._prepared, self._seeds(proposal.changes))
        if outcome is None:
            return None
        (now, km, known), after = self._now[at.pops], at.landing(outcome)
        effect = self._effect(at, now, after)
        less, fewer = self._far_of(at, effect.moved, now)
        more, others = self._far_of(at, effect.moved, after)
        return Tried(
            proposal=proposal,
            effect=effect,
            landed=after,
            seed=outcome.seed,
            gain_km=_mean(km, known) - _mean(km - less + more, known - fewer + others),
        )

    def _seeds(self, changes: Changes) -> tuple[Seed, ...]:
        """What is announced once these changes are made."""
        return seeds_of(self.internet, applied(self.before.announcements, changes), self._closest)

    def _effect(self, at: Table, before: Int64, after: Int64) -> Effect:
        moved = np.flatnonzero(before != after)
        was, now = before[moved], after[moved]
        was_km, is_km = np.nan_to_num(at.extra[moved, was]), np.nan_to_num(at.extra[moved, now])
        was_far, is_far = was_km > self.far_km, is_km > self.far_km
        lost = now == len(at.pops)
        further = is_km > was_km + self.far_km / 2
        return Effect(
            moved=moved, mended=was_far & ~is_far & ~lost, harmed=lost | (is_far & ~was_far) | (is_far & further)
        )

    def _far_of(self, at: Table, sites: Int64, landed: Int64) -> tuple[float, float]:
        """Of these sites how far beyond their nearest homes they land, by weight; and the weight of those of which it
        is known.
        """
        extra = at.extra[sites, landed[sites]]
        known = ~np.isnan(extra)
        weight = self.weight[sites][known]
        return float((weight * extra[known]).sum()), float(weight.sum())

    def _in_world(
        self, world: World, doubted: Bool, before: Int64, at: Table, seeds: Sequence[Seed]
    ) -> tuple[float, Effect]:
        """What a change gains there, of what is believed there. `doubted`, `before`: of each site, what is announced
        now.
        """
        after = world.run(seeds)
        if after is None:
            return 0.0, _NOTHING
        effect = self._effect(at, before, at.landing(after))
        moved = effect.moved
        believed = self.weight[moved] * self.belief[moved] * ~world.doubted(after, moved)
        # what was measured of the present is not doubted by lot as well
        believed = np.where(self.known[moved] | ~doubted[moved], believed, 0.0)
        return float((believed * (effect.mended.astype(float) - effect.harmed)).sum()), effect

    def _with_gain(self, repair: Repair, worlds: Sequence[tuple[float, Effect]]) -> Repair:
        gains = np.array([gain for gain, _ in worlds] or [0.0])
        count = np.zeros((2, len(self.weight)), dtype=np.int16)
        for _, effect in worlds:
            count[0, effect.moved[effect.mended]] += 1
            count[1, effect.moved[effect.harmed]] += 1
        differs = (count > 0) & (count < len(worlds))
        unsure: Bool = differs[0] | differs[1]
        low, high = np.quantile(gains, (_LOW, _HIGH))
        gain = Gain(expected=float(gains.mean()), low=float(low), high=float(high))
        return replace(repair, gain=gain, unsure=networks(self.internet, unsure))

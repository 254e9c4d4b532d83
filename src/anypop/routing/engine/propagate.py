"""Propagation: an `Internet`, seeds and policies in, an `Outcome` out. The way to the compiled engine.

`Engine` keeps what one graph needs between propagations; `run` is one propagation, `variant` the same with some seeds
changed (for searches over many changes). An outcome holds arrays for counting and answers single questions (`path`,
`pop`, `ties`) for people.
"""

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from anypop.model.names import CityCode
from anypop.routing.engine import native
from anypop.routing.engine.action_arrays import action_arrays
from anypop.routing.engine.arrays import (
    DROP,
    MASKED,
    MED,
    NONE,
    PREFER,
    Actions,
    Graph,
    Sown,
    State,
    UInt8,
    bits_of,
    by_rank_of,
    fresh_state,
    graph_arrays,
    ranks_of,
    seed_arrays,
)
from anypop.routing.engine.change import fresh_change, start_from, try_each
from anypop.routing.engine.columns import empty, fill
from anypop.routing.engine.order import places_of
from anypop.routing.engine.seeds import SHIPPED, Policies, Seed
from anypop.routing.engine.settle import settle_masks, settle_ranks
from anypop.routing.engine.spread import records, spread
from anypop.routing.engine.tally import tally
from anypop.routing.internet.sites import Bool, Float, Int8, Int32, Int64, Internet

KINDS = ("customer", "peer", "provider")
TURNS = 4  # orders in which sites choose, tried to find several stable ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Where every site ends up.

    Per site: `kind` (0 customer, 1 peer, 2 provider, 9 no route), `length` of the AS path as held there, `sender` (a
    site; -1 - s for seed s), `seed`, `preference`, and `mask`, a bit for each of the first 63 of `pops` that an
    equally good way leads to; `masks` has those of the next 63, and so on. `stable` False: the policies never come to
    rest. `dropped`: sites that have a route and throw away what goes there. `others`: other stable ends that were
    found; which of them a network comes to depends on what was announced first.
    """

    internet: Internet
    seeds: tuple[Seed, ...]
    pops: tuple[CityCode, ...]
    kind: Int8
    length: Int32
    sender: Int32
    seed: Int32
    preference: Int32
    mask: Int64
    stable: bool
    masks: tuple[Int64, ...] = ()
    dropped: Bool | None = None
    others: tuple["Outcome", ...] = ()

    def same(self, other: "Outcome") -> bool:
        """Whether everybody has its route from the same neighbour."""
        routed = self.kind != NONE
        return np.array_equal(self.kind, other.kind) and np.array_equal(self.sender[routed], other.sender[routed])

    @property
    def tied(self) -> Bool:
        """Per site whether equally good ways lead to several PoPs, or other stable ends to another one."""
        several: Bool = (self.mask & (self.mask - 1)) != 0
        some = self.mask != 0
        for mask in self.masks:
            several |= ((mask & (mask - 1)) != 0) | (some & (mask != 0))
            some |= mask != 0
        for end in self.others:
            several |= end.pop_index() != self.pop_index()
        return several

    @property
    def bits(self) -> list[int]:
        """Per site a number with a bit for each of `pops` that an equally good way leads to."""
        found: list[int] = self.mask.tolist()
        for word, mask in enumerate(self.masks, start=1):
            found = [bits | more << (MASKED * word) for bits, more in zip(found, mask.tolist(), strict=True)]
        return found

    def pop(self, site: int) -> CityCode | None:
        """Where traffic of a site lands; None without a route."""
        seed = int(self.seed[site])
        gone = seed < 0 or (self.dropped is not None and self.dropped[site])
        return None if gone else self.seeds[seed].pop

    def ties(self, site: int) -> tuple[CityCode, ...]:
        """All PoPs that equally good ways lead to."""
        masks = (self.mask, *self.masks)
        return tuple(pop for bit, pop in enumerate(self.pops) if int(masks[bit // MASKED][site]) >> (bit % MASKED) & 1)

    def way(self, site: int) -> tuple[int, ...]:
        """The sites from this one on to the last before us; empty without a route."""
        sites: list[int] = []
        while site >= 0 and self.kind[site] != NONE:
            sites.append(site)
            site = int(self.sender[site])
        return tuple(sites)

    def path(self, site: int) -> tuple[int, ...]:
        """The AS path as the site holds it, prepends included; empty without a route."""
        way = self.way(site)
        if not way:
            return ()
        path: list[int] = []
        for here, sender in pairwise(way):
            if self.internet.group[here] != self.internet.group[sender]:
                path += [int(self.internet.asn[sender])] * int(self.length[here] - self.length[sender])
        last = way[-1]
        return (*path, *[self.seeds[int(self.seed[last])].origin] * int(self.length[last]))

    def pop_index(self) -> Int32:
        """Per site the index of its PoP in `pops`; -1 without a route."""
        of_seed = np.array([self.pops.index(seed.pop) for seed in self.seeds] + [-1], dtype=np.int32)
        seed = self.seed if self.dropped is None else np.where(self.dropped, -1, self.seed)
        return of_seed[seed]


class Engine:
    """One graph, ready to propagate. Not for two threads at once: `twin` gives each thread its own."""

    def __init__(self, internet: Internet, policies: Policies = SHIPPED) -> None:
        self.internet = internet
        self.policies = policies
        self._graph: Graph = graph_arrays(internet, policies)
        self._state: State = fresh_state(self._graph)
        self._place = places_of(self._graph.site)
        self._keys = np.sort(internet.key)
        weakref.finalize(self, native.forget)

    @property
    def _others(self) -> bool:
        """Whether some sites tell what `spread` has no rule for."""
        return bool(self.policies.servers or self.policies.reflectors or self.policies.members)

    def twin(self, key: Int64 | None = None) -> "Engine":
        """The same graph with its own working space; with `key` ties are decided by that."""
        other = object.__new__(Engine)
        other.internet, other.policies, other._graph = self.internet, self.policies, self._graph
        other._place, other._keys = self._place, self._keys
        if key is not None:
            other.internet = replace(self.internet, key=key)
            rank = ranks_of(key)[self._graph.site]
            other._graph = self._graph._replace(rank=rank, by_rank=by_rank_of(rank))
            other._keys = np.sort(key)
        other._state = fresh_state(self._graph)
        weakref.finalize(other, native.forget)
        return other

    def run(self, seeds: Sequence[Seed], *, ends: bool = False) -> Outcome:
        """One propagation; one more for each further 63 PoPs. `ends`: where preferences may have several stable ends,
        look for them.
        """
        prepared = self.prepare(seeds)
        if ends and prepared.ranked:
            first, *others = self._ends(prepared)
            return replace(first, others=tuple(others))
        return self._run(prepared)

    def _ends(self, prepared: "Prepared") -> list[Outcome]:
        """Different ones that are found when others come first. The first is that of `run`."""
        found = [self._run(prepared)]
        for turn in range(1, TURNS):
            other = self._run(prepared, turn)
            if found[0].stable and other.stable and not any(other.same(end) for end in found):
                found.append(other)
        return found

    def _run(self, prepared: "Prepared", turn: int = 0) -> Outcome:
        stable = self.spread(prepared, turn=turn)
        found = self.outcome(prepared, stable)
        masks = []
        for first in range(MASKED, len(found.pops), MASKED):
            later = replace(prepared, sown=prepared.sown._replace(bit=bits_of(prepared.sown.pop, first)))
            self.spread(later, turn=turn)
            masks.append(self._state.mask[self._place])
        return replace(found, masks=tuple(masks))

    def prepare(self, seeds: Sequence[Seed]) -> "Prepared":
        """Seeds as arrays, ready for `spread`."""
        sown, pops = seed_arrays(seeds, self._keys, self._place)
        actions = action_arrays(self.internet, seeds, self.policies)
        return Prepared(
            seeds=tuple(seeds),
            pops=tuple(map(CityCode, pops)),
            sown=sown,
            actions=actions,
            ranked=bool(((actions.act == PREFER) | (actions.act == MED)).any() or self._others),
        )

    def spread(self, prepared: "Prepared", *, ties: bool = True, turn: int = 0, recorded: bool = False) -> bool:
        """Propagate into the engine's own arrays, with or without the masks of equally good PoPs. False: no stable
        end. `turn`: as `settle_ranks` has it. `recorded`: as records of all sites too.
        """
        spread(self._graph, prepared.sown, prepared.actions, self._state, ties)
        if recorded or prepared.ranked:
            records(self._graph, self._state)
        if not prepared.ranked:
            return True
        everybody = bool(prepared.actions.meds[0] or self._others)
        # A site that comes to rest chooses a handful of times; hundreds of times means that it never will.
        limit = 200 * len(self.internet) + 1000
        stable = bool(settle_ranks(self._graph, prepared.sown, prepared.actions, self._state, everybody, turn, limit))
        if ties:
            settle_masks(self._graph, prepared.sown, prepared.actions, self._state)
        return stable

    def tried(
        self, prepared: "Prepared", changes: Sequence[tuple[int, int]], cost: Float, none: Float
    ) -> list[tuple[float, int]]:
        """What each change alone does: seed and its prepends, -1 for withheld. Out: by how much the sum of costs grows,
        and how many sites land elsewhere. `cost`: a row per site, a column per PoP; `none`: without a route.
        """
        self.spread(prepared, ties=False, recorded=True)
        if prepared.ranked:
            return self._one_by_one(prepared, changes, cost, none)
        which, prepends = (np.array(column, dtype=np.int32) for column in zip(*changes, strict=True))
        own = prepared.variant({})  # tried in place, in another thread's sight otherwise
        change = fresh_change(self._graph, len(prepared.seeds))
        start_from(self._graph, own.sown, self._state, change)
        dearer, moved = np.zeros(len(which)), np.zeros(len(which), dtype=np.int32)
        try_each(
            self._graph, own.sown, own.actions, self._state, change, which, prepends, cost, none, dearer, moved
        )  # fmt: skip
        return list(zip(dearer.tolist(), moved.tolist(), strict=True))

    def _one_by_one(
        self, prepared: "Prepared", changes: Sequence[tuple[int, int]], cost: Float, none: Float
    ) -> list[tuple[float, int]]:
        """Where preferences are set by communities: each time the whole graph."""
        before = replace(self.outcome(prepared, stable=True), dropped=None).pop_index()
        now, _ = tally(self._graph, prepared.sown, self._state, cost, none, before)
        found = []
        for index, prepends in changes:
            variant = prepared.variant({index: prepends})
            self.spread(variant, ties=False)
            total, moved = tally(self._graph, variant.sown, self._state, cost, none, before)
            found.append((float(total - now), int(moved)))
        return found

    @property
    def graph(self) -> Graph:
        """The arrays of the graph, in the kernels' order of sites."""
        return self._graph

    @property
    def place(self) -> Int32:
        """By site where it is in that order."""
        return self._place

    @property
    def state(self) -> State:
        """The arrays of the last propagation, in that order; the next one writes over them."""
        return self._state

    def outcome(self, prepared: "Prepared", stable: bool) -> Outcome:
        """A lasting copy of the last propagation."""
        found = empty(len(self._place))
        fill(self._graph, self._state, self._place, found, prepared.ranked)
        columns = found._asdict()
        return Outcome(
            internet=self.internet,
            seeds=prepared.seeds,
            pops=prepared.pops,
            stable=stable,
            dropped=self._dropped(prepared, found.seed, columns.pop("bare")),
            **columns,
        )

    def _dropped(self, prepared: "Prepared", seed: Int32, bare: UInt8) -> Bool | None:
        """Who throws away what goes to his route, since a community asks him to (RFC 7999); None: nobody."""
        actions, number = prepared.actions, len(prepared.seeds)
        if not (actions.act == DROP).any():
            return None
        rows = np.repeat(np.arange(len(actions.start) - 1), np.diff(actions.start))
        drops = np.isin(np.arange(len(actions.start) - 1), rows[actions.act == DROP]).reshape(-1, number)
        book = actions.book[self.internet.group]
        obeys: Bool = (book >= 0) & (seed >= 0) & (bare == 0)
        obeys &= drops[np.maximum(book, 0), np.maximum(seed, 0)]
        return obeys


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Seeds in the form that kernels take. `ranked`: some AS sets local preference by a community, or has a route
    server, route reflectors or a confederation.
    """

    seeds: tuple[Seed, ...]
    pops: tuple[CityCode, ...]
    sown: Sown
    actions: Actions
    ranked: bool

    def variant(self, changes: Mapping[int, int]) -> "Prepared":
        """The same with some seeds changed: index to number of prepends, -1 for withheld."""
        on, length = self.sown.on.copy(), self.sown.length.copy()
        for index, prepends in changes.items():
            on[index] = 0 if prepends < 0 else 1
            length[index] = 1 + max(0, prepends)
        seeds = tuple(
            replace(seed, prepend=max(0, changes[i]), announced=changes[i] >= 0) if i in changes else seed
            for i, seed in enumerate(self.seeds)
        )
        return replace(self, seeds=seeds, sown=self.sown._replace(on=on, length=length))

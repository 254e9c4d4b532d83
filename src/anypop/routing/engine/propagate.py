"""Propagation: an `Internet`, seeds and policies in, an `Outcome` out. The way to the compiled engine.

`Engine` keeps what one graph needs between propagations; `run` is one propagation, `variant` the same with some seeds
changed (for searches over many changes). An outcome holds arrays for counting and answers single questions (`path`,
`pop`, `ties`) for people.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from anypop.model.names import CityCode
from anypop.routing.engine.arrays import (
    NONE,
    PREFER,
    Actions,
    Graph,
    Sown,
    State,
    action_arrays,
    fresh_state,
    graph_arrays,
    seed_arrays,
)
from anypop.routing.engine.seeds import SHIPPED, Policies, Seed
from anypop.routing.engine.settle import settle_masks, settle_ranks
from anypop.routing.engine.spread import spread
from anypop.routing.internet.sites import Int8, Int32, Int64, Internet

KINDS = ("customer", "peer", "provider")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Where every site ends up.

    Per site: `kind` (0 customer, 1 peer, 2 provider, 9 no route), `length` of the AS path as held there, `sender` (a
    site; -1 - s for seed s), `seed`, `preference`, and `mask`, a bit for each of `pops` that an equally good way
    leads to. `stable` False: the policies never come to rest.
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

    def pop(self, site: int) -> CityCode | None:
        """Where traffic of a site lands; None without a route."""
        seed = int(self.seed[site])
        return None if seed < 0 else self.seeds[seed].pop

    def ties(self, site: int) -> tuple[CityCode, ...]:
        """All PoPs that equally good ways lead to."""
        mask = int(self.mask[site])
        return tuple(pop for bit, pop in enumerate(self.pops) if mask >> bit & 1)

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
        return of_seed[self.seed]


class Engine:
    """One graph, ready to propagate. Not for two threads at once: `twin` gives each thread its own."""

    def __init__(self, internet: Internet, policies: Policies = SHIPPED) -> None:
        self.internet = internet
        self.policies = policies
        self._graph: Graph = graph_arrays(internet, policies.strips)
        self._state: State = fresh_state(internet)

    def twin(self) -> "Engine":
        """The same graph with its own working space."""
        other = object.__new__(Engine)
        other.internet, other.policies, other._graph = self.internet, self.policies, self._graph
        other._state = fresh_state(self.internet)
        return other

    def run(self, seeds: Sequence[Seed]) -> Outcome:
        """One propagation. Raises `Invalid` for more PoPs than a tie mask holds."""
        prepared = self.prepare(seeds)
        stable = self.spread(prepared)
        return self.outcome(prepared, stable)

    def prepare(self, seeds: Sequence[Seed]) -> "Prepared":
        """Seeds as arrays, ready for `spread`."""
        sown, pops = seed_arrays(self.internet, seeds)
        actions = action_arrays(self.internet, seeds, self.policies)
        return Prepared(
            seeds=tuple(seeds),
            pops=tuple(map(CityCode, pops)),
            sown=sown,
            actions=actions,
            ranked=bool((actions.act == PREFER).any()),
        )

    def spread(self, prepared: "Prepared", *, ties: bool = True) -> bool:
        """Propagate into the engine's own arrays, with or without the masks of equally good PoPs. False: no stable
        end.
        """
        spread(self._graph, prepared.sown, prepared.actions, self._state, ties)
        if not prepared.ranked:
            return True
        # A site that comes to rest chooses a handful of times; hundreds of times means that it never will.
        stable = bool(
            settle_ranks(self._graph, prepared.sown, prepared.actions, self._state, 200 * len(self.internet) + 1000)
        )
        if ties:
            settle_masks(self._graph, prepared.sown, prepared.actions, self._state)
        return stable

    @property
    def graph(self) -> Graph:
        """The arrays of the graph."""
        return self._graph

    @property
    def state(self) -> State:
        """The arrays of the last propagation; the next one writes over them."""
        return self._state

    def outcome(self, prepared: "Prepared", stable: bool) -> Outcome:
        """A lasting copy of the last propagation."""
        site, rest = self._state.site, self._state.rest
        return Outcome(
            internet=self.internet,
            seeds=prepared.seeds,
            pops=prepared.pops,
            kind=site["kind"].copy(),
            length=site["length"].astype(np.int32),
            sender=site["sender"].copy(),
            seed=rest["seed"].copy(),
            preference=rest["preference"].astype(np.int32),
            mask=self._state.mask.copy(),
            stable=stable,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Seeds in the form that kernels take. `ranked`: some AS sets local preference by a community."""

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

"""A change that is worked out by what it touches ends as the whole propagation does, on random little internets."""

from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.routing.engine.arrays import State
from anypop.routing.engine.change import fresh_change, respread, start_from, take_back
from anypop.routing.engine.propagate import Engine, Prepared
from tests.examples import examples
from tests.unit.routing_worlds import World, worlds

_SITE = ("done", "kind", "length", "sender", "seed", "bare", "external", "entered")
_REST = ("metric",)
PREPENDS = st.sampled_from([-1, -1, 0, 0, 1, 2, 5])


def routes(state: State) -> list[tuple[Any, ...] | None]:
    """Per site all that its neighbours could learn of its route."""
    return [
        tuple(site[name].item() for name in _SITE) + tuple(rest[name].item() for name in _REST)
        if site["done"] == 2
        else None
        for site, rest in zip(state.site, state.rest, strict=True)
    ]


def whole(engine: Engine, prepared: Prepared) -> list[tuple[Any, ...] | None]:
    engine.spread(prepared, ties=False, recorded=True)
    return routes(engine.state)


@settings(max_examples=examples(150), deadline=None)
@given(worlds(preferences=False), st.data())
def test_a_change_ends_as_the_whole_propagation_does(world: World, data: st.DataObject) -> None:
    """Any sessions withheld, announced again, with more prepends or fewer; and taken back it was never there."""
    engine = Engine(world.internet, world.policies)
    every = st.dictionaries(st.integers(0, len(world.seeds) - 1), PREPENDS, min_size=1)
    before = engine.prepare(world.seeds).variant(data.draw(every))
    changes = data.draw(every)
    after = before.variant(changes)
    expected, start = whole(engine.twin(), after), whole(engine, before)
    change = fresh_change(engine.graph, len(world.seeds))
    start_from(engine.graph, before.sown, engine.state, change)
    for _ in range(2):  # the second time from what the first one has taken back
        touched = respread(
            engine.graph, after.sown, after.actions, engine.state, change, np.array(list(changes), dtype=np.int32)
        )
        assert routes(engine.state) == expected
        take_back(engine.state, change, touched)
        assert routes(engine.state) == start


@settings(max_examples=examples(60), deadline=None)
@given(worlds(), st.data())
def test_what_each_change_costs_is_what_the_whole_graph_says(world: World, data: st.DataObject) -> None:
    """Also where preferences are set, which is worked out in another way."""
    engine = Engine(world.internet, world.policies)
    prepared = engine.prepare(world.seeds)
    sites = len(world.internet)
    cost: npt.NDArray[np.float64] = np.arange(sites * len(prepared.pops), dtype=float).reshape(sites, -1) % 7
    none = np.full(sites, 11.0)
    seeds = range(len(world.seeds))
    changes = [(seed, prepends) for seed in seeds for prepends in (-1, data.draw(PREPENDS))]

    def now(variant: Prepared) -> tuple[float, list[int]]:
        engine.spread(variant, ties=False)
        landed = engine.outcome(variant, stable=True).pop_index().tolist()
        return sum(none[i] if pop < 0 else cost[i, pop] for i, pop in enumerate(landed)), landed

    total, landed = now(prepared)
    for (index, prepends), (dearer, moved) in zip(
        changes, engine.twin().tried(prepared, changes, cost, none), strict=True
    ):
        other, elsewhere = now(prepared.variant({index: prepends}))
        assert abs(other - total - dearer) < 1e-9
        assert moved == sum(a != b for a, b in zip(landed, elsewhere, strict=True))

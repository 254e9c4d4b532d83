"""The engine for small graphs gives what the compiled one gives, and loads no compiler for it."""

import subprocess
import sys

import numpy as np
from hypothesis import given, settings

from anypop.routing.engine.propagate import Engine
from anypop.routing.engine.small import SMALL, SmallEngine, engine_for
from tests.examples import examples
from tests.unit.routing_worlds import World, worlds

_QUESTION = """
import sys
from anypop.routing.catchment.diff import diff
from anypop.routing.catchment.predict import predict
from anypop.routing.catchment.sessions import Announcements, Session
from anypop.routing.engine.small import engine_for
from anypop.routing.internet.relationships import read_relationships
from anypop.routing.internet.world import build_internet

links = read_relationships(b"1|2|-1\\n1|3|-1\\n", "three")
told = Announcements(asn=9, sessions=(Session(pop="LHR", upstream="two", asn=2),))
found = predict(engine_for(build_internet(links)), told)
assert len(diff(found, found).moves) == 0 and found.rows_of(3)[0].path == (1, 2, 9)
print("numba" in sys.modules)
"""


@settings(max_examples=examples(60), deadline=None)
@given(worlds(preferences=False))
def test_both_engines_give_the_same_outcome(world: World) -> None:
    """Every array of it, where policies can come to rest in one way only."""
    slow, fast = (kind(world.internet, world.policies).run(world.seeds) for kind in (SmallEngine, Engine))
    assert (slow.pops, slow.stable) == (fast.pops, fast.stable)
    routed = fast.kind < 9
    for name in ("kind", "length", "sender", "seed", "preference", "mask"):
        assert np.array_equal(getattr(slow, name)[routed], getattr(fast, name)[routed]), name
    assert np.array_equal(slow.kind, fast.kind) and np.array_equal(slow.pop_index(), fast.pop_index())
    assert [slow.path(i) for i in range(len(world.internet))] == [fast.path(i) for i in range(len(world.internet))]


@settings(max_examples=5, deadline=None)
@given(worlds())
def test_a_small_graph_gets_the_small_engine(world: World) -> None:
    """None of the random little worlds is near the limit."""
    assert len(world.internet) <= SMALL and isinstance(engine_for(world.internet), SmallEngine)


def test_a_question_about_a_small_graph_loads_no_compiler() -> None:
    """That is most of the time it would take."""
    done = subprocess.run([sys.executable, "-c", _QUESTION], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

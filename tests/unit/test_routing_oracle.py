"""The compiled engine against somebody else's: BGPy, on a generated graph of thousands of networks."""

import numpy as np
import pytest
from bench.oracle import Oracle, Uplinks

from anypop.routing.engine.propagate import Engine
from anypop.routing.internet.generate import generate
from anypop.routing.internet.world import build_internet


@pytest.mark.parametrize("seed", [1, 2])
def test_as_paths_equal_those_of_bgpy_on_every_as(seed: int) -> None:
    """Thirty PoPs with three upstreams each; ties go to the lowest neighbour number in both."""
    links = generate(3000, seed).relationships
    internet = build_internet(links)
    rng = np.random.default_rng(seed)
    big = internet.asn[np.argsort(-np.diff(internet.customers.start), kind="stable")[:200]]
    uplinks = Uplinks(upstreams=tuple(tuple(rng.choice(big, size=3, replace=False).tolist()) for _ in range(30)))
    outcome = Engine(internet).run(uplinks.seeds(internet))
    oracle = Oracle(links, uplinks)
    oracle.setup()
    oracle.run()
    expected = oracle.paths()
    ours = {asn: (asn, *outcome.path(site)) for site, asn in enumerate(internet.asn.tolist()) if outcome.path(site)}
    assert len(ours) > 2900
    assert {asn: path for asn, path in expected.items() if asn in ours} == ours
    assert set(expected) - set(ours) == {4_200_000_000 + i for i in range(30)}

"""What a hostile neighbour tells our speaker, in both families: nothing of it is taken, and honest routes arrive."""

import os
from pathlib import Path

import pytest
from bench.hostile_scene import hostile_routes

pytestmark = pytest.mark.lab


def test_a_hostile_neighbour_is_believed_nothing_and_its_honest_routes_arrive(short_folder: Path) -> None:
    """More than forty kinds of bad routes; every one of them comes in once the filter is taken out."""
    seen = hostile_routes(f"hn{os.getpid() % 46656:x}", short_folder / "hostile")
    assert seen.kinds >= 40
    assert seen.taken == ()
    assert seen.arrived == seen.honest
    assert seen.taken_without_filter == seen.kinds

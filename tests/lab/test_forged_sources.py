"""What instances may send and reach, what the world reaches of them and of the host: asked by real packets, with the
rules and with the rules taken out (the scenes of `bench.forged`).
"""

import os

import pytest
from bench.forged import forged_sources, from_outside

pytestmark = pytest.mark.lab


def test_nothing_forged_leaves_an_instance_and_nothing_of_the_host_is_reached() -> None:
    """Sources that are another's, nobody's, the host's or the management's, and targets that are not for instances:
    none of more than forty of each kind arrives, in both families, and what is proper does. Without the rules most of
    it arrives.
    """
    found = forged_sources(f"fs{os.getpid() % 46656:x}")
    assert found.lost == ()
    assert found.proper >= 10
    assert found.arrived == ()
    assert sum(name.startswith("from ") for name in found.without) >= 30
    assert sum(not name.startswith("from ") for name in found.without) >= 40
    assert found.attempts >= 100


def test_an_upstream_reaches_what_is_open_and_nothing_behind_the_host() -> None:
    """Neither private addresses, closed ports, the host's speaker from elsewhere, nor another upstream or the
    management network through the host, in both families; clients and the neighbour's own speaker do, and so
    does what is for the operator to judge (SSH, say). Without the rules most of it arrives.
    """
    found = from_outside(f"fo{os.getpid() % 46656:x}")
    assert found.lost == ()
    assert found.proper == 6
    assert found.arrived == ()
    assert found.attempts >= 50
    assert len(found.without) >= 30

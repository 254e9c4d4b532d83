"""One account and the next on a real internet: the scene is the benchmark's, and counts beside its control."""

import pytest
from bench.neighbour_scene import neighbour_requests

from anypop.lab import platform

pytestmark = pytest.mark.lab


def test_another_account_that_misbehaves_costs_its_neighbour_no_request(place: platform.Platform) -> None:
    """Withholding, blackholing, resetting, at once and in waves, and a newcomer that never answers in LHR: no request
    of the neighbour fails or is answered from another city, and it comes back to LHR beside the newcomer. The
    operator doing the same costs it many.
    """
    found = neighbour_requests(place, patience_s=1.0)
    assert found.asked > 40
    assert found.failed == 0
    assert found.failed_without > 5

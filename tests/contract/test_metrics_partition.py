"""A short partition with real processes: an engine scrapes control, which asks a host that is cut off and returns; in
one suite on Prometheus and on VictoriaMetrics.

The host's agent is played by a thread that measures once a second, whoever asks. What counts is what the store has at
the end, and what it had while the host was away.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from anypop.control.metrics.filling import PULSE
from anypop.control.metrics.settings import StoreSettings
from tests.metric_stores import PASSWORD, prometheus, victoria_metrics
from tests.partition import PLACE, Partition


@pytest.mark.parametrize("store", [prometheus, victoria_metrics])
def test_a_host_that_was_cut_off_leaves_no_hole(
    tmp_path: Path, store: Callable[..., AbstractContextManager[StoreSettings]]
) -> None:
    """The scrapes of that time fail, and the samples are there all the same, once it is back. What is to be scraped is
    found by HTTP, with the credential.
    """
    with Partition(tmp_path, store) as scene:
        assert (tmp_path / "scrape.json").stat().st_mode & 0o077 == 0
        last = scene.cut_off(scrapes=3)
        assert scene.missing(until=scene.now()) > 2
        scene.returns(last)
        assert scene.missing() == 0
        (series,) = scene.asked(f'{PULSE}{{host="AMS"}}[1h]')
        assert series["metric"] == {"__name__": PULSE, **PLACE}, "what is filled in has the labels of what is scraped"
        own = scene.asked("anypop_control_host_connected")
        assert {one["metric"]["host"] for one in own} == {"AMS", "LHR", "JFK", "LAX"}
        assert all("job" not in one["metric"] and "instance" not in one["metric"] for one in own)
        assert PASSWORD not in scene.control.log()

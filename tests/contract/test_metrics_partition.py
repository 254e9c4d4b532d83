"""A short partition with real processes: Prometheus scrapes control, which asks a host that is cut off and returns.

The host's agent is played by a thread that measures once a second, whoever asks. What counts is what the store has at
the end, and what it had while the host was away.
"""

from pathlib import Path

from anypop.control.metrics.filling import PULSE
from tests.metric_stores import PASSWORD
from tests.partition import PLACE, Partition


def test_a_host_that_was_cut_off_leaves_no_hole(tmp_path: Path) -> None:
    """The scrapes of that time fail, and the samples are there all the same, once it is back."""
    with Partition(tmp_path) as scene:
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

"""`script/bench metrics`: what it costs to measure, and how much is missing afterwards. Each part of it has its scenes
in a file of its own; this one puts their rows together.
"""

from collections.abc import Iterable

from bench import logs, metering_scenes, metrics_scenes
from bench.harness import Row


def rows() -> Iterable[Row]:
    """Of agents: what they take with nothing to do and with 100 instances, how small samples are; of control: a scrape
    of 1,000 instances, and what a partition leaves; and how fast a log is followed, which is a row of `logs` too.
    """
    yield from metering_scenes.idle()
    yield from metering_scenes.hundred()
    yield from metering_scenes.small()
    yield from metrics_scenes.scraped()
    yield from metrics_scenes.holes()
    yield from (found for found in logs.reading() if found.name == "log_lines_per_s")

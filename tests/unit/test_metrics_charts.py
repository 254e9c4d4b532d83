"""Charts as expressions and as arithmetic: what may stand in PromQL; how counters, gaps and tiers are read."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anypop.control.metrics.charts import CHARTS, Question, grid, promql, quoted, selector, tier_for, usual_step
from anypop.control.metrics.filling import Hole, holes_in, pieces
from anypop.control.metrics.remote_write import Series, body_of
from anypop.control.metrics.resampling import curves
from tests.remote_write import read


def a_question(**more: object) -> Question:
    said = {"chart": "cpu", "stacks": ("s1", "s2"), "since": 0.0, "until": 600.0, "step": 60.0}
    return Question(**{**said, **more})  # type: ignore[arg-type]


def test_the_stacks_of_the_caller_are_in_every_expression() -> None:
    """And without one there is no expression."""
    for chart in CHARTS:
        assert 'stack=~"s1|s2"' in promql(a_question(chart=chart), 15)
    with pytest.raises(ValueError, match="nobody"):
        selector("x", a_question(stacks=()))
    assert promql(a_question(chart="memory", by="instance", pop="AMS", workload="w"), 15) == (
        'sum by (stack, workload, pop, instance) (avg_over_time(anypop_instance_memory_bytes{stack=~"s1|s2", '
        'workload="w", pop="AMS"}[60000ms]))'
    )


@given(st.text())
def test_whatever_is_quoted_is_one_string(text: str) -> None:
    """No quote, backslash or end of line ends it early."""
    inside = quoted(text)[1:-1]
    assert re.fullmatch(r'(?:[^"\\\n]|\\["\\n])*', inside, re.DOTALL) is not None
    assert re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], inside) == text


def test_a_counter_that_began_anew_counts_on_and_a_gap_has_no_value() -> None:
    """Half of the time it counts one a second, then begins at nought; then nothing is measured for a while."""
    points = [(float(at), float(at)) for at in range(0, 310, 10)]
    points += [(float(at), float(at - 310)) for at in range(310, 410, 10)]
    (found,) = curves([({"stack": "s1", "workload": "w"}, points)], a_question(until=900.0), 60.0)
    values = dict(found.points)
    assert all(value == pytest.approx(1, abs=0.21) for value in values.values())
    assert set(values) == {60.0, 120.0, 180.0, 240.0, 300.0, 360.0, 420.0}
    assert found.labels == {"stack": "s1", "workload": "w"}


def test_instances_are_put_together_as_the_chart_says() -> None:
    """Memory is a sum of means, the time of probes the longest."""
    two = [
        ({"stack": "s", "workload": "w", "instance": n}, [(30.0, v), (50.0, v + 2)]) for n, v in (("a", 1), ("b", 5))
    ]
    for chart, value in (("memory", 8.0), ("probe", 7.0)):
        (found,) = curves(two, a_question(chart=chart, until=60.0), 60.0)
        assert dict(found.points) == {60.0: value}
    assert len(curves(two, a_question(chart="memory", until=60.0, by="instance"), 60.0)) == 2


def test_steps_and_tiers_follow_what_is_kept() -> None:
    """A second for an hour, ten for a day, a minute for a month."""
    assert [tier_for(step, age) for step, age in ((1, 60), (5, 60), (15, 60), (60, 60), (1, 7200), (1, 90_000))] == [
        1, 1, 10, 60, 10, 60,
    ]  # fmt: skip
    assert (
        usual_step(3600, least=1) == 15 and usual_step(600, least=15) == 15 and usual_step(30 * 86_400, least=1) > 3600
    )
    assert len(grid(a_question())) == 11


def test_holes_are_what_lies_between_samples_and_nothing_else() -> None:
    """One late sample is none."""
    times = [0.0, 15.0, 40.0, 55.0, 155.0]
    assert holes_in(times, since=0.0, until=160.0, now=200.0, interval=15) == [Hole(start=55.0, end=155.0)]
    assert holes_in(times, since=0.0, until=155.0, now=90_000.0, interval=15) == []  # of a day ago there are minutes
    assert holes_in([], since=0.0, until=160.0, now=200.0, interval=15) == [Hole(start=0.0, end=160.0)]


@given(st.floats(60, 40 * 86_400), st.floats(0, 3 * 86_400), st.sampled_from([1.0, 15.0, 60.0]))
def test_a_hole_is_asked_for_whole_and_no_finer_than_it_was_kept(long: float, ago: float, interval: float) -> None:
    """Pieces meet, the newest is first, and each is of one tier."""
    now = 100 * 86_400.0
    hole = Hole(start=now - ago - long, end=now - ago)
    found = list(pieces(hole, now=now, interval=interval))
    assert found[0][0].end == hole.end and found[-1][0].start == hole.start
    assert all(a.start == b.end for (a, _), (b, _) in pairwise(found))
    for piece, step in found:
        assert piece.end > piece.start
        kept = {1.0: 3600.0, 10.0: 86_400.0, 60.0: float("inf")}[step]
        assert now - piece.start <= kept + 1e-6
        assert (piece.end - piece.start) / step <= 361


def test_what_is_written_is_what_prometheus_reads() -> None:
    """Labels sorted by name, milliseconds; there and back."""
    some = [Series(labels={"b": "2", "__name__": "m", "a": "1"}, points=((1.5, 2.0), (2.5, 3.0)))]
    again = read(body_of(some))
    assert again == [Series(labels={"__name__": "m", "a": "1", "b": "2"}, points=((1.5, 2.0), (2.5, 3.0)))]
    assert list(again[0].labels) == ["__name__", "a", "b"]

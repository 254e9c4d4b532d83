"""/workload/v1/.../metrics for a time that has passed: from the store of metrics, or from what hosts keep.

In: what the call asks for, already read and checked. Out: series in the call's own form, and what is missing of
them. It is the same question as a chart's, so the caller's stack is put in there and nowhere else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anypop.api.context import Platform
from anypop.api.regions import lies_in
from anypop.control.accounts import Stack
from anypop.control.metrics.charts import LONGEST_S, MOST_POINTS, Question, usual_step
from anypop.control.metrics.queries import answered
from anypop.control.metrics.resampling import Curve
from anypop.control.state import Declaration
from anypop.model.errors import Invalid
from anypop.model.names import CityCode, WorkloadId

GRANULARITY: Mapping[str, float] = {"PT1M": 60.0, "PT5M": 300.0, "PT1H": 3600.0, "P1D": 86_400.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """`chart`: which one tells it, times `factor`; `metric`: what the call's clients know it by."""

    chart: str
    factor: float
    metric: Mapping[str, str]


_BANDWIDTH = {"name": "bandwidth", "unit": "bits per second"}
BANDWIDTH = (
    Measured(chart="receive", factor=8, metric=_BANDWIDTH | {"direction": "in"}),
    Measured(chart="transmit", factor=8, metric=_BANDWIDTH | {"direction": "out"}),
)
INSTANCE = (
    Measured(chart="cpu", factor=1, metric={"name": "cpu", "unit": "cores"}),
    Measured(chart="memory", factor=1, metric={"name": "memory", "unit": "bytes"}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """`granularity`: a word of the call; `each`: instances apart; `region`, `pop`, `instance`: narrow it."""

    since: float
    until: float
    granularity: str
    bandwidth: bool
    each: bool
    region: str
    pop: str
    instance: str


async def history(
    platform: Platform, stack: Stack, declared: Declaration | None, window: Window, account: str
) -> tuple[list[dict[str, Any]], list[str]]:
    """Series, and who did not answer. Raises `Invalid` for more values than one answer has."""
    now = platform.clock()
    if platform.metrics_store is None and window.until < now - LONGEST_S:
        return [], []
    span = max(1.0, window.until - window.since)
    step = GRANULARITY.get(window.granularity) or usual_step(span, least=60.0)
    if span / step > MOST_POINTS:
        raise Invalid.one(
            "granularity", f"gives more than {MOST_POINTS} values for so long a time; ask for a coarser one"
        )
    found: list[dict[str, Any]] = []
    missing: set[str] = set()
    for one in BANDWIDTH if window.bandwidth else INSTANCE:
        question = Question(
            chart=one.chart, stacks=(str(stack.id),), workload=str(declared.id) if declared is not None else "",
            pop=window.pop, instance=window.instance, by="instance" if window.each else "pop",
            since=window.since, until=window.until, step=step,
        )  # fmt: skip
        told = await answered(question, hosts=platform.measured, store=platform.metrics_store, now=now, account=account)
        missing.update(told.missing)
        found += [
            _series(platform, one, curve)
            for curve in told.curves
            if lies_in(window.region, CityCode(curve.labels["pop"]))
        ]
    return found, sorted(missing)


def _series(platform: Platform, measured: Measured, curve: Curve) -> dict[str, Any]:
    labels = curve.labels
    declared = platform.core.state.workloads.get(WorkloadId(labels["workload"]))
    place = {"pop": labels["pop"], "workload": declared.workload.slug if declared is not None else labels["workload"]}
    place |= {"instance_name": labels["instance"]} if labels.get("instance") else {}
    values = [{"unixTime": str(int(at)), "value": number(measured.factor * value)} for at, value in curve.points]
    return {"metric": {**measured.metric, **place}, "values": values}


def number(value: float) -> str:
    """As the call writes it: never negative, no more than three digits after the point."""
    return f"{max(0.0, value):.3f}".rstrip("0").rstrip(".")

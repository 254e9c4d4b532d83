"""What control tells of itself, as OpenMetrics text.

In: the counts of this control, its state, the time. Out: text, by the official client library, which is imported when
somebody asks for it. Labels are names of hosts, PoPs, operations, and ids of stacks and workloads; nothing of what a
tenant wrote but slugs. It measures nothing itself.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from anypop.control.metrics.counts import Counts, Histogram
from anypop.control.metrics.slo import Objective
from anypop.control.state import State
from anypop.model.names import HostName

__all__ = ["CONTENT_TYPE_LATEST", "Told", "text_of"]

OF_HOST = ("pop", "host")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What control is asked to tell. `now`: of control's clock; `moment`: of the event loop's, by which steps wait.
    `slugs`: of each stack, by its id. `objective`: what vantages saw.
    """

    counts: Counts
    state: State
    now: float
    moment: float
    slugs: Mapping[str, str]
    connected: frozenset[HostName] = frozenset()
    streams: int = 0
    dropped: Mapping[HostName, int] = field(default_factory=dict)
    objective: Objective = field(default_factory=Objective)


def text_of(told: Told) -> bytes:
    """All of it, in one piece."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Own(lambda: _families(told)))
    registry.register(_process())
    return bytes(generate_latest(registry))  # type: ignore[no-untyped-call]


class _Own(Collector):
    def __init__(self, families: Callable[[], Iterable[Metric]]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families()


@cache
def _process() -> Collector:
    """Of this process: CPU, memory, open files, by the library."""
    return ProcessCollector(namespace="anypop_control", registry=CollectorRegistry())


def _families(told: Told) -> Iterator[Metric]:
    yield from _steps(told)
    yield from _hosts(told)
    yield from _requests(told.counts)
    yield from _platform(told)
    yield from _objective(told)


def _gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"anypop_control_{name}", words, value=value)


def _counter(name: str, words: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"anypop_control_{name}", words, value=value)


def _steps(told: Told) -> Iterator[Metric]:
    counts = told.counts
    steps = CounterMetricFamily(
        "anypop_control_steps", "Steps of planning, judging and storing, by how they ended", labels=("result",)
    )
    for result in ("done", "refused"):
        steps.add_metric((result,), counts.steps[result])
    yield steps
    yield _histogram("step_seconds", "How long a step took, stored", counts.step_seconds)
    yield _histogram("step_wait_seconds", "How long a step waited for the one before", counts.step_waits)
    yield _gauge("steps_waiting", "Steps that wait or run now", len(counts.waiting))
    oldest = told.moment - counts.waiting[0] if counts.waiting else 0.0
    yield _gauge("steps_oldest_seconds", "Age of the oldest step that waits or runs", max(0.0, oldest))
    yield _gauge("plan_age_seconds", "Since the last step", max(0.0, told.now - told.state.decided_at))


def _hosts(told: Told) -> Iterator[Metric]:
    state, counts = told.state, told.counts
    yield _counter("orders", "Orders given to hosts", counts.orders)
    yield _histogram("order_seconds", "From an order to the report that it is obeyed", counts.order_seconds)
    yield _counter("reports", "Reports of hosts", counts.reports)
    waits = GaugeMetricFamily(
        "anypop_control_order_age_seconds", "Age of the oldest order that a host has not obeyed", labels=OF_HOST
    )
    ages = GaugeMetricFamily("anypop_control_report_age_seconds", "Since a host's last report", labels=OF_HOST)
    trusted = GaugeMetricFamily("anypop_control_host_trusted", "Whether a host's reports are believed", labels=OF_HOST)
    connected = GaugeMetricFamily("anypop_control_host_connected", "Whether its agent may be asked now", labels=OF_HOST)
    oldest = counts.oldest_order_s([host.name for _, host in state.network.hosts()], told.now)
    for pop, host in state.network.hosts():
        names = (str(pop.city), str(host.name))
        waits.add_metric(names, oldest[host.name])
        if (received := state.reports.get(host.name)) is not None:
            ages.add_metric(names, max(0.0, told.now - received.at))
        verdict = state.verdict.hosts.get(host.name)
        trusted.add_metric(names, 1.0 if verdict is not None and verdict.trusted else 0.0)
        connected.add_metric(names, 1.0 if host.name in told.connected else 0.0)
    yield from (waits, ages, trusted, connected)
    dropped = CounterMetricFamily(
        "anypop_control_host_dropped", "Lines of a host's metrics that were not its own to tell", labels=("host",)
    )
    for name, number in sorted(told.dropped.items()):
        dropped.add_metric((str(name),), number)
    yield dropped
    yield _gauge("streams", "Streams to hosts that are open", told.streams)


def _requests(counts: Counts) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "anypop_control_requests", "Answered requests, by operation and kind of answer", labels=("operation", "code")
    )
    for (operation, code), number in sorted(counts.requests.items()):
        requests.add_metric((operation, code), number)
    yield requests
    took = HistogramMetricFamily(
        "anypop_control_request_seconds", "How long answers took that wait for nothing", labels=("operation",)
    )
    for operation, seen in sorted(counts.request_seconds.items()):
        took.add_metric((operation,), _buckets(seen), sum_value=seen.total)
    yield took


def _platform(told: Told) -> Iterator[Metric]:
    state = told.state
    info = GaugeMetricFamily("anypop_control_info", "This version", labels=("version",))
    info.add_metric((version("anypop"),), 1.0)
    yield info
    yield _gauge("instances", "Incarnations that are placed", len(state.incarnations))
    yield _gauge("rollouts_active", "Rollouts that go on", len(state.active_rollouts()))
    yield _gauge("drains_active", "Drains that go on", len(state.active_drains()))
    named = GaugeMetricFamily(
        "anypop_workload_info", "What the ids in other labels are called",
        labels=("stack", "workload", "stack_slug", "workload_slug"),
    )  # fmt: skip
    for key, declared in sorted(state.workloads.items()):
        stack = str(declared.stack_id)
        named.add_metric((stack, str(key), told.slugs.get(stack, ""), declared.workload.slug), 1.0)
    yield named


def _objective(told: Told) -> Iterator[Metric]:
    """Of workloads that are declared; a vantage that could not ask has no series."""
    names = ("stack", "workload", "vantage")
    landed = GaugeMetricFamily(
        "anypop_vantage_landed", "Whether a vantage landed in the PoP where it should", labels=names
    )
    extra = GaugeMetricFamily(
        "anypop_vantage_extra_seconds", "How much longer light takes to where it landed, there and back", labels=names
    )
    flips = CounterMetricFamily("anypop_vantage_flips", "How often it changed to another PoP", labels=names)
    shares = GaugeMetricFamily(
        "anypop_anycast_expected_share",
        "Of the vantages, how many should land here",
        labels=("stack", "workload", "pop"),
    )
    for workload, seen in told.objective.each():
        if (declared := told.state.workloads.get(workload)) is None:
            continue
        values = (str(declared.stack_id), str(workload), seen.vantage)
        landed.add_metric(values, float(seen.landed))
        if seen.pop is not None:
            extra.add_metric(values, seen.extra_s)
        flips.add_metric(values, seen.flips)
    for workload in sorted(told.objective.seen):
        if (declared := told.state.workloads.get(workload)) is not None:
            for pop, share in told.objective.shares(workload).items():
                shares.add_metric((str(declared.stack_id), str(workload), str(pop)), share)
    yield from (landed, extra, flips, shares)


def _histogram(name: str, words: str, seen: Histogram) -> HistogramMetricFamily:
    return HistogramMetricFamily(f"anypop_control_{name}", words, buckets=_buckets(seen), sum_value=seen.total)


def _buckets(seen: Histogram) -> list[tuple[str, float]]:
    """Each bound with how many were at most that."""
    found, below = [], 0
    for bound, number in zip((*map(repr, seen.bounds), "+Inf"), seen.counts, strict=True):
        below += number
        found.append((bound, float(below)))
    return found

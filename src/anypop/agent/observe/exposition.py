"""The host's metrics as OpenMetrics text, by the official client library.

In: the newest row, its series, and the library's own registry for what it counts itself. Out: the text. A series
without a value is left out.
"""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.registry import Collector

from anypop.agent.samples.rows import Layout, Row
from anypop.model.metrics import IMAGE_BYTES, METRICS, Kind

__all__ = ["CONTENT_TYPE", "text"]


class _Rows(Collector):
    def __init__(self, layout: Layout, row: Row) -> None:
        self._layout, self._row = layout, row

    def collect(self) -> Iterator[Metric]:
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for key, value in zip(self._layout, self._row.values, strict=True):
            if value is None:
                continue
            metric, names = METRICS[key.name], [name for name, _ in key.labels]
            family = families.get(key.name)
            if family is None:
                kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
                family = families[key.name] = kind(metric.family, metric.says, labels=names)
            told = value / metric.per_unit if metric.per_unit != 1 else value
            family.add_metric([value for _, value in key.labels], told)
        for name in METRICS:
            if name in families:
                yield families[name]


class ImageBytes(Collector):
    """`moved`: bytes, by the way that they went; the very dictionary in which they are counted."""

    def __init__(self, pop: str, host: str, moved: Mapping[str, int]) -> None:
        self._pop, self._host, self._moved = pop, host, moved

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(
            IMAGE_BYTES, "Bytes of files of images of virtual machines", labels=("pop", "host", "way")
        )
        for way, count in sorted(self._moved.items()):
            family.add_metric((self._pop, self._host, way), count)
        yield family


def text(latest: tuple[Layout, Row] | None, own: CollectorRegistry) -> bytes:
    """`own`: what the library has counted."""
    registry = CollectorRegistry(auto_describe=False)
    if latest is not None:
        registry.register(_Rows(*latest))
    registry.register(_Others(own))
    made: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]  # it has no annotations
    return made


class _Others(Collector):
    def __init__(self, own: CollectorRegistry) -> None:
        self._own = own

    def collect(self) -> Iterator[Metric]:
        yield from self._own.collect()

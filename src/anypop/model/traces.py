"""A deployment as a trace for a collector of OpenTelemetry: itself, its instances, and the steps of each. Pure.

In: a timeline as control tells it, and ids. Out: an ExportTraceServiceRequest (OTLP over HTTP, JSON encoding:
opentelemetry.io/docs/specs/otlp). A step that nobody saw has no span, and the next one is as long as both.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count, pairwise
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Milliseconds since the declaration was accepted."""

    step: str
    begin: float
    end: float


def bars(instance: Mapping[str, Any]) -> list[Bar]:
    """One for each step after the first, in the order of their ends: from the end of the step before it to its own."""
    steps = sorted(instance.get("steps") or [], key=lambda step: float(step["after_ms"]))
    return [
        Bar(step=str(step["step"]), begin=float(before["after_ms"]), end=float(step["after_ms"]))
        for before, step in pairwise(steps)
    ]


def ids(of: str) -> Iterator[str]:
    """The same for the same deployment, so that a trace which is sent twice is one: 16 bytes, then 8 for each span."""
    for number in count():
        yield hashlib.sha256(f"{of}/{number}".encode()).hexdigest()[: 32 if number == 0 else 16]


def trace(timeline: Mapping[str, Any], ids: Iterator[str]) -> dict[str, Any]:
    """`ids`: hexadecimal, the first one of 16 bytes, then one of 8 for each span."""
    begun = datetime.fromisoformat(str(timeline["acceptedAt"])).timestamp()
    trace_id, root = next(ids), next(ids)
    spans: list[dict[str, Any]] = []
    last = 0.0
    for one in timeline.get("instances") or []:
        found = bars(one)
        if not found:
            continue
        last = max(last, found[-1].end)
        parent = next(ids)
        told = {"anypop.instance": one.get("name"), "anypop.incarnation": one.get("uid"), "host.name": one.get("host")}
        whole = Bar(step=f"instance {one.get('name')}", begin=found[0].begin, end=found[-1].end)
        spans.append(_span(whole, begun, (trace_id, parent, root), told))
        spans += [_span(bar, begun, (trace_id, next(ids), parent), {}) for bar in found]
    named = {"anypop.workload": timeline.get("workload"), "anypop.revision": str(timeline.get("revision"))}
    deploy = Bar(step=f"deploy {timeline.get('workload')}", begin=0.0, end=last)
    spans.insert(0, _span(deploy, begun, (trace_id, root, ""), named))
    resource = {"attributes": _attributes({"service.name": "anypop"})}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "anypop"}, "spans": spans}]}]}


def _span(bar: Bar, begun: float, named: tuple[str, str, str], told: Mapping[str, Any]) -> dict[str, Any]:
    """`named`: of the trace, of itself, of its parent ("": it has none)."""
    trace_id, own, parent = named
    span: dict[str, Any] = {
        "traceId": trace_id, "spanId": own, "name": bar.step, "kind": 1,
        "startTimeUnixNano": _ns(begun, bar.begin), "endTimeUnixNano": _ns(begun, max(bar.begin, bar.end)),
        "attributes": _attributes(told),
    }  # fmt: skip
    return span | ({"parentSpanId": parent} if parent else {})


def _ns(begun: float, after_ms: float) -> str:
    return str(round(begun * 1e6) * 1000 + round(after_ms * 1e6))


def _attributes(values: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": str(value)}} for key, value in values.items()]

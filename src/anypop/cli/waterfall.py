"""A deployment's steps as a waterfall, and as a trace for a collector of OpenTelemetry. Pure.

In: a timeline as control tells it. Out: lines with a bar for each step, from the end of the step before it to its own;
the same as spans (OTLP over HTTP, JSON encoding: opentelemetry.io/docs/specs/otlp), with ids that are given. A step
that nobody saw has no bar, and the next one is as long as both.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

WIDTH = 48
_FULL, _EDGE = "█", "▏"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Milliseconds since the declaration was accepted."""

    step: str
    begin: float
    end: float


def bars(instance: Mapping[str, Any]) -> list[Bar]:
    """One for each step after the first, in the order of their ends."""
    steps = sorted(instance.get("steps") or [], key=lambda step: float(step["after_ms"]))
    return [
        Bar(step=str(step["step"]), begin=float(before["after_ms"]), end=float(step["after_ms"]))
        for before, step in pairwise(steps)
    ]


def lines(timeline: Mapping[str, Any]) -> Iterator[str]:
    """All instances, by one scale."""
    instances = timeline.get("instances") or []
    longest = max((bar.end for one in instances for bar in bars(one)), default=0.0) or 1.0
    for one in instances:
        found = bars(one)
        took = f"{found[-1].end:.0f} ms" if found else "nothing yet"
        yield f"{one.get('name')} at {one.get('host')}: {took}{'' if one.get('complete') else ', not complete'}"
        for bar in found:
            begin, end = (round(WIDTH * max(0.0, at) / longest) for at in (bar.begin, bar.end))
            drawn = (" " * begin + (_FULL * (end - begin) or _EDGE)).ljust(WIDTH + 1)
            yield f"  {bar.step:<10} {drawn} {bar.end - bar.begin:>8.0f} ms"


def trace(timeline: Mapping[str, Any], ids: Iterator[str]) -> dict[str, Any]:
    """An ExportTraceServiceRequest. `ids`: hexadecimal, the first one of 16 bytes, then one of 8 for each span."""
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

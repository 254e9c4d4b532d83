"""Lines of logs in the forms of receivers: syslog (RFC 5424), Loki's push API, OTLP over HTTP as JSON. Pure.

In: lines, each with the container it comes from. Out: bytes to send. Loki:
https://grafana.com/docs/loki/latest/reference/loki-http-api/ (ingest logs); OTLP: opentelemetry.io/docs/specs/otlp
(OTLP/HTTP, JSON encoding) and its logs data model for the numbers of levels.
"""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from anypop.model.log_text import Level, understood

NS = 1_000_000_000
_LOCAL0 = 16
_SEVERITIES = {
    Level.FATAL: 2, Level.ERROR: 3, Level.WARNING: 4, Level.INFO: 6, Level.DEBUG: 7, Level.TRACE: 7, None: 6,
}  # fmt: skip
_NUMBERS = {Level.TRACE: 1, Level.DEBUG: 5, Level.INFO: 9, Level.WARNING: 13, Level.ERROR: 17, Level.FATAL: 21}
ENTERPRISE = 32473  # RFC 5612: for what has no number of its own
LONGEST_DATAGRAM = 8192
_NOT_PRINTED = re.compile(r"[^\x21-\x7e]")
_QUOTED = re.compile(r'(["\\\]])')


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One container. `folder`: where its log is; `stack`: the id."""

    uid: str
    container: str
    folder: str
    instance: str
    workload: str
    stack: str
    pop: str
    host: str
    stack_name: str = ""

    @property
    def key(self) -> str:
        return f"{self.uid}/{self.container}"

    @property
    def labels(self) -> dict[str, str]:
        return {
            "pop": self.pop, "host": self.host, "stack": self.stack_name or self.stack, "workload": self.workload,
            "instance": self.instance, "incarnation": self.uid, "container": self.container,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A line to send; `at` in nanoseconds since the epoch."""

    source: Source
    at: int
    errors: bool
    text: str


def syslog(line: Sent) -> bytes:
    """One message, without a frame."""
    level = understood(line.text).level
    moment = f"{datetime.fromtimestamp(line.at // NS, UTC):%Y-%m-%dT%H:%M:%S}.{line.at % NS // 1000:06d}Z"
    labels = " ".join(f'{name}="{_escaped(value)}"' for name, value in line.source.labels.items())
    head = (
        f"<{8 * _LOCAL0 + _SEVERITIES[level]}>1 {moment} {_word(line.source.instance, 255)} "
        f"{_word(line.source.container, 48)} - - [anypop@{ENTERPRISE} {labels}] "
    )
    return (head + line.text).encode()


def _escaped(value: str) -> str:
    return _QUOTED.sub(r"\\\1", value)


def _word(text: str, longest: int) -> str:
    return _NOT_PRINTED.sub("_", text)[:longest] or "-"


def counted(message: bytes) -> bytes:
    """In a stream (RFC 6587, octet counting; RFC 5425 has the same)."""
    return b"%d %b" % (len(message), message)


def loki(lines: Sequence[Sent]) -> bytes:
    """A push of streams, each with its lines in their order."""
    streams: dict[tuple[str, bool], tuple[dict[str, str], list[list[str]]]] = {}
    for line in lines:
        key = line.source.key, line.errors
        if key not in streams:
            streams[key] = {**line.source.labels, "stream": "stderr" if line.errors else "stdout"}, []
        streams[key][1].append([str(line.at), line.text])
    pushed = [{"stream": labels, "values": values} for labels, values in streams.values()]
    return json.dumps({"streams": pushed}).encode()


def otlp(lines: Sequence[Sent]) -> bytes:
    """An ExportLogsServiceRequest."""
    by_source: dict[str, list[Sent]] = defaultdict(list)
    for line in lines:
        by_source[line.source.key].append(line)
    resources = [
        {
            "resource": {"attributes": _attributes({"service.name": of[0].source.workload, **_resource(of[0].source)})},
            "scopeLogs": [{"scope": {"name": "anypop"}, "logRecords": [_record(line) for line in of]}],
        }
        for of in by_source.values()
    ]
    return json.dumps({"resourceLogs": resources}).encode()


def _resource(source: Source) -> dict[str, str]:
    return {f"anypop.{name}": value for name, value in source.labels.items()}


def _record(line: Sent) -> dict[str, Any]:
    said = understood(line.text)
    attributes = {"log.iostream": "stderr" if line.errors else "stdout"}
    attributes |= {name: value if isinstance(value, str) else json.dumps(value) for name, value in said.fields.items()}
    if said.time:  # the line's own, as it was written: ours is the moment at which the host kept it
        attributes.setdefault("time", said.time)
    record: dict[str, Any] = {
        "timeUnixNano": str(line.at),
        "observedTimeUnixNano": str(line.at),
        "body": {"stringValue": said.message or line.text},
        "attributes": _attributes(attributes),
    }
    if said.level is not None:
        record |= {"severityNumber": _NUMBERS[said.level], "severityText": said.level.value}
    return record


def _attributes(values: dict[str, str]) -> list[dict[str, Any]]:
    return [{"key": name, "value": {"stringValue": value}} for name, value in values.items()]

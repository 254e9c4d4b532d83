"""The body of a remote-write request (version 0.1.0 of Prometheus's): a protobuf message, compressed by Snappy.

In: series with their samples. Out: bytes, and the headers that say what they are. The message's description stands here
as data, so no generated code is kept. Its libraries are imported with this module: by those alone who write to a store.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

HEADERS: Mapping[str, str] = {
    "content-encoding": "snappy",
    "content-type": "application/x-protobuf",
    "x-prometheus-remote-write-version": "0.1.0",
}
_PACKAGE = "prometheus"
_FIELD: Any = descriptor_pb2.FieldDescriptorProto
# Name, number and type of each member, as remote.proto and types.proto of Prometheus have them; `*`: many of another
# message.
_MESSAGES: Mapping[str, tuple[tuple[str, int, Any], ...]] = {
    "Label": (("name", 1, _FIELD.TYPE_STRING), ("value", 2, _FIELD.TYPE_STRING)),
    "Sample": (("value", 1, _FIELD.TYPE_DOUBLE), ("timestamp", 2, _FIELD.TYPE_INT64)),
    "TimeSeries": (("labels", 1, "Label"), ("samples", 2, "Sample")),
    "WriteRequest": (("timeseries", 1, "TimeSeries"),),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """`labels`: with `__name__`. `points`: seconds since the epoch, and the value then; oldest first."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


def body_of(series: Iterable[Series]) -> bytes:
    """Labels are sorted by name, as the receiver wants them."""
    request = _request()()
    for one in series:
        made: Any = request.timeseries.add()
        for name, value in sorted(one.labels.items()):
            made.labels.add(name=name, value=value)
        for at, amount in one.points:
            made.samples.add(value=amount, timestamp=round(at * 1000))
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


def read(body: bytes) -> list[Series]:
    """The other way round, for tests of what was sent."""
    request = _request()()
    request.ParseFromString(bytes(cramjam.snappy.decompress_raw(body)))
    return [
        Series(
            labels={label.name: label.value for label in one.labels},
            points=tuple((s.timestamp / 1000, s.value) for s in one.samples),
        )
        for one in request.timeseries
    ]


@cache
def _request() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="anypop/remote_write.proto", package=_PACKAGE, syntax="proto3")
    for name, members in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for member, number, kind in members:
            made = message.field.add(name=member, number=number)
            if isinstance(kind, str):
                made.label, made.type, made.type_name = (
                    _FIELD.LABEL_REPEATED, _FIELD.TYPE_MESSAGE, f".{_PACKAGE}.{kind}",
                )  # fmt: skip
            else:
                made.label, made.type = _FIELD.LABEL_OPTIONAL, kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.WriteRequest"))

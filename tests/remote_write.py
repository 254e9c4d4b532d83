"""What is in the body of a remote-write request, as protobuf's own library reads it.

In: a body. Out: its series. The message's description stands here as data, so no generated code is kept.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from anypop.control.metrics.remote_write import Series

_PACKAGE = "prometheus"
_FIELD: Any = descriptor_pb2.FieldDescriptorProto
# Name, number and type of each member, as remote.proto and types.proto of Prometheus have them; text: many of another
# message.
_MESSAGES: Mapping[str, tuple[tuple[str, int, Any], ...]] = {
    "Label": (("name", 1, _FIELD.TYPE_STRING), ("value", 2, _FIELD.TYPE_STRING)),
    "Sample": (("value", 1, _FIELD.TYPE_DOUBLE), ("timestamp", 2, _FIELD.TYPE_INT64)),
    "TimeSeries": (("labels", 1, "Label"), ("samples", 2, "Sample")),
    "WriteRequest": (("timeseries", 1, "TimeSeries"),),
}


def read(body: bytes) -> list[Series]:
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

"""Metrics of the Workload API: series of values, in the form of Prometheus's answers."""

from typing import Annotated, Literal

from pydantic import Field

from anypop.api.models.common import CamelAnswer, CountText, left_out


class Value(CamelAnswer):
    """One value. Both members are text, as protobuf's JSON has large numbers."""

    unix_time: Annotated[CountText, Field(description="seconds since the epoch")]
    value: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?$")]


class Series(CamelAnswer):
    """`metric`: what is measured (`name`, `unit`), and of what (`pop`, `workload`, `instance_name`)."""

    metric: dict[str, str]
    values: list[Value]


class Matrix(CamelAnswer):
    results: list[Series]


class MetricsData(CamelAnswer):
    matrix: Matrix


class Metrics(CamelAnswer):
    """What was measured. `warnings`: what is missing, and why."""

    status: Literal["SUCCESS"]
    data: MetricsData
    warnings: list[str] = left_out()

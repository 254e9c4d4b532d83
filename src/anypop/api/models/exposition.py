"""What there is to scrape, in the form of Prometheus's HTTP service discovery; and charts."""

from typing import Annotated, Literal

from pydantic import Field, RootModel

from anypop.api.models.common import Answer, left_out


class TargetGroup(Answer):
    """`targets`: addresses; `labels`: what their series get beside their own, and with two underscores how they are
    scraped.
    """

    targets: list[str]
    labels: dict[str, str]


class TargetGroups(RootModel[list[TargetGroup]]):
    """All of them."""


class ChartCurve(Answer):
    """`labels`: of what it is, by slugs and names."""

    labels: dict[str, str]
    points: Annotated[list[tuple[float, float]], Field(description="seconds since the epoch, and the value then")]


class Charted(Answer):
    """A moment of which nothing is known has no point."""

    chart: str
    unit: str
    step: Annotated[float, Field(description="seconds between two values")]
    source: Annotated[Literal["store", "agents"], Field(description="who told: the store of metrics, or the hosts")]
    age: float = left_out("of the newest sample, in seconds; none: there is none")
    missing: Annotated[list[str], Field(description="who did not answer, and why")]
    series: list[ChartCurve]

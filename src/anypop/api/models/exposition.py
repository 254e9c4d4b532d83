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


class Elsewhere(Answer):
    vantage: str
    expected: Annotated[str, Field(description="the nearest PoP that may serve it")]
    pop: str = left_out("where it landed; none: nobody answered")


class ObjectiveState(Answer):
    """Of one workload with an anycast address."""

    stack: str
    workload: str
    objective: Annotated[float, Field(description="the share of vantages that should land in the nearest PoP")]
    asked: int = left_out("vantages that could ask")
    vantages: float = left_out("the share of these that land where they should")
    extra_ms: float = left_out("how much longer their way is by light, there and back, on the average")
    age: float = left_out("of that look, in seconds")
    elsewhere: list[Elsewhere] = left_out("those that land elsewhere")
    traffic: float = left_out("the share of traffic that lies within what the vantages let expect")
    flips_per_hour: float = left_out("how often a vantage changed its PoP in the last hour")
    budget_left: float = left_out("of 30 days; 1: all of it, below 0: overdrawn")


class Objectives(Answer):
    results: list[ObjectiveState]
    note: str = left_out("what is not known, and why")

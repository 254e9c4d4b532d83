"""What was used and what it cost: answers."""

from typing import Annotated

from pydantic import Field

from anypop.api.models.common import Answer, Moment, left_out

Costs = Annotated[dict[str, float], Field(description="by currency, at the prices of each moment")]


class WorkloadUsage(Answer):
    """One workload. Seconds and hours are those of all its instances together."""

    workload: Annotated[str, Field(description="its id; of an address that is kept, the allocation's")]
    slug: str
    stack: Annotated[str, Field(description="its slug")]
    gone: bool
    running: Annotated[int, Field(description="instances that are metered now")]
    instance_seconds: float
    instance_hours: float
    anycast_hours: float = left_out("an anycast address was held so long")
    prefix_hours: float = left_out("a covering prefix of its own was held so long")
    volume_gib_hours: float = left_out("GiB of its volumes times the hours for which they were there")
    address_hours: float = left_out("an external address was kept so long without an instance")
    unpriced_hours: float = left_out("instances that fitted no size of the price book then ran so long")
    costs: Costs


class UsageTotal(Answer):
    instance_seconds: float
    instance_hours: float
    costs: Costs


class Usage(Answer):
    """What was used between two moments. Of a workload that is gone too."""

    since: Annotated[Moment | None, Field(description="null: since it is metered")]
    until: Moment
    results: list[WorkloadUsage]
    total: UsageTotal


class CostFigures(Answer):
    """Costs of a month. `forecast`: at its end, if everything goes on as it is now, at the present prices."""

    so_far: Costs
    forecast: Costs
    hourly: Annotated[dict[str, float], Field(description="by currency: what runs now costs so much in an hour")]
    running: Annotated[int, Field(description="instances that are metered now; in a month that is over 0")]
    instance_hours: float
    unpriced_hours: float = left_out("instances that fitted no size of the price book then ran so long")


class PopCosts(CostFigures):
    pop: Annotated[str | None, Field(description="null: what is in no single PoP, as an anycast address")]


class WorkloadCosts(CostFigures):
    """One workload; of an address that is kept, the allocation."""

    workload: Annotated[str, Field(description="its id")]
    slug: str
    stack: Annotated[str, Field(description="its slug")]
    gone: bool
    pops: list[PopCosts]


class MonthCosts(Answer):
    """What a month (UTC) costs. Of workloads that are gone too. `total`: of the whole month."""

    month: Annotated[str, Field(pattern="^[0-9]{4}-[0-9]{2}$")]
    since: Moment
    until: Annotated[Moment, Field(description="now, or the end of the month")]
    ends: Moment
    total: CostFigures
    pops: list[PopCosts]
    count: Annotated[int, Field(description="of workloads, however few are told")]
    results: list[WorkloadCosts]

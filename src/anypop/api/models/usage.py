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

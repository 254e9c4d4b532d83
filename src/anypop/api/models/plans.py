"""A dry run: what a creation, a change or a deletion would do."""

from typing import Annotated, Literal

from pydantic import Field

from anypop.api.models.common import Answer, Name, Request, left_out
from anypop.api.models.prices import Quote, WithoutEffect
from anypop.api.models.rollouts import Difference
from anypop.model.reasons import Reason
from anypop.plan.schema import WorkloadBody


class PlanRequest(Request):
    """One of the two: a workload to create, or to bring one that is there to; or one that would be deleted."""

    workload: WorkloadBody | None = None
    delete: Annotated[Name | None, Field(description="id or slug")] = None


class PlannedAnnouncement(Answer):
    """One prefix that a host would begin, or cease, to announce to an upstream."""

    pop: str
    host: str
    prefix: str
    upstream: str


class NotPlaced(Answer):
    subject: str
    reason: Reason
    detail: str = left_out()


class PriceChange(Answer):
    """`difference`: a month, in the currency of the price book. `before` is missing of what is created, `after` of
    what is deleted.
    """

    before: Quote = left_out()
    after: Quote = left_out()
    difference: float


class WorkloadPlan(Answer):
    """What would happen; nothing did. Instances by name."""

    action: Literal["create", "change", "delete", "nothing"]
    created: list[str]
    replaced: Annotated[list[str], Field(description="made anew, one wave of PoPs after the other")]
    deleted: list[str]
    announced: list[PlannedAnnouncement]
    withdrawn: list[PlannedAnnouncement]
    not_placed: Annotated[list[NotPlaced], Field(description="what there is no room for, or no address")]
    changes: list[Difference] = left_out()
    waves: list[list[str]] = left_out()
    price: PriceChange
    without_effect: list[WithoutEffect] = left_out()

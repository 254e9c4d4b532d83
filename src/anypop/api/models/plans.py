"""A dry run: what a creation, a change or a deletion would do."""

from typing import Annotated, Literal

from pydantic import Field

from anypop.api.models.allocations import Allocation, AllocationClaim
from anypop.api.models.common import Answer, Name, Request, left_out
from anypop.api.models.prices import Quote, WithoutEffect
from anypop.api.models.rollouts import Difference
from anypop.api.models.workloads import Workload
from anypop.model.limits import MOST_ENTRIES
from anypop.model.reasons import Reason
from anypop.plan.allocation_schema import AllocationBody, ClaimBody
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


class WorkloadChange(Answer):
    """What would become of one workload; nothing did. Instances by name."""

    action: Literal["create", "change", "delete", "nothing"]
    created: list[str]
    replaced: Annotated[list[str], Field(description="made anew, one wave of PoPs after the other")]
    deleted: list[str]
    changes: list[Difference] = left_out()
    waves: list[list[str]] = left_out()
    price: PriceChange
    without_effect: list[WithoutEffect] = left_out()


class Beyond(Answer):
    """What would become of announcements, and what would find no place."""

    announced: list[PlannedAnnouncement]
    withdrawn: list[PlannedAnnouncement]
    not_placed: Annotated[list[NotPlaced], Field(description="what there is no room for, or no address")]


class WorkloadPlan(WorkloadChange, Beyond):
    """What would happen to one workload, and because of it; nothing did."""


class SetRequest(Request):
    """What is to be created, what is there already and brought to this, and which workloads go, all in one step. One
    of the lists has an entry.
    """

    workloads: Annotated[list[WorkloadBody] | None, Field(max_length=MOST_ENTRIES)] = None
    allocations: Annotated[list[AllocationBody] | None, Field(max_length=MOST_ENTRIES)] = None
    allocation_claims: Annotated[list[ClaimBody] | None, Field(max_length=MOST_ENTRIES)] = None
    delete: Annotated[
        list[Name] | None, Field(max_length=MOST_ENTRIES, description="workloads that go, by id or slug")
    ] = None


class PlannedWorkload(WorkloadChange):
    slug: str


class SetPrice(Answer):
    """A month of all workloads of the set together; those that go count before. `most_after`: while all run that may,
    where their number follows their load.
    """

    currency: str
    before: float
    after: float
    difference: float
    most_after: float = left_out()


class PlannedAddress(Answer):
    """What would become of an allocation or a claim. `idle_monthly`: the price of a month in which no instance has
    the address.
    """

    slug: str
    action: Literal["create", "change", "nothing"]
    waits: str = left_out("why there is no address for it now")
    idle_monthly: float = left_out()


class SetPlan(Beyond):
    """What would happen if all of a set were done in one step; nothing did. Each list in the order of the request."""

    workloads: list[PlannedWorkload]
    allocations: list[PlannedAddress]
    allocation_claims: list[PlannedAddress]
    deleted: list[PlannedWorkload]
    price: SetPrice


class AppliedWorkload(Answer):
    action: Literal["create", "change", "nothing"]
    workload: Workload
    warnings: Annotated[list[str], Field(description="what was accepted and has no effect")] = left_out()


class AppliedAllocation(Answer):
    action: Literal["create", "change", "nothing"]
    allocation: Allocation = left_out()


class AppliedClaim(Answer):
    action: Literal["create", "change", "nothing"]
    allocation_claim: AllocationClaim = left_out()


class AppliedSet(Answer):
    """What was done, all in one step, each list in the order of the request. `deleted`: the slugs of workloads that
    are being taken down.
    """

    results: list[AppliedWorkload]
    allocations: list[AppliedAllocation]
    allocation_claims: list[AppliedClaim]
    deleted: list[str]

"""Allocations, their claims, and operations: what is sent and what is answered."""

from typing import Annotated, Literal

from pydantic import Field

from anypop.api.models.common import CamelAnswer, CamelRequest, Id, Moment, Page, ResourceMetadata, left_out
from anypop.plan.allocation_schema import AllocationBody, AllocationSelector, ClaimBody

Family = Literal["IPv4", "IPv6"]
Class = Literal["stackpath-edge/private", "stackpath-edge/unicast"]
Status = Literal["CONDITION_STATUS_TRUE", "CONDITION_STATUS_FALSE"]


class AllocationRequest(CamelRequest):
    """An allocation to make, or what is to change of one."""

    allocation: AllocationBody


class ClaimRequest(CamelRequest):
    """A claim to make, or what is to change of one."""

    allocation_claim: ClaimBody


class KeptMetadata(ResourceMetadata):
    delete_requested_at: Moment = left_out("it goes with what holds it")
    resource_name: str


class Reclaimed(CamelAnswer):
    """What becomes of it when nobody holds it."""

    action: Literal["DELETE", "RETAIN", "RETAIN_FOR_IDLE_PERIOD"]
    idle_retention_period: str = left_out()


class Selected(CamelAnswer):
    key: str
    operator: str
    values: list[str] = left_out()


class Condition(CamelAnswer):
    """One thing that holds or does not."""

    type: str
    status: Status
    reason: str
    message: str
    observed_version: str
    last_transition_time: Moment = left_out()


class AddressSpecShown(CamelAnswer):
    allocation_class: Class
    ip_family: Family
    prefix_length: Annotated[int, Field(ge=32, le=128)]
    reclaim_policy: Reclaimed
    selectors: list[Selected] = left_out()


class AllocationStatus(CamelAnswer):
    prefix: str = left_out("203.0.113.7/32; missing while it waits for an address")
    conditions: list[Condition]


class Allocation(CamelAnswer):
    """An address of a stack."""

    id: Id
    stack_id: Id
    name: str
    slug: str
    metadata: KeptMetadata
    spec: AddressSpecShown
    status: AllocationStatus


class TemplateShown(CamelAnswer):
    """What the claim's own allocation is made from."""

    name: str
    spec: AddressSpecShown


class ClaimedFrom(CamelAnswer):
    name: str = left_out()
    selector: AllocationSelector = left_out()
    template: TemplateShown = left_out()


class ClaimSpecShown(CamelAnswer):
    ip_family: Family
    prefix_length: Annotated[int, Field(ge=32, le=128)]
    reclaim_policy: Reclaimed
    allocation: ClaimedFrom


class Binding(CamelAnswer):
    """Who holds it."""

    type: Literal["instance"]
    name: str


class ClaimStatus(CamelAnswer):
    prefix: str = left_out()
    allocation: str = left_out("stacks/STACK/allocations/SLUG")
    resource_binding: Binding = left_out()
    conditions: list[Condition]


class AllocationClaim(CamelAnswer):
    """The right to an address."""

    id: Id
    stack_id: Id
    name: str
    slug: str
    metadata: KeptMetadata
    spec: ClaimSpecShown
    status: ClaimStatus


class AllocationAnswer(CamelAnswer):
    allocation: Allocation


class AllocationPage(Page):
    results: list[Allocation]


class ClaimAnswer(CamelAnswer):
    allocation_claim: AllocationClaim


class ClaimPage(Page):
    results: list[AllocationClaim]


class OperationMetadata(CamelAnswer):
    """What was done, to what, and when."""

    verb: Literal["create", "update", "delete"]
    target: str
    create_time: Moment


class OperationResponse(CamelAnswer):
    """What it was done to, as it is now; empty once that is gone."""

    allocation: Allocation = left_out()
    allocation_claim: AllocationClaim = left_out()


class Operation(CamelAnswer):
    """A change that was asked for. It is done when it is answered: what waits is told by the conditions of its
    object.
    """

    name: str
    done: Literal[True]
    metadata: OperationMetadata
    response: OperationResponse

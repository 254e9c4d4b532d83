"""/ipam/v1/.../allocations, allocation_claims and operations: addresses that last.

In: requests of the Workload API. Out: allocations and claims; for each change an operation, which is done when it is
answered. Which slot holds what, and where an address is, is `control.allocation_book`'s.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response

from anypop.api import allocation_shapes as shapes
from anypop.api import pages
from anypop.api.bodies import JsonObject
from anypop.api.context import CallerStack, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models import allocations as models
from anypop.control import allocations as kept
from anypop.control.accounts import Stack
from anypop.control.core import Alter
from anypop.plan.allocation_read import read_allocation, read_change, read_claim
from anypop.plan.allocation_schema import AllocationBody, ClaimBody

router = APIRouter(prefix="/ipam/v1/stacks/{stack_id}", tags=["addresses"])

Slug = Annotated[str, Path(description="slug or id")]
OperationName = Annotated[str, Path(description="operation-...")]
AllocationDep = Annotated[dict[str, Any], Depends(JsonObject(models.AllocationRequest, member="allocation"))]
ClaimDep = Annotated[dict[str, Any], Depends(JsonObject(models.ClaimRequest, member="allocationClaim"))]


@router.get("/allocations")
@answers(models.AllocationPage)
async def list_allocations(query: pages.PageQuery, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    """List the allocations of a stack."""
    state = platform.core.state
    found = kept.allocations_in(state, stack.id)
    return pages.page(found, query, lambda one: shapes.allocation(state, one), models.Allocation)


@router.post("/allocations")
@answers(models.Operation, Code.ALREADY_EXISTS, Code.FAILED_PRECONDITION, Code.RESOURCE_EXHAUSTED)
async def create_allocation(stack: CallerStack, platform: PlatformDep, body: AllocationDep) -> dict[str, Any]:
    """Create an allocation: one address, in a city that its selectors leave.

    It is bound to a host of that city, and stays when workloads go. Where there is no address now, it waits for one,
    and its conditions say why.
    """
    name = kept.new_operation()
    return await _changed(platform, stack, name, kept.create_allocation(read_allocation(body), stack, name))


@router.get("/allocations/{slug}")
@answers(models.AllocationAnswer)
async def get_allocation(slug: Slug, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    """Get one allocation."""
    state = platform.core.state
    return {"allocation": shapes.allocation(state, kept.allocation_of(state, stack.id, slug))}


@router.patch("/allocations/{slug}")
@answers(models.Operation, Code.ABORTED)
async def change_allocation(
    slug: Slug, stack: CallerStack, platform: PlatformDep, body: AllocationDep
) -> dict[str, Any]:
    """Change an allocation's name, labels, annotations or reclaim policy.

    What changes nothing is no new version.
    """
    state, name = platform.core.state, kept.new_operation()
    there = kept.allocation_of(state, stack.id, slug)
    change = read_change(AllocationBody, body, shapes.allocation(state, there))
    return await _changed(platform, stack, name, kept.change_allocation(there.id, change, name))


@router.delete("/allocations/{slug}")
@answers(models.Operation, Code.FAILED_PRECONDITION)
async def delete_allocation(slug: Slug, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    """Let an address go that no claim holds."""
    name = kept.new_operation()
    return await _changed(platform, stack, name, kept.delete_allocation(stack.id, slug, name))


@router.get("/allocation_claims")
@answers(models.ClaimPage)
async def list_allocation_claims(query: pages.PageQuery, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    """List the claims of a stack; those of its workloads' instances are among them."""
    state = platform.core.state
    found = kept.claims_in(state, stack.id)
    return pages.page(found, query, lambda one: shapes.claim(state, one), models.AllocationClaim)


@router.post("/allocation_claims")
@answers(models.Operation, Code.ALREADY_EXISTS, Code.FAILED_PRECONDITION, Code.RESOURCE_EXHAUSTED)
async def create_allocation_claim(stack: CallerStack, platform: PlatformDep, body: ClaimDep) -> dict[str, Any]:
    """Create a claim: the right to an allocation, which a workload's assignment names.

    It takes one by its name, a free one by labels and city, or one that is made for it (`template`).
    """
    name = kept.new_operation()
    wish = read_claim(body, stack=(stack.id, stack.slug))
    return await _changed(platform, stack, name, kept.create_claim(wish, stack, name))


@router.get("/allocation_claims/{slug}")
@answers(models.ClaimAnswer)
async def get_allocation_claim(slug: Slug, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    """Get one claim."""
    state = platform.core.state
    return {"allocationClaim": shapes.claim(state, kept.claim_of(state, stack.id, slug))}


@router.patch("/allocation_claims/{slug}")
@answers(models.Operation, Code.ABORTED)
async def change_allocation_claim(
    slug: Slug, stack: CallerStack, platform: PlatformDep, body: ClaimDep
) -> dict[str, Any]:
    """Change a claim's name, labels, annotations or reclaim policy.

    What changes nothing is no new version.
    """
    state, name = platform.core.state, kept.new_operation()
    there = kept.claim_of(state, stack.id, slug)
    change = read_change(ClaimBody, body, shapes.claim(state, there))
    return await _changed(platform, stack, name, kept.change_claim(there.id, change, name))


@router.delete("/allocation_claims/{slug}")
@answers(models.Operation, Code.FAILED_PRECONDITION)
async def delete_allocation_claim(slug: Slug, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    """Delete a claim that no instance holds.

    Of one whose workload is being deleted it is remembered, and done then.
    """
    name = kept.new_operation()
    return await _changed(platform, stack, name, kept.delete_claim(stack.id, slug, name))


@router.get("/operations/{operation}")
@answers(models.Operation)
async def get_operation(operation: OperationName, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    """Get what was told of a change.

    The last hundred of a stack are kept.
    """
    return shapes.operation(platform.core.state, kept.operation_of(platform.core.state, stack.id, operation))


@router.delete("/operations/{operation}", status_code=204)
@answers(None)
async def delete_operation(operation: OperationName, stack: CallerStack, platform: PlatformDep) -> Response:
    """Forget what was told of a change; the change stays."""
    await platform.core.change(kept.delete_operation(stack.id, operation))
    return Response(status_code=204)


@router.get("/operations/{operation}/wait")
@answers(models.Operation)
async def wait_for_operation(
    operation: OperationName,
    stack: CallerStack,
    platform: PlatformDep,
    within: Annotated[str, Query(alias="timeout", max_length=32, description="30s, say; it is done already")] = "",
) -> dict[str, Any]:
    """Wait until a change is done: it is."""
    del within
    return shapes.operation(platform.core.state, kept.operation_of(platform.core.state, stack.id, operation))


async def _changed(platform: Platform, stack: Stack, name: str, alter: Alter) -> dict[str, Any]:
    state = await platform.core.change(platform.within_quota(alter, stack))
    return shapes.operation(state, kept.operation_of(state, stack.id, name))

"""/ipam/v1/.../allocations, allocation_claims and operations: addresses that last.

In: requests of the Workload API. Out: allocations and claims; for each change an operation, which is done when it is
answered. Which slot holds what, and where an address is, is `control.allocation_book`'s.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel

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
from anypop.control.state import State
from anypop.model.names import StackId
from anypop.plan.allocation_read import Change, read_allocation, read_change, read_claim
from anypop.plan.allocation_schema import AllocationBody, ClaimBody

router = APIRouter(prefix="/ipam/v1/stacks/{stack_id}", tags=["addresses"])

Slug = Annotated[str, Path(description="slug or id")]
OperationName = Annotated[str, Path(description="operation-...")]
Data = dict[str, Any]
K = TypeVar("K")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[K]):
    """What allocations and claims differ in: how they are called in a body, made, found, shown and changed. `create`:
    from a document to the slug and the step.
    """

    member: str
    body: type[AllocationBody] | type[ClaimBody]
    model: type[BaseModel]
    all_in: Callable[[State, StackId], list[K]]
    one_of: Callable[[State, StackId, str], K]
    shape: Callable[[State, K], Data]
    create: Callable[[Mapping[str, Any], Stack, str], tuple[str, Alter]]
    change: Callable[[StackId, str, Change, str], Alter]

    def read_change(self, document: Mapping[str, Any], shown: Data) -> Change:
        """What a document asks to have changed. Raises `Invalid`."""
        return read_change(self.body, document, shown)


def _new_allocation(document: Mapping[str, Any], stack: Stack, operation: str) -> tuple[str, Alter]:
    wish = read_allocation(document)
    return wish.slug, kept.create_allocation(wish, stack, operation)


def _new_claim(document: Mapping[str, Any], stack: Stack, operation: str) -> tuple[str, Alter]:
    wish = read_claim(document, stack=(stack.id, stack.slug))
    return wish.slug, kept.create_claim(wish, stack, operation)


ALLOCATION = Kind(
    member="allocation", body=AllocationBody, model=models.Allocation, all_in=kept.allocations_in,
    one_of=kept.allocation_of, shape=shapes.allocation, create=_new_allocation, change=kept.change_allocation,
)  # fmt: skip
CLAIM = Kind(
    member="allocationClaim", body=ClaimBody, model=models.AllocationClaim, all_in=kept.claims_in,
    one_of=kept.claim_of, shape=shapes.claim, create=_new_claim, change=kept.change_claim,
)  # fmt: skip

AllocationDep = Annotated[dict[str, Any], Depends(JsonObject(models.AllocationRequest, member="allocation"))]
ClaimDep = Annotated[dict[str, Any], Depends(JsonObject(models.ClaimRequest, member="allocationClaim"))]


@router.get("/allocations")
@answers(models.AllocationPage)
async def list_allocations(query: pages.PageQuery, stack: CallerStack, platform: PlatformDep) -> Data:
    """List the allocations of a stack."""
    return _listed(ALLOCATION, query, stack, platform)


@router.post("/allocations")
@answers(models.Operation, Code.ALREADY_EXISTS, Code.FAILED_PRECONDITION, Code.RESOURCE_EXHAUSTED)
async def create_allocation(stack: CallerStack, platform: PlatformDep, body: AllocationDep) -> Data:
    """Create an allocation: one address, in a city that its selectors leave.

    It is bound to a host of that city, and stays when workloads go. Where there is no address now, it waits for one,
    and its conditions say why.
    """
    return await _created(ALLOCATION, stack, platform, body)


@router.get("/allocations/{slug}")
@answers(models.AllocationAnswer)
async def get_allocation(slug: Slug, stack: CallerStack, platform: PlatformDep) -> Data:
    """Get one allocation."""
    return {ALLOCATION.member: _shown(ALLOCATION, slug, stack, platform)}


@router.patch("/allocations/{slug}")
@answers(models.Operation, Code.ABORTED)
async def change_allocation(slug: Slug, stack: CallerStack, platform: PlatformDep, body: AllocationDep) -> Data:
    """Change an allocation's name, labels, annotations or reclaim policy.

    What changes nothing is no new version.
    """
    return await _altered(ALLOCATION, slug, stack, platform, body)


@router.delete("/allocations/{slug}")
@answers(models.Operation, Code.FAILED_PRECONDITION)
async def delete_allocation(slug: Slug, stack: CallerStack, platform: PlatformDep) -> Data:
    """Let an address go that no claim holds."""
    return await _changed(platform, stack, lambda name: kept.delete_allocation(stack.id, slug, name))


@router.get("/allocation_claims")
@answers(models.ClaimPage)
async def list_allocation_claims(query: pages.PageQuery, stack: CallerStack, platform: PlatformDep) -> Data:
    """List the claims of a stack; those of its workloads' instances are among them."""
    return _listed(CLAIM, query, stack, platform)


@router.post("/allocation_claims")
@answers(models.Operation, Code.ALREADY_EXISTS, Code.FAILED_PRECONDITION, Code.RESOURCE_EXHAUSTED)
async def create_allocation_claim(stack: CallerStack, platform: PlatformDep, body: ClaimDep) -> Data:
    """Create a claim: the right to an allocation, which a workload's assignment names.

    It takes one by its name, a free one by labels and city, or one that is made for it (`template`).
    """
    return await _created(CLAIM, stack, platform, body)


@router.get("/allocation_claims/{slug}")
@answers(models.ClaimAnswer)
async def get_allocation_claim(slug: Slug, stack: CallerStack, platform: PlatformDep) -> Data:
    """Get one claim."""
    return {CLAIM.member: _shown(CLAIM, slug, stack, platform)}


@router.patch("/allocation_claims/{slug}")
@answers(models.Operation, Code.ABORTED)
async def change_allocation_claim(slug: Slug, stack: CallerStack, platform: PlatformDep, body: ClaimDep) -> Data:
    """Change a claim's name, labels, annotations or reclaim policy.

    What changes nothing is no new version.
    """
    return await _altered(CLAIM, slug, stack, platform, body)


@router.delete("/allocation_claims/{slug}")
@answers(models.Operation, Code.FAILED_PRECONDITION)
async def delete_allocation_claim(slug: Slug, stack: CallerStack, platform: PlatformDep) -> Data:
    """Delete a claim that no instance holds.

    Of one whose workload is being deleted it is remembered, and done then.
    """
    return await _changed(platform, stack, lambda name: kept.delete_claim(stack.id, slug, name))


@router.get("/operations/{operation}")
@answers(models.Operation)
async def get_operation(operation: OperationName, stack: CallerStack, platform: PlatformDep) -> Data:
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
) -> Data:
    """Wait until a change is done: it is."""
    del within
    return shapes.operation(platform.core.state, kept.operation_of(platform.core.state, stack.id, operation))


def _listed(kind: Kind[K], query: pages.PageQuery, stack: Stack, platform: Platform) -> Data:
    state = platform.core.state
    return pages.page(kind.all_in(state, stack.id), query, lambda one: kind.shape(state, one), kind.model)


def _shown(kind: Kind[K], slug: str, stack: Stack, platform: Platform) -> Data:
    state = platform.core.state
    return kind.shape(state, kind.one_of(state, stack.id, slug))


async def _created(kind: Kind[K], stack: Stack, platform: Platform, body: Mapping[str, Any]) -> Data:
    return await _changed(platform, stack, lambda name: kind.create(body, stack, name)[1])


async def _altered(kind: Kind[K], slug: str, stack: Stack, platform: Platform, body: Mapping[str, Any]) -> Data:
    change = kind.read_change(body, _shown(kind, slug, stack, platform))
    return await _changed(platform, stack, lambda name: kind.change(stack.id, slug, change, name))


async def _changed(platform: Platform, stack: Stack, altered: Callable[[str], Alter]) -> Data:
    """An operation, done by the time that it is answered. `altered`: the change, which is told by that name."""
    name = kept.new_operation()
    state = await platform.core.change(platform.within_quota(altered(name), stack))
    return shapes.operation(state, kept.operation_of(state, stack.id, name))

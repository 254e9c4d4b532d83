"""/ipam/v1/.../network_policies: who may send what to the instances of a stack, and what they may send.

In: requests of the Workload API. Out: policies as they were declared. What one means is `plan.policy_read`'s to say,
and which hosts hold what follows from it in the very step that stores it: their agents get it with their next order.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response

from anypop.api import pages, shapes
from anypop.api.bodies import JsonObject
from anypop.api.context import CallerStack, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.network_policies import NetworkPolicy, PolicyAnswer, PolicyPage, PolicyRequest
from anypop.control import policies
from anypop.control.state import DeclaredPolicy

router = APIRouter(prefix="/ipam/v1/stacks/{stack_id}/network_policies", tags=["network policies"])

PolicyId = Annotated[str, Path(description="id or slug")]
PolicyBody = Annotated[dict[str, Any], Depends(JsonObject(PolicyRequest, member="networkPolicy"))]


@router.get("")
@answers(PolicyPage)
async def list_network_policies(query: pages.PageQuery, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    """List the network policies of a stack, in the order in which they are asked."""
    return pages.page(policies.in_stack(platform.core.state, stack.id), query, shown, NetworkPolicy)


@router.post("")
@answers(PolicyAnswer, Code.ALREADY_EXISTS, Code.FAILED_PRECONDITION)
async def create_network_policy(stack: CallerStack, platform: PlatformDep, body: PolicyBody) -> dict[str, Any]:
    """Create a network policy.

    It holds from the next order of each host on which an instance is that it applies to: within moments. Connections
    that it no longer allows end, the others go on.
    """
    identity = policies.new_id()
    state = await platform.core.change(policies.create(body, stack.id, identity))
    return {"networkPolicy": shown(state.policies[identity])}


@router.get("/{policy_id}")
@answers(PolicyAnswer)
async def get_network_policy(policy_id: PolicyId, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    """Get one network policy."""
    return {"networkPolicy": shown(policies.of(platform.core.state, stack.id, policy_id))}


@router.put("/{policy_id}")
@answers(PolicyAnswer, Code.ABORTED, Code.FAILED_PRECONDITION)
async def replace_network_policy(
    policy_id: PolicyId, stack: CallerStack, platform: PlatformDep, body: PolicyBody
) -> dict[str, Any]:
    """Replace a network policy.

    `metadata.version`, where it is sent, must be the current one. What says the same as before is no new version.
    """
    current = policies.of(platform.core.state, stack.id, policy_id)
    state = await platform.core.change(policies.replace_with(body, stack.id, current.policy.id))
    return {"networkPolicy": shown(state.policies[current.policy.id])}


@router.delete("/{policy_id}", status_code=204)
@answers(None)
async def delete_network_policy(policy_id: PolicyId, stack: CallerStack, platform: PlatformDep) -> Response:
    """Delete a network policy."""
    await platform.core.change(policies.delete(stack.id, policy_id))
    return Response(status_code=204)


def shown(declared: DeclaredPolicy) -> dict[str, Any]:
    """The document as declared, with version and times."""
    metadata = {
        **declared.document.get("metadata", {}),
        "version": str(declared.version),
        "createdAt": shapes.moment(declared.policy.created_at),
    }
    if declared.updated_at is not None:
        metadata["updatedAt"] = shapes.moment(declared.updated_at)
    return {**declared.document, "metadata": metadata}

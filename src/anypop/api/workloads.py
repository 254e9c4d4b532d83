"""/workload/v1: locations, workloads and their instances.

In: requests of the Workload API. Out: answers of its shapes. What a request means is `plan.parse`'s to say, what
follows from it the core's; a creation is answered when it is on disk, with the anycast addresses already in it.
"""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response

from anypop.api import notes, pages, running, shapes, slots
from anypop.api.bodies import JsonObject
from anypop.api.context import AskingCaller, CallerAccount, CallerStack, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.workloads import (
    Instance,
    InstanceAnswer,
    InstancePage,
    Location,
    LocationPage,
    Workload,
    WorkloadAnswer,
    WorkloadPage,
    WorkloadPatch,
    WorkloadRequest,
)
from anypop.control import declare
from anypop.control.accounts import Caller, Stack
from anypop.control.refusals import NotFound
from anypop.control.state import Declaration, State
from anypop.plan.fields import location
from anypop.plan.parse import without_effect

router = APIRouter(prefix="/workload/v1", tags=["workloads"])

CHANGED = (Code.FAILED_PRECONDITION, Code.RESOURCE_EXHAUSTED)
WARNED = {"Warning": "one for each field that was accepted and has no effect yet (RFC 7234, section 5.5)"}

WorkloadId = Annotated[str, Path(description="id or slug")]
WorkloadBody = Annotated[dict[str, Any], Depends(JsonObject(WorkloadRequest, member="workload"))]
PatchBody = Annotated[dict[str, Any], Depends(JsonObject(WorkloadPatch, member="workload"))]


@router.get("/locations")
@answers(LocationPage)
async def list_locations(query: pages.PageQuery, _: CallerAccount, platform: PlatformDep) -> dict[str, Any]:
    """List the cities that have a PoP."""
    return pages.page(sorted(platform.cities()), query, location, Location)


@router.get("/stacks/{stack_id}/workloads")
@answers(WorkloadPage)
async def list_workloads(query: pages.PageQuery, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    """List the workloads of a stack."""
    state = platform.core.state
    return pages.page(state.in_stack(stack.id), query, lambda found: shapes.workload(state, found), Workload)


@router.post("/stacks/{stack_id}/workloads")
@answers(WorkloadAnswer, Code.ALREADY_EXISTS, *CHANGED, headers=WARNED)
async def create_workload(
    stack: CallerStack, caller: AskingCaller, platform: PlatformDep, body: WorkloadBody, response: Response
) -> dict[str, Any]:
    """Create a workload.

    The answer comes when it is on disk, and has its anycast addresses already. Nothing is created where anything is
    wrong, nor where no covering prefix is left for its account and its cities.
    """
    made = declare.parsed(body, stack, declare.new_id(), platform.cities(), platform.rules())
    made = await asyncio.to_thread(platform.with_images, made, caller)
    state = await platform.core.change(
        platform.within_quota(declare.create(made), stack), accept=declare.refuse_without_address(made.workload.id)
    )
    return _answered(response, state, state.workloads[made.workload.id])


@router.get("/stacks/{stack_id}/workloads/{workload_id}")
@answers(WorkloadAnswer, headers=WARNED)
async def get_workload(
    workload_id: WorkloadId, stack: CallerStack, platform: PlatformDep, response: Response
) -> dict[str, Any]:
    """Get one workload."""
    return _answered(response, platform.core.state, platform.workload(stack, workload_id))


@router.put("/stacks/{stack_id}/workloads/{workload_id}")
@answers(WorkloadAnswer, Code.ABORTED, *CHANGED, headers=WARNED)
async def replace_workload(
    *,
    workload_id: WorkloadId,
    stack: CallerStack,
    caller: AskingCaller,
    platform: PlatformDep,
    body: WorkloadBody,
    response: Response,
) -> dict[str, Any]:
    """Replace a workload.

    `metadata.version` is required and must be the current one. Slug and anycast last for the workload's life; a secret
    that is sent back without a value keeps the one it had.
    """
    current = platform.workload(stack, workload_id)
    declare.check_version(body, current, required=True)
    return await _redeclare(platform, caller=caller, stack=stack, current=current, wanted=body, response=response)


@router.patch("/stacks/{stack_id}/workloads/{workload_id}")
@answers(WorkloadAnswer, Code.ABORTED, *CHANGED, headers=WARNED)
async def merge_workload(
    *,
    workload_id: WorkloadId,
    stack: CallerStack,
    caller: AskingCaller,
    platform: PlatformDep,
    body: PatchBody,
    response: Response,
) -> dict[str, Any]:
    """Change parts of a workload.

    A JSON Merge Patch (RFC 7396); `metadata.version` is checked where it is given.
    """
    current = platform.workload(stack, workload_id)
    declare.check_version(body, current, required=False)
    return await _redeclare(
        platform,
        caller=caller,
        stack=stack,
        current=current,
        wanted=declare.merged(current, body),
        response=response,
    )


async def _redeclare(
    platform: Platform,
    *,
    caller: Caller,
    stack: Stack,
    current: Declaration,
    wanted: dict[str, Any],
    response: Response,
) -> dict[str, Any]:
    made = declare.redeclared(wanted, current, stack, platform.cities(), platform.rules())
    made = await asyncio.to_thread(platform.with_images, made, caller, current.workload)
    state = await platform.core.change(
        platform.within_quota(declare.replace_with(current, made, by=caller.account.name), stack),
        confirmed=frozenset([current.id]),
    )
    return _answered(response, state, state.workloads[current.id])


def _answered(response: Response, state: State, declared: Declaration) -> dict[str, Any]:
    """The workload, and each field of it that was accepted and has no effect: in headers, and beside it for those who
    read none.
    """
    warnings = [str(problem) for problem in without_effect(declared.document)]
    notes.warn(response, warnings)
    return {"workload": shapes.workload(state, declared)} | ({"warnings": warnings} if warnings else {})


@router.delete("/stacks/{stack_id}/workloads/{workload_id}", status_code=204)
@answers(None, Code.FAILED_PRECONDITION)
async def delete_workload(workload_id: WorkloadId, stack: CallerStack, platform: PlatformDep) -> Response:
    """Delete a workload.

    Until every PoP has reported it gone it shows `metadata.deleteRequestedAt`; then it is 404.
    """
    current = platform.workload(stack, workload_id)
    await platform.core.change(declare.delete(current.id), confirmed=frozenset([current.id]))
    return Response(status_code=204)


@router.get("/stacks/{stack_id}/workloads/{workload_id}/instances")
@answers(InstancePage)
async def list_instances(
    query: pages.PageQuery, workload_id: WorkloadId, stack: CallerStack, platform: PlatformDep
) -> dict[str, Any]:
    """List a workload's instances by name, those being taken down included."""
    state, declared = platform.core.state, platform.workload(stack, workload_id)
    found = slots.slots(slots.lives(state, declared, platform.clock()))
    return pages.page(found, query, shapes.instance_of(state, declared), Instance)


@router.get("/stacks/{stack_id}/workloads/{workload_id}/instances/{name}")
@answers(InstanceAnswer)
async def get_instance(
    workload_id: WorkloadId,
    name: Annotated[str, Path(description="name or id")],
    stack: CallerStack,
    platform: PlatformDep,
) -> dict[str, Any]:
    """Get one instance."""
    state, declared, now = platform.core.state, platform.workload(stack, workload_id), platform.clock()
    every = slots.lives(state, declared, now)
    for life in (*slots.slots(every), *every):
        if name in (life.incarnation.name, life.incarnation.uid):
            return {"instance": shapes.instance_of(state, declared)(life)}
    raise NotFound(f"no instance {name}")


@router.post("/stacks/{stack_id}/workloads/{workload_id}/instances/{name}/power/restart", status_code=204)
@answers(None, Code.FAILED_PRECONDITION)
async def restart_instance(
    workload_id: WorkloadId,
    name: Annotated[str, Path(description="name or id")],
    stack: CallerStack,
    platform: PlatformDep,
) -> Response:
    """Start an instance's containers anew.

    In its place and with its addresses. What is connected to it is cut off; others of its PoP take the new connections.
    Those of one host that are asked for at once go one after the other. Refused while one on another host of the PoP is
    being started anew and nobody else serves there.
    """
    declared = platform.workload(stack, workload_id)
    found = running.container(platform, declared, name, "")
    await platform.core.change(declare.restart(found.uid))
    return Response(status_code=204)

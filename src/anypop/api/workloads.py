"""/workload/v1: locations, workloads and their instances.

In: requests of the Workload API. Out: answers of its shapes. What a request means is `plan.parse`'s to say, what follows from it the
core's; a creation is answered when it is on disk, with the anycast addresses already in it.
"""

from typing import Any

from fastapi import APIRouter, Request, Response

from anypop.api import pages, shapes
from anypop.api.bodies import Body, member
from anypop.api.context import CallerAccount, CallerStack, PlatformDep
from anypop.control import declare
from anypop.control.refusals import NotFound
from anypop.control.state import Declaration
from anypop.plan.fields import location
from anypop.plan.parse import Parsed

router = APIRouter(prefix="/workload/v1")

MOST_WARNINGS = 20  # clients and proxies give up on answers with headers of more than some kilobytes


@router.get("/locations")
async def locations(request: Request, _: CallerAccount, platform: PlatformDep) -> dict[str, Any]:
    return pages.page(sorted(platform.cities()), request.query_params, location)


@router.get("/stacks/{stack_id}/workloads")
async def list_workloads(request: Request, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    state = platform.core.state
    return pages.page(state.in_stack(stack.id), request.query_params, lambda found: shapes.workload(state, found))


@router.post("/stacks/{stack_id}/workloads")
async def create_workload(stack: CallerStack, platform: PlatformDep, body: Body, response: Response) -> dict[str, Any]:
    made = declare.parsed(member(body, "workload"), stack, declare.new_id(), platform.cities())
    state = await platform.core.change(platform.within_quota(declare.create(made), stack))
    _warn(response, made)
    return {"workload": shapes.workload(state, state.workloads[made.workload.id])}


@router.get("/stacks/{stack_id}/workloads/{workload_id}")
async def get_workload(workload_id: str, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    return {"workload": shapes.workload(platform.core.state, platform.workload(stack, workload_id))}


@router.put("/stacks/{stack_id}/workloads/{workload_id}")
async def replace_workload(
    workload_id: str, stack: CallerStack, account: CallerAccount, platform: PlatformDep, body: Body, response: Response
) -> dict[str, Any]:
    current, wanted = platform.workload(stack, workload_id), member(body, "workload")
    declare.check_version(wanted, current, required=True)
    return await _redeclare(platform, account, stack, current, wanted, response)


@router.patch("/stacks/{stack_id}/workloads/{workload_id}")
async def merge_workload(
    workload_id: str, stack: CallerStack, account: CallerAccount, platform: PlatformDep, body: Body, response: Response
) -> dict[str, Any]:
    current, patch = platform.workload(stack, workload_id), member(body, "workload")
    declare.check_version(patch, current, required=False)
    return await _redeclare(platform, account, stack, current, declare.merged(current, patch), response)


async def _redeclare(
    platform: PlatformDep, account: CallerAccount, stack: CallerStack, current: Declaration, wanted: dict[str, Any], response: Response
) -> dict[str, Any]:
    made = declare.redeclared(wanted, current, stack, platform.cities())
    state = await platform.core.change(
        platform.within_quota(declare.replace_with(current, made, by=account.name), stack), confirmed=frozenset([current.id])
    )
    _warn(response, made)
    return {"workload": shapes.workload(state, state.workloads[current.id])}


def _warn(response: Response, made: Parsed) -> None:
    """A header for each field that was accepted and has no effect (RFC 7234, section 5.5): an answer's body has no place for it."""
    for problem in made.unacted[:MOST_WARNINGS]:
        text = str(problem).encode("ascii", "replace").decode().replace("\\", "/").replace('"', "'")
        response.headers.append("warning", f'299 anypop "{"".join(c if c.isprintable() else "?" for c in text)[:300]}"')


@router.delete("/stacks/{stack_id}/workloads/{workload_id}", status_code=204)
async def delete_workload(workload_id: str, stack: CallerStack, platform: PlatformDep) -> Response:
    current = platform.workload(stack, workload_id)
    await platform.core.change(declare.delete(current.id), confirmed=frozenset([current.id]))
    return Response(status_code=204)


@router.get("/stacks/{stack_id}/workloads/{workload_id}/instances")
async def list_instances(request: Request, workload_id: str, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    found = shapes.instances(platform.core.state, platform.workload(stack, workload_id), platform.clock())
    return pages.page(found, request.query_params, lambda entry: entry[1])


@router.get("/stacks/{stack_id}/workloads/{workload_id}/instances/{name}")
async def get_instance(workload_id: str, name: str, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    state, declared, now = platform.core.state, platform.workload(stack, workload_id), platform.clock()
    for life, data in (*shapes.instances(state, declared, now), *shapes.incarnations(state, declared, now)):
        if name in (life.name, life.uid):
            return {"instance": data}
    raise NotFound(f"no instance {name}")

"""/anypop/v1/.../instances/{name}/power: virtual machines powered off and on, and started with another
image to mend them.

In: requests. Out: what an instance is to be; its host brings it about, and the instance tells how far it is.
StackPath's API has only `power/restart` (`workloads`). Containers have no disk that they could go on with, and are
refused.
"""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from anypop.api import running
from anypop.api.bodies import JsonBody
from anypop.api.context import AskingCaller, CallerStack, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.power import RescueRequest
from anypop.control import declare
from anypop.control.accounts import Stack
from anypop.control.refusals import Precondition
from anypop.model.machine import MachineImage, Power

WorkloadRef = Annotated[str, Path(description="id or slug")]
router = APIRouter(
    prefix="/anypop/v1/stacks/{stack_id}/workloads/{workload_id}/instances/{name}/power", tags=["workloads"]
)
InstanceRef = Annotated[str, Path(description="name or id")]


@router.post("/off", status_code=204)
@answers(None, Code.FAILED_PRECONDITION)
async def power_off(workload_id: WorkloadRef, name: InstanceRef, stack: CallerStack, platform: PlatformDep) -> Response:
    """Power a virtual machine off, and leave it off.

    Its guest is asked to shut down, and ended after the grace period. It keeps its place, its addresses and its disks,
    costs the same, and gets no traffic; an update leaves it off. Refused where others of its covering prefix would not
    be announced for that.
    """
    await _be(platform, stack, workload_id, name, state=Power.OFF)
    return Response(status_code=204)


@router.post("/on", status_code=204)
@answers(None, Code.FAILED_PRECONDITION)
async def power_on(workload_id: WorkloadRef, name: InstanceRef, stack: CallerStack, platform: PlatformDep) -> Response:
    """Power a virtual machine on.

    With its disks as they were when it was powered off. One that runs another image to be mended starts with its own.
    """
    await _be(platform, stack, workload_id, name, state=Power.ON)
    return Response(status_code=204)


@router.post("/rescue", status_code=204)
@answers(None, Code.FAILED_PRECONDITION)
async def rescue_instance(
    workload_id: WorkloadRef, name: InstanceRef, stack: CallerStack, caller: AskingCaller, platform: PlatformDep, *,
    body: Annotated[RescueRequest, Depends(JsonBody(RescueRequest))],
) -> Response:  # fmt: skip
    """Start a virtual machine with another image, to mend it.

    Its own root disk is then a further disk (serial number `own`), beside its volumes. It has its addresses, keys and
    console, and gets no traffic; what it writes beside its own disks is gone afterwards. `power/on` ends it.
    """
    image = await asyncio.to_thread(platform.image_named, body.image, caller, "image")
    await _be(platform, stack, workload_id, name, state=Power.ON, rescue=image)
    return Response(status_code=204)


async def _be(
    platform: Platform, stack: Stack, workload_id: str, name: str, *, state: Power, rescue: MachineImage | None = None
) -> None:  # fmt: skip
    declared = platform.workload(stack, workload_id)
    found = running.container(platform, declared, name, "")
    if not declared.workload.is_machine:
        raise Precondition(
            f"{found.instance} is made of containers: only a virtual machine is powered off; scale the workload instead"
        )
    await platform.core.change(declare.power(found.uid, state, rescue))

"""/workload/v1/.../instances/{name}/passwords/initial: the first password of a virtual machine, as its guest told it.

In: a request. Out: the password, once: control never keeps it, and its host has it no more afterwards. Nothing of it is
logged; that it was shown stands in the audit log.
"""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path

from anypop.api import running
from anypop.api.context import CallerStack, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.power import InitialPassword
from anypop.control.audit import Noted
from anypop.control.refusals import NotFound
from anypop.model.streams import PasswordRequest

WorkloadRef = Annotated[str, Path(description="id or slug")]
router = APIRouter(
    prefix="/workload/v1/stacks/{stack_id}/workloads/{workload_id}/instances/{name}/passwords", tags=["workloads"]
)
LONGEST = 4096


@router.get("/initial")
@answers(InitialPassword, Code.NOT_FOUND)
async def get_initial_password(
    workload_id: WorkloadRef,
    name: Annotated[str, Path(description="name or id")],
    stack: CallerStack,
    platform: PlatformDep,
) -> dict[str, str]:
    """Get the first password of a virtual machine, once.

    Its guest has told it to its host (`POST /openstack/latest/password` at 169.254.169.254, as cloudbase-init does),
    perhaps sealed with the first of its SSH keys. Asked again, it is 404: it is nowhere any more.
    """
    declared = platform.workload(stack, workload_id)
    found = running.container(platform, declared, name, "")
    if not declared.workload.is_machine:
        raise NotFound(f"{found.instance} is made of containers: it has no password")
    told = b""
    async with platform.streams.ask(found.host, PasswordRequest(uid=found.uid), stack.account_id) as there:
        # before it is read: what was shown is never without its entry
        noted = Noted(subject=found.instance, stack_id=stack.id, became={"shown": True})
        await asyncio.to_thread(platform.core.store.note, noted)
        while (piece := await there.receive()) is not None and len(told) < LONGEST:
            told += piece if isinstance(piece, bytes) else b""
    return {"password": told.decode(errors="replace")}

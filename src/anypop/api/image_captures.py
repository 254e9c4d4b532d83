"""/anypop/v1/.../images/{family}/{tag}/capture: an image made of a disk of a virtual machine of the same stack.

In: an instance, and which disk. Out: the image, IMPORTING; its host copies the disk and sends it, and the image tells
how far that is. What a root disk needs to begin (kernel, firmware, board) it has from the image that the machine runs,
and the variables of UEFI from the machine.
"""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from anypop.api import running
from anypop.api.bodies import JsonBody
from anypop.api.context import CallerStack, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.images import Family, Tag, answer, check_names, owner
from anypop.api.models.images import CaptureBody, CaptureImageRequest, ImageAnswer
from anypop.control.accounts import Stack
from anypop.control.image_rows import CapturedFrom, StoredPart
from anypop.control.machine_images import Wanted
from anypop.control.refusals import NotFound, Precondition
from anypop.control.state import Declaration
from anypop.model.errors import Invalid, Problem
from anypop.model.machine import Board, Firmware
from anypop.model.order import InstanceOrder

router = APIRouter(tags=["workloads"])


@router.post("/anypop/v1/stacks/{stack_id}/images/{family}/{tag}/capture")
@answers(ImageAnswer, Code.ALREADY_EXISTS, Code.FAILED_PRECONDITION, Code.RESOURCE_EXHAUSTED)
async def capture_image(
    family: Family, tag: Tag, stack: CallerStack, platform: PlatformDep,
    body: Annotated[CaptureImageRequest, Depends(JsonBody(CaptureImageRequest))],
) -> dict[str, Any]:  # fmt: skip
    """Make an image of a disk of a virtual machine of the stack, as it is now.

    Its host copies it beside the guest, which goes on; one that is powered off may be captured too. It is READY when
    the copy is here and verified.
    """
    problems = check_names(family, tag)
    if body.capture.firmware is not None and not body.capture.volume:
        problems.append(Problem(path="capture.firmware", message="is for a volume: a root disk has that of its image"))
    if problems:
        raise Invalid(problems)
    wanted = _wanted(platform, stack, body.capture)

    def create() -> dict[str, Any]:
        made = platform.machine_images.create(owner(platform, stack), family, tag, wanted)
        return answer(platform, stack, made)

    return await asyncio.to_thread(create)


def _wanted(platform: Platform, stack: Stack, asked: CaptureBody) -> Wanted:
    declared, found = _meant(platform, stack, asked.instance)
    if not declared.workload.is_machine:
        raise Precondition(f"{found.instance} is made of containers: it has no disk that a machine begins from")
    ordered = _ordered(platform, found)
    machine = ordered.machine if ordered is not None else None
    if ordered is None or machine is None or machine.image is None:
        raise Precondition(f"{found.instance} is not on its host yet, or not any more")
    source = CapturedFrom(instance=found.instance, uid=found.uid, host=found.host, claim=asked.volume)
    disk = StoredPart(name="disk", captured=source)
    if asked.volume:
        claims = sorted({mount.claim for one in ordered.containers for mount in one.mounts})
        if asked.volume not in claims:
            there = f"it has {', '.join(claims)}" if claims else "it has none"
            raise NotFound(f"{found.instance} has no volume {asked.volume}: {there}")
        firmware = Firmware(asked.firmware or Firmware.BIOS)
        return Wanted(description=asked.description, firmware=firmware, board=Board.Q35, cmdline="", parts=(disk,))
    image = machine.image
    if image.part("disk") is None and not image.disk_bytes:
        raise Precondition(f"{found.instance} has no root disk: its image is a kernel alone")
    others = [part for part in image.parts if part.name not in ("disk", "variables")]
    variables = [StoredPart(name="variables", captured=source)] if image.firmware is Firmware.UEFI else []
    return Wanted(
        description=asked.description, firmware=image.firmware, board=image.board, cmdline=image.cmdline,
        parts=(
            disk, *variables,
            *(StoredPart(name=part.name, size=part.size, sha256=part.sha256) for part in others),
        ),
        given={part.sha256: part.size for part in others},
    )  # fmt: skip


def _meant(platform: Platform, stack: Stack, instance: str) -> tuple[Declaration, running.Running]:
    """Raises `NotFound`, for another stack's too."""
    for declared in platform.core.state.in_stack(stack.id):
        try:
            return declared, running.container(platform, declared, instance, "")
        except NotFound:
            continue
    raise NotFound(f"no instance {instance} on stack {stack.slug}")


def _ordered(platform: Platform, found: running.Running) -> InstanceOrder | None:
    """As its host has been told of it."""
    issued = platform.core.state.orders.get(found.host)
    ordered = issued.order.instances if issued is not None else ()
    return next((one for one in ordered if one.uid == found.uid), None)

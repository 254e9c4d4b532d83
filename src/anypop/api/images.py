"""/workload/v1/.../images: the images of virtual machines of a stack; and below /anypop/v1 the bytes of their parts.

In: what an image consists of, then its bytes in pieces, or URLs that control fetches. Out: how each stands. It checks
what is asked for in itself; all else is `control.machine_images`'.
"""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response

from anypop.api import pages, shapes
from anypop.api.bodies import BYTES, JsonBody, RawBody
from anypop.api.context import CallerStack, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.images import (
    DeprecationRequest,
    Image,
    ImageAnswer,
    ImageBody,
    ImageChangeRequest,
    ImagePage,
    ImagePartAnswer,
    ImagePartBody,
    ImageRequest,
)
from anypop.api.parameters import whole
from anypop.control import outside
from anypop.control.accounts import Stack
from anypop.control.image_rows import CapturedFrom, ImageState, StoredImage, StoredPart, shown
from anypop.control.machine_images import Owner, Wanted
from anypop.control.refusals import NotFound
from anypop.model.errors import Invalid, Problem
from anypop.model.image_names import is_family, is_tag
from anypop.model.machine import Board, Firmware, PartName

router = APIRouter(tags=["workloads"])

Family = Annotated[str, Path(description="1 to 63 of a-z, 0-9, `.`, `_` and -")]
Tag = Annotated[str, Path(description="as a family, capitals too; for example `2024-06-01`")]
_NAME = "must be 1 to 63 of letters, digits, '.', '_' and '-', and begin and end with a letter or digit"
_ALL = "/workload/v1/stacks/{stack_id}/images"
_ONE = _ALL + "/{family}/{tag}"


@router.get(_ALL)
@answers(ImagePage)
async def list_images(query: pages.PageQuery, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    """List the images of virtual machines of a stack, by family, the newest first."""
    return await asyncio.to_thread(_page, platform, stack, "", query)


@router.get(_ALL + "/{family}")
@answers(ImagePage)
async def list_image_family(
    query: pages.PageQuery, family: Family, stack: CallerStack, platform: PlatformDep
) -> dict[str, Any]:
    """List the images of one family, the newest first."""
    return await asyncio.to_thread(_page, platform, stack, family, query)


@router.delete(_ALL + "/{family}", status_code=204)
@answers(None, Code.FAILED_PRECONDITION)
async def delete_image_family(family: Family, stack: CallerStack, platform: PlatformDep) -> Response:
    """Delete all images of a family, where no workload uses any of them."""

    def delete() -> None:
        found = platform.machine_images.of([stack.id], family)
        if not found:
            raise NotFound(f"no image family {family} on stack {stack.slug}")
        platform.machine_images.delete(owner(platform, stack), found)

    await asyncio.to_thread(delete)
    return Response(status_code=204)


@router.post(_ONE)
@answers(ImageAnswer, Code.ALREADY_EXISTS, Code.FAILED_PRECONDITION, Code.RESOURCE_EXHAUSTED)
async def create_image(
    family: Family, tag: Tag, stack: CallerStack, platform: PlatformDep,
    body: Annotated[ImageRequest, Depends(JsonBody(ImageRequest))],
) -> dict[str, Any]:  # fmt: skip
    """Create an image: say what it consists of.

    Parts with a URL are fetched by control; the others are sent afterwards, in pieces. It is READY when all of them are
    here and verified. One that FAILED may be created anew.
    """
    wanted = _wanted(body.image, family, tag)

    def create() -> dict[str, Any]:
        return answer(platform, stack, platform.machine_images.create(owner(platform, stack), family, tag, wanted))

    return await asyncio.to_thread(create)


@router.get(_ONE)
@answers(ImageAnswer)
async def get_image(family: Family, tag: Tag, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    """Get one image: how it stands, and how much of each part is here."""
    return await asyncio.to_thread(lambda: answer(platform, stack, platform.machine_images.one(stack.id, family, tag)))


@router.patch(_ONE)
@answers(ImageAnswer)
async def change_image(
    family: Family, tag: Tag, stack: CallerStack, platform: PlatformDep,
    body: Annotated[ImageChangeRequest, Depends(JsonBody(ImageChangeRequest))],
) -> dict[str, Any]:  # fmt: skip
    """Change what is said of an image.

    What it consists of never changes.
    """

    def change() -> dict[str, Any]:
        found = platform.machine_images.one(stack.id, family, tag)
        return answer(platform, stack, platform.machine_images.describe(found, body.image.description))

    return await asyncio.to_thread(change)


@router.delete(_ONE, status_code=204)
@answers(None, Code.FAILED_PRECONDITION)
async def delete_image(family: Family, tag: Tag, stack: CallerStack, platform: PlatformDep) -> Response:
    """Delete an image that no workload uses.

    What instances still run of it stays until they are gone.
    """

    def delete() -> None:
        found = platform.machine_images.one(stack.id, family, tag)
        platform.machine_images.delete(owner(platform, stack), [found])

    await asyncio.to_thread(delete)
    return Response(status_code=204)


@router.put(_ONE + "/deprecation")
@answers(ImageAnswer)
async def deprecate_image(
    family: Family, tag: Tag, stack: CallerStack, platform: PlatformDep,
    body: Annotated[DeprecationRequest, Depends(JsonBody(DeprecationRequest))],
) -> dict[str, Any]:  # fmt: skip
    """Deprecate an image, or take that back.

    Its family alone no longer means it, its tag still does.
    """
    why = body.deprecation.reason if body.deprecation.deprecated else None

    def deprecate() -> dict[str, Any]:
        found = platform.machine_images.one(stack.id, family, tag)
        return answer(platform, stack, platform.machine_images.deprecate(found, why))

    return await asyncio.to_thread(deprecate)


@router.put("/anypop/v1/stacks/{stack_id}/images/{family}/{tag}/parts/{part}")
@answers(ImagePartAnswer, Code.FAILED_PRECONDITION, Code.RESOURCE_EXHAUSTED)
async def write_image_part(
    family: Family, tag: Tag, stack: CallerStack, platform: PlatformDep, *,
    part: Annotated[PartName, Path(description="which file")],
    body: Annotated[bytes, Depends(RawBody({BYTES: bytes}))],
    offset: Annotated[int, whole(18), Query(description="where they begin: as many as are here", ge=0)] = 0,
) -> dict[str, Any]:  # fmt: skip
    """Send the next bytes of a part.

    When the answer comes they are on disk. Another offset than what is `received` is refused, so that a piece that was
    sent twice does no harm: ask for the image, and go on from there.
    """

    def write() -> dict[str, Any]:
        found = platform.machine_images.one(stack.id, family, tag)
        platform.machine_images.write(owner(platform, stack), found, part, offset, body)
        stored = next(p for p in found.parts if p.name == part)
        return {"part": _part(platform, found, stored)}

    return await asyncio.to_thread(write)


def owner(platform: Platform, stack: Stack) -> Owner:
    """Raises `NotFound` where the stack is gone."""
    found = platform.image_owner(stack.id)
    if found is None:
        raise NotFound(f"no stack {stack.slug}")
    return found


def _page(platform: Platform, stack: Stack, family: str, query: dict[str, str]) -> dict[str, Any]:
    found = platform.machine_images.of([stack.id], family)
    if family and not found:
        raise NotFound(f"no image family {family} on stack {stack.slug}")
    return pages.page(found, query, lambda image: _shown(platform, stack, image), Image)


def _wanted(body: ImageBody, family: str, tag: str) -> Wanted:
    """Raises `Invalid` with every problem."""
    problems = check_names(family, tag)
    sent = {name: part for name in ("disk", "kernel", "initrd") if (part := getattr(body.parts, name)) is not None}
    firmware = body.firmware or (Firmware.KERNEL if "kernel" in sent else Firmware.BIOS)
    board = body.board or Board.Q35
    direct = firmware is Firmware.KERNEL
    for wrong, path, message in (
        (direct and "kernel" not in sent, "image.parts.kernel", "is required for firmware KERNEL"),
        (not direct and "kernel" in sent, "image.firmware", "must be KERNEL where there is a kernel"),
        (not direct and "disk" not in sent, "image.parts.disk", "is required"),
        ("initrd" in sent and "kernel" not in sent, "image.parts.initrd", "needs a kernel beside it"),
        (bool(body.cmdline) and "kernel" not in sent, "image.cmdline", "needs a kernel"),
        (board is Board.MICROVM and not direct, "image.board", "MICROVM needs a kernel"),
    ):  # fmt: skip
        if wrong:
            problems.append(Problem(path=path, message=message))
    for name, part in sent.items():
        problems += _problems(part, f"image.parts.{name}")
    if problems:
        raise Invalid(problems)
    parts = tuple(
        StoredPart(name=name, size=None if p.url else p.size, sha256=p.sha256.lower(), url=p.url)  # type: ignore[arg-type]
        for name, p in sent.items()
    )
    return Wanted(description=body.description, firmware=firmware, board=board, cmdline=body.cmdline, parts=parts)


def check_names(family: str, tag: str) -> list[Problem]:
    """What is wrong with them."""
    problems = [] if is_family(family) else [Problem(path="family", message=f"{_NAME}; no capitals")]
    return problems if is_tag(tag) else [*problems, Problem(path="tag", message=_NAME)]


def _problems(part: ImagePartBody, path: str) -> list[Problem]:
    if not part.url:
        missing = [
            name for name, there in (("size", part.size is not None), ("sha256", bool(part.sha256))) if not there
        ]
        return [Problem(path=f"{path}.{name}", message="is required of what is sent (or a url)") for name in missing]
    try:
        outside.check_url(part.url)
    except Invalid as error:
        return [Problem(path=f"{path}.url", message=p.message) for p in error.problems]
    return []


def answer(platform: Platform, stack: Stack, image: StoredImage) -> dict[str, Any]:
    """One image."""
    return {"image": _shown(platform, stack, image)}


def _shown(platform: Platform, stack: Stack, image: StoredImage) -> dict[str, Any]:
    disk = image.state is ImageState.READY and image.disk_bytes
    deprecation = {
        "deprecated": image.deprecated_at is not None,
        "reason": image.deprecation or None,
        "at": shapes.moment(image.deprecated_at) if image.deprecated_at is not None else None,
    }
    return shapes.filled(
        {
            "id": image.id,
            "stackId": image.stack_id,
            "family": image.family,
            "tag": image.tag,
            "reference": f"{stack.slug}/{image.name}",
            "description": image.description or None,
            "status": image.state.value,
            "reason": image.reason or None,
            "firmware": image.firmware.value,
            "board": image.board.value,
            "cmdline": image.cmdline or None,
            "diskFormat": image.disk_format.value if disk else None,
            "diskBytes": str(image.disk_bytes) if disk else None,
            "parts": [_part(platform, image, part) for part in image.parts],
            "deprecation": shapes.filled(deprecation),
            "createdAt": shapes.moment(image.created_at),
            "updatedAt": shapes.moment(image.updated_at),
        }
    )


def _part(platform: Platform, image: StoredImage, part: StoredPart) -> dict[str, Any]:
    is_copied = part.captured is not None and part.name == "disk"
    copied, anew = platform.machine_images.copied(image) if is_copied else (None, None)
    return shapes.filled(
        {
            "name": part.name,
            "received": str(platform.machine_images.received(image, part)),
            "size": str(part.size) if part.size is not None else None,
            "sha256": part.sha256 or None,
            "url": shown(part.url) or None,
            "capturedFrom": _source(part.captured) if part.captured is not None else None,
            "copied": copied,
            "begunAnew": anew,
            "whole": part.whole,
        }
    )


def _source(captured: CapturedFrom) -> dict[str, Any]:
    return shapes.filled({"instance": captured.instance, "volume": captured.claim or None})

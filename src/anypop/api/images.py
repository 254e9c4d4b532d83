"""/workload/v1/.../images: the images of virtual machines that a stack has: none yet.

In: a stack. Out: an empty page, which clients read as that. What would change something is refused by `not_here`.
"""

from typing import Any

from fastapi import APIRouter

from anypop.api import pages
from anypop.api.context import CallerStack
from anypop.api.documentation import answers
from anypop.api.models.workloads import Image, ImagePage

router = APIRouter(prefix="/workload/v1", tags=["workloads"])


@router.get("/stacks/{stack_id}/images")
@answers(ImagePage)
async def list_images(query: pages.PageQuery, _: CallerStack) -> dict[str, Any]:
    """List the images of virtual machines: there are none."""
    return pages.page([], query, dict, Image)

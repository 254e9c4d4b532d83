"""/anypop/v1/.../timeline: where the time of a deployment went, from its acceptance to the first neighbour that has it.

In: a workload. Out: what control knows of it (`control.timelines`).
"""

from typing import Annotated, Any

from fastapi import APIRouter, Path

from anypop.api.context import CallerStack, PlatformDep
from anypop.api.documentation import answers
from anypop.api.models.timelines import Timeline
from anypop.control.timelines import timeline

router = APIRouter(prefix="/anypop/v1/stacks/{stack_id}/workloads/{workload_id}", tags=["workloads"])


@router.get("/timeline")
@answers(Timeline)
async def get_timeline(
    workload_id: Annotated[str, Path(description="id or slug")], stack: CallerStack, platform: PlatformDep
) -> dict[str, Any]:
    """Get when each instance of a workload came how far, and by whose clock."""
    state = platform.core.state
    return timeline(state, platform.workload(stack, workload_id))

"""/anypop/v1/.../watch: a workload's instances as they change, as server-sent events.

In: a workload. Out: a stream (WHATWG HTML, section 9.2): `{"instances": [...]}` at once and after each change, a comment as a sign of life
in between, and the end when the workload is gone or control stops.
"""

import json
from collections.abc import AsyncIterator

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from anypop.api import shapes
from anypop.api.context import Here, In, Platform
from anypop.control.core import ANY_CHANGE
from anypop.model.names import WorkloadId

router = APIRouter(prefix="/anypop/v1/stacks/{stack_id}/workloads/{workload_id}")

SIGN_OF_LIFE_S = 10.0  # below the idle limit of every usual middlebox


@router.get("/watch")
async def watch(workload_id: str, stack: In, here: Here) -> StreamingResponse:
    found = here.workload(stack, workload_id)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_states(here, found.id), media_type="text/event-stream", headers=headers)


async def _states(here: Platform, workload_id: WorkloadId) -> AsyncIterator[str]:
    told = ""
    while not here.core.bell.closed:
        state = here.core.state
        declared = state.workloads.get(workload_id)
        if declared is None:
            yield "event: gone\ndata: {}\n\n"
            return
        seen = json.dumps({"instances": [data for _, data in shapes.instances(state, declared, here.clock())]})
        if seen != told:
            told = seen
            yield f"event: instances\ndata: {seen}\n\n"
        # While the client was slow to read, there may have been news already.
        if here.core.state is state and not await here.core.bell.wait(ANY_CHANGE, SIGN_OF_LIFE_S):
            yield ": still here\n\n"

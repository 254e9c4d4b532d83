"""/anypop/v1/.../watch: a workload's instances as they change, as server-sent events.

In: a workload. Out: a stream (WHATWG HTML, section 9.2): `{"instances": [...]}` at once and after each change, a
comment as a sign of life in between, and the end when the workload is gone or control stops.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Hashable
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import StreamingResponse

from anypop.api import glances, lasting, shapes, slots
from anypop.api.context import AskingCaller, CallerStack, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.models.rollouts import WatchedInstances
from anypop.api.parameters import whole
from anypop.api.rollouts import data_of, newest_of, rollouts_of, status
from anypop.control.core import of_host, of_workload
from anypop.control.state import Declaration, State
from anypop.model.names import WorkloadId

router = APIRouter(prefix="/anypop/v1/stacks/{stack_id}/workloads/{workload_id}", tags=["workloads"])

# Changes come in bursts (eight instances start at once); a table drawn 50 times a second is as live as an eye can see.
PACE_S = 0.02
SIGN_OF_LIFE_S = 10.0  # below the idle limit of every usual middlebox


@router.get("/watch")
@answers(WatchedInstances, media_type="text/event-stream")
async def watch_instances(
    *,
    workload_id: Annotated[str, Path(description="id or slug")],
    stack: CallerStack,
    caller: AskingCaller,
    platform: PlatformDep,
    first: Annotated[int, whole(9), Query(description="how many of them, by name; 0: all", ge=0)] = 0,
    after: Annotated[int, whole(9), Query(description="so many are left out before them", ge=0)] = 0,
) -> StreamingResponse:
    """Watch a workload's instances.

    Server-sent events: `instances` with all of them at once and after each change, or with one page of them; `gone`
    when the workload is not there any more; `ended`, with why, when the caller may watch no longer; a comment is a sign
    of life.
    """
    found = platform.workload(stack, workload_id)
    page = slice(after, after + first if first else None)
    return await lasting.watched(platform, caller, _states(platform, found.id, page))


async def _states(platform: Platform, workload_id: WorkloadId, page: slice) -> AsyncIterator[str]:
    told: object = None
    while not platform.core.bell.closed:
        state = platform.core.state
        declared = state.workloads.get(workload_id)
        if declared is None:
            yield "event: gone\ndata: {}\n\n"
            return
        seen = _sources(state, declared)
        if seen != told:
            told = seen
            show = shapes.instance_of(state, declared)
            instances = [show(life) for life in slots.slots(slots.lives(state, declared, platform.clock()))[page]]
            # the instances themselves, in place of how many there are
            data = {**status(state, declared), "instances": instances}
            data["summary"] = glances.of(state, declared, platform.clock())
            if (rollout := newest_of(state, declared)) is not None:
                data["rollout"] = data_of(state, rollout)
            yield f"event: instances\ndata: {json.dumps(data)}\n\n"
            await asyncio.sleep(PACE_S)
        # While the client was slow to read, there may have been news already.
        if platform.core.state is state and not await platform.core.bell.wait_any(
            topics_of(state, declared), SIGN_OF_LIFE_S
        ):
            yield ": still here\n\n"


def topics_of(state: State, declared: Declaration) -> list[Hashable]:
    """What a workload's instances follow from: itself, and the reports of its hosts."""
    lives = [p.incarnation for p in state.incarnations_of(declared.id).values()]
    lives += [t.incarnation for t in state.tombstones_of(declared.id).values()]
    return [of_workload(declared.id), *{of_host(life.host) for life in lives}]


def _sources(state: State, declared: Declaration) -> tuple[object, ...]:
    """All that a workload's instances follow from, to be compared: far cheaper than making the answer after each change
    of anything.
    """
    living = [p.incarnation for p in state.incarnations_of(declared.id).values()]
    leaving = [t.incarnation for t in state.tombstones_of(declared.id).values()]
    uids = {life.uid for life in (*living, *leaving)}
    hosts = sorted({life.host for life in (*living, *leaving)})
    reported = [
        tuple(i for i in r.report.instances if i.uid in uids) if (r := state.reports.get(host)) else None
        for host in hosts
    ]
    trusted = [v.trusted if (v := state.verdict.hosts.get(host)) else None for host in hosts]
    return declared, living, leaving, reported, trusted, rollouts_of(state, declared.id)

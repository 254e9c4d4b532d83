"""/anypop/v1/stacks/.../summaries: workloads with how many of their instances are in which phase, and where.

In: a page's parameters, or the workloads to watch. Out: for each of them what a list of many shows, counted here:
whoever asked for the instances of each of a thousand workloads would ask a thousand times, and throw nearly all of it
away. However many watch, each state of control is counted once.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Hashable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from anypop.api import glances, lasting, pages
from anypop.api.context import AskingCaller, CallerStack, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.models.summaries import NamedWorkload, Summary, SummaryPage
from anypop.api.watch import SIGN_OF_LIFE_S, topics_of
from anypop.control.accounts import Stack
from anypop.control.state import Declaration
from anypop.model.errors import Invalid
from anypop.model.names import WorkloadId

router = APIRouter(prefix="/anypop/v1/stacks/{stack_id}", tags=["workloads"])

MOST_WATCHED = 100
PACE_S = 0.2  # numbers that change more often than that nobody reads


@router.get("/summaries")
@answers(SummaryPage)
async def list_summaries(query: pages.PageQuery, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    """List the workloads of a stack at a glance.

    By name, with how many instances of each are in which phase, and where. Filters and sorts know `id`, `name`, `slug`,
    `createdAt` and `anycast` (`anycast!=''`: those that have such an address).
    """
    state, now = platform.core.state, platform.clock()

    def by_id(ref: str) -> list[Declaration]:
        one = state.workloads.get(WorkloadId(ref))
        return [one] if one is not None and one.stack_id == stack.id else []

    def named(declared: Declaration) -> dict[str, Any]:
        return glances.named(state, declared)

    by_name = sorted(state.in_stack(stack.id), key=lambda declared: (glances.name_of(declared), declared.id))
    found = pages.page(by_name, query, named, NamedWorkload, by_id=by_id)
    whole = [glances.of(state, state.workloads[one["id"]], now) for one in found["results"]]
    return {"pageInfo": found["pageInfo"], "results": whole}


@router.get("/summaries/watch")
@answers(Summary, media_type="text/event-stream")
async def watch_summaries(
    stack: CallerStack,
    caller: AskingCaller,
    platform: PlatformDep,
    workloads: Annotated[str, Query(description=f"ids or slugs with commas between them, at most {MOST_WATCHED}")] = "",
) -> StreamingResponse:
    """Watch workloads at a glance.

    Server-sent events: `summary` with one of them, of each at once and after each change; `gone` with the `ref` of one
    that is not there any more; `ended`, with why, when the caller may watch no longer; a comment is a sign of life.
    """
    refs = tuple(dict.fromkeys(filter(None, workloads.split(","))))
    if not refs or len(refs) > MOST_WATCHED:
        raise Invalid.one("workloads", f"must name 1 to {MOST_WATCHED} workloads, with commas between them")
    return await lasting.watched(platform, caller, _watched(platform, stack, refs))


async def _watched(platform: Platform, stack: Stack, refs: Sequence[str]) -> AsyncIterator[str]:
    told: dict[str, dict[str, Any]] = {}
    living = list(refs)
    while living and not platform.core.bell.closed:
        state, now = platform.core.state, platform.clock()
        topics: set[Hashable] = set()
        news = False
        for ref in tuple(living):
            declared = state.find(stack.id, ref)
            if declared is None:
                living.remove(ref)
                yield f"event: gone\ndata: {json.dumps({'ref': ref})}\n\n"
                continue
            topics.update(topics_of(state, declared))
            if told.get(ref) != (seen := glances.of(state, declared, now)):
                told[ref], news = seen, True
                yield f"event: summary\ndata: {json.dumps(seen)}\n\n"
        if news:
            await asyncio.sleep(PACE_S)
        if living and platform.core.state is state and not await platform.core.bell.wait_any(topics, SIGN_OF_LIFE_S):
            yield ": still here\n\n"

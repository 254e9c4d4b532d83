"""/anypop/v1/events: what happened, as it was stored, and what happens from now on.

In: how many, between which, of what. Out: events, oldest first; or a stream of them (server-sent events). A tenant sees
those of its own stacks, the operator all.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from anypop.api import lasting
from anypop.api.context import AskingCaller, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.excerpts import ExcerptDep
from anypop.api.models.platform import Event, Events
from anypop.api.parameters import whole
from anypop.control.accounts import Caller
from anypop.control.core import ANY_CHANGE
from anypop.model.errors import Invalid
from anypop.model.events import EventKind
from anypop.model.limits import LONGEST_NAME
from anypop.model.names import StackId

router = APIRouter(prefix="/anypop/v1", tags=["platform"])

MOST = 1000
_KINDS = frozenset(EventKind)
PACE_S = 0.05  # changes come in bursts: one look serves all of a burst
SIGN_OF_LIFE_S = 10.0  # below the idle limit of every usual middlebox


@router.get("/events")
@answers(Events, Code.NOT_FOUND)
async def list_events(
    caller: AskingCaller,
    platform: PlatformDep,
    excerpt: ExcerptDep,
    *,
    kind: Annotated[str, Query(description="only of this kind", max_length=LONGEST_NAME)] = "",
    stack: Annotated[
        str, Query(description="only of this stack of the caller's, by id or slug", max_length=LONGEST_NAME)
    ] = "",
) -> dict[str, Any]:
    """List the newest events, oldest first; a tenant sees those of its own stacks."""
    if kind and kind not in _KINDS:
        raise Invalid.one("kind", "is no kind of event; docs/api.md lists them")
    own = [platform.stack_of(caller, stack).id] if stack else _own(platform, caller)
    events = platform.core.store.events
    return {"results": await asyncio.to_thread(events, stacks=own, excerpt=excerpt, kind=kind)}


@router.get("/events/watch")
@answers(Event, media_type="text/event-stream")
async def watch_events(
    caller: AskingCaller,
    platform: PlatformDep,
    after: Annotated[int, whole(15), Query(description="those with a higher id; default: from now on", ge=0)] = 0,
) -> StreamingResponse:
    """Watch what happens.

    Server-sent events: `event` with each of them, in their order; `ended`, with why, when the caller may watch no
    longer; a comment is a sign of life.
    """
    if not after:
        newest = await _stored(platform, caller, 0, 1)
        after = newest[-1]["id"] if newest else 0
    return await lasting.watched(platform, caller, _as_they_come(platform, caller, after))


async def _as_they_come(platform: Platform, caller: Caller, after: int) -> AsyncIterator[str]:
    core = platform.core
    while not core.bell.closed:
        state = core.state
        while found := await _stored(platform, caller, after, MOST, first=True):
            after = found[-1]["id"]
            for row in found:
                yield f"event: event\ndata: {json.dumps(row)}\n\n"
        if core.state is state and not await core.bell.wait(ANY_CHANGE, SIGN_OF_LIFE_S):
            yield ": still here\n\n"
        await asyncio.sleep(PACE_S)


async def _stored(
    platform: Platform, caller: Caller, after: int, limit: int, *, first: bool = False
) -> list[dict[str, Any]]:
    events = platform.core.store.events
    own = _own(platform, caller)
    return list(await asyncio.to_thread(events, after=after, limit=limit, stacks=own, first=first))


def _own(platform: Platform, caller: Caller) -> list[StackId] | None:
    return None if caller.account.operator else [stack.id for stack in platform.stacks_of(caller)]

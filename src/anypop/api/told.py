"""Anything that control can show, as a stream: at once, and again whenever it has become another.

In: a name for the events, and a function that makes what is shown from what control knows now. Out: server-sent events
(WHATWG HTML, section 9.2), a comment as a sign of life in between, `gone` and the end where it is not there any more,
`ended` where whoever watches may do so no longer (`lasting`). What is the same to its reader is told once.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from math import inf
from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import StreamingResponse

from anypop.api import lasting
from anypop.api.context import Platform
from anypop.api.parameters import whole
from anypop.control.accounts import Caller
from anypop.control.core import ANY_CHANGE, Core

# many hosts report in one moment: one look serves a burst
PACE_S = 0.1
SIGN_OF_LIFE_S = 10.0  # below the idle limit of every usual middlebox

LongestS = Annotated[
    int, whole(6), Query(description="seconds after which the stream ends; 0: when the client leaves", ge=0)
]


def _as_it_is(shown: Any) -> Any:
    return shown


async def stream(
    platform: Platform,
    caller: Caller,
    name: str,
    look: Callable[[], Any],
    *,
    longest_s: int = 0,
    same: Callable[[Any], Any] = _as_it_is,
) -> StreamingResponse:
    """`look`: None where it is gone. `same`: what of it makes it another, without what the clock alone changes."""
    return await lasting.watched(platform, caller, told(platform.core, name, look, longest_s=longest_s, same=same))


async def told(
    core: Core, name: str, look: Callable[[], Any], *, longest_s: int = 0, same: Callable[[Any], Any] = _as_it_is
) -> AsyncIterator[str]:
    """The events of it."""
    last, over_at = "", time.monotonic() + longest_s if longest_s else inf
    while not core.bell.closed and (left := over_at - time.monotonic()) > 0:
        state = core.state
        shown = look()
        if shown is None:
            yield "event: gone\ndata: {}\n\n"
            return
        now = json.dumps(same(shown))
        if now != last:
            last = now
            yield f"event: {name}\ndata: {json.dumps(shown)}\n\n"
        # while the client was slow to read, there may have been news already
        if core.state is state and not await core.bell.wait(ANY_CHANGE, min(left, SIGN_OF_LIFE_S)):
            yield ": still here\n\n"
        await asyncio.sleep(PACE_S)

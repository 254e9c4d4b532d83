"""Answers that go on for as long as somebody watches, and no longer than what let them in (`control.held_open`).

In: who asks, pieces of an answer as they come. Out: the response; where access ends first its last piece says why, and
then it ends, soon also for a client that does not read. What was opened for it is closed at its end.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TypeVar

from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from anypop.api.context import Platform
from anypop.control import acts
from anypop.control.accounts import Caller
from anypop.control.refusals import Unauthenticated

LAST_WORDS_S = 2.0  # for a client that reads; one that does not is cut off then
Piece = TypeVar("Piece", str, bytes)
Over = asyncio.Future[str]


def held(platform: Platform, caller: Caller, *, subject: str = "") -> AbstractAsyncContextManager[Over]:
    """What this request asks for is open for the caller from now to the end of the block. `subject`: as the audit log
    will name it; default: as the request does.
    """
    act = acts.current()
    assert act is not None and act.operation, "who asks is known by now"
    return platform.held_open.hold(
        caller, act.operation, subject or act.subject, with_token=platform.standby is not None
    )  # fmt: skip


async def watched(platform: Platform, caller: Caller, states: AsyncIterator[str]) -> StreamingResponse:
    """Server-sent events."""
    async with AsyncExitStack() as opened:
        over = await opened.enter_async_context(held(platform, caller))
        headers = {
            "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store", "x-accel-buffering": "no",
        }  # fmt: skip
        return Lasting(until(over, states, _ended), over, opened.pop_all(), headers=headers)


def _ended(why: str) -> str:
    return f"event: ended\ndata: {json.dumps({'message': why})}\n\n"


class Lasting(StreamingResponse):
    """Pieces, and at their end, however it comes, the end of all that was opened for them. `is_cut`: asked at their
    end; true: there was more, and the answer breaks off, so that nobody takes it for whole.
    """

    def __init__(
        self,
        pieces: AsyncIterator[Piece],
        over: Over,
        opened: AsyncExitStack,
        *,
        headers: dict[str, str],
        last_words_s: float = LAST_WORDS_S,
        is_cut: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(pieces, headers=headers)
        self._over, self._opened, self._last_words_s, self._is_cut = over, opened, last_words_s, is_cut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        break_off = (scope.get("state") or {}).get("break_off")

        async def to_its_end(message: Message) -> None:
            if break_off is not None and not message.get("more_body", True) and self._is_cut():
                break_off()
                return
            await send(message)

        async with self._opened:
            sending = asyncio.ensure_future(super().__call__(scope, receive, to_its_end))
            try:
                await asyncio.wait((sending, self._over), return_when=asyncio.FIRST_COMPLETED)
                await asyncio.wait((sending,), timeout=self._last_words_s)
            finally:
                sending.cancel()
                await asyncio.wait((sending,))
            if not sending.cancelled():
                sending.result()


async def until(over: Over, source: AsyncIterator[Piece], last: Callable[[str], Piece]) -> AsyncIterator[Piece]:
    """What comes from `source`; and when it is over, the words for that."""
    pieces = aiter(source)
    while True:
        following = asyncio.ensure_future(anext(pieces))
        try:
            await asyncio.wait((following, over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            following.cancel()  # no news to one that is done
            await asyncio.wait((following,))
        if over.done():
            yield last(over.result())
            return
        try:
            piece = following.result()
        except StopAsyncIteration:
            return
        yield piece


def refuse_what_is_over(over: Over) -> None:
    """Raises `Unauthenticated` where it ended before it began."""
    if over.done():
        raise Unauthenticated(over.result())

"""Counts every request that is answered, and for how long its answer was worked on.

In: requests. Out: the same requests, and numbers by operation in `Counts`. What waits on purpose (an agent's long poll,
a watch, a log that is followed) is counted without its time, which would say nothing. It changes no answer.
"""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from anypop.control.metrics.counts import Counts

WAITING = frozenset({"get_order", "wait_for_operation", "read_logs"})
UNKNOWN = "unknown"


class Counted:
    """Beneath everything that answers without an operation."""

    def __init__(self, app: ASGIApp, *, counts: Counts) -> None:
        self._app = app
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        loop, status = asyncio.get_running_loop(), 500  # what is never answered is our fault
        began = loop.time()

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            operation = getattr(scope.get("route"), "name", UNKNOWN)
            waits = operation in WAITING or operation.startswith("watch_")
            self._counts.requested(operation, status, None if waits else loop.time() - began)

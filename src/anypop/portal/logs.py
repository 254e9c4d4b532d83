"""The logs of a stack, a workload or an instance: the page, the lines that its script asks for, and those that come.

In: what to show and what narrows it. Out: the page with its filters; lines as JSON, page by page, the newest first; a
stream of those that are written now, for the one tab that is looked at; all that is kept, as a file. The text of lines
is data from here to the script, which never makes markup of it.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from urllib.parse import urlencode

from starlette.responses import Response, StreamingResponse

from anypop.portal import shields
from anypop.portal.calls import Event, events_in
from anypop.portal.visit import Page, Visit

STACK = "/portal/stacks/{stack}/logs"
LEVELS = ("trace", "debug", "info", "warning", "error", "fatal")
TIMES = {"15m": "15 minutes", "1h": "hour", "6h": "6 hours", "1d": "day", "7d": "week"}
NARROWS = ("workload", "instance", "text", "level", "since")
SIGN_OF_LIFE_S = 10.0
LISTED = 100  # workloads to choose from; where there are more, any of them is written


async def shown(visit: Visit) -> Response:
    """The page; its lines are asked for by its script."""
    stack = visit.request.path_params["stack"]
    asked = {name: visit.request.query_params.get(name, "").strip() for name in NARROWS}
    if asked["level"] not in LEVELS:
        asked["level"] = ""
    if asked["since"] not in TIMES:
        asked["since"] = ""
    found = await visit.api.get("workload/v1/stacks", stack, "workloads", **{"page_request.first": LISTED})
    slugs = sorted(one["slug"] for one in found["results"])
    if asked["workload"] and asked["workload"] not in slugs:
        one = await visit.api.get("workload/v1/stacks", stack, "workloads", asked["workload"])  # or it is not there
        asked["workload"] = one["workload"]["slug"]
    given = {name: value for name, value in asked.items() if value}
    return visit.page(
        "logs.html", stack=stack, asked=asked, slugs=slugs, levels=LEVELS, times=TIMES, query=urlencode(given),
        all_listed=not found["pageInfo"]["hasNextPage"],
        whole=urlencode([(name, given[name]) for name in ("workload", "instance") if name in given]),
        filtered=any(asked[name] for name in ("instance", "text", "level", "since")),
    )  # fmt: skip


async def lines(visit: Visit) -> Response:
    """One page of lines."""
    # as the API has it: to read a thousand lines and write them again would cost as much as to find them
    found = await visit.api.text("anypop/v1/stacks", visit.request.path_params["stack"], "logs", **_query(visit))
    return Response(found, media_type="application/json", headers=shields.of_page(visit.nonce))


async def stream(visit: Visit) -> Response:
    """Lines as they are written."""
    stack = visit.request.path_params["stack"]
    pieces = visit.api.pieces("anypop/v1/stacks", stack, "logs", "watch", **_query(visit))
    await anext(pieces)  # refused now, or not at all
    headers = {**shields.of_page(visit.nonce), "x-accel-buffering": "no"}
    return StreamingResponse(_told(events_in(pieces)), media_type="text/event-stream", headers=headers)


async def download(visit: Visit) -> Response:
    """All that is kept."""
    stack, query = visit.request.path_params["stack"], _query(visit)
    pieces = visit.api.pieces("anypop/v1/stacks", stack, "logs", "download", **query)
    await anext(pieces)  # refused now, or not at all
    name = "-".join((str(query.get("instance") or query.get("workload") or stack), "logs.txt"))
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-.") else "-" for c in name)
    headers = {**shields.of_page(visit.nonce), "content-disposition": f'attachment; filename="{kept}"'}
    return StreamingResponse(_closed(pieces), media_type="text/plain", headers=headers)


async def _closed(pieces: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            yield piece


def _query(visit: Visit) -> dict[str, str]:
    given = visit.request.query_params
    return {name: given[name] for name in (*NARROWS, "until", "limit") if given.get(name)}


async def _told(events: AsyncGenerator[Event, None]) -> AsyncIterator[str]:
    """The API's events, a sign of life where there are none, and at the end why there are no more."""
    yield "event: alive\ndata: {}\n\n"
    coming: asyncio.Task[Event | None] = asyncio.ensure_future(_next(events))
    try:
        while True:
            done, _ = await asyncio.wait((coming,), timeout=SIGN_OF_LIFE_S)
            if not done:
                yield "event: alive\ndata: {}\n\n"
                continue
            if (event := coming.result()) is None:
                return
            yield f"event: {event.name}\ndata: {json.dumps(event.data)}\n\n"
            if event.name == "ended":
                return
            coming = asyncio.ensure_future(_next(events))
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        await events.aclose()


async def _next(events: AsyncGenerator[Event, None]) -> Event | None:
    return await anext(events, None)


PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", STACK, shown),
    ("GET", f"{STACK}/lines", lines),
    ("GET", f"{STACK}/stream", stream),
    ("GET", f"{STACK}/download", download),
)

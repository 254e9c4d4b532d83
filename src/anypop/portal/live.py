"""What is on the screen as it changes: one stream for a whole browser, whichever tabs are open.

In: topics, one for each thing that some tab shows (`row:STACK:WORKLOAD`, `workload:STACK:WORKLOAD`). Out: server-sent
events, each with a topic and the piece of page that belongs there now, at once and after each change. The id of an
event says what has been sent of every topic, so that whoever comes again gets only what differs. It hears of changes by
the API's own streams, and ends with the session.
"""

import asyncio
import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import Response, StreamingResponse

from anypop.portal import shields, workloads
from anypop.portal.calls import Refused
from anypop.portal.visit import Visit, rendered
from anypop.portal.workload import told

MOST_TOPICS = 120  # twelve tabs with a page of rows would be more, of which most are the same
MOST_STREAMS = 6  # of one session: each browser has one, and one more while it changes what it wants
PACE_S = 0.2  # a screen that changes five times in a second is as live as anybody reads
SIGN_OF_LIFE_S = 10.0
AGAIN_MS = 1000

_open: Counter[str] = Counter()


async def stream(visit: Visit) -> Response:
    """Raises `Refused` for topics that are none, and for too many."""
    query = visit.request.query_params
    topics = tuple(dict.fromkeys(query.getlist("topic")))
    wrong = [topic for topic in topics if topic.count(":") != 2 or topic.split(":")[0] not in ("row", "workload")]
    if not topics or wrong or len(topics) > MOST_TOPICS:
        raise Refused(400, f"a stream has 1 to {MOST_TOPICS} topics: row:STACK:WORKLOAD or workload:STACK:WORKLOAD")
    if _open[visit.secret] >= MOST_STREAMS:
        raise Refused(429, "this session has too many streams open", wait_s=2)
    last = visit.request.headers.get("last-event-id") or query.get("last", "")
    headers = {**shields.of_page(visit.nonce), "x-accel-buffering": "no"}
    return StreamingResponse(_events(visit, topics, _known(last)), media_type="text/event-stream", headers=headers)


async def _events(visit: Visit, topics: tuple[str, ...], known: dict[str, str]) -> AsyncIterator[str]:
    news: asyncio.Queue[tuple[str, str]] = asyncio.Queue(maxsize=1)
    _open[visit.secret] += 1
    watching = [asyncio.create_task(_watch(visit, topic, news)) for topic in topics]
    watching.append(asyncio.create_task(_session(visit, news)))
    sent: dict[str, str] = {}
    try:
        yield f"retry: {AGAIN_MS}\n\n"
        while True:
            topic, html = await news.get()
            if topic == "":
                yield f"event: {html or 'signed-out'}\ndata: {{}}\n\n"
                if html:
                    continue
                return
            digest = _digest(html)
            key = _digest(topic)
            if sent.get(key, known.get(key)) == digest:
                sent[key] = digest
                continue
            sent[key] = digest
            told_so_far = ".".join(f"{k}-{v}" for k, v in sent.items())
            yield f"id: {told_so_far}\ndata: {json.dumps({'topic': topic, 'html': html})}\n\n"
    finally:
        for task in watching:
            task.cancel()
        _open[visit.secret] -= 1
        if not _open[visit.secret]:
            del _open[visit.secret]
        for task in watching:
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _known(last: str) -> dict[str, str]:
    """What a browser has already, from the id of the last event that it got."""
    pairs = [part.partition("-") for part in last.split(".")[: MOST_TOPICS + 1]]
    return {key: digest for key, _, digest in pairs if digest}


async def _session(visit: Visit, news: "asyncio.Queue[tuple[str, str]]") -> None:
    """A sign of life, as long as the session counts."""
    while True:
        await asyncio.sleep(SIGN_OF_LIFE_S)
        try:
            await visit.api.get("anypop/v1/who-am-i")
        except Refused as refused:
            if refused.status == 401:
                await news.put(("", ""))
                return
        await news.put(("", "alive"))


async def _watch(visit: Visit, topic: str, news: "asyncio.Queue[tuple[str, str]]") -> None:
    """One topic, to the end of its workload."""
    kind, stack, ref = topic.split(":")
    place = ("workload/v1/stacks", stack, "workloads", ref)
    try:
        async for event in visit.api.events("anypop/v1/stacks", stack, "workloads", ref, "watch"):
            if event.name == "ended":  # what let the browser in has
                await news.put(("", ""))
                return
            if event.name != "instances":
                break
            declared = (await visit.api.get(*place))["workload"]
            await news.put((topic, _piece(visit, kind, stack, declared, event.data)))
            await asyncio.sleep(PACE_S)
    except Refused as refused:
        if refused.status == 401:
            await news.put(("", ""))
            return
        if refused.status != 404:
            return  # the next look of the page says why
    await news.put((topic, rendered("gone.html", kind=kind, slug=ref)))


def _piece(visit: Visit, kind: str, stack: str, declared: Any, data: Any) -> str:
    if kind == "row":
        leaving = "deleteRequestedAt" in declared["metadata"]
        return rendered("row.html", stack=stack, row=workloads.row(declared, data["instances"], leaving=leaving))
    shown = told(declared, data["instances"], revision=data["revision"], rollout=data.get("rollout"))
    return rendered("live.html", stack=stack, visit=visit, **shown)

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
import re
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeAlias

from starlette.responses import Response, StreamingResponse

from anypop.portal import landing_map, shields, workloads
from anypop.portal.calls import Refused, SignedOut
from anypop.portal.visit import Visit, rendered
from anypop.portal.workload import PAGE, told

MOST_TOPICS = 120  # twelve tabs with a page of rows would be more, of which most are the same
MOST_STREAMS = 6  # of one session: each browser has one, and one more while it changes what it wants
MAP_PACE_S = 0.5  # a map asks for more than a row
PACE_S = 0.2  # a screen that changes five times in a second is as live as anybody reads
SIGN_OF_LIFE_S = 10.0
AGAIN_MS = 1000
ROWS = 100  # that one stream of the API tells of
TOPIC = re.compile(
    r"row:[^:,]{1,64}:[^:,]{1,64}|workload:[^:,]{1,64}:[^:,]{1,64}(:[0-9]{1,8})?|map:[^:,]{1,64}:[^:,]{1,64}"
)

_open: Counter[str] = Counter()

News: TypeAlias = "asyncio.Queue[tuple[str, str]]"


async def stream(visit: Visit) -> Response:
    """Raises `Refused` for topics that are none, and for too many."""
    query = visit.request.query_params
    topics = tuple(dict.fromkeys(query.getlist("topic")))
    wrong = [topic for topic in topics if not TOPIC.fullmatch(topic)]
    if not topics or wrong or len(topics) > MOST_TOPICS:
        raise Refused(
            400,
            f"a stream has 1 to {MOST_TOPICS} topics: row:STACK:WORKLOAD, workload:STACK:WORKLOAD[:FROM] or "
            "map:STACK:WORKLOAD",
        )
    if _open[visit.secret] >= MOST_STREAMS:
        raise Refused(429, "this session has too many streams open", wait_s=2)
    last = visit.request.headers.get("last-event-id") or query.get("last", "")
    headers = {**shields.of_page(visit.nonce), "x-accel-buffering": "no"}
    return StreamingResponse(_events(visit, topics, _known(last)), media_type="text/event-stream", headers=headers)


async def _events(visit: Visit, topics: tuple[str, ...], known: dict[str, str]) -> AsyncIterator[str]:
    news: News = asyncio.Queue(maxsize=1)
    _open[visit.secret] += 1
    watching = [asyncio.create_task(watch) for watch in _watches(visit, topics, news)]
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


async def _session(visit: Visit, news: News) -> None:
    """A sign of life, as long as the session counts."""
    while True:
        await asyncio.sleep(SIGN_OF_LIFE_S)
        try:
            with contextlib.suppress(Refused):  # it is there, and busy
                await visit.api.get("anypop/v1/who-am-i")
        except SignedOut:
            await news.put(("", ""))
            return
        await news.put(("", "alive"))


def _watches(visit: Visit, topics: tuple[str, ...], news: News) -> Iterator[Coroutine[Any, Any, None]]:
    """Rows of one stack by one stream of the API, each workload's page by one of its own."""
    rows: dict[str, list[str]] = {}
    for topic in topics:
        kind, stack, ref = topic.split(":")[:3]
        if kind == "row":
            rows.setdefault(stack, []).append(ref)
        elif kind == "map":
            yield _guarded(_map(visit, topic, news), news)
        else:
            yield _guarded(_workload(visit, topic, news), news)
    for stack, refs in rows.items():
        for at in range(0, len(refs), ROWS):
            yield _guarded(_rows(visit, stack, refs[at : at + ROWS], news), news)


async def _guarded(watch: Coroutine[Any, Any, None], news: News) -> None:
    try:
        await watch
    except SignedOut:
        await news.put(("", ""))
    except Refused:
        pass  # the next look of the page says why


async def _rows(visit: Visit, stack: str, refs: list[str], news: News) -> None:
    """Summaries, to the end of all these workloads."""
    living = list(refs)
    try:
        async for event in visit.api.events("anypop/v1/stacks", stack, "summaries", "watch", workloads=",".join(refs)):
            match event.name:
                case "summary":
                    ref = event.data["id"] if event.data["id"] in refs else event.data["slug"]
                    html = rendered("row.html", stack=stack, row=workloads.row(event.data))
                    await news.put((f"row:{stack}:{ref}", html))
                case "gone":
                    living.remove(event.data["ref"])
                    await news.put((f"row:{stack}:{event.data['ref']}", _gone("row", event.data["ref"])))
                case "ended":  # what let the browser in has
                    await news.put(("", ""))
                    return
    except Refused as refused:
        if refused.status != 404:
            raise
        for ref in living:  # the stack is gone
            await news.put((f"row:{stack}:{ref}", _gone("row", ref)))


def _gone(kind: str, ref: str) -> str:
    return rendered("gone.html", kind=kind, slug=ref)


async def _workload(visit: Visit, topic: str, news: News) -> None:
    """One page of one workload, to its end."""
    _, stack, ref, *at = topic.split(":")
    begin = int(at[0]) if at else 0
    try:
        page = {"first": PAGE, "after": begin}
        async for event in visit.api.events("anypop/v1/stacks", stack, "workloads", ref, "watch", **page):
            if event.name == "ended":
                await news.put(("", ""))
                return
            if event.name != "instances":
                break
            declared = (await visit.api.get("workload/v1/stacks", stack, "workloads", ref))["workload"]
            data = event.data
            shown = told(
                declared, data["instances"], counted=data["summary"], status=data, rollout=data.get("rollout"),
                begin=begin,
            )  # fmt: skip
            await news.put((topic, rendered("live.html", stack=stack, visit=visit, **shown)))
            await asyncio.sleep(PACE_S)
    except Refused as refused:
        if refused.status != 404:
            raise
    await news.put((topic, _gone("workload", ref)))


async def _map(visit: Visit, topic: str, news: News) -> None:
    """The map of one workload, to its end: after each change of its instances and of what is rolled out."""
    _, stack, ref = topic.split(":")
    try:
        async for event in visit.api.events("anypop/v1/stacks", stack, "workloads", ref, "watch", first=1):
            if event.name == "ended":
                await news.put(("", ""))
                return
            if event.name != "instances":
                break
            declared = (await visit.api.get("workload/v1/stacks", stack, "workloads", ref))["workload"]
            await news.put((topic, await landing_map.piece(visit, stack, declared, event.data.get("rollout"))))
            await asyncio.sleep(MAP_PACE_S)
    except Refused as refused:
        if refused.status != 404:
            raise
    await news.put((topic, _gone("map", ref)))

"""/workload/v1/.../logs: what a container says, as it stands on its host.

In: an instance and the parameters of the Workload API. Out: the log itself as text, to its end or followed. The host
reads it; control passes it on piece by piece, no faster than the client reads, and keeps nothing.
"""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import StreamingResponse

from anypop.api import lasting, running
from anypop.api.context import AskingCaller, CallerStack, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.workloads import WorkloadId
from anypop.control.streams import Socket
from anypop.model.errors import Invalid, Problem
from anypop.model.streams import LogRequest

router = APIRouter(prefix="/workload/v1", tags=["workloads"])

LONGEST_NUMBER = 15  # digits
NEVER = datetime(1, 1, 1, tzinfo=UTC)  # what clients written in Go send for a time that they were not given


async def parameters(
    *,
    follow: Annotated[str, Query(description="true: go on with what it says from now on, until it ends")] = "",
    previous: Annotated[str, Query(description="true: of the container's life before this one")] = "",
    since_seconds: Annotated[str, Query(description="leave out what is older, in seconds")] = "",
    since_time: Annotated[str, Query(description="leave out what is older than a moment (RFC 3339)")] = "",
    timestamps: Annotated[str, Query(description="true: begin each line with its moment")] = "",
    tail_lines: Annotated[str, Query(description="the last so many lines")] = "",
    limit_bytes: Annotated[str, Query(description="end after so many bytes")] = "",
) -> dict[str, str]:
    return {
        "follow": follow, "previous": previous, "since_seconds": since_seconds, "since_time": since_time,
        "timestamps": timestamps, "tail_lines": tail_lines, "limit_bytes": limit_bytes,
    }  # fmt: skip


@router.get("/stacks/{stack_id}/workloads/{workload_id}/instances/{name}/logs")
@answers(str, Code.FAILED_PRECONDITION, media_type="text/plain")
async def read_logs(
    *,
    workload_id: WorkloadId,
    name: Annotated[str, Path(description="name or id")],
    stack: CallerStack,
    caller: AskingCaller,
    platform: PlatformDep,
    asked: Annotated[dict[str, str], Depends(parameters)],
    container_name: Annotated[str, Query(description="default: the first one")] = "",
) -> StreamingResponse:
    """Read the log of a container.

    Of what is kept on its host, 20 MiB at most. With `follow` it goes on until the container ends. Where the caller may
    read no longer, or the host is lost, a last line says so, and the answer breaks off without an end of its body.
    """
    found = running.container(platform, platform.workload(stack, workload_id), name, container_name)
    wanted = log_request(asked, uid=found.uid, container=found.name, now=platform.clock())
    async with contextlib.AsyncExitStack() as opened:
        over = await opened.enter_async_context(lasting.held(platform, caller))
        there = await opened.enter_async_context(platform.streams.ask(found.host, wanted, caller.account.id))
        lasting.refuse_what_is_over(over)
        # no charset: a log is whatever bytes a program has written
        headers = {"content-type": "text/plain", "cache-control": "no-store"}
        pieces = lasting.until(over, _pieces(there), _ended)
        return lasting.Lasting(
            pieces, over, opened.pop_all(), headers=headers, is_cut=lambda: over.done() or not there.said_all
        )


async def _pieces(there: Socket) -> AsyncIterator[bytes]:
    while (piece := await there.receive()) is not None:
        if isinstance(piece, bytes):
            yield piece
    if not there.said_all:
        yield _ended("its host has ended the connection")


def _ended(why: str) -> bytes:
    return f"\nanypop: this log is read no further: {why}\n".encode()


def log_request(asked: dict[str, str], *, uid: str, container: str, now: float) -> LogRequest:
    """What the query asks for. Raises `Invalid` with all that is wrong."""
    problems: list[Problem] = []
    numbers = {n: _number(asked[n], n, problems) for n in ("since_seconds", "tail_lines", "limit_bytes")}
    flags = {n: running.flag(asked[n], n, problems) for n in ("follow", "previous", "timestamps")}
    since = _moment(asked["since_time"], problems)
    if since is not None and numbers["since_seconds"]:
        problems.append(Problem(path="since_time", message="and since_seconds exclude each other"))
    if flags["follow"] and flags["previous"]:
        problems.append(Problem(path="follow", message="goes not with previous: that life is over"))
    if problems:
        raise Invalid(problems)
    if numbers["since_seconds"]:
        since = now - numbers["since_seconds"]
    return LogRequest(
        uid=uid, container=container, follow=flags["follow"], previous=flags["previous"],
        timestamps=flags["timestamps"], since=since, tail=numbers["tail_lines"],
        most_bytes=numbers["limit_bytes"] or None,
    )  # fmt: skip


def _number(text: str, path: str, problems: list[Problem]) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER):
        problems.append(Problem(path=path, message="must be a whole number, 0 or more"))
        return None
    return int(text)


def _moment(text: str, problems: list[Problem]) -> float | None:
    """Seconds since the epoch; None: not given."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        problems.append(Problem(path="since_time", message="must be a moment like 2026-01-31T10:00:00Z"))
        return None
    known: Any = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return None if known <= NEVER else float(known.timestamp())

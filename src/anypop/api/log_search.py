"""/anypop/v1/.../logs: lines of all instances of a workload or of a stack, searched, watched, or downloaded whole.

In: whose logs, what is searched for. Out: lines in the order of time, and which hosts do not tell theirs. Hosts search
in their own files and send hits alone (`control.log_search`); of a download each log comes as it is, one after another.
Control keeps nothing of it.
"""

import contextlib
import json
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response, StreamingResponse

from anypop.api import lasting, running
from anypop.api.context import AskingCaller, CallerStack, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.models.logs import FoundLines, WatchedLines
from anypop.api.parameters import whole
from anypop.control.accounts import Stack
from anypop.control.log_search import DOWNLOADS_OF_ACCOUNT, Row, Silent, Skipped
from anypop.control.refusals import NotFound, Refused
from anypop.control.state import Declaration
from anypop.model.errors import Invalid, Problem, WorldError
from anypop.model.log_text import Level, level_named
from anypop.model.names import CityCode, HostName, InstanceName
from anypop.model.plan import Incarnation
from anypop.model.streams import FindRequest, LogRequest, WatchLogsRequest

router = APIRouter(prefix="/anypop/v1/stacks/{stack_id}/logs", tags=["workloads"])

USUAL, MOST = 200, 5000
SIGN_OF_LIFE_S = 10.0
LONGEST_HELD = 1 << 20  # of a line without an end
NS = 1_000_000_000
_AGO = re.compile(r"(\d{1,7})([smhd])", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Whose lines are meant, and which of them; moments in nanoseconds since the epoch."""

    workload: str = ""
    instance: str = ""
    container: str = ""
    pop: str = ""
    text: str = ""
    level: Level | None = None
    since: int | None = None
    until: int | None = None


async def parameters(
    *,
    platform: PlatformDep,
    workload: Annotated[str, Query(description="id or slug; default: all of the stack")] = "",
    instance: Annotated[str, Query(description="name or id of one")] = "",
    container: Annotated[str, Query(description="name; default: all of them")] = "",
    pop: Annotated[str, Query(description="city code; default: all of them")] = "",
    text: Annotated[str, Query(description="stands in the line, capitals or not; it is no pattern")] = "",
    level: Annotated[
        str, Query(description="at least: trace, debug, info, warning, error, fatal; lines that tell none are left out")
    ] = "",
    since: Annotated[str, Query(description="RFC 3339, or how long ago (30s, 10m, 2h, 1d): lines from then on")] = "",
    until: Annotated[str, Query(description="RFC 3339, or how long ago: lines before it")] = "",
) -> Asked:
    """Raises `Invalid` with all that is wrong."""
    problems: list[Problem] = []
    named = level_named(level) if level else None
    if level and named is None:
        problems.append(Problem(path="level", message="must be trace, debug, info, warning, error or fatal"))
    now = int(platform.clock() * NS)
    first, last = (_moment(value, name, now, problems) for value, name in ((since, "since"), (until, "until")))
    if problems:
        raise Invalid(problems)
    return Asked(
        workload=workload, instance=instance, container=container, pop=pop.upper(), text=text, level=named,
        since=first, until=last,
    )  # fmt: skip


AskedDep = Annotated[Asked, Depends(parameters)]


@router.get("")
@answers(FoundLines)
async def search_logs(
    *,
    stack: CallerStack,
    caller: AskingCaller,
    platform: PlatformDep,
    asked: AskedDep,
    limit: Annotated[
        int, whole(4, default=USUAL), Query(description="so many lines, or some more of one moment", ge=1, le=MOST)
    ] = USUAL,
) -> Response:
    """Search the lines of logs, the newest first.

    Of what is kept on the hosts: 20 MiB of a container at most, and of its life before this one.
    """
    lives = _lives(platform, stack, asked)
    wanted = FindRequest(
        uids=(), container=asked.container, text=asked.text, level=asked.level, since=asked.since, until=asked.until,
        most=limit,
    )  # fmt: skip
    found = await platform.log_search.find(_by_host(lives), wanted, caller.account.id)
    answer: dict[str, Any] = {
        "lines": [_line(row, lives[row.uid]) for row in found.lines],
        "cut": found.cut,
        "silent": [_silent(platform, one) for one in found.silent],
    }
    if found.cut and found.back_to:
        answer["back_to"] = moment_of(found.back_to)
    # as ASCII: a program may write what is no text at all
    return Response(json.dumps(answer, allow_nan=False), media_type="application/json")


@router.get("/watch")
@answers(WatchedLines, media_type="text/event-stream")
async def watch_logs(
    stack: CallerStack, caller: AskingCaller, platform: PlatformDep, asked: AskedDep
) -> StreamingResponse:
    """Watch the lines of logs as they are written.

    Server-sent events: `lines` with the oldest first, from now on or from `since`, and `silent`: hosts that tell none
    now, with an empty `message` one that does again; `ended`, with why, when the caller may watch no longer; a comment
    is a sign of life. Instances that start meanwhile are among them. Where more is written than a reader takes, what is
    older is passed over, which `skipped` tells. `until` has no meaning here.
    """
    _lives(platform, stack, asked)
    return await lasting.watched(platform, caller, _states(platform, stack, asked, caller.account.id))


@router.get("/download")
@answers(str, media_type="text/plain")
async def download_logs(
    stack: CallerStack, caller: AskingCaller, platform: PlatformDep, asked: AskedDep
) -> StreamingResponse:
    """Download all that is kept of logs.

    One container after another, each line with its moment, the instance and the container; what cannot be had is told
    where it would stand. Neither `text` nor `level`, `since` and `until` narrow it.
    """
    lives = _lives(platform, stack, asked)
    name = "-".join(part for part in (asked.instance or asked.workload or stack.slug, "logs") if part)
    headers = {
        "content-type": "text/plain", "cache-control": "no-store", "x-content-type-options": "nosniff",
        "content-disposition": f'attachment; filename="{re.sub(r"[^A-Za-z0-9.-]", "-", name)}.txt"',
    }  # fmt: skip
    async with contextlib.AsyncExitStack() as opened:
        opened.enter_context(platform.log_search.counted("downloads", caller.account.id, DOWNLOADS_OF_ACCOUNT))
        over = await opened.enter_async_context(lasting.held(platform, caller))
        lasting.refuse_what_is_over(over)
        pieces = _whole(platform, lives, asked, caller.account.id)
        return lasting.Lasting(lasting.until(over, pieces, _ended), over, opened.pop_all(), headers=headers)


def _ended(why: str) -> bytes:
    return f"\nanypop: this log is read no further: {why}\n".encode()


async def _states(platform: Platform, stack: Stack, asked: Asked, account: str) -> AsyncIterator[str]:
    lives: dict[str, _Life] = {}

    def meant() -> Mapping[HostName, tuple[str, ...]]:
        with contextlib.suppress(NotFound):  # it is deleted: its last lines may still come
            now = _lives(platform, stack, asked)
            lives.update(now)
            return _by_host(now)
        return {}

    wanted = WatchLogsRequest(
        uids=(), container=asked.container, text=asked.text, level=asked.level,
        since=asked.since if asked.since is not None else int(platform.clock() * NS),
    )  # fmt: skip
    quiet_since = time.monotonic()
    yield ": watched from here on\n\n"
    async with contextlib.aclosing(platform.log_search.watch(meant, wanted, account)) as batches:
        async for batch in batches:
            if platform.core.bell.closed:
                return
            if not batch:
                if time.monotonic() - quiet_since > SIGN_OF_LIFE_S:
                    quiet_since = time.monotonic()
                    yield ": still here\n\n"
                continue
            quiet_since = time.monotonic()
            yield f"event: lines\ndata: {json.dumps(_told(platform, batch, lives), allow_nan=False)}\n\n"


def _told(platform: Platform, batch: list[Row | Skipped | Silent], lives: "Mapping[str, _Life]") -> dict[str, Any]:
    return {
        "lines": [_line(one, lives[one.uid]) for one in batch if isinstance(one, Row)],
        "skipped": [
            {"instance": lives[one.uid].life.name, "container": one.container, "bytes": one.size}
            for one in batch
            if isinstance(one, Skipped)
        ],
        "silent": [_silent(platform, one) for one in batch if isinstance(one, Silent)],
    }


async def _whole(platform: Platform, lives: "Mapping[str, _Life]", asked: Asked, account: str) -> AsyncIterator[bytes]:
    for one in sorted(lives.values(), key=lambda one: (one.life.name, one.life.life)):
        for container in one.containers(platform):
            if asked.container not in ("", container):
                continue
            label = f" {one.life.name} {container} ".encode()
            wanted = LogRequest(uid=one.life.uid, container=container, timestamps=True)
            try:
                async with platform.streams.ask(one.life.host, wanted, account, one_of_many=True) as there:
                    rest = b""
                    while (piece := await there.receive()) is not None:
                        if isinstance(piece, bytes):
                            *entries, rest = (rest + piece).split(b"\n")
                            if len(rest) > LONGEST_HELD:
                                entries, rest = [*entries, rest], b""
                            yield b"".join(_labelled(entry, label) for entry in entries)
                    if rest:
                        yield _labelled(rest, label)
            except (Refused, WorldError, Invalid) as error:
                yield f"anypop: of {one.life.name} {container} nothing is here: {error}\n".encode()


def _labelled(entry: bytes, label: bytes) -> bytes:
    moment, _, text = entry.partition(b" ")
    return moment + label + text + b"\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Life:
    declared: Declaration
    life: Incarnation

    def containers(self, platform: Platform) -> list[str]:
        revision = platform.core.state.revision(self.declared.id, self.life.revision) or self.declared.newest
        return running.names_in(revision)


def _lives(platform: Platform, stack: Stack, asked: Asked) -> dict[str, _Life]:
    """The incarnations that are meant, by uid; those that are being taken down too: their last words matter most.
    Raises `NotFound`.
    """
    state = platform.core.state
    declared = [platform.workload(stack, asked.workload)] if asked.workload else state.in_stack(stack.id)
    found = {
        life.uid: _Life(declared=one, life=life)
        for one in declared
        for life in (
            *(placed.incarnation for placed in state.incarnations_of(one.id).values()),
            *(buried.incarnation for buried in state.tombstones_of(one.id).values()),
        )
        if asked.instance in ("", life.name, life.uid) and asked.pop in ("", life.pop)
    }
    if asked.instance and not found:
        raise NotFound(f"no instance {asked.instance}")
    return found


def _by_host(lives: Mapping[str, _Life]) -> Mapping[HostName, tuple[str, ...]]:
    by_host: dict[HostName, list[str]] = defaultdict(list)
    for uid in sorted(lives):
        by_host[lives[uid].life.host].append(uid)
    return {host: tuple(uids) for host, uids in by_host.items()}


def _line(row: Row, one: _Life) -> dict[str, Any]:
    name: InstanceName = one.life.name
    line: dict[str, Any] = {
        "at": moment_of(row.at),
        "workload": one.declared.workload.slug,
        "instance": name,
        "container": row.container,
        "pop": one.life.pop,
        "stream": "stderr" if row.errors else "stdout",
        "text": row.text,
    }
    if row.level is not None:
        line["level"] = row.level
    if row.said is not None:
        said = {"time": row.said[0], "message": row.said[1], "fields": row.said[2]}
        line |= {key: value for key, value in said.items() if value}
    return line


def _silent(platform: Platform, one: Silent) -> dict[str, str]:
    hosts = {host.name: pop.city for pop, host in platform.core.state.network.hosts()}
    return {"host": one.host, "pop": hosts.get(one.host, CityCode("")), "message": one.why}


def moment_of(at: int) -> str:
    """RFC 3339 with nanoseconds, UTC."""
    return f"{_second(at // NS)}.{at % NS:09d}Z"


@lru_cache(maxsize=64)  # lines come by the thousand in one
def _second(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S}"


def _moment(text: str, path: str, now: int, problems: list[Problem]) -> int | None:
    """Nanoseconds since the epoch; None: not given, or wrong."""
    if not text:
        return None
    if (ago := _AGO.fullmatch(text)) is not None:
        return max(0, now - int(ago[1]) * _UNITS[ago[2]] * NS)
    try:
        found = _MOMENT.fullmatch(text)
        if found is None:
            raise ValueError
        second = datetime.fromisoformat(found[1] + (found[3] or "Z")).timestamp()
    except (ValueError, OverflowError):
        problems.append(Problem(path=path, message="must be a moment like 2026-01-31T10:00:00Z, or 30s, 10m, 2h, 1d"))
        return None
    return max(0, int(second) * NS + int((found[2] or "").ljust(9, "0") or 0))

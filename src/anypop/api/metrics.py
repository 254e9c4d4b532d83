"""/workload/v1/.../metrics: what the instances of a stack use, now or over time.

In: the parameters of the Workload API. Out: of now series of one value each, asked of the hosts when the call comes; of
a time that has passed what the store of metrics or the hosts have kept (`metrics_history`). A host that does not answer
is named; where none does, there are no metrics.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from anypop.api import shapes
from anypop.api.context import CallerAccount, CallerStack, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.metrics_history import Window, history, number
from anypop.api.models.metrics import Metrics
from anypop.api.regions import PLACES, Region, lies_in
from anypop.control.accounts import Stack
from anypop.control.refusals import Refused
from anypop.control.state import Declaration
from anypop.control.streams import Socket
from anypop.model.codec import from_json
from anypop.model.errors import Invalid, Problem, WorldError
from anypop.model.names import HostName
from anypop.model.plan import Incarnation
from anypop.model.streams import USED_IN_FRAME, InstanceUse, Used, UseRequest

router = APIRouter(prefix="/workload/v1", tags=["workloads"])

UNABLE = "Unable to get metrics at this time"  # the words that the API's clients know
AT_ONCE = 16  # hosts asked side by side: half of the streams that an account may have open
OF_NOW_S = 60.0  # so far a window may end before now, or after it, and still mean now: clients' clocks differ
NO_HISTORY = "no history of this time is kept"

Words = Mapping[str, Sequence[str]]
WORDS: Words = {
    "type": ("BANDWIDTH", "INSTANCE"),
    "granularity": ("DEFAULT", "PT1M", "PT5M", "PT1H", "P1D"),
    "region": Region.__args__,  # type: ignore[attr-defined]
    "group_by": ("NONE", "INSTANCE_NAME"),
    "grouping": ("NONE", "INSTANCE_NAME"),
}


def _of(name: str) -> Any:
    return Query(alias=name, description=f"{', '.join(WORDS[name])}; the first is the default")


async def parameters(
    *,
    workload_id: Annotated[str, Query(description="id or slug; default: all of the stack")] = "",
    instance_name: Annotated[str, Query(description="of one instance")] = "",
    pop: Annotated[str, Query(description="the code of a city")] = "",
    start_date: Annotated[str, Query(description="RFC 3339; default: now")] = "",
    end_date: Annotated[str, Query(description="RFC 3339; default: now")] = "",
    kind: Annotated[str, _of("type")] = "",
    granularity: Annotated[str, _of("granularity")] = "",
    region: Annotated[str, _of("region")] = "",
    group_by: Annotated[str, _of("group_by")] = "",
    grouping: Annotated[str, _of("grouping")] = "",
) -> dict[str, str]:
    return {
        "workload_id": workload_id, "instance_name": instance_name, "pop": pop, "start_date": start_date,
        "end_date": end_date, "type": kind, "granularity": granularity, "region": region, "group_by": group_by,
        "grouping": grouping,
    }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the query asks for. `now`: the window holds this moment; `before`: also what was long before it."""

    bandwidth: bool
    each: bool
    region: str
    pop: str
    instance: str
    now: bool
    before: bool
    since: float
    until: float
    granularity: str


@router.get("/stacks/{stack_id}/metrics")
@answers(Metrics)
async def get_metrics(
    *,
    stack: CallerStack,
    account: CallerAccount,
    platform: PlatformDep,
    query: Annotated[dict[str, str], Depends(parameters)],
) -> dict[str, Any]:
    """Get what instances use, now or from `start_date` to `end_date`.

    `BANDWIDTH`: bits in a second, by PoP and direction. `INSTANCE`: processor in cores, memory in bytes. With
    `INSTANCE_NAME` of each instance, else of all of a workload in a PoP together.
    """
    asked = read(query, platform.clock())
    declared = [platform.workload(stack, query["workload_id"])] if query["workload_id"] else None
    warnings: list[str] = []
    if asked.region not in PLACES:
        warnings.append(f"region {asked.region} is no place, and no PoP lies in it")
    if asked.before or not asked.now:
        window = Window(
            since=asked.since, until=asked.until, granularity=asked.granularity, bandwidth=asked.bandwidth,
            each=asked.each, region=asked.region, pop=asked.pop, instance=asked.instance,
        )  # fmt: skip
        past, missing = await history(platform, stack, declared[0] if declared else None, window, account.id)
        if missing and not past:
            raise WorldError(UNABLE, "; ".join(missing))
        warnings = [*([] if past else [NO_HISTORY]), *warnings, *missing]
        return shapes.filled({"status": "SUCCESS", "data": {"matrix": {"results": past}}, "warnings": warnings})
    wanted = list(_lives(platform, stack, declared, asked))
    used, silent = await _asked_of_hosts(platform, wanted, account.id)
    if silent and not used:
        raise WorldError(UNABLE, "; ".join(silent))
    series = list(_series(wanted, used, asked, platform.clock()))
    found = {"status": "SUCCESS", "data": {"matrix": {"results": series}}, "warnings": [*warnings, *silent]}
    return shapes.filled(found)


def read(query: Mapping[str, str], now: float) -> Asked:
    """What is asked for. Raises `Invalid` with all that is wrong."""
    problems: list[Problem] = []
    said = {name: _word(query[name], name, words, problems) for name, words in WORDS.items()}
    start, end = (_moment(query[name], name, problems) for name in ("start_date", "end_date"))
    if end is not None and end > now + OF_NOW_S:
        problems.insert(0, Problem(path="", message=UNABLE))
        problems.append(Problem(path="end_date", message="is in the future"))
    if start is not None and start > (end if end is not None else now + OF_NOW_S):
        problems.append(Problem(path="start_date", message="is after the end"))
    if problems:
        raise Invalid(problems)
    return Asked(
        bandwidth=said["type"] == "BANDWIDTH",
        each="INSTANCE_NAME" in (said["group_by"], said["grouping"]),
        region=said["region"],
        pop=query["pop"].upper(),
        instance=query["instance_name"],
        now=end is None or end >= now - OF_NOW_S,
        before=start is not None and start < now - OF_NOW_S,
        since=start if start is not None else (end if end is not None else now) - OF_NOW_S,
        until=min(end, now) if end is not None else now,
        granularity=said["granularity"],
    )


def _word(text: str, path: str, words: Sequence[str], problems: list[Problem]) -> str:
    """One of the words, in any case; the first where nothing was said."""
    found = text.upper() or words[0]
    if found not in words:
        problems.append(Problem(path=path, message=f"is {text[:40]!r}; it may be {', '.join(words)}"))
    return found


def _moment(text: str, path: str, problems: list[Problem]) -> float | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        problems.append(Problem(path=path, message="must be a moment like 2026-01-31T10:00:00Z"))
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Life:
    slug: str
    life: Incarnation


def _lives(platform: Platform, stack: Stack, declared: list[Declaration] | None, asked: Asked) -> Iterator[_Life]:
    """The incarnations that are meant, those being taken down left out."""
    state = platform.core.state
    for one in declared if declared is not None else state.in_stack(stack.id):
        for placed in state.incarnations_of(one.id).values():
            life = placed.incarnation
            is_meant = asked.instance in ("", life.name) and asked.pop in ("", life.pop)
            if is_meant and lies_in(asked.region, life.pop):
                yield _Life(slug=one.workload.slug, life=life)


async def _asked_of_hosts(
    platform: Platform, wanted: Iterable[_Life], account: str
) -> tuple[dict[str, InstanceUse], list[str]]:
    """What each incarnation uses, by uid, and of each host that does not tell, why."""
    by_host: dict[HostName, list[str]] = defaultdict(list)
    for one in wanted:
        by_host[one.life.host].append(one.life.uid)
    places = asyncio.Semaphore(AT_ONCE)

    async def ask(host: HostName, uids: list[str]) -> list[InstanceUse] | str:
        try:
            if len(by_host) > 1:  # one that is dead slows nobody who asks for more than what runs there
                platform.streams.check_hears(host)
            async with places, platform.streams.ask(host, UseRequest(uids=tuple(uids)), account) as there:
                async with asyncio.timeout(platform.streams.patience_s):
                    return [one async for part in _parts(there, len(uids)) for one in part.instances]
        except (Refused, WorldError, Invalid, TimeoutError) as error:
            return f"host {host} tells nothing now: {error or 'it is too slow'}"

    answered = dict(zip(by_host, await asyncio.gather(*(ask(h, uids) for h, uids in by_host.items())), strict=True))
    used = {
        # of its own instances alone, whatever it says
        one.uid: one
        for host, told in answered.items()
        if not isinstance(told, str)
        for one in told
        if one.uid in by_host[host]
    }
    return used, [told for _, told in sorted(answered.items()) if isinstance(told, str)]


async def _parts(there: Socket, most: int) -> AsyncIterator[Used]:
    """What a host tells, to its end; of a host that goes on and on, no more than there can be."""
    for _ in range(0, most, USED_IN_FRAME):
        if not (told := await there.receive()):
            return
        yield from_json(Used, told)


def _series(
    wanted: Iterable[_Life], used: Mapping[str, InstanceUse], asked: Asked, now: float
) -> Iterator[dict[str, Any]]:
    """One for each thing that is measured, by PoP and workload, or by instance. An instance of which several
    incarnations run, since it is being replaced, counts with all of them.
    """
    sums: dict[tuple[tuple[str, str], ...], float] = defaultdict(float)
    for one in wanted:
        if (told := used.get(one.life.uid)) is None:
            continue
        place = [("pop", one.life.pop), ("workload", one.slug)]
        place += [("instance_name", one.life.name)] if asked.each else []
        for what, value in _bandwidth(told) if asked.bandwidth else _use(told):
            if value is not None:
                sums[(*what, *place)] += max(0.0, value)
    for metric, value in sorted(sums.items()):
        yield {"metric": dict(metric), "values": [{"unixTime": str(int(now)), "value": number(value)}]}


Measured = tuple[tuple[tuple[str, str], ...], float | None]


def _bandwidth(told: InstanceUse) -> Iterator[Measured]:
    for direction, value in (("in", told.received_per_s), ("out", told.sent_per_s)):
        what = (("name", "bandwidth"), ("unit", "bits per second"), ("direction", direction))
        yield what, None if value is None else 8 * value


def _use(told: InstanceUse) -> Iterator[Measured]:
    yield (("name", "cpu"), ("unit", "cores")), None if told.cpu_millis is None else told.cpu_millis / 1000
    yield (("name", "memory"), ("unit", "bytes")), told.memory_bytes

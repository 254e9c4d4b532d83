"""/anypop/v1/usage: instance-hours and what they cost so far, by workload.

In: a caller or a stack, and from when to when. Out: sums over what the store has kept of each instance that ran; of
workloads that are gone too. Nothing is estimated: what began and ended is known to the moment.
"""

import asyncio
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query

from anypop.api import shapes
from anypop.api.context import AskingCaller, CallerStack, OperatorAccount, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.usage import Usage
from anypop.control.accounts import Stack
from anypop.control.costs import used_until
from anypop.control.kept_sums import KeptSums
from anypop.control.refusals import NotFound
from anypop.control.usage import HOUR_S, Used
from anypop.control.usage_months import month_of
from anypop.model.errors import Invalid, Problem

router = APIRouter(prefix="/anypop/v1", tags=["prices"])

LATEST = 253_402_300_799.0  # the end of the year 9999
Kept = tuple[KeptSums, float, float]
"""Sums that are kept up, with the begin and the end of their span."""


async def parameters(
    *,
    workload: Annotated[str, Query(description="id or slug of one, also of one that is gone")] = "",
    since: Annotated[str, Query(description="RFC 3339; default: since it is metered")] = "",
    until: Annotated[str, Query(description="RFC 3339; default: now")] = "",
) -> dict[str, str]:
    return {"workload": workload, "since": since, "until": until}


AskedDep = Annotated[dict[str, str], Depends(parameters)]


@router.get("/usage")
@answers(Usage)
async def get_usage(caller: AskingCaller, platform: PlatformDep, asked: AskedDep) -> dict[str, Any]:
    """Get what the caller's stacks have used, and its cost."""
    return await _usage(platform, _slugs(platform.stacks_of(caller)), asked)


@router.get("/accounts/{account_id}/usage")
@answers(Usage, Code.NOT_FOUND)
async def get_account_usage(
    account_id: Annotated[str, Path(description="an account's id")],
    _: OperatorAccount,
    platform: PlatformDep,
    asked: AskedDep,
) -> dict[str, Any]:
    """Get what an account's stacks have used, and its cost.

    Also of an account that was deleted: its stacks are shown by their ids.
    """
    metered = await asyncio.to_thread(platform.metering.stacks_of, account_id)
    if not metered and not platform.accounts.has_account(account_id):
        raise NotFound(f"no account {account_id}")
    return await _usage(
        platform, dict(zip(metered, metered, strict=True)) | _slugs(platform.accounts.stacks(account_id)), asked
    )


@router.get("/stacks/{stack_id}/usage")
@answers(Usage)
async def get_stack_usage(stack: CallerStack, platform: PlatformDep, asked: AskedDep) -> dict[str, Any]:
    """Get what the workloads of a stack have used, and its cost."""
    return await _usage(platform, _slugs([stack]), asked)


def _slugs(stacks: Iterable[Stack]) -> dict[str, str]:
    return {str(stack.id): stack.slug for stack in stacks}


async def _usage(platform: Platform, slugs: dict[str, str], asked: dict[str, str]) -> dict[str, Any]:
    """`slugs`: what stacks are called, by id."""
    now = platform.clock()
    problems: list[Problem] = []
    since, until = (_moment(asked[name], name, problems) for name in ("since", "until"))
    if problems:
        raise Invalid(problems)
    end = now if until is None else min(until, now)
    kept = _kept(platform, since or 0.0, now) if end == now else None
    if kept is not None:
        end, found = await asyncio.to_thread(_until_now, platform, slugs, asked["workload"], kept)
    else:
        found = await asyncio.to_thread(
            platform.metering.used,
            stacks=slugs.keys(),
            since=since or 0.0,
            until=end,
            workload=asked["workload"],
            fallback=platform.prices,
        )
    known = platform.core.state.workloads.keys() | platform.core.state.allocations.keys()
    results = [_shown(one, slugs[one.stack_id], gone=one.workload_id not in known) for one in found]
    return {
        "since": shapes.moment(since) if since is not None else None,
        "until": shapes.moment(end),
        "results": results,
        "total": _instances(found) | {"costs": _costs(found)},
    }


def _kept(platform: Platform, since: float, now: float) -> Kept | None:
    """Of sums that go on until now there are those since ever, and those of this month."""
    begin, ends = month_of("", now)
    if not since:
        return platform.usage_sums, 0.0, LATEST
    return (platform.month_costs, begin, ends) if since == begin else None


def _until_now(platform: Platform, stacks: Collection[str], workload: str, kept: Kept) -> tuple[float, list[Used]]:
    """Asking again and again costs what has changed. Blocking."""
    sums, since, ends = kept
    told = sums.told(platform.core.state, stacks, since=since, ends=ends, fallback=platform.prices)
    wanted = (one for one in told.workloads if not workload or workload in (one.workload_id, one.slug))
    return told.until, [used_until(one, told.until) for one in wanted]


def _shown(one: Used, stack: str, *, gone: bool) -> dict[str, Any]:
    held = {
        "anycast_hours": _hours(one.seconds.get("anycast", Decimal(0))),
        "prefix_hours": _hours(one.seconds.get("prefix", Decimal(0))),
        "volume_gib_hours": _hours(one.gib_seconds),
        "address_hours": _hours(one.seconds.get("address", Decimal(0))),
        "unpriced_hours": _hours(one.unpriced_s),
    }
    return {
        "workload": one.workload_id,
        "slug": one.slug,
        "stack": stack,
        "gone": gone,
        "running": one.running,
        **_instances([one]),
        **{name: hours for name, hours in held.items() if hours},
        "costs": _costs([one]),
    }


def _instances(found: Iterable[Used]) -> dict[str, float]:
    seconds = sum((one.seconds.get("instance", Decimal(0)) for one in found), Decimal(0))
    return {"instance_seconds": float(seconds), "instance_hours": _hours(seconds)}


def _costs(found: Iterable[Used]) -> dict[str, float]:
    sums: dict[str, Decimal] = {}
    for one in found:
        for currency, cost in one.costs.items():
            sums[currency] = sums.get(currency, Decimal(0)) + cost
    return {currency: float(cost) for currency, cost in sorted(sums.items())}


def _hours(seconds: Decimal) -> float:
    return float(seconds / HOUR_S)


def _moment(text: str, path: str, problems: list[Problem]) -> float | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        at = (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        at = -1.0
    if not 0 <= at <= LATEST:
        problems.append(Problem(path=path, message="must be a moment like 2026-01-31T10:00:00Z"))
        return None
    return at

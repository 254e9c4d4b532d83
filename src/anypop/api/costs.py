"""/anypop/v1/costs: what a month costs so far and at its end, by workload and by PoP.

In: a caller, and a month. Out: sums over what the store has kept of everything that ran, at the prices of each moment;
the forecast is what is there now, at the present prices, to the end of the month. Nobody sees what is of others.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query

from anypop.api import shapes
from anypop.api.context import AskingCaller, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.models.usage import MonthCosts
from anypop.api.parameters import whole
from anypop.control.costs import Costs, Key, Span, figures, total
from anypop.control.usage import HOUR_S
from anypop.control.usage_months import month_of
from anypop.model.errors import Invalid

router = APIRouter(prefix="/anypop/v1", tags=["prices"])


@router.get("/costs")
@answers(MonthCosts)
async def get_costs(
    caller: AskingCaller,
    platform: PlatformDep,
    month: Annotated[str, Query(description="2026-11; default: the present one, by UTC", max_length=7)] = "",
    dearest: Annotated[
        int, whole(6), Query(description="so many workloads, those whose month costs most first; default: all", ge=0)
    ] = 0,
) -> dict[str, Any]:
    """Get what a month costs the caller's stacks so far, and what it will at its end."""
    try:
        since, ends = month_of(month, now := platform.clock())
    except (ValueError, OverflowError) as error:
        raise Invalid.one("month", "must be a month like 2026-11") from error
    if since > now:
        raise Invalid.one("month", "must not lie ahead")
    slugs = {str(stack.id): stack.slug for stack in platform.stacks_of(caller)}
    return await asyncio.to_thread(_told, platform, slugs, since=since, ends=ends, dearest=dearest)


def _told(platform: Platform, slugs: dict[str, str], *, since: float, ends: float, dearest: int) -> dict[str, Any]:
    """`slugs`: what stacks are called, by id. Blocking."""
    state = platform.core.state
    told = platform.month_costs.told(
        state, slugs.keys(), since=since, ends=ends, fallback=platform.prices, dearest=dearest
    )
    known = state.workloads.keys() | state.allocations.keys()

    def shown(sums: Mapping[Key, Span]) -> dict[str, Any]:
        return _shown(figures(sums, until=told.until, ends=ends))

    return {
        "month": datetime.fromtimestamp(since, UTC).strftime("%Y-%m"),
        "since": shapes.moment(since),
        "until": shapes.moment(told.until),
        "ends": shapes.moment(ends),
        "total": shown(total(told.pops.values())),
        "pops": [{"pop": pop, **shown(sums)} for pop, sums in sorted(told.pops.items(), key=_by_name)],
        "count": told.count,
        "results": [
            {
                "workload": one.workload_id,
                "slug": one.slug,
                "stack": slugs[one.stack_id],
                "gone": one.workload_id not in known,
                **shown(total(one.pops.values())),
                "pops": [{"pop": pop, **shown(sums)} for pop, sums in sorted(one.pops.items(), key=_by_name)],
            }
            for one in told.workloads
        ],
    }


def _by_name(entry: tuple[str | None, object]) -> tuple[bool, str]:
    return entry[0] is None, entry[0] or ""


def _shown(costs: Costs) -> dict[str, Any]:
    told = {
        name: {currency: float(amount) for currency, amount in sorted(amounts.items())}
        for name, amounts in (("so_far", costs.so_far), ("forecast", costs.forecast), ("hourly", costs.hourly))
    }
    unpriced = {"unpriced_hours": _hours(costs.unpriced_s)} if costs.unpriced_s else {}
    return {**told, "running": costs.running, "instance_hours": _hours(costs.instance_s), **unpriced}


def _hours(seconds: Decimal) -> float:
    return float(seconds / HOUR_S)

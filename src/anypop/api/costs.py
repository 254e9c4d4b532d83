"""/anypop/v1/costs: what a month costs so far and at its end, by workload and by PoP.

In: a caller, and a month. Out: sums over what the store has kept of everything that ran, at the prices of each moment;
the forecast is what is there now, at the present prices, to the end of the month. Nobody sees what is of others.
"""

import asyncio
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from heapq import nlargest
from typing import Annotated, Any

from fastapi import APIRouter, Query

from anypop.api import shapes
from anypop.api.context import AskingCaller, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.models.usage import MonthCosts
from anypop.api.parameters import whole
from anypop.control.costs import Costs, WorkloadCosts, costs, month_of, total
from anypop.control.state import State
from anypop.control.usage import HOUR_S, Period
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
    now = platform.clock()
    try:
        since, ends = month_of(month, now)
    except (ValueError, OverflowError) as error:
        raise Invalid.one("month", "must be a month like 2026-11") from error
    if since > now:
        raise Invalid.one("month", "must not lie ahead")
    slugs = {str(stack.id): stack.slug for stack in platform.stacks_of(caller)}
    return await asyncio.to_thread(_told, platform, slugs, now=now, since=since, ends=ends, dearest=dearest)


def _told(
    platform: Platform, slugs: dict[str, str], *, now: float, since: float, ends: float, dearest: int
) -> dict[str, Any]:
    """`slugs`: what stacks are called, by id. Blocking."""
    state, until = platform.core.state, min(now, ends)
    periods, books = platform.metering.periods(stacks=slugs.keys(), since=since, until=until, fallback=platform.prices)
    found = costs(periods, books, left_s=ends - now, pop_of=partial(_pop_of, state, _pops(state)))
    known = state.workloads.keys() | state.allocations.keys()
    by_pop: dict[str | None, list[Costs]] = defaultdict(list)
    for one in found:
        for pop, sums in one.pops.items():
            by_pop[pop].append(sums)
    everything = total(sums for those in by_pop.values() for sums in those)
    shown = _dearest(found, everything, dearest) if dearest else found
    return {
        "month": datetime.fromtimestamp(since, UTC).strftime("%Y-%m"),
        "since": shapes.moment(since),
        "until": shapes.moment(until),
        "ends": shapes.moment(ends),
        "total": _figures(everything),
        "pops": [{"pop": pop, **_figures(total(those))} for pop, those in sorted(by_pop.items(), key=_by_name)],
        "count": len(found),
        "results": [
            {
                "workload": one.workload_id,
                "slug": one.slug,
                "stack": slugs[one.stack_id],
                "gone": one.workload_id not in known,
                **_figures(total(one.pops.values())),
                "pops": [{"pop": pop, **_figures(sums)} for pop, sums in sorted(one.pops.items(), key=_by_name)],
            }
            for one in shown
        ],
    }


def _dearest(found: list[WorkloadCosts], everything: Costs, most: int) -> list[WorkloadCosts]:
    """By the currency in which most is paid."""
    currency = max(everything.forecast, key=lambda name: everything.forecast[name], default="")

    def cost(one: WorkloadCosts) -> Decimal:
        return sum((sums.forecast.get(currency, Decimal(0)) for sums in one.pops.values()), Decimal(0))

    return nlargest(most, found, key=cost)


def _by_name(entry: tuple[str | None, object]) -> tuple[bool, str]:
    return entry[0] is None, entry[0] or ""


def _pops(state: State) -> dict[str, str]:
    return {str(host.name): str(pop.city) for pop, host in state.network.hosts()}


def _pop_of(state: State, pops: dict[str, str], one: Period) -> str | None:
    """Where it is, by its name: of an instance its city, of a volume its host's."""
    match one.item:
        case "instance":
            parts = one.name.rsplit("-", 2)
            return parts[1].upper() if len(parts) == 3 else None
        case "volume":
            return pops.get(one.name.split(" ")[1])
        case "address":
            kept = state.allocations.get(one.workload_id)
            return pops.get(kept.place.host) if kept is not None and kept.place is not None else None
    return None


def _figures(sums: Costs) -> dict[str, Any]:
    told = {
        name: {currency: float(amount) for currency, amount in sorted(amounts.items())}
        for name, amounts in (("so_far", sums.so_far), ("forecast", sums.forecast), ("hourly", sums.hourly))
    }
    unpriced = {"unpriced_hours": _hours(sums.unpriced_s)} if sums.unpriced_s else {}
    return {**told, "running": sums.running, "instance_hours": _hours(sums.instance_s), **unpriced}


def _hours(seconds: Decimal) -> float:
    return float(seconds / HOUR_S)

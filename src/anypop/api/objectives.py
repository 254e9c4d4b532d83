"""/anypop/v1/metrics/slo: whether people land where they should, and how much of the error budget is left.

In: looks of the vantages, one a minute for each anycast address. Out: for each of the caller's workloads the share of
vantages that land in the nearest PoP that may serve them, and how much longer the others' way is; and from the store of
metrics the same for traffic, how often they change, and the budget of the last 30 days. Without vantages nothing is
measured, and that is said.
"""

import asyncio
import logging
from collections import deque
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from anypop.api import shapes
from anypop.api.context import AskingCaller, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.landings import landings_of
from anypop.api.models.exposition import Objectives
from anypop.api.probes import pops_of
from anypop.api.threads import in_own_thread
from anypop.control.metrics.charts import quoted
from anypop.control.metrics.slo import OBJECTIVE
from anypop.control.refusals import NotFound
from anypop.model.errors import WorldError
from anypop.model.names import WorkloadId
from anypop.routing.explain import nearest_pop

router = APIRouter(prefix="/anypop/v1", tags=["platform"])
log = logging.getLogger("anypop.api")

EVERY_S, SOON_S = 60.0, 10.0  # sooner while an address has not been seen to answer
MOST = 20  # addresses in one round; of more each has its turn
NO_VANTAGES = "no vantage is attached, so nobody sees where people land"
NOT_YET = "the vantages have not asked yet"
RECORDED = {
    "traffic": "anypop:slo_traffic:ratio",
    "flips_per_hour": "anypop:slo_flips:per_hour",
    "budget_left": "anypop:slo_budget_left:ratio",
}


async def parameters(
    *,
    stack: Annotated[str, Query(description="id or slug; default: all of the caller's")] = "",
    workload: Annotated[str, Query(description="id or slug; default: all")] = "",
) -> dict[str, str]:
    return {"stack": stack, "workload": workload}


@router.get("/metrics/slo")
@answers(Objectives, Code.NOT_FOUND)
async def get_objectives(
    caller: AskingCaller, platform: PlatformDep, asked: Annotated[dict[str, str], Depends(parameters)]
) -> dict[str, Any]:
    """Get how well the caller's anycast addresses lead people to where they should.

    `vantages`: the share of those that asked a minute ago and landed in the nearest PoP that may serve them. `traffic`:
    how much of what came lies within the shares that the vantages let expect. `budget_left`: of 30 days, 1 is all of
    it, below 0 it is overdrawn. The last three are from the store of metrics.
    """
    state = platform.core.state
    stacks = [platform.stack_of(caller, asked["stack"])] if asked["stack"] else platform.stacks_of(caller)
    declared = [one for stack in stacks for one in state.in_stack(stack.id)]
    if asked["workload"]:
        declared = [one for one in declared if asked["workload"] in (one.id, one.workload.slug)]
        if not declared:
            raise NotFound(f"no workload {asked['workload']}")
    slugs = {stack.id: stack.slug for stack in stacks}
    held = [one for one in declared if one.id in state.anycast]
    stored, note = await _stored(platform, [one.id for one in held])
    rows = []
    for one in sorted(held, key=lambda one: (slugs[one.stack_id], one.workload.slug)):
        seen = platform.objective.seen.get(one.id, {})
        row = {"stack": slugs[one.stack_id], "workload": one.workload.slug, "objective": OBJECTIVE}
        if seen:
            away = [s for s in seen.values() if not s.landed]
            row |= {
                "asked": len(seen),
                "vantages": round(1 - len(away) / len(seen), 6),
                "extra_ms": round(1000 * sum(s.extra_s for s in seen.values()) / len(seen), 3),
                "age": round(max(0.0, platform.clock() - platform.objective.at[one.id]), 3),
                "elsewhere": [
                    shapes.filled({"vantage": s.vantage, "expected": s.expected, "pop": s.pop})
                    for s in sorted(away, key=lambda s: s.vantage)
                ],
            }
        rows.append(row | stored.get(one.id, {}))
    if platform.vantages is None:
        note = NO_VANTAGES
    elif held and not any(platform.objective.seen.get(one.id) for one in held):
        note = NOT_YET
    return {"results": rows, **({"note": note} if note else {})}


async def _stored(platform: Platform, workloads: list[WorkloadId]) -> tuple[dict[WorkloadId, dict[str, float]], str]:
    """What the store's rules say of each of these, and what is to be said of that."""
    if platform.metrics_store is None:
        return {}, "there is no store of metrics: traffic, flips and the budget are not known"
    found: dict[WorkloadId, dict[str, float]] = {}
    if not workloads:
        return found, ""
    which = quoted("|".join(sorted(workloads)))  # ids are hexadecimal digits and dashes
    try:
        for name, record in RECORDED.items():
            for labels, value in await platform.metrics_store.values(f"{record}{{workload=~{which}}}"):
                found.setdefault(WorkloadId(labels["workload"]), {})[name] = round(value, 6)
    except WorldError as error:
        log.warning("objectives: %s", error)
        return found, "the store of metrics does not answer: traffic, flips and the budget are not known"
    return found, ""


async def keep_measuring(platform: Platform) -> None:
    """One round a minute, until control stops."""
    turns: deque[WorkloadId] = deque()
    while not platform.core.bell.closed:
        try:
            await measure(platform, turns)
        except Exception:
            log.exception("where vantages land was not measured")
        state = platform.core.state
        is_new = any(not platform.objective.seen.get(workload) for workload in state.anycast)
        await asyncio.sleep(SOON_S if is_new else EVERY_S)


async def measure(platform: Platform, turns: deque[WorkloadId]) -> None:
    """A look for as many addresses as one round has; who had none lately comes first."""
    state = platform.core.state
    held = [workload for workload in state.anycast if workload in state.workloads]
    platform.objective.keep(held)
    known = set(turns)
    turns.extend(sorted(workload for workload in held if workload not in known))
    if platform.vantages is None or platform.standby is not None:
        return
    cities = {vantage.name: vantage.city for vantage in await in_own_thread(platform.vantages.all)}
    for _ in range(min(MOST, len(turns))):
        workload = turns.popleft()
        declared = state.workloads.get(workload)
        if declared is None or workload not in state.anycast:
            continue
        turns.append(workload)
        try:
            landings = await landings_of(platform, workload)
        except WorldError as error:
            log.warning("vantages for %s: %s", declared.workload.slug, error)
            continue
        pops = pops_of(platform, declared)
        expected = {name: pop for name, city in cities.items() if (pop := nearest_pop(city, pops)) is not None}
        platform.objective.saw(workload, landings, expected, cities, at=platform.clock())

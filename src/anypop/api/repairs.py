"""/anypop/v1/.../repairs: a repair that the doctor proposes, looked at before it is made, and made in waves.

In: rules for some PoPs and upstreams. Out: whom they move by the model, in which order the PoPs change, and where every
vantage should land after each; or the rollout that does it, and takes itself back where it comes out otherwise. The
thinking is `advice`'s, in a process of its own; the doing is the rollout's. To make one is the operator's.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response

from anypop.advice.waves import Viewpoint
from anypop.api import advice_jobs
from anypop.api.advice_jobs import RepairJob
from anypop.api.announcements import parsed_rules
from anypop.api.bodies import JsonBody
from anypop.api.context import AnnouncedStack, CallerAccount, OperatorAccount, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.landings import landings_of
from anypop.api.models.predictions import AdviceRequest
from anypop.api.models.repairs import MakeRepairRequest, RepairPlan, RepairRequest
from anypop.api.models.rollouts import RolloutStarted
from anypop.api.predictions import NOTED, REFUSALS, announced_by, sources_of, worked_out
from anypop.api.rollouts import begin_scopes
from anypop.api.threads import in_own_thread
from anypop.control.accounts import Account
from anypop.control.state import Declaration

router = APIRouter(prefix="/anypop/v1/stacks/{stack_id}/workloads/{workload_id}/repairs", tags=["predictions"])

WorkloadRef = Annotated[str, Path(description="id or slug")]

HOLD_S = 2.0  # an outcome counts once it has held so long: a route may pass through a better place on its way


@router.post("/plan")
@answers(RepairPlan, *REFUSALS, headers=NOTED)
async def plan_repair(
    *,
    workload_id: WorkloadRef,
    stack: AnnouncedStack,
    account: CallerAccount,
    platform: PlatformDep,
    response: Response,
    body: Annotated[RepairRequest, Depends(JsonBody(RepairRequest))],
) -> dict[str, Any]:
    """Work out whom a repair moves, in which waves, and where each vantage lands after them.

    Nothing is changed.
    """
    return await _planned(platform, account, platform.workload(stack, workload_id), response, body)


@router.post("")
@answers(RolloutStarted, *REFUSALS, Code.PERMISSION_DENIED, headers=NOTED)
async def make_repair(
    *,
    workload_id: WorkloadRef,
    stack: AnnouncedStack,
    account: OperatorAccount,
    platform: PlatformDep,
    response: Response,
    body: Annotated[MakeRepairRequest, Depends(JsonBody(MakeRepairRequest))],
) -> dict[str, Any]:
    """Make a repair PoP by PoP, as its plan says, taken back where vantages land elsewhere than predicted."""
    declared = platform.workload(stack, workload_id)
    plan = await _planned(platform, account, declared, response, body)
    note = f"doctor: {body.title}" if body.title else ""
    waves = [
        {"rules": [{**rule, "note": note} for rule in wave["rules"]], "expected": wave["expected"]}
        for wave in plan["waves"]
    ]
    strategy = {"deadline_s": body.deadline_s, "bake_s": min(HOLD_S, body.deadline_s / 4)}
    return await begin_scopes(platform, account, declared, {"waves": waves, "strategy": strategy})


async def _planned(
    platform: Platform, account: Account, declared: Declaration, response: Response, body: RepairRequest
) -> dict[str, Any]:
    asked = {"rules": [rule.model_dump(exclude_none=True) for rule in body.rules]}
    rules = parsed_rules(asked, declared, platform.core.state.network, tenant=not account.operator)
    known = announced_by(platform, declared)
    sources = await sources_of(platform, account, AdviceRequest(graph=body.graph))
    vantages = await in_own_thread(platform.vantages.all) if platform.vantages is not None else []
    seen = {look.vantage: look.pop for look in await landings_of(platform, declared.id)}
    job = RepairJob(
        sources=sources,
        now=known.announcements,
        scopes={(rule.pop, rule.upstream): rule.scope for rule in rules.values()},
        places=tuple(Viewpoint(name=v.name, asn=v.asn, city=v.city) for v in vantages),
        seen=seen,
    )
    return await worked_out(platform, account, response, advice_jobs.plan_repair, job)

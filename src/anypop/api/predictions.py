"""/anypop/v1/predictions and proposals: what the model says of a workload's announcements before anything is announced.

In: a workload of the caller's (of anybody's, for the operator), the name of a graph, what-if rules. Out: the same data
as `anypop catchment predict -o json` and `anypop doctor -o json`. It is worked out by `advice` in worker processes;
nothing is changed from here.
"""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Response

from anypop.advice.graph import Sources
from anypop.advice.known import Known, known_of
from anypop.advice.what_if import changed
from anypop.api import advice_jobs
from anypop.api.advice_jobs import Outcome, PredictionJob, ProposalJob
from anypop.api.announcements import rows_of
from anypop.api.bodies import JsonBody, JsonObject
from anypop.api.context import AskingCaller, CallerStack, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.graphs import Unusable
from anypop.api.models.plans import PlanRequest
from anypop.api.models.predictions import (
    AdviceRequest,
    PlannedLandings,
    Prediction,
    PredictionRequest,
    ProposalRequest,
    Proposals,
)
from anypop.api.notes import warn
from anypop.api.plans import trial
from anypop.api.probes import unless_stopping
from anypop.control.accounts import Account, Caller
from anypop.control.refusals import NotFound, Precondition
from anypop.control.sharing import not_for_its_tenant
from anypop.control.state import Declaration
from anypop.model.errors import Invalid, WorldError

router = APIRouter(prefix="/anypop/v1", tags=["predictions"])

J = TypeVar("J")
MOST_DRAWN = 200  # of the biggest networks: more than a picture shows apart
NOTED = {"Warning": "one for each thing that one should know of the graph and of the answer (RFC 7234, section 5.5)"}
REFUSALS = (Code.NOT_FOUND, Code.FAILED_PRECONDITION, Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE)


@router.post("/predictions")
@answers(Prediction, *REFUSALS, headers=NOTED)
async def predict_landings(
    caller: AskingCaller,
    platform: PlatformDep,
    response: Response,
    body: Annotated[PredictionRequest, Depends(JsonBody(PredictionRequest))],
) -> dict[str, Any]:
    """Predict where every network lands by what a workload announces, or would announce."""
    known = announced_now(platform, caller, body)
    wanted = changed(known.announcements, body.what_if, [f"what_if[{i}]" for i in range(len(body.what_if))])
    sources = await sources_of(platform, caller.account, body)
    job = PredictionJob(
        sources=sources,
        known=known,
        now=known.announcements,
        wanted=wanted,
        compare=bool(body.what_if),
        top=body.top,
    )
    return await worked_out(platform, caller.account, response, advice_jobs.predict, job)


@router.post("/stacks/{stack_id}/plan/landings")
@answers(PlannedLandings, *REFUSALS, headers=NOTED)
async def predict_plan(
    stack: CallerStack,
    caller: AskingCaller,
    platform: PlatformDep,
    response: Response,
    body: Annotated[dict[str, Any], Depends(JsonObject(PlanRequest))],
) -> dict[str, Any]:
    """Predict where every network would land if a plan were carried out.

    The same body as the plan's. Of a workload that announces already also what would move, as with rules.
    """
    tried = await trial(platform, stack, caller, body)
    before, after = (
        rows_of(state, declared) if (declared := state.workloads.get(tried.workload)) is not None else []
        for state in (tried.before, tried.after)
    )
    if not after:
        raise Precondition("nothing would be announced: only a workload with an anycast address is")
    slug = tried.after.workloads[tried.workload].workload.slug
    known = known_of(tried.after.network, slug, after)
    now = known_of(tried.before.network, slug, before).announcements if before else known.announcements
    sources = await sources_of(platform, caller.account, AdviceRequest())
    job = PredictionJob(
        sources=sources, known=known, now=now, wanted=known.announcements, compare=bool(before), top=MOST_DRAWN
    )
    found = await worked_out(platform, caller.account, response, advice_jobs.predict, job)
    return found | {"carried_to": dict(known.onward)}


@router.post("/proposals")
@answers(Proposals, *REFUSALS, headers=NOTED)
async def propose_repairs(
    caller: AskingCaller,
    platform: PlatformDep,
    response: Response,
    body: Annotated[ProposalRequest, Depends(JsonBody(ProposalRequest))],
) -> dict[str, Any]:
    """Propose changes of announcements for networks that land too far away, each scored on the whole graph."""
    declared = _asked(platform, caller, body)
    known = _known(platform, declared)
    sources = await sources_of(platform, caller.account, body)
    tenant = not caller.account.operator
    job = ProposalJob(
        sources=sources,
        known=known,
        causes=body.causes,
        repairs=body.repairs,
        far_km=body.far_km,
        tenant=tenant,
        kept=not_for_its_tenant(platform.core.state, declared.id) if tenant and declared is not None else "",
    )
    return await worked_out(platform, caller.account, response, advice_jobs.propose, job)


async def sources_of(platform: Platform, account: Account, asked: AdviceRequest) -> Sources:
    """The files of the graph that is asked about. Raises `WorldError`."""
    try:
        return await asyncio.to_thread(platform.graphs.named, asked.graph)
    except Unusable as error:
        raise _unusable(account, str(error)) from error


def _unusable(account: Account, why: str) -> WorldError:
    """Which files of control's machine are wrong is for the operator alone."""
    return WorldError(
        "use the graph",
        why.replace("\n", "; ") if account.operator else "its files are wrong; the operator can see why",
    )


async def worked_out(
    platform: Platform, account: Account, response: Response, work: Callable[[J], Outcome], job: J
) -> dict[str, Any]:
    """Done in a process of its own; what one should know of the answer goes into its headers."""
    found = await unless_stopping(platform, platform.workers.run(work, job, account=account.id), what="work it out")
    if found.broken:
        raise _unusable(account, found.broken)
    if found.data is None and found.field:
        raise Invalid.one(found.field, found.unfit)
    if found.data is None:
        raise Precondition(found.unfit.replace("\n", "; "))
    warn(response, found.notes)
    return found.data


def announced_now(platform: Platform, caller: Caller, asked: AdviceRequest) -> Known:
    """What the workload announces that is asked about. Raises `NotFound`, `Invalid`, `Precondition`."""
    return _known(platform, _asked(platform, caller, asked))


def _asked(platform: Platform, caller: Caller, asked: AdviceRequest) -> Declaration | None:
    """The workload that is asked about; None: none announces."""
    return _named(platform, caller, asked) if asked.workload else _only(platform, caller, asked)


def _known(platform: Platform, declared: Declaration | None) -> Known:
    """What is announced now for it."""
    network = platform.core.state.network
    if declared is None:
        if not network.pops:
            raise Precondition("control knows no network: there is nothing to announce from")
        return known_of(network)
    return announced_by(platform, declared)


def announced_by(platform: Platform, declared: Declaration) -> Known:
    """What is announced now for a workload. Raises `Precondition` where nothing is."""
    rows = rows_of(platform.core.state, declared)
    if not rows:
        raise Precondition(f"{declared.workload.slug} announces nothing: only a workload with an anycast address does")
    return known_of(platform.core.state.network, declared.workload.slug, rows)


def _named(platform: Platform, caller: Caller, asked: AdviceRequest) -> Declaration:
    """The workload of this id or slug: one of the caller's own; for the operator, else anybody's."""
    accounts, state, operator = platform.accounts, platform.core.state, caller.account.operator
    if asked.stack:
        return platform.workload(
            accounts.any_stack(asked.stack) if operator else platform.stack_of(caller, asked.stack),
            asked.workload,
        )
    found = [d for stack in platform.stacks_of(caller) if (d := state.find(stack.id, asked.workload)) is not None]
    if not found and operator:
        found = [d for d in state.workloads.values() if asked.workload in (d.id, d.workload.slug)]
    if len(found) > 1:
        raise Invalid.one("stack", f"is required: {len(found)} stacks have a workload {asked.workload}")
    if not found:
        raise NotFound(f"no workload {asked.workload}")
    return found[0]


def _only(platform: Platform, caller: Caller, asked: AdviceRequest) -> Declaration | None:
    """The caller's only workload with an anycast address; None where it has none."""
    state = platform.core.state
    stacks = [platform.stack_of(caller, asked.stack)] if asked.stack else platform.stacks_of(caller)
    own = {stack.id for stack in stacks}
    found = [d for d in state.workloads.values() if d.stack_id in own and d.id in state.anycast]
    if len(found) > 1:
        slugs = ", ".join(sorted(d.workload.slug for d in found)[:20])
        raise Invalid.one("workload", f"is required: several have an anycast address: {slugs}")
    return found[0] if found else None

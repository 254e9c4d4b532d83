"""/anypop/v1/hosts/{host}/routes and routes/explain: what a router of ours knows, and what any router's words mean.

In: a question of a closed list to a host's router, which the operator asks; or text that somebody else's router
printed. Out: the router's own words, by the stream that its agent opened; or which route won, why, and what that means
for us, worked out in a process of its own. Nothing is changed by either.
"""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response

from anypop.advice.named_sites import network_and_city
from anypop.api import advice_jobs
from anypop.api.advice_jobs import ExplainJob, RouterThere
from anypop.api.bodies import JsonBody
from anypop.api.context import AskingCaller, OperatorAccount, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.glass import ExplainRequest, Explanations, GlassAnswer, GlassQuery
from anypop.api.predictions import NOTED, REFUSALS, announced_now, sources_of, worked_out
from anypop.api.threads import in_own_thread
from anypop.control.accounts import Caller
from anypop.control.refusals import NotFound
from anypop.model.errors import Invalid, WorldError
from anypop.model.names import HostName
from anypop.model.streams import RoutesQuestion, RoutesRequest

router = APIRouter(prefix="/anypop/v1", tags=["platform"])

LONGEST_S = 5.0
MOST_BYTES = 1 << 18


@router.get("/hosts/{host}/routes")
@answers(GlassAnswer, Code.NOT_FOUND, Code.FAILED_PRECONDITION, Code.UNAVAILABLE)
async def look_at_routes(
    host: Annotated[str, Path(description="the host's name")],
    account: OperatorAccount,
    platform: PlatformDep,
    query: Annotated[GlassQuery, Query()],
) -> dict[str, Any]:
    """Ask a host's router what it knows.

    `sessions`, `route` (for an address), `told` (what it tells an upstream), `heard` (what it hears from one).
    """
    known = _known(platform, host)
    if query.question is RoutesQuestion.ROUTE and query.address is None:
        raise Invalid.one("address", "is required: whose route it is")
    if query.question in (RoutesQuestion.TOLD, RoutesQuestion.HEARD) and not query.upstream:
        raise Invalid.one("upstream", "is required: the name of one in this PoP")
    wanted = RoutesRequest(
        question=query.question, address=query.address, upstream=query.upstream, family=query.family
    )  # fmt: skip
    text = await _told(platform, known, wanted, account.id)
    return {"host": known, "question": query.question.value, "text": text}


async def _told(platform: Platform, host: HostName, wanted: RoutesRequest, account: str) -> str:
    parts: list[bytes] = []
    try:
        async with platform.streams.ask(host, wanted, account) as there, asyncio.timeout(LONGEST_S):
            while (told := await there.receive()) is not None:
                parts.append(told if isinstance(told, bytes) else told.encode())
                if sum(map(len, parts)) > MOST_BYTES:
                    break
    except TimeoutError as error:
        raise WorldError(f"ask host {host}", "its router's answer does not come") from error
    return b"".join(parts)[:MOST_BYTES].decode(errors="replace")


def _known(platform: Platform, name: str) -> HostName:
    for host in platform.hosts():
        if host.upper() == name.upper():
            return host
    raise NotFound(f"no host {name}")


@router.post("/routes/explain")
@answers(Explanations, *REFUSALS, headers=NOTED)
async def explain_routes(
    caller: AskingCaller,
    platform: PlatformDep,
    response: Response,
    body: Annotated[ExplainRequest, Depends(JsonBody(ExplainRequest))],
) -> dict[str, Any]:
    """Explain what a router printed about a prefix: why its best route is best, and what that means for us.

    Reads what `anypop route explain` reads, but for MRT. No router is asked. With `at`, also what the model expects of
    that router by what the workload announces.
    """
    router = await _router(platform, caller, body) if body.at else None
    if router is None and (body.workload or body.stack or body.graph):
        raise Invalid.one("at", "is required: whose router it is, where the model is asked, as AS64497-LHR")
    job = ExplainJob(text=body.text, asn=body.asn, prefix=body.prefix, style=body.style, router=router)
    return await worked_out(platform, caller.account, response, advice_jobs.explain, job)


async def _router(platform: Platform, caller: Caller, body: ExplainRequest) -> RouterThere:
    """Whose router it is, by a network's number or a vantage's name."""
    found = network_and_city(body.at)
    if found is None:
        listed = await in_own_thread(platform.vantages.all) if platform.vantages is not None else []
        found = next(((one.asn, one.city) for one in listed if one.name == body.at), None)
    if found is None:
        raise Invalid.one("at", f"{body.at} is neither a network, as AS64497-LHR, nor a vantage")
    known = announced_now(platform, caller, body)
    return RouterThere(
        asn=found[0], city=found[1], sources=await sources_of(platform, caller.account, body), known=known
    )

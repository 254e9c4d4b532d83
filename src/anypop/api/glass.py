"""/anypop/v1/hosts/{host}/routes and routes/explain: what a router of ours knows, and what any router's words mean.

In: a question of a closed list to a host's router, which the operator asks; or text that somebody else's router
printed. Out: the router's own words, by the stream that its agent opened; or which route won, why, and what that means
for us, worked out in a process of its own. Nothing is changed by either.
"""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query

from anypop.api import advice_jobs
from anypop.api.advice_jobs import ExplainJob
from anypop.api.bodies import JsonBody
from anypop.api.context import AskingCaller, OperatorAccount, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.glass import ExplainRequest, Explanations, GlassAnswer, GlassQuery
from anypop.api.probes import unless_stopping
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
@answers(Explanations, Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE)
async def explain_routes(
    caller: AskingCaller, platform: PlatformDep, body: Annotated[ExplainRequest, Depends(JsonBody(ExplainRequest))]
) -> dict[str, Any]:
    """Explain what a router printed about a prefix: why its best route is best, and what that means for us.

    Reads what `anypop route explain` reads, but for MRT. No router is asked.
    """
    job = ExplainJob(text=body.text, asn=body.asn, prefix=body.prefix, style=body.style)
    work = platform.workers.run(advice_jobs.explain, job, account=caller.account.id)
    found = await unless_stopping(platform, work, what="work it out")
    if found.data is None:
        raise Invalid.one("text", found.unfit)
    return found.data

"""/anypop/v1/agents: the agents' requests. Get the order (a long poll), give a report, get a certificate.

Each agent has its own certificate or token and may ask for its own host alone.
"""

import asyncio
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import FileResponse

from anypop.api.announced_plans import announced_plans
from anypop.api.bodies import BYTES, JSON, LARGE, JsonBody, RawBody, object_of
from anypop.api.context import CallerHost, JoiningHost, Platform, PlatformDep, shown_by
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.images import ImageHolders
from anypop.api.models.joins import Certificate, CertificateRequest
from anypop.api.models.orders import NextOrder
from anypop.api.parameters import whole
from anypop.control.image_uses import holders, needs
from anypop.control.refusals import Forbidden, NotFound
from anypop.control.state import State
from anypop.model import codec, limits, sources
from anypop.model.errors import Invalid
from anypop.model.names import CityCode, HostName
from anypop.model.order_delta import BASE_HEADER, written
from anypop.model.order_text import OrderWriter
from anypop.model.report import Report
from anypop.model.report_limits import excess
from anypop.model.sources import Sources

router = APIRouter(prefix="/anypop/v1/agents", tags=["agents"])

# Longer than this and a middlebox may forget the connection; agents ask for 25 s.
LONGEST_WAIT_S = 55


ImageFile = Annotated[str, Path(description="of the file", pattern="^[0-9a-f]{64}$")]


@router.post("/{host}/certificate")
@answers(Certificate)
async def sign_certificate(
    joining: JoiningHost,
    platform: PlatformDep,
    body: Annotated[CertificateRequest, Depends(JsonBody(CertificateRequest))],
) -> dict[str, Any]:
    """Join, or renew: get a client certificate for a key of the agent's own.

    With a join token, which is used up, or with the certificate that is to be renewed. From its first use on the
    host's lasting token counts no more.
    """
    host, token = joining
    made = await asyncio.to_thread(partial(platform.joins.sign, host, body.csr, token=token))
    return {"certificate": made}


@router.get("/{host}/order")
@answers(
    NextOrder,
    headers={BASE_HEADER: "the generation from which the answer is the difference; absent where it is the whole order"},
    empty="nothing newer within `wait`",
)
async def get_order(
    request: Request,
    own: CallerHost,
    platform: PlatformDep,
    *,
    after: Annotated[int, whole(18), Query(description="the generation that the agent has", ge=0)] = 0,
    wait: Annotated[int, whole(18), Query(description=f"seconds; at most {LONGEST_WAIT_S} are waited", ge=0)] = 0,
    accept: Annotated[str, Query(description="`delta`: what differs from the order that the agent has will do")] = "",
    digest: Annotated[str, Query(description="of the order that the agent has, for `accept=delta`")] = "",
) -> Response:
    """Get the host's order once it is newer than `after`.

    An agent that has obeyed a higher generation than control remembers gets a still higher one. With `accept=delta` the
    answer may be what differs from the order of generation `after`, where control knows that order by its digest; the
    header says so.
    """
    issued = await platform.core.order_after(own, after, float(min(wait, LONGEST_WAIT_S)), digest)
    if (shown := shown_by(request)) is not None:
        platform.joins.check(shown)  # it may have been revoked while it waited
    platform.log_sinks.news(own)
    if issued is None:
        return Response(status_code=204)
    difference = platform.core.difference(issued, after, digest) if accept == "delta" else None
    if difference is not None:
        return Response(
            written(difference, OrderWriter()), media_type=JSON, headers={BASE_HEADER: str(difference.base)}
        )
    return Response(issued.body, media_type=JSON)


@router.get("/{host}/machine-images/{sha256}", response_class=FileResponse)
@answers(bytes, Code.NOT_FOUND, media_type=BYTES)
async def get_image_file(sha256: ImageFile, own: CallerHost, platform: PlatformDep) -> FileResponse:
    """Get a file of an image of virtual machines that the host's order names; with `Range`, a part of it."""
    file = platform.machine_images.files.path(sha256)
    if not needs(platform.core.state, own, sha256) or not file.is_file():
        raise NotFound(f"the order of {own} needs no such file, or it is not here")
    return FileResponse(file, media_type=BYTES)


@router.get("/{host}/machine-images/{sha256}/holders")
@answers(ImageHolders, Code.NOT_FOUND)
async def list_image_holders(sha256: ImageFile, own: CallerHost, platform: PlatformDep) -> dict[str, Any]:
    """List hosts that have a file of an image that this host's order names, those of its own PoP first."""
    _check_needs(platform, own, sha256)
    return {"hosts": await asyncio.to_thread(holders, platform.core.state, own, sha256)}


@router.get("/{host}/machine-images/{sha256}/takers/{taker}", status_code=204)
@answers(None, Code.NOT_FOUND)
async def check_image_taker(
    sha256: ImageFile, own: CallerHost, platform: PlatformDep,
    taker: Annotated[HostName, Path(description="another host's name")],
) -> Response:  # fmt: skip
    """Ask whether another host may have a file from this one: both orders have to name it."""
    _check_needs(platform, own, sha256)
    _check_needs(platform, taker, sha256)
    return Response(status_code=204)


def _check_needs(platform: Platform, host: HostName, sha256: str) -> None:
    if not needs(platform.core.state, host, sha256):
        raise NotFound(f"the order of {host} needs no such file")


@router.post("/{host}/report", status_code=204)
@answers(None)
async def take_report(
    own: CallerHost, platform: PlatformDep, body: Annotated[bytes, Depends(RawBody({JSON: Report}))]
) -> Response:
    """Give a report; the answer comes when it is stored and judged."""
    report = _report(body) if len(body) <= LARGE else await asyncio.to_thread(_report, body)
    if report.host != own:
        raise Forbidden(f"this token is for {own}, the report is of {report.host}")
    await platform.core.take(report, body)
    return Response(status_code=204)


@router.post("/{host}/sources", status_code=204)
@answers(None)
async def take_sources(
    own: CallerHost, platform: PlatformDep, body: Annotated[bytes, Depends(RawBody({JSON: Sources}))]
) -> Response:
    """Tell from which networks connections came in here, where the network document has hosts sample them."""
    told = codec.from_json(Sources, body)
    if problems := sources.excess(told):
        raise Invalid(problems[: codec.MOST_PROBLEMS])
    state, now = platform.core.state, platform.clock()
    pop = next((pop.city for pop, host in state.network.hosts() if host.name == own), None)
    if pop is not None and state.network.sampled_flows:
        await asyncio.to_thread(_keep_sources, platform, state, pop, told, now)
    return Response(status_code=204)


def _keep_sources(platform: Platform, state: State, pop: CityCode, told: Sources, now: float) -> None:
    settle_s = state.network.sampled_look_s
    platform.catchments.take(pop, told, announced_plans(state), now=now, settle_s=settle_s)


def _report(body: bytes) -> Report:
    report = codec.from_json(Report, body)
    if problems := excess(report):
        raise Invalid(problems[: codec.MOST_PROBLEMS])
    if limits.may_break(body):
        object_of(body)
    return report

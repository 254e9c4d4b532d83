"""/anypop/v1/agents: the agents' two requests. Get the order (a long poll), give a report.

Each agent has its own token and may ask for its own host alone. An order is answered as the very bytes that were stored when it was issued.
"""

import asyncio

from fastapi import APIRouter, Request, Response

from anypop.api.bodies import raw_body
from anypop.api.context import PlatformDep, bearer
from anypop.control.refusals import Forbidden
from anypop.model import codec
from anypop.model.errors import Invalid
from anypop.model.names import HostName
from anypop.model.report import Report

router = APIRouter(prefix="/anypop/v1/agents")

# Longer than this and a middlebox may forget the connection; agents ask for 25 s.
LONGEST_WAIT_S = 55.0
_LARGE = 1 << 16  # a report above this takes more than a few milliseconds to read: not on the event loop


def _host(request: Request, platform: PlatformDep, host: str) -> HostName:
    own = platform.accounts.host_of(bearer(request))
    if host.upper() != own.upper():
        raise Forbidden(f"this token is for {own}, not for {host}")
    return own


@router.get("/{host}/order")
async def order(request: Request, host: str, platform: PlatformDep, after: str = "0", wait: str = "0") -> Response:
    own = _host(request, platform, host)
    issued = await platform.core.order_after(own, _whole("after", after), min(float(_whole("wait", wait)), LONGEST_WAIT_S))
    if issued is None:
        return Response(status_code=204)
    return Response(issued.body, media_type="application/json")


@router.post("/{host}/report", status_code=204)
async def report(request: Request, host: str, platform: PlatformDep) -> Response:
    own = _host(request, platform, host)
    raw = await raw_body(request)
    if len(raw) > _LARGE:
        found = await asyncio.to_thread(codec.from_json, Report, raw)
    else:
        found = codec.from_json(Report, raw)
    if found.host != own:
        raise Forbidden(f"this token is for {own}, the report is of {found.host}")
    await platform.core.take(found)
    return Response(status_code=204)


def _whole(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Invalid.one(name, "must be a whole number, 0 or more")
    return int(text)
